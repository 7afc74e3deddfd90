//! Which instructions the loops may use.

use std::sync::OnceLock;

/// Whether `MTL_KERNEL=scalar` asks for plain loops; read once.
pub(super) fn forced_scalar() -> bool {
    static FORCED: OnceLock<bool> = OnceLock::new();
    *FORCED.get_or_init(|| std::env::var_os("MTL_KERNEL").is_some_and(|value| value == "scalar"))
}

/// Whether loops compiled for AVX2 may run.
#[cfg(target_arch = "x86_64")]
pub(super) fn has_avx2() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| !forced_scalar() && std::arch::is_x86_feature_detected!("avx2"))
}

/// Declares a function whose body is compiled for AVX2 and for any CPU. No fused multiply-add: both give the same bits.
macro_rules! vectorised {
    ($(#[$meta:meta])* $vis:vis fn $name:ident<$t:ident: $bound:ident>($($arg:ident: $ty:ty),* $(,)?) $(-> $out:ty)? $body:block) => {
        $(#[$meta])*
        $vis fn $name<$t: $bound>($($arg: $ty),*) $(-> $out)? {
            #[inline(always)]
            fn anywhere<$t: $bound>($($arg: $ty),*) $(-> $out)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                fn avx2<$t: $bound>($($arg: $ty),*) $(-> $out)? {
                    anywhere($($arg),*)
                }
                if $crate::kernel::simd::has_avx2() {
                    // SAFETY: the CPU has just been found to have AVX2.
                    return unsafe { avx2($($arg),*) };
                }
            }
            anywhere($($arg),*)
        }
    };
}

pub(super) use vectorised;
