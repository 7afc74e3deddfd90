//! A penalty whose gradient is known in closed form, as an expression that candle can differentiate.
//!
//! The value is the penalty itself and the gradient the one given, both computed beforehand, so that no graph over
//! whole encoders is built and walked. Only the first derivative means anything: the gradient counts as a constant.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CudaStorage, CustomOp1, CustomOp2, Layout, MetalStorage, Result, Shape, Tensor};

use crate::blocks::values::on_host;

/// `value` as a scalar whose derivative by each first tensor is the second, of the same shape; `None` without any.
///
/// # Errors
/// Those of candle.
pub(crate) fn penalty_with_gradient(value: f64, gradients: Vec<(&Tensor, Tensor)>) -> Result<Option<Tensor>> {
    let mut sum: Option<Tensor> = None;
    let mut rest = value;
    for (theta, gradient) in gradients {
        let term = if theta.device().is_cpu() {
            theta.contiguous()?.apply_op1(KnownGradient { value: std::mem::take(&mut rest), gradient })?
        } else {
            let product = (theta * gradient)?.sum_all()?;
            let known = product.detach();
            (product - known)?.affine(1., std::mem::take(&mut rest))?
        };
        sum = Some(match sum {
            Some(sum) => (sum + term)?,
            None => term,
        });
    }
    Ok(sum)
}

struct KnownGradient {
    value: f64,
    gradient: Tensor,
}

impl CustomOp1 for KnownGradient {
    fn name(&self) -> &'static str {
        "penalty_with_gradient"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        let value = match storage {
            CpuStorage::F32(_) => CpuStorage::F32(vec![self.value as f32]),
            CpuStorage::F64(_) => CpuStorage::F64(vec![self.value]),
            _ => candle_core::bail!("parameters are f32 or f64"),
        };
        Ok((value, Shape::from(())))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, upstream: &Tensor) -> Result<Option<Tensor>> {
        // A factor of 1, the usual one, costs no pass over the gradient.
        match on_host(upstream)?.to_scalar::<f64>()? {
            1. => Ok(Some(self.gradient.clone())),
            factor => Ok(Some((&self.gradient * factor)?)),
        }
    }
}

/// `states` as they are, whose backward also brings down `penalty`, a scalar that depends on the pass: its gradient is
/// added to that of the pass's loss, with a factor of 1 whatever that loss is. What a task reads and a penalty on the
/// parameters alone cannot see is penalised by it.
///
/// # Errors
/// Those of candle.
pub(crate) fn carrying(states: &Tensor, penalty: &Tensor) -> Result<Tensor> {
    states.contiguous()?.apply_op2(penalty, Carrying)
}

struct Carrying;

impl CustomOp2 for Carrying {
    fn name(&self) -> &'static str {
        "carrying"
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        let Some((start, end)) = l1.contiguous_offsets() else { candle_core::bail!("states that lie apart") };
        let states = match s1 {
            CpuStorage::F32(values) => CpuStorage::F32(values[start..end].to_vec()),
            CpuStorage::F64(values) => CpuStorage::F64(values[start..end].to_vec()),
            _ => candle_core::bail!("states are f32 or f64"),
        };
        Ok((states, l1.shape().clone()))
    }

    fn cuda_fwd(&self, s1: &CudaStorage, l1: &Layout, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        whole(l1)?;
        Ok((s1.try_clone(l1)?, l1.shape().clone()))
    }

    fn metal_fwd(&self, s1: &MetalStorage, l1: &Layout, _: &MetalStorage, _: &Layout) -> Result<(MetalStorage, Shape)> {
        whole(l1)?;
        Ok((s1.try_clone(l1)?, l1.shape().clone()))
    }

    fn bwd(
        &self,
        _: &Tensor,
        penalty: &Tensor,
        _: &Tensor,
        upstream: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((Some(upstream.clone()), Some(penalty.ones_like()?)))
    }
}

fn whole(layout: &Layout) -> Result<()> {
    match layout.start_offset() {
        0 => Ok(()),
        start => candle_core::bail!("states that begin at element {start} of their buffer"),
    }
}

/// ‖x‖², in x's own precision over runs of 4096 and in f64 over those.
///
/// # Errors
/// Those of candle.
pub(crate) fn squared_norm(x: &Tensor) -> Result<f64> {
    const RUN: usize = 4096;
    let squares = x.flatten_all()?.sqr()?;
    let (length, whole) = (squares.elem_count(), squares.elem_count() / RUN * RUN);
    let mut runs = if whole > 0 {
        on_host(&squares.narrow(0, 0, whole)?.reshape(((), RUN))?.sum(1)?)?.to_vec1()?
    } else {
        Vec::new()
    };
    if length > whole {
        runs.push(on_host(&squares.narrow(0, whole, length - whole)?.sum_all()?)?.to_scalar::<f64>()?);
    }
    Ok(runs.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    #[test]
    fn the_value_and_the_gradients_are_those_given() -> Result<()> {
        let (a, b) = (Var::new(&[1f64, 2.], &Device::Cpu)?, Var::new(&[[3f64], [4.]], &Device::Cpu)?);
        let (da, db) = (Tensor::new(&[5f64, 6.], &Device::Cpu)?, Tensor::new(&[[7f64], [8.]], &Device::Cpu)?);
        let price = penalty_with_gradient(9., vec![(a.as_tensor(), da), (b.as_tensor(), db)])?.expect("two terms");
        assert_eq!(price.to_scalar::<f64>()?, 9.);
        let gradients = (price * 2.)?.backward()?;
        assert_eq!(gradients.get(&a).expect("tracked").to_vec1::<f64>()?, [10., 12.]);
        assert_eq!(gradients.get(&b).expect("tracked").to_vec2::<f64>()?, [[14.], [16.]]);
        assert!(penalty_with_gradient(1., Vec::new())?.is_none());
        Ok(())
    }

    #[test]
    fn a_carried_penalty_has_a_factor_of_one_whatever_the_loss_is() -> Result<()> {
        let (states, gate) = (Var::new(&[1f64, 2.], &Device::Cpu)?, Var::new(3f64, &Device::Cpu)?);
        let carried = carrying(states.as_tensor(), &gate.as_tensor().sqr()?)?;
        assert_eq!(carried.to_vec1::<f64>()?, [1., 2.]);
        let gradients = (carried.sum_all()? * 7.)?.backward()?;
        assert_eq!(gradients.get(&states).expect("tracked").to_vec1::<f64>()?, [7., 7.]);
        assert_eq!(gradients.get(&gate).expect("tracked").to_scalar::<f64>()?, 6.);
        Ok(())
    }

    #[test]
    fn a_squared_norm_counts_every_element_once() -> Result<()> {
        for length in [0, 1, 4096, 10_000] {
            let x = Tensor::full(0.5f32, length, &Device::Cpu)?;
            assert_eq!(squared_norm(&x)?, length as f64 / 4.);
        }
        Ok(())
    }
}
