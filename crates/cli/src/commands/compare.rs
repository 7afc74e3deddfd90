//! `compare`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use mtl_compare::{Ended, Engine, Experiment, INTERRUPTED, Options, compare, run_one};
use mtl_eval::comparison::{Comparison, words};

use super::train::commit;
use crate::device::OnDevice;
use crate::local::{DataFolder, DataFolders};
use crate::locate::{self, Files, Kind};
use crate::output;
use crate::watch::{Comparing, Training};
use crate::{Context, Overrides, tasks};

/// Compare arms (strategies under rules) over tasks and seeds, by one frozen plan.
///
/// Hyper-parameters are tuned on dev with the test splits sealed; the final runs open them once. The command may be
/// stopped anywhere: given again, it continues, and ends with the same comparison.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  {program} compare quick\n  {program} compare default-tasks --engine local:2\n  \
    {program} compare my.toml --set train.steps=500 --out runs/longer\n\n\
    Stopping and continuing:\n  \
    Ctrl-C, SIGTERM, SIGHUP, SIGQUIT and SIGUSR1 save every run that is on the way, in child processes too, and end with \
    exit code 75; a second one ends at once.\n  \
    Given again, the command continues.")]
pub struct Compare {
    /// An experiment: a path, or the name of a shipped one (`{program} list experiments`)
    experiment: String,
    #[command(flatten)]
    overrides: Overrides,
    #[command(flatten)]
    folders: DataFolders,
    /// The experiment's folder [default: runs/compare-EXPERIMENT]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Who runs the runs: `local` (one after the other), `local:N` (N processes), or `print` (the commands, for others)
    #[arg(long, default_value = "local", value_name = "ENGINE")]
    engine: Engine,
    #[command(flatten)]
    on: OnDevice,
    /// Work offline: use only what is on this machine
    #[arg(long)]
    offline: bool,
    /// Try runs again that broke
    #[arg(long)]
    retry: bool,
    /// Stop when so many runs of a stage are done
    #[arg(long, value_name = "N")]
    at_most: Option<usize>,
    /// Print the comparison as JSON
    #[arg(long)]
    json: bool,
    /// Run one run of the frozen plan
    #[arg(long, value_name = "ID", hide = true)]
    run: Option<String>,
    /// Stop and save when standard input ends
    #[arg(long, requires = "run", hide = true)]
    until_eof: bool,
}

impl Compare {
    pub(super) fn run(self, context: &Context) -> Result<ExitCode> {
        // A device that is not there is said before anything is planned; printed commands are for other machines.
        if self.engine != Engine::Print {
            if let Some(code) = self.on.rerun(&context.program)? {
                return Ok(code);
            }
            self.on.open()?;
        }
        let stem = Path::new(&self.experiment).file_stem().and_then(|stem| stem.to_str()).unwrap_or("unnamed");
        let options = Options {
            out: self.out.clone().unwrap_or_else(|| Path::new("runs").join(format!("compare-{stem}"))),
            engine: self.engine,
            device: self.on.device,
            offline: self.offline,
            data: self.folders.data.iter().map(DataFolder::argument).collect(),
            at_most: self.at_most,
            retry: self.retry,
            commit: commit(),
            program: context.program.name.clone(),
        };
        let files = Files::new(&context.registries, self.offline)?.with_data(&self.folders.data)?;
        if let Some(id) = &self.run {
            let mut progress = Training::new()?;
            if self.until_eof {
                progress.stop_at_eof();
            }
            let done = run_one(id, &options, &files, &mut progress)?;
            progress.done();
            return Ok(if done { ExitCode::SUCCESS } else { ExitCode::from(INTERRUPTED) });
        }
        let document = locate::find(Kind::Experiment, &self.experiment)?.document;
        let set = tasks::expanded_overrides(&self.overrides.set);
        let experiment = Experiment::parse(&self.experiment, &document, &set, &files)?;
        files.check_data(&experiment.tasks()?)?;
        let mut progress = Comparing::new()?;
        let ended = compare(&experiment, &options, &files, &mut progress);
        progress.done();
        match ended? {
            Ended::Finished(comparison) => {
                match self.json {
                    true => output::result(&serde_json::to_string_pretty(&*comparison)?),
                    false => output::result(&summary(&comparison)),
                }
                output::note(&format!("report: {}", options.out.join("report.html").display()));
                Ok(ExitCode::SUCCESS)
            }
            Ended::Printed(commands) => {
                commands.iter().try_for_each(|command| output::line(command))?;
                let due = if commands.len() == 1 {
                    "1 run is due".into()
                } else {
                    format!("{} runs are due", commands.len())
                };
                output::note(&format!("{due}; when all are done, the same command continues"));
                Ok(ExitCode::SUCCESS)
            }
            Ended::Stopped { done, of } => {
                let again = context.program.again(None, &[]);
                output::note(&format!("stopped with {done} of {of} runs done; continue with: {again}"));
                Ok(ExitCode::from(INTERRUPTED))
            }
        }
    }
}

