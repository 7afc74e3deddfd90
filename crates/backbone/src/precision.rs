//! What a precision asks of the machine and of the states.

use candle_core::{DType, Result, Tensor};

use crate::ProductPrecision;

impl ProductPrecision {
    /// Refuses a precision that the fused kernel cannot compute in on this machine.
    pub(crate) fn check_kernel(self) -> Result<()> {
        if !self.is_available() {
            candle_core::bail!(
                "bf16 products of the fused kernel need a CPU with AVX512_BF16, which this one lacks; \
                 use precision f32, or the reference path"
            );
        }
        Ok(())
    }

    /// Refuses states that cannot be rounded.
    pub(crate) fn check_states(self, x: &Tensor) -> Result<()> {
        if self == Self::Bf16 && x.dtype() != DType::F32 {
            candle_core::bail!("bf16 precision rounds states in f32, found {:?}", x.dtype());
        }
        Ok(())
    }
}
