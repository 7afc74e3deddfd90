//! Which device a test repeats its work on.

use candle_core::{Device, Result};

/// The GPU that `MTL_DEVICE` names (`cuda` or `metal`); `None`, said aloud, if it names none.
///
/// # Errors
/// If it cannot be opened.
#[allow(clippy::print_stdout, reason = "what is skipped is said aloud")]
pub(crate) fn gpu() -> Result<Option<Device>> {
    match std::env::var("MTL_DEVICE").as_deref() {
        Ok("cuda") => Device::new_cuda(0).map(Some),
        Ok("metal") => Device::new_metal(0).map(Some),
        Err(_) | Ok("cpu") => {
            println!("skipped: MTL_DEVICE names no GPU (cuda or metal), so this ran on the processor alone");
            Ok(None)
        }
        Ok(other) => candle_core::bail!("MTL_DEVICE={other}: there are cpu, cuda, metal"),
    }
}
