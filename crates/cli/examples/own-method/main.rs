//! A command line with a weighting rule and a sharing strategy of one's own, by public interfaces alone:
//!
//! ```sh
//! cargo run -p mtl-cli --example own-method -- train embedded --set weighting.rule=loudest
//! cargo run -p mtl-cli --example own-method -- train embedded --set sharing.strategy=half
//! cargo run -p mtl-cli --example own-method -- explain half
//! ```

mod half;
mod loudest;

use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    Ok(mtl_cli::run(registries()?))
}

/// The built-in members, and two more.
fn registries() -> anyhow::Result<mtl_cli::Registries> {
    let mut registries = mtl_cli::Registries::default();
    registries.rules = registries.rules.with(loudest::RULE)?;
    registries.strategies = registries.strategies.with(half::STRATEGY)?;
    Ok(registries)
}
