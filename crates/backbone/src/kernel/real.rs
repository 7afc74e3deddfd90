//! f32 and f64, and the functions of them that a layer needs.

use std::fmt::Debug;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub};

use super::pool::Pool;
use super::{Matrix, MatrixMut};

/// f32, for training, or f64, for finite differences.
pub trait Real:
    Copy
    + Debug
    + Default
    + PartialOrd
    + Send
    + Sync
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + MulAssign
    + 'static
{
    /// The nearest value.
    fn of(value: f64) -> Self;
    /// As f64, exactly.
    fn to_f64(self) -> f64;
    /// From f32, exactly.
    fn of_f32(value: f32) -> Self;
    /// eˣ; in f32 within 2e-7 of it, relatively, and 0 or ∞ never: x is clamped to ±87.
    fn exp(self) -> Self;
    /// 2/√π ∫₀ˣ e^(−t²) dt; in f32 within 4e-7.
    fn erf(self) -> Self;
    /// √x.
    fn sqrt(self) -> Self;
    /// The larger of the two.
    fn maximum(self, other: Self) -> Self;
    /// `c` ← `a`·`b`, or `c` + `a`·`b` if it `adds`, of operands rounded to bf16.
    ///
    /// # Panics
    /// In f64, and where the CPU cannot.
    fn product_in_bf16(c: &MatrixMut<Self>, a: Matrix<Self>, b: Matrix<Self>, adds: bool);
    /// Where buffers of this type wait to be used again.
    fn pool() -> &'static Pool<Self>;

    /// tanh x.
    #[inline(always)]
    fn tanh(self) -> Self {
        let one = Self::of(1.);
        one - Self::of(2.) / ((self + self).exp() + one)
    }
}

impl Real for f32 {
    #[inline(always)]
    fn of(value: f64) -> Self {
        value as Self
    }

    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }

    #[inline(always)]
    fn of_f32(value: f32) -> Self {
        value
    }

    /// 2ⁿ·eʳ with |r| ≤ ½ ln 2; eʳ by the polynomial of Cephes' `expf`.
    #[inline(always)]
    fn exp(self) -> Self {
        const TO_INTEGER: f32 = 12_582_912.; // 1.5·2²³: adding it leaves the nearest integer in the low bits
        let x = self.clamp(-87., 87.);
        let shifted = x * std::f32::consts::LOG2_E + TO_INTEGER;
        let n = shifted - TO_INTEGER;
        let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4; // ln 2 in two parts, the first exact
        let p = 1.987_569_1e-4;
        let p = p * r + 1.398_199_9e-3;
        let p = p * r + 8.333_452e-3;
        let p = p * r + 4.166_579_6e-2;
        let p = p * r + 1.666_666_5e-1;
        let p = p * r + 0.5;
        let y = p * (r * r) + r + 1.;
        // 2ⁿ enters by the exponent: the low bits of `shifted` are n in two's complement.
        Self::from_bits(y.to_bits().wrapping_add(shifted.to_bits() << 23))
    }

    /// x·P(x²)/Q(x²), the rational approximation that Eigen and XLA use. It comes nearest to ±1 at ±3.8325, where it
    /// is held: further out it leaves them again.
    #[inline(always)]
    fn erf(self) -> Self {
        let x = self.clamp(-3.832_507, 3.832_507);
        let s = x * x;
        let p = -2.726_142e-10;
        let p = p * s + 2.770_681_5e-8;
        let p = p * s - 2.101_024_1e-6;
        let p = p * s - 5.692_506_3e-5;
        let p = p * s - 7.349_906_3e-4;
        let p = p * s - 2.954_6e-3;
        let p = p * s - 1.609_603_3e-2;
        let q = -1.456_607_2e-5;
        let q = q * s - 2.133_740_6e-4;
        let q = q * s - 1.682_827e-3;
        let q = q * s - 7.373_329e-3;
        let q = q * s - 1.426_473_9e-2;
        x * p / q
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        self.sqrt()
    }

    #[inline(always)]
    fn maximum(self, other: Self) -> Self {
        if self > other { self } else { other }
    }

    #[cfg(target_arch = "x86_64")]
    fn product_in_bf16(c: &MatrixMut<Self>, a: Matrix<Self>, b: Matrix<Self>, adds: bool) {
        super::bf16::product(c, a, b, adds);
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn product_in_bf16(_: &MatrixMut<Self>, _: Matrix<Self>, _: Matrix<Self>, _: bool) {
        panic!("products in bf16 need a CPU with AVX512_BF16");
    }

    fn pool() -> &'static Pool<Self> {
        static POOL: Pool<f32> = Pool::new();
        &POOL
    }
}

impl Real for f64 {
    #[inline(always)]
    fn of(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }

    #[inline(always)]
    fn of_f32(value: f32) -> Self {
        Self::from(value)
    }

    #[inline(always)]
    fn exp(self) -> Self {
        self.exp()
    }

    #[inline(always)]
    fn erf(self) -> Self {
        libm::erf(self)
    }

    #[inline(always)]
    fn tanh(self) -> Self {
        self.tanh()
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        self.sqrt()
    }

    #[inline(always)]
    fn maximum(self, other: Self) -> Self {
        self.max(other)
    }

    fn product_in_bf16(_: &MatrixMut<Self>, _: Matrix<Self>, _: Matrix<Self>, _: bool) {
        panic!("products in bf16 are of matrices in f32");
    }

    fn pool() -> &'static Pool<Self> {
        static POOL: Pool<f64> = Pool::new();
        &POOL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_precision_functions_agree_with_double() {
        for step in -40_000..=40_000 {
            let x = step as f32 * 2e-3;
            let exact = f64::from(x).exp();
            assert!((f64::from(Real::exp(x)) - exact).abs() <= 2e-7 * exact, "exp {x}: {} {exact}", Real::exp(x));
            let z = x / 10.;
            let exact = libm::erf(f64::from(z));
            assert!((f64::from(Real::erf(z)) - exact).abs() <= 4e-7 * exact.abs(), "erf {z}: {} {exact}", Real::erf(z));
            let exact = f64::from(z).tanh();
            assert!((f64::from(Real::tanh(z)) - exact).abs() <= 3e-7, "tanh {z}");
        }
        assert!(Real::exp(-1e30f32) > 0. && Real::exp(1e30f32).is_finite());
    }
}
