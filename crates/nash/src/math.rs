//! The functions that `core` lacks, from `std` or from `libm`.

#[cfg(not(any(feature = "std", feature = "libm")))]
compile_error!("mtl-nash needs square roots: enable the feature `std` (the default) or `libm`");

#[cfg(feature = "std")]
mod source {
    pub(crate) fn sqrt(x: f64) -> f64 {
        x.sqrt()
    }

    pub(crate) fn pow(x: f64, power: f64) -> f64 {
        x.powf(power)
    }
}

#[cfg(all(feature = "libm", not(feature = "std")))]
mod source {
    pub(crate) use libm::{pow, sqrt};
}

#[cfg(any(feature = "std", feature = "libm"))]
pub(crate) use source::{pow, sqrt};
