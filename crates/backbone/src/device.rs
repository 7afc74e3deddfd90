//! Devices by name, and the two things that one has to know of them: who orders their work, and that some have no f64.

use std::fmt;
use std::str::FromStr;

use candle_core::{DType, Device, Result, Tensor};

/// Where to compute, as it is typed: `cpu`, `cuda`, `cuda:1`, `metal`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceName {
    /// The processor.
    #[default]
    Cpu,
    /// An NVIDIA GPU, by its number from 0.
    Cuda(usize),
    /// An Apple GPU, by its number from 0.
    Metal(usize),
}

impl DeviceName {
    /// The feature that a binary needs for it; none for the processor.
    pub fn feature(self) -> Option<&'static str> {
        match self {
            Self::Cpu => None,
            Self::Cuda(_) => Some("cuda"),
            Self::Metal(_) => Some("metal"),
        }
    }

    /// Whether this binary was built with that feature.
    pub fn is_built_in(self) -> bool {
        match self {
            Self::Cpu => true,
            Self::Cuda(_) => cfg!(feature = "cuda"),
            Self::Metal(_) => cfg!(feature = "metal"),
        }
    }

    /// The device itself.
    ///
    /// A CUDA device gets one stream for all threads. candle's own choice is a stream a thread, whose work nothing
    /// orders where a step begins on one thread what another one goes on with.
    ///
    /// # Errors
    /// If this machine has none of that number, its driver does not fit, or the binary lacks the feature.
    pub fn open(self) -> Result<Device> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda(number) => Device::new_cuda_with_stream(number),
            Self::Metal(number) => Device::new_metal(number),
        }
    }

    /// The GPU that the environment variable `MTL_DEVICE` names, by which tests are repeated on one; none if it is not
    /// set, or `cpu`.
    ///
    /// # Errors
    /// If it is no device's name, or the device cannot be opened.
    pub fn under_test() -> Result<Option<Device>> {
        let name = std::env::var("MTL_DEVICE").unwrap_or_default();
        match name.as_str() {
            "" | "cpu" => Ok(None),
            name => name.parse::<Self>().map_err(candle_core::Error::msg)?.open().map(Some),
        }
    }
}

impl FromStr for DeviceName {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (kind, number) = match text.split_once(':') {
            None => (text, Some(0)),
            Some((kind, number)) => (kind, number.parse().ok().filter(|_| number.bytes().all(|b| b.is_ascii_digit()))),
        };
        match (kind, number) {
            ("cpu", _) if text == "cpu" => Ok(Self::Cpu),
            ("cuda", Some(number)) => Ok(Self::Cuda(number)),
            ("metal", Some(number)) => Ok(Self::Metal(number)),
            _ => Err(format!(
                "expected `cpu`, `cuda`, `metal`, or a GPU by its number from 0, such as `cuda:1`; found `{text}`"
            )),
        }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::Metal(number) => write!(f, "metal:{number}"),
        }
    }
}

/// The value of a scalar, which is widened on the host: Metal cannot cast to f64.
///
/// # Errors
/// If it has more than one element, or those of candle.
pub fn scalar(value: &Tensor) -> Result<f64> {
    value.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.to_scalar::<f64>()
}

/// Refuses bf16 on a device that cannot add and multiply in it, by trying: NVIDIA GPUs below compute capability 8.0.
///
/// # Errors
/// With what the device said.
pub fn check_bf16(device: &Device) -> Result<()> {
    let tried = || -> Result<f64> {
        let ones = Tensor::ones((2, 2), DType::F32, device)?.to_dtype(DType::BF16)?;
        scalar(&ones.matmul(&ones)?.broadcast_add(&ones)?.to_dtype(DType::F32)?.sum_all()?)
    };
    match tried() {
        Ok(12.) => Ok(()),
        Ok(other) => candle_core::bail!("this device cannot compute in bf16: it sums 12 to {other}"),
        Err(error) => candle_core::bail!(
            "this device cannot compute in bf16, which takes an NVIDIA GPU of compute capability 8.0 or above: {error}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_shown() {
        for (text, name) in [
            ("cpu", DeviceName::Cpu),
            ("cuda:0", DeviceName::Cuda(0)),
            ("cuda:12", DeviceName::Cuda(12)),
            ("metal:1", DeviceName::Metal(1)),
        ] {
            assert_eq!((text.parse(), name.to_string().as_str()), (Ok(name), text));
        }
        assert_eq!("cuda".parse(), Ok(DeviceName::Cuda(0)));
        assert_eq!("metal".parse(), Ok(DeviceName::Metal(0)));
        for wrong in ["", "gpu", "cpu:0", "cuda:", "cuda:x", "cuda:-1", "cuda:+1", "cuda:99999999999999999999", "CUDA"]
        {
            let error = wrong.parse::<DeviceName>().expect_err(wrong);
            assert!(error.contains("`cuda:1`") && error.ends_with(&format!("found `{wrong}`")), "{error}");
        }
    }

    #[test]
    fn scalars_are_widened_and_the_processor_computes_in_bf16() -> Result<()> {
        assert_eq!(scalar(&Tensor::new(0.1f32, &Device::Cpu)?)?, f64::from(0.1f32));
        assert!(scalar(&Tensor::new(&[1.5f64, -2.], &Device::Cpu)?).is_err());
        check_bf16(&Device::Cpu)
    }
}
