//! `mtl`: see `mtl --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    mtl_cli::run(mtl_cli::Registries::default())
}
