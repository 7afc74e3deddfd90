//! A command line with a task kind, a metric, a reader, a generator, a sampler, a schedule and an architecture of one's
//! own, by public interfaces alone. `crates/cli/tests/commands/own_data.rs` has manifests and a recipe that use them.
//!
//! ```sh
//! cargo run -p mtl-cli --example own-data -- list readers
//! cargo run -p mtl-cli --example own-data -- explain ordinal
//! ```

mod blocks;
mod ordinal;
mod repeats;

use std::process::ExitCode;

use mtl_backbone::Architecture;
use mtl_data::SamplerKind;
use mtl_train::schedule::ScheduleKind;

/// The smaller a task is, the more often it is seen: p ∝ 1/n.
const RARE_FIRST: SamplerKind = SamplerKind {
    name: "rare-first",
    about: "p ∝ 1/n, the number of training examples",
    defaults: || serde_json::json!({}),
    weights: |_, sizes, _| Ok(sizes.iter().map(|&size| 1. / size as f64).collect()),
    moves: false,
};

/// √((w + 1)/(t + 1)) after the warm-up (Vaswani et al. 2017).
const INVERSE_SQRT: ScheduleKind = ScheduleKind {
    name: "inverse_sqrt",
    about: "a linear rise, then a fall with the square root of the steps",
    factor: |t, w, _| if t < w { t / w } else { ((w + 1.) / (t + 1.)).sqrt() },
};

fn main() -> anyhow::Result<ExitCode> {
    Ok(mtl_cli::run(registries()?))
}

/// The built-in members, and one more of every kind that has to do with data.
fn registries() -> anyhow::Result<mtl_cli::Registries> {
    let mut registries = mtl_cli::Registries::default();
    registries.samplers = registries.samplers.with(RARE_FIRST)?;
    registries.schedules = registries.schedules.with(INVERSE_SQRT)?;
    registries.metrics = registries.metrics.with(&ordinal::WithinOne)?;
    registries.data.kinds = registries.data.kinds.with(ordinal::KIND)?;
    registries.data.readers = registries.data.readers.with(blocks::READER)?;
    registries.data.generators = registries.data.generators.with(repeats::GENERATOR)?;
    // RoBERTa with another tokenizer.
    let roberta = *registries.architectures.find("roberta")?;
    let own = Architecture { name: "bare-bert", aliases: &[], about: "BareBERT", ..roberta };
    registries.architectures = registries.architectures.with(own)?;
    Ok(registries)
}
