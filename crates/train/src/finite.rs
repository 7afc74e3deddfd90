//! Values that are no finite number, found before they are answered or kept.
//!
//! A NaN costs nothing to make and spreads over the whole model in a step; behind it lies a run that diverged, or a file
//! that is not what was written.

use std::fmt;

use anyhow::{Context, Result, bail};
use candle_core::safetensors::SliceSafetensors;
use candle_core::{DType, Device, Tensor};
use mtl_task::{Answer, Label, TaskId};

use crate::step::Trainer;

/// Training has left the finite numbers, or does nothing but get worse: the same steps would end so again.
#[derive(Debug)]
pub(crate) struct Diverged {
    /// The task whose loss tells, if one does.
    pub(crate) task: Option<TaskId>,
    /// Step and value.
    pub(crate) what: String,
}

impl Diverged {
    /// Of no task in particular.
    pub(crate) fn everywhere(what: String) -> anyhow::Error {
        Self { task: None, what }.into()
    }

    /// Of `task`.
    pub(crate) fn of(task: TaskId, what: String) -> anyhow::Error {
        Self { task: Some(task), what }.into()
    }
}

impl fmt::Display for Diverged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Diverged {}

/// Whether `error` says that training diverged: the same run would end so again.
pub fn is_divergence(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<Diverged>()) || error.is::<Diverged>()
}

impl Trainer {
    /// Refuses a loss of `task` in step `step` that is not finite.
    pub(crate) fn refuse_infinite(&self, step: usize, task: TaskId, loss: f64) -> Result<()> {
        if !loss.is_finite() {
            let name = &self.model.tasks[task.0].name;
            return Err(Diverged::of(task, format!("step {step}: the loss of task `{name}` is {loss}")));
        }
        Ok(())
    }
}

/// Refuses a safetensors file with a value that is NaN or infinite.
///
/// # Errors
/// Names the first such tensor, how many of its values are so, and how many tensors there are of the kind; also if `bytes`
/// are no safetensors file.
pub(crate) fn check_tensors(bytes: &[u8]) -> Result<()> {
    let file = SliceSafetensors::new(bytes).context("not a whole safetensors file")?;
    let mut found = Vec::new();
    for (name, view) in file.tensors() {
        // Whole numbers, and what candle has no name for, are neither NaN nor infinite.
        let Ok(dtype) = DType::try_from(view.dtype()) else { continue };
        let count = infinite(dtype, view.data());
        if count > 0 {
            found.push((name, count, view.shape().iter().product::<usize>()));
        }
    }
    found.sort();
    let Some((name, count, of)) = found.first() else { return Ok(()) };
    let others = match found.len() - 1 {
        0 => String::new(),
        1 => ", and so are some of another tensor".into(),
        more => format!(", and so are some of {more} other tensors"),
    };
    bail!("tensor `{name}`: {count} of {of} values are NaN or infinite{others}")
}

/// How many of the little-endian values `bytes` of type `dtype` are NaN or infinite: those whose exponent has every bit
/// set.
fn infinite(dtype: DType, bytes: &[u8]) -> usize {
    fn count<const N: usize>(bytes: &[u8], odd: impl Fn([u8; N]) -> bool) -> usize {
        bytes.as_chunks::<N>().0.iter().filter(|chunk| odd(**chunk)).count()
    }
    let halves = |exponent: u16| count(bytes, move |value| u16::from_le_bytes(value) & exponent == exponent);
    match dtype {
        DType::F32 => count(bytes, |value| !f32::from_le_bytes(value).is_finite()),
        DType::F64 => count(bytes, |value| !f64::from_le_bytes(value).is_finite()),
        DType::F16 => halves(0x7c00),
        DType::BF16 => halves(0x7f80),
        _ => 0,
    }
}

/// Refuses logits with a value that is NaN, infinite or beyond single precision, in which answers are given.
///
/// # Errors
/// Says how many there are; those of candle.
pub(crate) fn check_logits(logits: &Tensor) -> Result<()> {
    let values = logits.detach().flatten_all()?.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.to_vec1::<f32>()?;
    match values.iter().filter(|value| !value.is_finite()).count() {
        0 => Ok(()),
        odd => Err(Diverged::everywhere(format!(
            "{odd} of {} values that answers are read from are NaN or infinite: the weights are of a training that \
             diverged",
            values.len()
        ))),
    }
}

/// Refuses an answer of which a number is NaN or infinite; a task's own scale may make one out of finite logits.
///
/// # Errors
/// Says which.
pub(crate) fn check_answer(answer: &Answer) -> Result<()> {
    let odd = match answer.label {
        Label::Value(value) => Some(value).filter(|value| !value.is_finite()),
        _ => None,
    };
    match odd.or_else(|| answer.scores.iter().copied().find(|score| !score.is_finite())) {
        Some(odd) => Err(Diverged::everywhere(format!("an answer holds {odd}, which is no finite number"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::store::tensor_bytes;

    fn checked(values: &[f32], dtype: DType) -> Result<()> {
        let tensor = Tensor::new(values, &Device::Cpu)?.to_dtype(dtype)?;
        check_tensors(&tensor_bytes(&BTreeMap::from([("b".to_string(), tensor.clone()), ("a".into(), tensor)]))?)
    }

    #[test]
    fn values_that_are_not_finite_are_found_in_every_type_of_float() {
        for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
            checked(&[0., -1., 1e4, -0.], dtype).expect("finite");
            for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let error = checked(&[0., odd, 1., odd], dtype).expect_err("refused").to_string();
                assert!(error.contains("tensor `a`: 2 of 4 values") && error.contains("another tensor"), "{error}");
            }
        }
        // The largest finite numbers are numbers, and whole ones have no exponent.
        checked(&[f32::MAX, f32::MIN_POSITIVE], DType::F32).expect("finite");
        let whole = Tensor::new(&[-1i64, i64::MAX], &Device::Cpu).expect("a tensor");
        check_tensors(&tensor_bytes(&BTreeMap::from([("steps".to_string(), whole)])).expect("bytes")).expect("finite");
        assert!(check_tensors(b"no such file").is_err());
    }

    #[test]
    fn answers_are_finite_or_refused() {
        let logits = |value: f64| check_logits(&Tensor::new(&[[0f64, value]], &Device::Cpu).expect("a tensor"));
        logits(3e38).expect("finite");
        for odd in [f64::NAN, f64::INFINITY, 1e39] {
            let error = logits(odd).expect_err("refused");
            assert!(error.is::<Diverged>() && error.to_string().contains("1 of 2 values"), "{error}");
        }
        let value = |value: f32| check_answer(&Answer { label: Label::Value(value), scores: vec![] });
        let class = |score: f32| check_answer(&Answer { label: Label::Class(0), scores: vec![0.5, score] });
        assert!(value(f32::MAX).is_ok() && class(0.5).is_ok());
        assert!(value(f32::INFINITY).is_err() && class(f32::NAN).is_err());
    }
}
