//! `mtl`: see `mtl --help`.

use std::process::ExitCode;

/// Ends the process with a sentence where memory runs out.
#[global_allocator]
static ALLOCATOR: mtl_cli::Allocator = mtl_cli::Allocator;

fn main() -> ExitCode {
    mtl_cli::run(mtl_cli::Registries::default())
}