/// The comparison in a few lines; the report has the rest. The verdicts are the report's own sentences.
fn summary(comparison: &Comparison) -> String {
    let mut text = format!("{}: {}\n", comparison.name, comparison.about.trim());
    if let Some(pilot) = &comparison.pilot {
        text += &format!("a pilot, from which no conclusion may be drawn: {pilot}\n");
    }
    let number = |value: Option<f64>, digits: usize| value.map_or("–".into(), |value| format!("{value:.digits$}"));
    let width = comparison.arms.iter().map(|arm| arm.arm.name.chars().count()).max().unwrap_or(0).max(3);
    text += &format!("{:width$}  runs     gain            [interval]  Δm %   rank  cpu s", "arm");
    comparison.tasks.iter().for_each(|task| text += &format!("  {}", task.name));
    for arm in &comparison.arms {
        let headline = arm.headline.as_ref();
        let gain = headline.map_or("–".into(), |gain| words::signed(gain.estimate, 4));
        let interval = headline.map_or(String::new(), |gain| words::ends(gain, 4));
        let share = arm.gain_headline.as_ref().map_or("–".into(), |gain| words::signed(gain.estimate, 1));
        text += &format!(
            "\n{:width$}  {:>4}  {gain:>7}  {interval:>20}  {share:>4}  {:>5}  {:>5}",
            arm.arm.name,
            arm.finished,
            number(arm.mean_rank, 2),
            number(Some(arm.cpu_seconds), 0)
        );
        for (task, facts) in arm.tasks.iter().zip(&comparison.tasks) {
            text += &format!("  {:>1$}", number(task.mean, 3), facts.name.chars().count());
        }
    }
    for arm in comparison.arms.iter().filter(|arm| arm.arm.name != comparison.baseline) {
        let role = arm.arm.role();
        let role = if arm.arm.is_candidate() { String::new() } else { format!(" ({})", role.name()) };
        text += &format!("\n{}{role}: {}", arm.arm.name, comparison.verdict(arm).sentence());
    }
    for found in &comparison.headroom {
        let Some(room) = found.room else { continue };
        let detects =
            found.detectable.map_or(String::new(), |[low, high]| format!("; the seeds detect {low:.4} to {high:.4}"));
        let by = found.by.as_ref().map_or("the noise ceiling".to_string(), |arm| format!("the upper end of {arm}"));
        text += &format!("\nheadroom on {}: {} ({by}){detects}", found.task, words::signed(room, 4));
    }
    for warning in &comparison.warnings {
        text += &format!("\nwarning: {warning}");
    }
    let broken = comparison.arms.iter().flat_map(|arm| arm.broken.iter().map(|reason| (&arm.arm.name, reason)));
    broken.for_each(|(arm, reason)| text += &format!("\nbroken: {arm}, {reason}"));
    text
}
