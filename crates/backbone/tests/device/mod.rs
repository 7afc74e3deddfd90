//! Which device a test repeats its work on.

use candle_core::{Device, Result};
use mtl_backbone::DeviceName;

/// The GPU that `MTL_DEVICE` names; `None`, said aloud, if it names none.
///
/// # Errors
/// If it cannot be opened.
#[allow(clippy::print_stdout, reason = "what is skipped is said aloud")]
pub(crate) fn gpu() -> Result<Option<Device>> {
    let device = DeviceName::under_test()?;
    if device.is_none() {
        println!("skipped: MTL_DEVICE names no GPU (cuda or metal), so this ran on the processor alone");
    }
    Ok(device)
}
