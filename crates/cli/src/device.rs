//! Where to compute, on how many threads, and how a binary without that device's feature gets it.

use std::error::Error;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use candle_core::Device;
use clap::Args;
use mtl_backbone::DeviceName;

use crate::{Program, output};

/// Starts the threads, one a core if `threads` is 0; nothing that is computed depends on their number. Left to the first
/// loop that needs them, threads that cannot be started would be a panic.
///
/// # Errors
/// If the system starts no such number of threads, or others than `threads` run already.
pub fn set_threads(threads: usize) -> Result<()> {
    match rayon::ThreadPoolBuilder::new().num_threads(threads).build_global() {
        // Without a cause they run already.
        Err(error) if threads == 0 && error.source().is_none() => Ok(()),
        Err(error) if error.source().is_some() => Err(error).context(
            "the threads cannot be started: memory is short, or a limit of addresses (`ulimit -v`) or processes \
             (`ulimit -u`) is low; train.threads says how many there are to be",
        ),
        built => built.context("the thread pool"),
    }
}

/// What a shell and a loader exit with when a program cannot be started.
const NOT_STARTED: i32 = 127;

/// Where a command computes.
#[derive(Clone, Copy, Debug, Args)]
pub struct OnDevice {
    /// Where to compute: cpu, cuda or metal; `cuda:1` is the second GPU
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub device: DeviceName,
}

impl OnDevice {
    /// The device itself.
    ///
    /// # Errors
    /// If this machine has none, or its driver does not fit.
    pub fn open(self) -> Result<Device> {
        let name = self.device;
        name.open().with_context(|| match name {
            DeviceName::Cpu => "the processor cannot be used".to_string(),
            DeviceName::Cuda(_) => format!(
                "no CUDA device `{name}` can be opened; `nvidia-smi` should list one of that number, with a driver that \
                 supports the toolkit of this build (docs/cuda.md); to compute on the processor leave --device out"
            ),
            DeviceName::Metal(_) => format!(
                "no Metal device `{name}` can be opened; to compute on the processor leave --device out"
            ),
        })
    }

    /// A binary without the device's feature that may build itself again does so and passes control: the exit code of the
    /// other one.
    ///
    /// # Errors
    /// If it may not, with the command that installs one; if it cannot be built, or not started.
    pub fn rerun(self, program: &Program) -> Result<Option<ExitCode>> {
        let Some(feature) = self.device.feature().filter(|_| !self.device.is_built_in()) else { return Ok(None) };
        let Some(package) = &program.package else {
            bail!(
                "this {} was built without `{feature}`; install it with that feature: cargo install mtl-cli --features \
                 {feature} (from a checkout: cargo install --path crates/cli --features {feature}); to compute on the \
                 processor leave --device out",
                program.name
            )
        };
        let Some(cargo) = std::env::var_os("CARGO") else {
            bail!("this binary was built without `{feature}`; build it with --features {feature}")
        };
        let command = |what: &str| {
            let mut command = Command::new(&cargo);
            command.args([what, "--release", "--package", package, "--features", feature]);
            command
        };
        output::note(&format!("building with the feature `{feature}` …"));
        if !command("build").status().context("cannot start cargo")?.success() {
            let needs = match self.device {
                DeviceName::Cuda(_) => "it needs the CUDA toolkit, `nvcc` on the path (docs/cuda.md)",
                _ => "it needs macOS on a machine with an Apple GPU",
            };
            bail!(
                "the feature `{feature}` cannot be built here: {needs}; to compute on the processor leave --device out"
            );
        }
        let status = command("run").arg("--quiet").arg("--").args(std::env::args_os().skip(1)).status();
        let code = status.context("cannot start cargo")?.code().unwrap_or(1);
        if code == NOT_STARTED && matches!(self.device, DeviceName::Cuda(_)) {
            bail!(
                "the binary with the feature `cuda` cannot be started: a library of NVIDIA's driver (libcuda.so.1) or \
                 of the CUDA toolkit is missing; a machine with an NVIDIA GPU has the driver's, and LD_LIBRARY_PATH \
                 may name the toolkit's (docs/cuda.md); to compute on the processor leave --device out"
            );
        }
        Ok(Some(ExitCode::from(code.clamp(0, 255) as u8)))
    }
}
