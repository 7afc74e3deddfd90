//! The functions between the two products of a feed-forward block, with their derivatives.

use super::Real;
use super::simd::vectorised;
use crate::Activation;

vectorised! {
    /// `active` holds rows of W₁x and is replaced by σ(W₁x + b); `slope`, unless empty, receives σ′.
    pub(super) fn activate<T: Real>(active: &mut [T], slope: &mut [T], bias: &[T], activation: Activation) {
        match activation {
            Activation::Gelu => rows(active, slope, bias, gelu),
            Activation::GeluTanh => rows(active, slope, bias, gelu_tanh),
            Activation::Relu => rows(active, slope, bias, relu),
            Activation::Silu => rows(active, slope, bias, silu),
        }
    }
}

#[inline(always)]
fn rows<T: Real>(active: &mut [T], slope: &mut [T], bias: &[T], function: impl Fn(T) -> (T, T)) {
    let width = bias.len();
    if slope.is_empty() {
        for active in active.chunks_exact_mut(width) {
            active.iter_mut().zip(bias).for_each(|(active, bias)| *active = function(*active + *bias).0);
        }
        return;
    }
    for (active, slope) in active.chunks_exact_mut(width).zip(slope.chunks_exact_mut(width)) {
        for ((active, slope), bias) in active.iter_mut().zip(slope).zip(bias) {
            (*active, *slope) = function(*active + *bias);
        }
    }
}

/// xΦ(x), Φ(x) + xφ(x).
#[inline(always)]
fn gelu<T: Real>(x: T) -> (T, T) {
    let half = T::of(0.5);
    let below = half + half * (x * T::of(std::f64::consts::FRAC_1_SQRT_2)).erf();
    let density = T::of(0.398_942_280_401_432_7) * (-half * x * x).exp();
    (x * below, below + x * density)
}

/// ½x(1 + tanh u), u = √(2/π)(x + 0.044715x³).
#[inline(always)]
fn gelu_tanh<T: Real>(x: T) -> (T, T) {
    let (one, half) = (T::of(1.), T::of(0.5));
    let (root, cubic) = (T::of(0.797_884_560_802_865_4), T::of(0.044_715));
    let tanh = (root * (x + cubic * x * x * x)).tanh();
    let inner = root * (one + T::of(3.) * cubic * x * x);
    (half * x * (one + tanh), half * (one + tanh) + half * x * (one - tanh * tanh) * inner)
}

#[inline(always)]
fn relu<T: Real>(x: T) -> (T, T) {
    let zero = T::default();
    if x > zero { (x, T::of(1.)) } else { (zero, zero) }
}

/// xs, s(1 + x(1 − s)), s = 1/(1 + e⁻ˣ).
#[inline(always)]
fn silu<T: Real>(x: T) -> (T, T) {
    let one = T::of(1.);
    let sigmoid = one / (one + (-x).exp());
    (x * sigmoid, sigmoid * (one + x * (one - sigmoid)))
}
