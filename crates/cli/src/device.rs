//! Where to compute, on how many threads, and how a binary without that device's feature gets it.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use candle_core::Device;
use clap::ValueEnum;

use crate::{Program, output};

/// Sets the number of threads, if it is not 0; nothing that is computed depends on it.
///
/// # Errors
/// If threads run already.
pub fn set_threads(threads: usize) -> Result<()> {
    if threads > 0 {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("the thread pool")?;
    }
    Ok(())
}

/// What a shell and a loader exit with when a program cannot be started.
const NOT_STARTED: i32 = 127;

/// A kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Where {
    /// The processor
    Cpu,
    /// The first NVIDIA GPU
    Cuda,
    /// The Apple GPU
    Metal,
}

impl Where {
    /// As it is typed; a GPU's is its feature's too.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Metal => "metal",
        }
    }

    fn built_in(self) -> bool {
        match self {
            Self::Cpu => true,
            Self::Cuda => cfg!(feature = "cuda"),
            Self::Metal => cfg!(feature = "metal"),
        }
    }

    /// The device itself.
    ///
    /// # Errors
    /// If this machine has none, or its driver does not fit.
    pub fn open(self) -> Result<Device> {
        Ok(match self {
            Self::Cpu => Device::Cpu,
            Self::Cuda => Device::new_cuda(0).context(
                "no CUDA device can be opened; `nvidia-smi` should list one, with a driver that supports the toolkit of \
                 this build (docs/cuda.md); to compute on the processor leave --device out",
            )?,
            Self::Metal => Device::new_metal(0)
                .context("no Metal device can be opened; to compute on the processor leave --device out")?,
        })
    }

    /// A binary without the device's feature that may build itself again does so and passes control: the exit code of the
    /// other one.
    ///
    /// # Errors
    /// If it may not, with the command that installs one; if it cannot be built, or not started.
    pub fn rerun(self, program: &Program) -> Result<Option<ExitCode>> {
        if self.built_in() {
            return Ok(None);
        }
        let name = self.name();
        let Some(package) = &program.package else {
            bail!(
                "this {} was built without `{name}`; install it with that feature: cargo install mtl-cli --features {name} \
                 (from a checkout: cargo install --path crates/cli --features {name}); to compute on the processor leave \
                 --device out",
                program.name
            )
        };
        let Some(cargo) = std::env::var_os("CARGO") else {
            bail!("this binary was built without `{name}`; build it with --features {name}")
        };
        let command = |what: &str| {
            let mut command = Command::new(&cargo);
            command.args([what, "--release", "--package", package, "--features", name]);
            command
        };
        output::note(&format!("building with the feature `{name}` …"));
        if !command("build").status().context("cannot start cargo")?.success() {
            let needs = match self {
                Self::Cuda => "it needs the CUDA toolkit, `nvcc` on the path (docs/cuda.md)",
                _ => "it needs macOS on a machine with an Apple GPU",
            };
            bail!("the feature `{name}` cannot be built here: {needs}; to compute on the processor leave --device out");
        }
        let status = command("run").arg("--quiet").arg("--").args(std::env::args_os().skip(1)).status();
        let code = status.context("cannot start cargo")?.code().unwrap_or(1);
        if code == NOT_STARTED && self == Self::Cuda {
            bail!(
                "the binary with the feature `cuda` cannot be started: a library of NVIDIA's driver (libcuda.so.1) or \
                 of the CUDA toolkit is missing; a machine with an NVIDIA GPU has the driver's, and LD_LIBRARY_PATH \
                 may name the toolkit's (docs/cuda.md); to compute on the processor leave --device out"
            );
        }
        Ok(Some(ExitCode::from(code.clamp(0, 255) as u8)))
    }
}
