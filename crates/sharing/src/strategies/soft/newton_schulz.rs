//! The inverse root of a positive definite matrix by products alone.
//!
//! The coupled Newton–Schulz iteration (Higham 2008, eq. 6.35): Y₀ = A/c, Z₀ = 1, W = (3 − ZY)/2, Y ← YW, Z ← WZ, after
//! which Y → (A/c)^{1/2} and Z → (A/c)^{-1/2}; with c = ‖A‖_F every eigenvalue of A/c lies in (0, 1], where it
//! converges. An eigenvalue μ of A/c needs about log(1/μ)/log(2.25) + 5 rounds of three products.

use candle_core::{DType, Device, Result, Tensor};

/// Rounds after which a matrix counts as hopeless: enough for a condition of 1e15.
const ROUNDS: usize = 60;

/// A^{-1/2} of a symmetric positive definite A, `[d, d]` in f64 on the host.
///
/// # Errors
/// If A is not finite, not positive definite, or too badly conditioned.
pub(super) fn inverse_root(a: &Tensor) -> Result<Tensor> {
    let size = a.dim(0)?;
    let scale = a.sqr()?.sum_all()?.sqrt()?.to_scalar::<f64>()?;
    if !(scale > 0. && scale.is_finite()) {
        candle_core::bail!("a Gram matrix of norm {scale} has no inverse root");
    }
    let one = Tensor::eye(size, DType::F64, &Device::Cpu)?;
    let (mut y, mut z) = ((a / scale)?, one.clone());
    for _ in 0..ROUNDS {
        let product = z.matmul(&y)?;
        let error = (&product - &one)?.sqr()?.sum_all()?.sqrt()?.to_scalar::<f64>()?;
        if error <= 1e-12 * (size as f64).max(1.) {
            return z / scale.sqrt();
        }
        let w = ((&one * 3.)? - product)?.affine(0.5, 0.)?;
        (y, z) = (y.matmul(&w)?, w.matmul(&z)?);
    }
    candle_core::bail!("no inverse root of a {size} × {size} Gram matrix in {ROUNDS} rounds; raise `smoothing`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_squared_is_the_inverse() -> Result<()> {
        let half = Tensor::new(&[[1f64, 2., 0.], [0., 1e-3, 3.], [1., 1., 1.]], &Device::Cpu)?;
        let a = (half.matmul(&half.t()?)? + (Tensor::eye(3, DType::F64, &Device::Cpu)? * 1e-6)?)?;
        let root = inverse_root(&a)?;
        let found = root.matmul(&root)?.matmul(&a)?.to_vec2::<f64>()?;
        for (i, row) in found.iter().enumerate() {
            for (j, value) in row.iter().enumerate() {
                assert!((value - f64::from(u8::from(i == j))).abs() < 1e-7, "{found:?}");
            }
        }
        assert!(inverse_root(&Tensor::zeros((2, 2), DType::F64, &Device::Cpu)?).is_err());
        Ok(())
    }
}
