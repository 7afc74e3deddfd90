//! What a recipe may ask for and a device lacks: refused, since a device that passes over a key computes something else
//! than the recipe says.

use anyhow::{Context, Result, bail};
use candle_core::{Device, DeviceLocation};
use mtl_backbone::check_bf16;

use crate::recipe::{EncoderPath, Precision, Recipe};

/// Refuses a precision that `device` does not have.
pub(crate) fn check_precision(recipe: &Recipe, device: &Device) -> Result<()> {
    precision(recipe, device.location())?;
    if recipe.train.precision == Precision::Bf16 && !device.is_cpu() {
        check_bf16(device).context("train.precision = \"bf16\"; \"f32\" is what every device has")?;
    }
    Ok(())
}

fn precision(recipe: &Recipe, device: DeviceLocation) -> Result<()> {
    if recipe.train.precision == Precision::F64 && matches!(device, DeviceLocation::Metal { .. }) {
        bail!("train.precision = \"f64\", which Metal does not have; take \"f32\", or --device cpu");
    }
    Ok(())
}

/// Refuses `train.recompute` where nothing recomputes.
pub(crate) fn check_recompute(recipe: &Recipe, device: DeviceLocation) -> Result<()> {
    if !recipe.train.recompute {
        return Ok(());
    }
    let remedy = "only the processor's fused kernel recomputes, so set it to false";
    if device != DeviceLocation::Cpu {
        bail!("train.recompute = true on a GPU: {remedy}, and lower train.batch where memory is short");
    }
    if recipe.train.path == EncoderPath::Reference {
        bail!("train.recompute = true with train.path = \"reference\": {remedy}, or take train.path = \"auto\"");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUDA: DeviceLocation = DeviceLocation::Cuda { gpu_id: 1 };
    const METAL: DeviceLocation = DeviceLocation::Metal { gpu_id: 0 };

    fn recipe(overrides: &[&str]) -> Recipe {
        let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_string()).collect();
        let text = "tasks = [\"a\", \"b\"]\ncheckpoint = \"none\"\n";
        Recipe::parse(&Default::default(), "test", text, &overrides).expect("a recipe").0
    }

    #[test]
    fn metal_has_no_f64() {
        let wide = recipe(&["train.precision=f64"]);
        let error = precision(&wide, METAL).expect_err("refused").to_string();
        assert!(error.contains("f64") && error.contains("f32"), "{error}");
        precision(&wide, CUDA).and_then(|()| precision(&wide, DeviceLocation::Cpu)).expect("they have it");
        for narrow in ["train.precision=f32", "train.precision=bf16"] {
            precision(&recipe(&[narrow]), METAL).expect("it has that");
        }
        check_precision(&recipe(&["train.precision=bf16"]), &Device::Cpu).expect("the kernel is asked elsewhere");
    }

    #[test]
    fn only_the_fused_kernel_recomputes() {
        let (plain, asking) = (recipe(&[]), recipe(&["train.recompute=true"]));
        for device in [DeviceLocation::Cpu, CUDA, METAL] {
            check_recompute(&plain, device).expect("nothing is asked for");
        }
        check_recompute(&asking, DeviceLocation::Cpu).expect("it recomputes");
        for device in [CUDA, METAL] {
            let error = check_recompute(&asking, device).expect_err("refused").to_string();
            assert!(error.contains("GPU") && error.contains("set it to false"), "{error}");
        }
        let reference = recipe(&["train.recompute=true", "train.path=reference"]);
        let error = check_recompute(&reference, DeviceLocation::Cpu).expect_err("refused").to_string();
        assert!(error.contains("train.path = \"reference\"") && error.contains("auto"), "{error}");
    }
}
