//! `list`.

use std::process::ExitCode;

use anyhow::Result;
use candle_core::{DType, Device};
use clap::{Args, ValueEnum};
use mtl_backbone::random;
use mtl_data::manifest::{DatasetManifest, labelled};
use mtl_sharing::{HeadSettings, Model, TaskShape};
use mtl_task::rng::Key;
use mtl_task::{Reads, TaskId};
use serde_json::{Value, json};

use crate::locate::{self, Kind as File};
use crate::output::line;
use crate::{Context, Registries};

/// List what there is.
#[derive(Debug, Args)]
pub struct List {
    /// Of which kind; everything if left out
    #[arg(value_enum)]
    kind: Option<Kind>,
    /// With `rules`: which properties each rule has
    #[arg(long)]
    properties: bool,
    /// With `strategies`: how many tasks their parameters are counted for
    #[arg(long, default_value_t = 4)]
    tasks: usize,
}

/// A registry, a folder of TOML files, or the sections of a recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Architectures,
    Datasets,
    Experiments,
    Generators,
    Metrics,
    Models,
    Optimizers,
    Readers,
    Recipes,
    Rules,
    Samplers,
    Schedules,
    Sections,
    Strategies,
    Tasks,
}

impl List {
    pub(super) fn run(self, context: &Context) -> Result<ExitCode> {
        if self.properties {
            line(&mtl_weighting::matrix(&context.registries.rules))?;
            return Ok(ExitCode::SUCCESS);
        }
        let registries = &context.registries;
        match self.kind {
            Some(Kind::Strategies) => table(&strategies(registries, self.tasks)?)?,
            Some(kind) => table(&rows(registries, kind))?,
            None => {
                for kind in Kind::value_variants() {
                    let name = kind.to_possible_value().map(|value| value.get_name().to_string()).unwrap_or_default();
                    line(&format!("{name}:"))?;
                    table(&rows(registries, *kind))?;
                    line("")?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_string()).collect()
}

fn unverified(verified: bool) -> &'static str {
    if verified { "" } else { "unverified" }
}

fn rows(registries: &Registries, kind: Kind) -> Vec<Vec<String>> {
    let names = |file: File| locate::names(file).iter().map(|name| row(&[name])).collect();
    match kind {
        Kind::Architectures => registries.architectures.iter().map(|a| row(&[a.name, a.about])).collect(),
        Kind::Metrics => registries.metrics.iter().map(|metric| row(&[metric.name(), metric.about()])).collect(),
        Kind::Generators => registries.data.generators.iter().map(|g| row(&[g.name, g.about])).collect(),
        Kind::Optimizers => registries.optimizers.iter().map(|o| row(&[o.name, o.about])).collect(),
        Kind::Experiments => names(File::Experiment),
        Kind::Recipes => names(File::Recipe),
        Kind::Readers => (registries.data.readers.iter())
            .map(|reader| row(&[reader.name, &reader.endings.join(", "), reader.about]))
            .collect(),
        Kind::Rules => (registries.rules.iter())
            .map(|rule| row(&[rule.name, rule.class.name(), unverified(rule.verified), rule.about, rule.paper]))
            .collect(),
        Kind::Samplers => registries.samplers.iter().map(|s| row(&[s.name, s.about])).collect(),
        Kind::Schedules => registries.schedules.iter().map(|s| row(&[s.name, s.about])).collect(),
        Kind::Sections => mtl_train::SECTIONS.iter().map(|s| row(&[s.name, s.written, s.about])).collect(),
        Kind::Strategies => (registries.strategies.iter())
            .map(|s| row(&[s.name, s.about, &s.rates.to_string(), s.cost, s.paper]))
            .collect(),
        Kind::Tasks => registries.data.kinds.iter().map(|kind| row(&[kind.name, kind.about])).collect(),
        // A file that is no manifest is told, and hides no other.
        Kind::Datasets => (locate::names(File::Dataset).iter())
            .flat_map(|name| match locate::dataset(name) {
                Ok((found, _)) => described(name, &found),
                Err(error) => vec![row(&[name, "malformed", "", &format!("{error:#}").replace('\n', " ")])],
            })
            .collect(),
        Kind::Models => (locate::names(File::Model).iter())
            .map(|name| match locate::model(name) {
                Ok((found, _)) => row(&[name, &found.architecture, unverified(found.verified), &found.about]),
                Err(error) => row(&[name, "malformed", "", &format!("{error:#}").replace('\n', " ")]),
            })
            .collect(),
    }
}

/// A dataset, and under it its tasks if it has several.
fn described(name: &str, manifest: &DatasetManifest) -> Vec<Vec<String>> {
    let labels = &manifest.columns.labels;
    let kind = if labels.is_empty() { manifest.task.kind.clone() } else { format!("{} tasks", labels.len()) };
    let whole = row(&[name, &kind, unverified(manifest.verified), &manifest.about]);
    let tasks = labels.iter().map(|label| {
        let about = format!("column `{}` of {name}", label.column());
        row(&[&labelled(name, &label.name), &label.task.kind, unverified(manifest.verified), &about])
    });
    std::iter::once(whole).chain(tasks).collect()
}

/// The shape of all-MiniLM-L6-v2, the default encoder.
pub fn minilm() -> Value {
    json!({
        "model_type": "bert", "vocab_size": 30522, "hidden_size": 384, "num_hidden_layers": 6,
        "num_attention_heads": 12, "intermediate_size": 1536, "max_position_embeddings": 512, "type_vocab_size": 2,
        "hidden_act": "gelu", "layer_norm_eps": 1e-12,
    })
}

/// Every strategy with what it costs `tasks` tasks on the default encoder, heads left out; the first row says what the
/// columns are.
///
/// # Errors
/// If the encoder cannot be built.
pub fn strategies(registries: &Registries, tasks: usize) -> Result<Vec<Vec<String>>> {
    let pretrained = random(&registries.architectures, "bert", &minilm(), Key::new(0))?;
    let site = |task: usize| TaskShape { name: task.to_string(), outputs: 2, reads: Reads::Text };
    let header = [
        "strategy",
        "what it is",
        &format!("for {tasks} tasks"),
        "trained",
        "shared",
        "learning rates",
        "paper",
        "parameters",
    ];
    let mut rows = vec![header.map(String::from).to_vec()];
    for entry in &registries.strategies {
        let section = (entry.defaults)();
        let counts = (entry.check)(&section, tasks).and_then(|()| {
            let sites = (0..tasks).map(site).collect();
            let (head, device) = (HeadSettings::default(), Device::Cpu);
            let model = Model::build(entry, &section, &head, &pretrained, sites, Key::new(0), &device, DType::F32)?;
            let names = (0..tasks).flat_map(|task| model.head(TaskId(task)));
            let heads: usize = names.filter_map(|name| model.params.get(&name)).map(|param| param.layout().len()).sum();
            let accounting = model.accounting(pretrained.count());
            let millions = |count: usize| format!("{:.2} M", count as f64 / 1e6);
            let shared = format!("{:.0} %", 100. * accounting.shared_fraction);
            Ok([millions(accounting.total - heads), millions(accounting.trainable - heads), shared])
        });
        let [total, trained, shared] = counts.unwrap_or_else(|error| [format!("{error:#}"), "-".into(), "-".into()]);
        let rates = entry.rates.to_string();
        let row = [entry.name, entry.about, &total, &trained, &shared, &rates, entry.paper, entry.cost];
        rows.push(row.map(String::from).to_vec());
    }
    Ok(rows)
}

/// Prints columns as wide as their widest cell, the last one as it is.
fn table(rows: &[Vec<String>]) -> Result<()> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .enumerate()
            .map(
                |(column, cell)| {
                    if column + 1 == row.len() { cell.clone() } else { format!("{cell:<0$}", widths[column]) }
                },
            )
            .collect();
        line(format!("  {}", cells.join("  ")).trim_end())?;
    }
    Ok(())
}
