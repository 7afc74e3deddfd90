//! `regimes`: when sharing pays, as one picture. Two tasks of known relation, one of them small, at several sizes.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use mtl_cli::Context;
use mtl_cli::locate::{Files, Kind, find};
use mtl_compare::{Ended, Engine, Experiment, INTERRUPTED, Options, Silent, compare};
use mtl_eval::comparison::Comparison;
use mtl_report::{RegimeCurve, RegimePoint, regimes_svg};
use mtl_train::write_atomically;

/// The experiment that is asked again and again, and its arm that shares.
const EXPERIMENT: &str = "regimes";
const SHARING: &str = "hard+equal";

/// A companion and the small task beside it.
struct Relation {
    name: &'static str,
    companion: &'static str,
    task: &'static str,
}

const RELATIONS: [Relation; 3] = [
    Relation { name: "related", companion: "planted-mixed-topic", task: "planted-mixed-genre" },
    Relation { name: "unrelated", companion: "planted-unrelated-place", task: "planted-unrelated-genre" },
    Relation { name: "conflicting", companion: "planted-mixed-topic", task: "planted-mixed-clash" },
];

/// Draw what sharing brings against how unequal two tasks are, one curve a relation (regimes.csv, regimes.svg).
#[derive(Debug, Args)]
pub(crate) struct Regimes {
    /// Training examples of the small task
    #[arg(long, value_delimiter = ',', default_values_t = [20, 50, 100, 250, 1000])]
    sizes: Vec<usize>,
    /// Training examples of its companion
    #[arg(long, default_value_t = 1000)]
    companion: usize,
    /// The folder of all comparisons
    #[arg(long, value_name = "DIR", default_value = "runs/regimes")]
    out: PathBuf,
    /// Who runs the runs: `local`, or `local:N`
    #[arg(long, default_value = "local", value_name = "ENGINE")]
    engine: Engine,
    /// Change a key of the recipe, as section.key=value; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// One comparison's answer.
struct Measured {
    relation: &'static str,
    size: usize,
    point: RegimePoint,
    single: f64,
    shared: f64,
    seeds: usize,
}

impl Regimes {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        if self.sizes.is_empty() || self.sizes.contains(&0) || self.companion == 0 {
            bail!(
                "--sizes and --companion: at least one example is needed, found {:?}, {}",
                self.sizes,
                self.companion
            );
        }
        if self.engine == Engine::Print {
            bail!("--engine print: these are many comparisons; take local or local:N");
        }
        let files = Files::new(&context.registries, true)?;
        let mut measured = Vec::new();
        for relation in &RELATIONS {
            for &size in &self.sizes {
                let out = self.out.join(format!("{}-{size}", relation.name));
                let Some(comparison) = self.compared(relation, size, &out, &files, context)? else {
                    println!("stopped; the same command continues");
                    return Ok(ExitCode::from(INTERRUPTED));
                };
                let found = measured_of(&comparison, relation, size, self.companion)?;
                println!(
                    "{} {size}: single {:.4}, shared {:.4}, gain {:+.4} [{:+.4}, {:+.4}]",
                    relation.name,
                    found.single,
                    found.shared,
                    found.point.gain,
                    found.point.interval[0],
                    found.point.interval[1]
                );
                measured.push(found);
            }
        }
        write_atomically(&self.out.join("regimes.csv"), rows(&measured).as_bytes())?;
        if let Some(svg) = regimes_svg(&curves(&measured))? {
            write_atomically(&self.out.join("regimes.svg"), svg.as_bytes())?;
        }
        println!("{}", self.out.join("regimes.svg").display());
        Ok(ExitCode::SUCCESS)
    }

    fn compared(
        &self,
        relation: &Relation,
        size: usize,
        out: &Path,
        files: &Files,
        context: &Context,
    ) -> Result<Option<Comparison>> {
        let Relation { companion, task, .. } = relation;
        let mut set = vec![
            format!("tasks=[\"{companion}\", \"{task}\"]"),
            format!("task.{companion}.limit={}", self.companion),
            format!("task.{task}.limit={size}"),
        ];
        set.extend(self.set.iter().cloned());
        let document = find(Kind::Experiment, EXPERIMENT)?.document;
        let experiment = Experiment::parse(EXPERIMENT, &document, &set, files)?;
        let options = Options {
            out: out.to_path_buf(),
            engine: self.engine,
            device: Default::default(),
            offline: true,
            data: Vec::new(),
            at_most: None,
            retry: false,
            commit: None,
            program: context.program.name.clone(),
        };
        match compare(&experiment, &options, files, &mut Silent)? {
            Ended::Finished(comparison) => Ok(Some(*comparison)),
            _ => Ok(None),
        }
    }
}

fn measured_of(comparison: &Comparison, relation: &Relation, size: usize, companion: usize) -> Result<Measured> {
    let lacking = || format!("{} {size}: the comparison lacks what it was made for", relation.name);
    let at = comparison.tasks.iter().position(|task| task.name == relation.task).with_context(lacking)?;
    let arm = |name: &str| comparison.arms.iter().find(|arm| arm.arm.name == name).with_context(lacking);
    let (single, shared) = (arm(&comparison.baseline)?, arm(SHARING)?);
    let of = |arm: &mtl_eval::comparison::ArmResult| arm.tasks.get(at).and_then(|task| task.mean).with_context(lacking);
    let gain = shared.tasks.get(at).and_then(|task| task.transfer.as_ref()).with_context(lacking)?;
    Ok(Measured {
        relation: relation.name,
        size,
        point: RegimePoint {
            ratio: companion as f64 / size as f64,
            gain: gain.estimate,
            interval: [gain.low, gain.high],
        },
        single: of(single)?,
        shared: of(shared)?,
        seeds: shared.finished,
    })
}

fn rows(measured: &[Measured]) -> String {
    let mut text = "relation,examples,ratio,seeds,single,shared,gain,low,high\n".to_string();
    for one in measured {
        let RegimePoint { ratio, gain, interval: [low, high] } = one.point;
        let _ = writeln!(
            text,
            "{},{},{ratio},{},{},{},{gain},{low},{high}",
            one.relation, one.size, one.seeds, one.single, one.shared
        );
    }
    text
}

fn curves(measured: &[Measured]) -> Vec<RegimeCurve> {
    let curve = |relation: &Relation| {
        let own = measured.iter().filter(|one| one.relation == relation.name);
        let mut points: Vec<RegimePoint> = own.map(|one| one.point).collect();
        points.sort_by(|a, b| a.ratio.total_cmp(&b.ratio));
        RegimeCurve { relation: relation.name.into(), points }
    };
    RELATIONS.iter().map(curve).collect()
}
