//! `caruana`: the mechanisms by which Caruana's "Multitask Learning" (Machine Learning 28, 1997) has tasks help each
//! other, each one beside a control that takes it away and leaves all else.

mod mechanism;
mod page;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use mtl_cli::Context;
use mtl_cli::locate::Files;
use mtl_compare::{Ended, Engine, Experiment, INTERRUPTED, Options, Plan, Purpose, Silent, compare};
use mtl_eval::comparison::Comparison;
use mtl_train::write_atomically;

use mechanism::{ALONE, CONTROL, MAIN, Measure, Mechanism, SETTING, Seeds, TUNING};
use page::{Arm, Measured};

/// Check the mechanisms of Caruana's "Multitask Learning" on generated tasks (README.md, rows.csv).
#[derive(Debug, Args)]
pub(crate) struct Caruana {
    /// Mechanisms: amplification, attributes, eavesdropping, representation, overfitting [default: all]
    mechanisms: Vec<String>,
    /// The folder of all comparisons
    #[arg(long, value_name = "DIR", default_value = "runs/caruana")]
    out: PathBuf,
    /// The folder that README.md and rows.csv are written to [default: --out]
    #[arg(long, value_name = "DIR")]
    page: Option<PathBuf>,
    /// The first seed of the final runs
    #[arg(long, default_value_t = 100)]
    first_seed: u64,
    /// Seeds of the final runs
    #[arg(long, default_value_t = 12)]
    seeds: u64,
    /// Seeds that rates are chosen by, from 1000 on
    #[arg(long, default_value_t = 2)]
    tuning_seeds: u64,
    /// Who runs the runs: `local`, or `local:N`
    #[arg(long, default_value = "local", value_name = "ENGINE")]
    engine: Engine,
}

impl Caruana {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        if self.engine == Engine::Print {
            bail!("--engine print: these are many comparisons; take local or local:N");
        }
        if self.seeds < 2 || self.tuning_seeds == 0 || self.first_seed.saturating_add(self.seeds) > TUNING {
            bail!(
                "--first-seed, --seeds and --tuning-seeds: two seeds or more below {TUNING}, and one to tune by, were \
                 expected; found {} from {} on, and {}",
                self.seeds,
                self.first_seed,
                self.tuning_seeds
            );
        }
        let files = Files::new(&context.registries, true)?;
        let mut found = Vec::new();
        for mechanism in mechanism::chosen(&self.mechanisms)? {
            let Some(measured) = self.measured(&mechanism, &files, context)? else {
                println!("stopped; the same command continues");
                return Ok(ExitCode::from(INTERRUPTED));
            };
            found.push((mechanism, measured));
        }
        let found = page::judged(found)?;
        found.iter().for_each(|found| println!("{}", found.line()));
        let folder = self.page.as_ref().unwrap_or(&self.out);
        std::fs::create_dir_all(folder).with_context(|| format!("cannot write {}", folder.display()))?;
        let seeds = self.seeds();
        write_atomically(&folder.join("README.md"), page::page(&found, seeds).as_bytes())?;
        write_atomically(&folder.join("rows.csv"), page::rows(&found).as_bytes())?;
        println!("{}", folder.join("README.md").display());
        Ok(ExitCode::SUCCESS)
    }

    fn seeds(&self) -> Seeds {
        Seeds { first: self.first_seed, count: self.seeds, tuning: self.tuning_seeds }
    }

    /// What the arms of `mechanism` come to; none if it was stopped.
    fn measured(&self, mechanism: &Mechanism, files: &Files, context: &Context) -> Result<Option<Measured>> {
        let folder = self.out.join(mechanism.name);
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot write {}", folder.display()))?;
        mechanism.write_manifests(&folder)?;
        println!("{}", mechanism.name);
        let document = mechanism.experiment(&folder, self.seeds())?;
        let experiment = Experiment::parse(&document.location, &document, &[], files)?;
        let out = folder.join("comparison");
        let options = Options {
            out: out.clone(),
            engine: self.engine,
            device: Default::default(),
            offline: true,
            data: Vec::new(),
            at_most: None,
            retry: false,
            commit: None,
            program: context.program.name.clone(),
        };
        let Ended::Finished(comparison) = compare(&experiment, &options, files, &mut Silent)? else {
            return Ok(None);
        };
        let arm = |name: &str| measured_of(mechanism, &comparison, name, &out);
        Ok(Some(Measured { alone: arm(ALONE)?, shared: [arm(SETTING)?, arm(CONTROL)?] }))
    }
}

/// What the arm `name` of `comparison` comes to on the main task, seed by seed.
fn measured_of(mechanism: &Mechanism, comparison: &Comparison, name: &str, out: &Path) -> Result<Arm> {
    let lacking = || format!("{}: a seed of {name} is not there for `{MAIN}`", mechanism.name);
    let at = comparison.tasks.iter().position(|task| task.name == MAIN).with_context(lacking)?;
    let arm = comparison.arms.iter().find(|arm| arm.arm.name == name).with_context(lacking)?;
    let scores = &arm.tasks.get(at).with_context(lacking)?.scores;
    let values = match mechanism.measure {
        Measure::Score => scores.iter().copied().collect::<Option<_>>().with_context(lacking)?,
        Measure::Decline => declines(name, &comparison.seeds, out)?,
    };
    Ok(Arm {
        seeds: comparison.seeds.clone(),
        values,
        rate: arm.arm.tuned.values().next().cloned(),
        ceiling: comparison.tasks.get(at).and_then(|task| task.ceiling),
        diverged: arm.diverged.len(),
    })
}

/// What the main task's dev score falls from its best step to the last one, in the final runs of `arm`, by seed.
fn declines(arm: &str, seeds: &[u64], out: &Path) -> Result<Vec<f64>> {
    let plan = Plan::open(out)?;
    let of = |seed: &u64| {
        let own =
            |line: &&mtl_compare::Planned| line.purpose == Purpose::Final && line.arm == arm && line.seed == *seed;
        let line = plan.lines().iter().find(own).with_context(|| format!("no final run of {arm}, seed {seed}"))?;
        let record = plan.record(line)?.with_context(|| format!("run {} has no record", line.id))?;
        let curve = &record.tasks.get(MAIN).with_context(|| format!("run {} lacks `{MAIN}`", line.id))?.dev_curve.0;
        let last = curve.last().with_context(|| format!("run {} was never evaluated", line.id))?.value;
        Ok(curve.iter().fold(last, |best, point| best.max(point.value)) - last)
    };
    seeds.iter().map(of).collect()
}
