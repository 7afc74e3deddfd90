//! `cargo xtask`: see `cargo xtask --help`.

use std::process::ExitCode;

use mtl_cli::Context;

/// Ends the process with a sentence where memory runs out.
#[global_allocator]
static ALLOCATOR: mtl_cli::Allocator = mtl_cli::Allocator;

fn main() -> ExitCode {
    let program = xtask::program();
    let arguments: xtask::Arguments = mtl_cli::parse(&program);
    let context = Context { registries: Default::default(), program };
    mtl_cli::end(arguments.run(&context), &context.program)
}
