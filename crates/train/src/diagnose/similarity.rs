//! How alike two tasks' states of the same texts are: linear CKA, ‖Yᵀ X‖² / (‖Xᵀ X‖ · ‖Yᵀ Y‖), columns centred.
//!
//! Kornblith et al., "Similarity of neural network representations revisited" (ICML 2019). 1: the same up to rotation
//! and scale. A row is a token of one of the training texts, all tasks' together; few rows against the width bias it
//! upwards. Where a strategy has one encoder for all tasks the states are the same numbers, and it is 1 by construction.

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use mtl_backbone::{Encoder, ParameterView, Part, Pass, Ports, Wants};
use mtl_sharing::walk;
use mtl_task::{Packed, TaskId};

use super::Similarity;
use crate::Assembled;

/// Linear CKA of `x` and `y`, `[n, p]` and `[n, q]`, in f64; 0 where one of them does not vary.
///
/// # Errors
/// If they have not as many rows, or those of candle.
pub fn linear_cka(x: &Tensor, y: &Tensor) -> Result<f64> {
    let centred = |x: &Tensor| -> candle_core::Result<Tensor> {
        let x = x.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
        x.broadcast_sub(&x.mean_keepdim(0)?)
    };
    let (x, y) = (centred(x)?, centred(y)?);
    let squares = |a: &Tensor, b: &Tensor| -> candle_core::Result<f64> {
        a.t()?.contiguous()?.matmul(b)?.sqr()?.sum_all()?.to_scalar::<f64>()
    };
    let scale = (squares(&x, &x)? * squares(&y, &y)?).sqrt();
    Ok(if scale > 0. { squares(&y, &x)? / scale } else { 0. })
}

/// CKA of every pair of tasks at every layer that the strategy can show: all where it is one change of an encoder's
/// weights, else what the heads read.
pub(super) fn between(assembled: &Assembled, texts: usize) -> Result<Vec<Similarity>> {
    let model = &assembled.trainer.model;
    let examples = assembled.datasets.iter().flat_map(|dataset| dataset.train.examples.iter().take(texts));
    // Words are only marked where a task reads words, and no state depends on the marks.
    let encoded = examples.map(|example| &example.encoded);
    // On the host, and laid end to end: padding would count as a token.
    let tokens = Packed::new(encoded);
    let tokens = match model.params.device().is_cpu() {
        true => vec![tokens],
        false => (0..tokens.sequences()).map(|at| tokens.select(at..at + 1)).collect(),
    };
    let states: Vec<Vec<(String, Tensor)>> =
        (0..model.tasks.len()).map(|task| states(assembled, TaskId(task), &tokens)).collect::<Result<_>>()?;
    let mut pairs = Vec::new();
    for first in 0..states.len() {
        for second in first + 1..states.len() {
            let (mut layers, mut same) = (Vec::new(), true);
            for ((layer, x), (_, y)) in states[first].iter().zip(&states[second]) {
                let equal = (x - y)?.abs()?.max_all()?.to_scalar::<f64>()? == 0.;
                same &= equal;
                layers.push((layer.clone(), if equal { 1. } else { linear_cka(x, y)? }));
            }
            let name = |task: usize| model.tasks[task].name.clone();
            pairs.push(Similarity { first: name(first), second: name(second), layers, same });
        }
    }
    Ok(pairs)
}

/// The states of `task`, `[tokens, hidden]` in f64 on the host, with what each is the state of.
fn states(assembled: &Assembled, task: TaskId, tokens: &[Packed]) -> Result<Vec<(String, Tensor)>> {
    let model = &assembled.trainer.model;
    let encoder = &model.encoder;
    let merged = model.sharing.merged(task)?;
    let mut pieces: Vec<Vec<Tensor>> = Vec::new();
    for tokens in tokens {
        let mut pass = Pass::evaluation();
        let states = match &merged {
            None => vec![model.sharing.represent(task, tokens, &mut pass)?],
            Some(parts) => {
                let view = |part: Part, _: &mut Pass| {
                    let Some((_, theta)) = parts.iter().find(|(of, _)| *of == part) else {
                        candle_core::bail!("the merged encoder has no {part}")
                    };
                    Ok(ParameterView {
                        theta: theta.detach(),
                        layout: encoder.layout(part).clone(),
                        wants: Wants::None,
                        accumulator: None,
                    })
                };
                walk(encoder, tokens, encoder.layers(), &mut pass, view, |_| Ports::default())?
            }
        };
        let host = |state: &Tensor| state.detach().to_device(&Device::Cpu)?.to_dtype(DType::F64);
        pieces.push(states.iter().map(host).collect::<candle_core::Result<_>>()?);
    }
    let depth = pieces.first().map_or(0, Vec::len);
    let name = |at: usize| match (&merged, at) {
        (None, _) => "last".to_string(),
        (Some(_), 0) => Part::Embeddings.to_string(),
        (Some(_), at) => Part::Layer(at - 1).to_string(),
    };
    (0..depth)
        .map(|at| Ok((name(at), Tensor::cat(&pieces.iter().map(|states| &states[at]).collect::<Vec<_>>(), 0)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotation_scale_and_shift_change_nothing_and_other_directions_do() -> Result<()> {
        let x = Tensor::new(&[[1f64, 0.], [0., 2.], [-1., 1.], [3., -1.]], &Device::Cpu)?;
        let turn = Tensor::new(&[[0.6f64, 0.8], [-0.8, 0.6]], &Device::Cpu)?;
        let y = ((x.matmul(&turn)? * 7.)? + 5.)?;
        assert!((linear_cka(&x, &y)? - 1.).abs() < 1e-12);
        // By hand: centred a = (1, −1, 1, −1), b = (1, 1, −1, −1), a·b = 0.
        let a = Tensor::new(&[[1f64], [-1.], [1.], [-1.]], &Device::Cpu)?;
        let b = Tensor::new(&[[1f64], [1.], [-1.], [-1.]], &Device::Cpu)?;
        assert_eq!(linear_cka(&a, &b)?, 0.);
        assert!((linear_cka(&a, &Tensor::cat(&[&a, &b], 1)?)? - 0.5f64.sqrt()).abs() < 1e-12);
        assert_eq!(linear_cka(&a, &a.zeros_like()?)?, 0.);
        Ok(())
    }
}
