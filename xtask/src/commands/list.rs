//! `cargo xtask list`.

use std::process::ExitCode;

use anyhow::Result;
use candle_core::{DType, Device};
use clap::{Args, ValueEnum};
use mtl_backbone::random;
use mtl_data::manifest::{DatasetManifest, ModelManifest};
use mtl_sharing::{HeadSettings, Model, TaskShape};
use mtl_task::rng::Key;
use mtl_task::{Reads, TaskId};

use super::bench_step::minilm;
use crate::locate;

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

/// A registry, or a folder of TOML files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Architectures,
    Datasets,
    Experiments,
    Metrics,
    Models,
    Optimizers,
    Recipes,
    Rules,
    Samplers,
    Schedules,
    Strategies,
    Tasks,
}

impl List {
    pub(super) fn run(self) -> Result<ExitCode> {
        if self.properties {
            println!("{}", mtl_weighting::matrix(&mtl_task::Registry::default()));
            return Ok(ExitCode::SUCCESS);
        }
        match self.kind {
            Some(Kind::Strategies) => table(&strategies(self.tasks)?),
            Some(kind) => table(&rows(kind)?),
            None => {
                for kind in Kind::value_variants() {
                    let name = kind.to_possible_value().map(|value| value.get_name().to_string()).unwrap_or_default();
                    println!("{name}:");
                    table(&rows(*kind)?);
                    println!();
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn rows(kind: Kind) -> Result<Vec<Vec<String>>> {
    let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_string()).collect::<Vec<String>>();
    let unverified = |verified: bool| if verified { "" } else { "unverified" };
    Ok(match kind {
        Kind::Architectures => mtl_backbone::ARCHITECTURES.iter().map(|a| row(&[a.name, a.about])).collect(),
        Kind::Metrics => mtl_eval::METRICS.iter().map(|metric| row(&[metric.name(), metric.about()])).collect(),
        Kind::Optimizers => mtl_train::optim::OPTIMIZERS.iter().map(|o| row(&[o.name, o.about])).collect(),
        Kind::Experiments => locate::names("xtask/experiments").iter().map(|name| row(&[name])).collect(),
        Kind::Recipes => locate::names("xtask/recipes").iter().map(|name| row(&[name])).collect(),
        Kind::Rules => mtl_task::Registry::<mtl_weighting::Rule>::default()
            .iter()
            .map(|rule| row(&[rule.name, rule.class.name(), unverified(rule.verified), rule.about, rule.paper]))
            .collect(),
        Kind::Samplers => mtl_data::sampler::SAMPLERS.iter().map(|s| row(&[s.name, s.about])).collect(),
        Kind::Schedules => mtl_train::schedule::SCHEDULES.iter().map(|(name, _)| row(&[name])).collect(),
        Kind::Strategies => mtl_sharing::STRATEGIES.iter().map(|s| row(&[s.name, s.about, s.cost, s.paper])).collect(),
        Kind::Tasks => mtl_task::KINDS.iter().map(|kind| row(&[kind.name, kind.about])).collect(),
        Kind::Datasets => locate::names("datasets")
            .iter()
            .map(|name| {
                let manifest = DatasetManifest::read(&locate::file(name, "datasets", "dataset")?)?;
                Ok(row(&[name, &manifest.task.kind, unverified(manifest.verified), &manifest.about]))
            })
            .collect::<Result<_>>()?,
        Kind::Models => locate::names("models")
            .iter()
            .map(|name| {
                let manifest = ModelManifest::read(&locate::file(name, "models", "model")?)?;
                Ok(row(&[name, &manifest.architecture, unverified(manifest.verified), &manifest.about]))
            })
            .collect::<Result<_>>()?,
    })
}

/// Every strategy with what it costs `tasks` tasks on the default encoder, heads left out.
fn strategies(tasks: usize) -> Result<Vec<Vec<String>>> {
    let pretrained = random("bert", &minilm(), Key::new(0))?;
    let site = |task: usize| TaskShape { name: task.to_string(), outputs: 2, reads: Reads::Text };
    let header = ["strategy", "what it is", &format!("for {tasks} tasks"), "trained", "shared", "paper", "parameters"];
    let mut rows = vec![header.map(String::from).to_vec()];
    for entry in mtl_sharing::STRATEGIES {
        let section = (entry.defaults)();
        let counts = (entry.check)(&section, tasks).and_then(|()| {
            let sites = (0..tasks).map(site).collect();
            let (head, device) = (HeadSettings::default(), Device::Cpu);
            let model =
                Model::build(entry.name, &section, &head, &pretrained, sites, Key::new(0), &device, DType::F32)?;
            let names = (0..tasks).flat_map(|task| model.head(TaskId(task)));
            let heads: usize = names.filter_map(|name| model.params.get(&name)).map(|param| param.layout().len()).sum();
            let accounting = model.accounting(pretrained.count());
            let millions = |count: usize| format!("{:.2} M", count as f64 / 1e6);
            let shared = format!("{:.0} %", 100. * accounting.shared_fraction);
            Ok([millions(accounting.total - heads), millions(accounting.trainable - heads), shared])
        });
        let [total, trained, shared] = counts.unwrap_or_else(|error| [format!("{error:#}"), "-".into(), "-".into()]);
        let row = [entry.name, entry.about, &total, &trained, &shared, entry.paper, entry.cost];
        rows.push(row.map(String::from).to_vec());
    }
    Ok(rows)
}

/// Prints columns as wide as their widest cell, the last one as it is.
fn table(rows: &[Vec<String>]) {
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
        println!("  {}", cells.join("  ").trim_end());
    }
}
