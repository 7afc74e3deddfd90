//! A penalty whose gradient is known in closed form, as an expression that candle can differentiate.
//!
//! The value is the penalty itself and the gradient the one given, both computed beforehand, so that no graph over
//! whole encoders is built and walked. Only the first derivative means anything: the gradient counts as a constant.

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Result, Shape, Tensor};

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
        match upstream.to_dtype(DType::F64)?.to_scalar::<f64>()? {
            1. => Ok(Some(self.gradient.clone())),
            factor => Ok(Some((&self.gradient * factor)?)),
        }
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
        squares
            .narrow(0, 0, whole)?
            .reshape(((), RUN))?
            .sum(1)?
            .to_device(&Device::Cpu)?
            .to_dtype(DType::F64)?
            .to_vec1()?
    } else {
        Vec::new()
    };
    if length > whole {
        let rest = squares.narrow(0, whole, length - whole)?.sum_all()?;
        runs.push(rest.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.to_scalar::<f64>()?);
    }
    Ok(runs.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Var;

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
    fn a_squared_norm_counts_every_element_once() -> Result<()> {
        for length in [0, 1, 4096, 10_000] {
            let x = Tensor::full(0.5f32, length, &Device::Cpu)?;
            assert_eq!(squared_norm(&x)?, length as f64 / 4.);
        }
        Ok(())
    }
}
