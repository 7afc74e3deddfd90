//! Values apart from the parameters that hold them: in f64 on the host, or as copies that no later step changes.
//!
//! Metal casts nothing to or from f64, and its `Tensor::copy` shares the buffer that `Var::set` writes into.

use candle_core::{DType, Device, Result, Tensor, Var};

/// `x` in f64 on the host.
///
/// # Errors
/// Those of candle.
pub(crate) fn on_host(x: &Tensor) -> Result<Tensor> {
    x.detach().to_device(&Device::Cpu)?.to_dtype(DType::F64)
}

/// A copy of `x` where `x` is, in memory of its own.
///
/// # Errors
/// Those of candle.
pub(crate) fn copied(x: &Tensor) -> Result<Tensor> {
    Ok(Var::from_tensor(&x.detach())?.into_inner().detach())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_stays_when_the_parameter_moves() -> Result<()> {
        let var = Var::new(&[1f32, 2.], &Device::Cpu)?;
        let (copy, host) = (copied(var.as_tensor())?, on_host(var.as_tensor())?);
        var.set(&Tensor::new(&[5f32, 6.], &Device::Cpu)?)?;
        assert_eq!(copy.to_vec1::<f32>()?, [1., 2.]);
        assert_eq!((host.dtype(), host.to_vec1::<f64>()?), (DType::F64, vec![1., 2.]));
        assert!(!copy.is_variable());
        Ok(())
    }
}
