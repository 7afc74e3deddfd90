//! `weigh`: a weighting rule on gradients from a file, for one step or for a sequence of steps.

mod sequence;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use mtl_task::rng::Key;
use mtl_task::{Likelihood, Progress};
use mtl_weighting::{Dense, Gram, Jacobian, Outcome, Rule, StepInputs, Weighting};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Context as Given, output};

/// Weigh tasks by a rule, from their gradients or the inner products of these.
///
/// Prints the weights, the direction and its norm, each task's progress ⟨gᵢ, d⟩, the pairwise cosines, the certificate
/// and the status. A rule that needs several independent mini-batches sees the same gradients in each, unless a sequence
/// gives it others.
///
/// With --sequence the rule keeps its state from step to step. FILE is JSON Lines, an object a step, of which a rule needs
/// what it looks at:
///
///   losses        one a task
///   losses_after  of the same batches after the optimizer's step (famo)
///   likelihood    "gaussian" or "categorical", one a task; gaussian if left out (uncertainty)
///   jacobian      the task gradients, one row a task
///   mini_batches  several Jacobians, where a rule asks for independent mini-batches (modo, sdmgrad, auto-lambda)
///   gram          the gradients' inner products: K×K, or with losses nK×nK over n mini-batches
///   tasks         which tasks take part, counted from 0; all if left out
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Weigh {
    /// The rule; `list rules` names them
    #[arg(long)]
    rule: String,
    /// A setting of the rule, as KEY=VALUE; the value is JSON or a word. `max_norm` is none unless set
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// A JSON file of the task gradients, one row a task
    #[arg(long, value_name = "FILE", required_unless_present_any = ["gram", "sequence"], conflicts_with = "gram")]
    jacobian: Option<PathBuf>,
    /// A JSON file of the gradients' inner products
    #[arg(long, value_name = "FILE")]
    gram: Option<PathBuf>,
    /// The tasks' losses, for rules that look at them; 1 if left out
    #[arg(long, value_delimiter = ',', value_name = "LOSS,…", allow_hyphen_values = true)]
    losses: Vec<f64>,
    /// The noise model behind each loss, for rules that look at it; gaussian if left out
    #[arg(long, value_delimiter = ',', value_name = "MODEL,…", value_enum)]
    likelihood: Vec<Noise>,
    /// A file of steps, JSON Lines as described above
    #[arg(long, value_name = "FILE", conflicts_with_all = ["jacobian", "gram", "losses", "likelihood"])]
    sequence: Option<PathBuf>,
    /// The length of the run that the sequence begins, for rules that look at it; the sequence's own if left out
    #[arg(long, value_name = "STEPS", requires = "sequence")]
    steps: Option<usize>,
    /// Print JSON: an object, of a sequence one a line for each step
    #[arg(long)]
    json: bool,
}

/// A rule looks at pairs of tasks, and at pairs of the rows of all mini-batches.
const MOST_TASKS: usize = 1000;
const MOST_ROWS: usize = 4000;

/// A noise model as it is written.
#[derive(Clone, Copy, Debug, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum Noise {
    Gaussian,
    Categorical,
}

impl From<Noise> for Likelihood {
    fn from(noise: Noise) -> Self {
        match noise {
            Noise::Gaussian => Self::Gaussian,
            Noise::Categorical => Self::Categorical,
        }
    }
}

/// What a rule is shown of a step.
struct Shown {
    losses: Vec<f64>,
    likelihood: Vec<Likelihood>,
    /// The task gradients of each mini-batch; of a single one all that a rule asks for are alike. Empty if only inner
    /// products are known.
    mini_batches: Vec<Dense>,
    /// The inner products of the rows of all mini-batches, in order.
    gram: Gram,
    tasks: usize,
}

/// What came of it.
struct Answer {
    outcome: Outcome,
    /// Whether the weights are those of an earlier step.
    cached: bool,
    direction: Option<Vec<f64>>,
    /// ‖d‖.
    norm: f64,
    progress: Vec<f64>,
    cosines: Vec<Vec<f64>>,
}

/// What `weigh --sequence --json` says of each step of the file at `path`: weights, direction, certificate. `settings` is
/// an object; `of` is the length of the run, as many steps as there are if left out.
///
/// # Errors
/// If the file cannot be read, a line is no step, or a step lacks what the rule looks at; names the line.
pub fn weighed(entry: &Rule, settings: &Value, path: &Path, of: Option<usize>) -> Result<Vec<Value>> {
    Ok(sequence::weigh(entry, settings, path, of)?.iter().map(|answer| answer.json(entry)).collect())
}

impl Weigh {
    pub(super) fn run(self, context: &Given) -> Result<ExitCode> {
        let entry = context.registries.rules.find(&self.rule)?;
        if let Some(path) = &self.sequence {
            let settings = self.settings(entry)?;
            for (step, answer) in sequence::weigh(entry, &settings, path, self.steps)?.iter().enumerate() {
                answer.warn(&format!("step {step}: "));
                if self.json {
                    let mut object = answer.json(entry);
                    object["step"] = json!(step);
                    output::line(&object.to_string())?;
                } else {
                    output::line(&format!("step {step}, {}", answer.text(entry).trim_end()))?;
                }
            }
            return Ok(ExitCode::SUCCESS);
        }
        let answer = self.weigh(entry)?;
        answer.warn("");
        match self.json {
            true => output::line(&answer.json(entry).to_string())?,
            false => output::line(answer.text(entry).trim_end())?,
        }
        Ok(ExitCode::SUCCESS)
    }

    fn weigh(&self, entry: &Rule) -> Result<Answer> {
        let (mini_batches, gram) = match (&self.jacobian, &self.gram) {
            (Some(path), _) => {
                let rows = matrix(path)?;
                let jacobian = Dense::new(rows).map_err(|error| anyhow!("{}: {error}", path.display()))?;
                let gram = jacobian.gram();
                (vec![jacobian], gram)
            }
            (None, Some(path)) => {
                let rows = matrix(path)?;
                (vec![], inner_products(&rows).with_context(|| path.display().to_string())?)
            }
            (None, None) => bail!("give the gradients as --jacobian FILE or their inner products as --gram FILE"),
        };
        let tasks = gram.tasks();
        for (flag, values) in [("--losses", self.losses.len()), ("--likelihood", self.likelihood.len())] {
            if values != 0 && values != tasks {
                bail!("{flag} has {values} values for {tasks} tasks");
            }
        }
        let mut rule = (entry.build)(tasks, &self.settings(entry)?).map_err(|error| anyhow!(error))?;
        let by_losses = matches!(rule, Weighting::Losses(_)) && self.losses.is_empty();
        let losses = if by_losses { vec![1.0; tasks] } else { self.losses.clone() };
        let likelihood = self.likelihood.iter().map(|&noise| noise.into()).collect();
        let shown = Shown { losses, likelihood, mini_batches, gram, tasks };
        decide(entry, &mut rule, &shown, Progress { step: 0, of: 1 }, Key::new(0))
    }

    /// The settings given, an object. What is asked for is the rule's own direction: unclipped unless told otherwise.
    fn settings(&self, entry: &Rule) -> Result<Value> {
        let mut settings = json!({});
        if (entry.defaults)().get("max_norm").is_some() {
            settings["max_norm"] = json!("none");
        }
        for setting in &self.settings {
            let (key, value) =
                setting.split_once('=').with_context(|| format!("--set needs KEY=VALUE, found `{setting}`"))?;
            settings[key] = serde_json::from_str(value).unwrap_or_else(|_| json!(value));
        }
        Ok(settings)
    }
}

/// What the rule makes of a step.
fn decide(entry: &Rule, rule: &mut Weighting, shown: &Shown, progress: Progress, key: Key) -> Result<Answer> {
    let seen = StepInputs { losses: &shown.losses, likelihood: &shown.likelihood, progress, key };
    let asked = rule.needs().mini_batches;
    let mut direction = None;
    let outcome = match rule {
        Weighting::Losses(rule) => rule.weights(&seen),
        Weighting::Gram(rule) if shown.gram.tasks() == asked * shown.tasks => rule.weights(&shown.gram, &seen),
        Weighting::Gram(rule) => rule.weights(&repeated(&first_of(shown), asked), &seen),
        Weighting::Jacobian(rule) => {
            let Some(first) = shown.mini_batches.first() else {
                bail!("`{}` sees every coordinate of the gradients: give them as a Jacobian (--jacobian)", entry.name)
            };
            let given = |index: usize| shown.mini_batches.get(index).unwrap_or(first) as &dyn Jacobian;
            let mini_batches: Vec<&dyn Jacobian> = (0..asked).map(given).collect();
            let mut written = Vec::with_capacity(first.columns());
            let outcome = rule.direction(&mini_batches, &seen, &mut |_, part| written.extend(part));
            direction = Some(written);
            outcome
        }
    };
    Ok(answer(outcome, direction, shown, false))
}

/// What the outcome comes to on the gradients of the first mini-batch.
fn answer(outcome: Outcome, mut direction: Option<Vec<f64>>, shown: &Shown, cached: bool) -> Answer {
    let (gram, tasks) = (first_of(shown), shown.tasks);
    let jacobian = shown.mini_batches.first();
    let (progress, norm) = match (&direction, jacobian) {
        (Some(direction), Some(jacobian)) => {
            let along = |task: usize| dot(jacobian.row(task), direction);
            ((0..tasks).map(along).collect(), dot(direction, direction).sqrt())
        }
        _ => {
            direction = jacobian.map(|jacobian| jacobian.combine(&outcome.weights));
            (gram.times(&outcome.weights), gram.quadratic(&outcome.weights).max(0.0).sqrt())
        }
    };
    let cosines = (0..tasks).map(|i| (0..tasks).map(|j| gram.cosine(i, j)).collect()).collect();
    Answer { outcome, cached, direction, norm, progress, cosines }
}

/// The inner products of the first mini-batch's gradients.
fn first_of(shown: &Shown) -> Gram {
    shown.gram.subset(&(0..shown.tasks).collect::<Vec<_>>())
}

impl Answer {
    /// "cached" where an earlier step decided.
    fn status(&self) -> String {
        if self.cached { "cached".into() } else { self.outcome.status.to_string() }
    }

    fn warn(&self, place: &str) {
        if let Some(warning) = self.outcome.warning {
            output::note(&format!("{place}warning: {warning}"));
        }
    }

    fn json(&self, entry: &Rule) -> Value {
        let weights = Some(&self.outcome.weights).filter(|weights| !weights.is_empty());
        json!({
            "rule": entry.name,
            "weights": weights,
            "direction": self.direction,
            "progress": self.progress,
            "cosines": self.cosines,
            "residual": self.outcome.residual,
            "status": self.status(),
        })
    }

    fn text(&self, entry: &Rule) -> String {
        let mut text = format!("{}: {}, {}\n", entry.name, entry.about, self.status());
        text += "task        weight      progress  cosines\n";
        for (task, progress) in self.progress.iter().enumerate() {
            let weight = self.outcome.weights.get(task).map_or("–".into(), |weight| format!("{weight:.6e}"));
            let cosines: Vec<String> = self.cosines[task].iter().map(|cosine| format!("{cosine:6.3}")).collect();
            text += &format!("{task:<4}{weight:>14}  {progress:>12.5e}  {}\n", cosines.join(" "));
        }
        text + &format!(
            "norm {:.6e}, residual {:.1e}, {} iterations\n",
            self.norm, self.outcome.residual, self.outcome.iterations
        )
    }
}

fn matrix(path: &Path) -> Result<Vec<Vec<f64>>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let rows: Vec<Vec<f64>> = serde_json::from_str(&text)
        .with_context(|| format!("{}: expected rows of numbers, [[…], …]", path.display()))?;
    if rows.len() > MOST_TASKS {
        bail!("{}: {} rows; at most {MOST_TASKS} tasks are weighed", path.display(), rows.len());
    }
    Ok(rows)
}

fn inner_products(rows: &[Vec<f64>]) -> Result<Gram> {
    if rows.is_empty() {
        bail!("a Gram matrix needs at least one row, found none");
    }
    if let Some(odd) = rows.iter().position(|row| row.len() != rows.len()) {
        bail!("row {odd} has {} entries, a Gram matrix of {1} rows needs {1}", rows[odd].len(), rows.len());
    }
    for (i, row) in rows.iter().enumerate() {
        for (j, value) in row.iter().enumerate().take(i) {
            let size = (rows[i][i] * rows[j][j]).abs().sqrt();
            if (value - rows[j][i]).abs() > 1e-9 * size {
                bail!("entries ({i}, {j}) and ({j}, {i}) differ: inner products are symmetric");
            }
        }
    }
    Ok(Gram::from_rows(rows))
}

/// The inner products of `mini_batches` mini-batches of the same gradients.
fn repeated(gram: &Gram, mini_batches: usize) -> Gram {
    let tasks = gram.tasks();
    let rows: Vec<Vec<f64>> = (0..mini_batches * tasks).map(|row| gram.row(row % tasks).repeat(mini_batches)).collect();
    Gram::from_rows(&rows)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weigh(rule: &str, settings: &[&str], file: &str, content: &str) -> Result<Value> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("matrix.json");
        std::fs::write(&path, content)?;
        let command = Weigh {
            rule: rule.into(),
            settings: settings.iter().map(|setting| (*setting).to_owned()).collect(),
            jacobian: (file == "jacobian").then(|| path.clone()),
            gram: (file == "gram").then_some(path),
            losses: vec![],
            likelihood: vec![],
            sequence: None,
            steps: None,
            json: true,
        };
        let registries = crate::Registries::default();
        let entry = registries.rules.find(rule)?;
        Ok(command.weigh(entry)?.json(entry))
    }

    const ROWS: &str = "[[3, 0, 0], [0, 0.5, 0]]";

    #[test]
    fn nash_normalises_orthogonal_gradients_and_is_unclipped_unless_asked() {
        let answer = weigh("nash", &[], "jacobian", ROWS).expect("weighed");
        let weights: Vec<f64> = serde_json::from_value(answer["weights"].clone()).expect("weights");
        assert!((weights[0] - 1.0 / 3.0).abs() < 1e-12 && (weights[1] - 2.0).abs() < 1e-12, "{answer}");
        assert_eq!(answer["status"], "agreed");
        let keys: Vec<&String> = answer.as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["cosines", "direction", "progress", "residual", "rule", "status", "weights"]);
        let clipped = weigh("nash", &["max_norm=1"], "jacobian", ROWS).expect("weighed");
        let direction: Vec<f64> = serde_json::from_value(clipped["direction"].clone()).expect("a direction");
        assert!((dot(&direction, &direction) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_gram_has_no_direction_and_some_rules_have_no_weights() {
        let answer = weigh("mgda", &[], "gram", "[[4, 0], [0, 1]]").expect("weighed");
        assert!(answer["direction"].is_null());
        assert_eq!(answer["weights"], json!([0.2, 0.8]));
        let trimmed = weigh("trimmed-mean", &[], "jacobian", "[[1, 5], [2, 0], [9, 1]]").expect("weighed");
        assert!(trimmed["weights"].is_null());
        assert_eq!(trimmed["direction"], json!([2.0, 1.0]));
        assert_eq!(weigh("modo", &[], "gram", "[[4, 0], [0, 1]]").expect("weighed")["status"], "agreed");
    }

    #[test]
    fn what_cannot_be_weighed_says_why() {
        let message = |rule, settings: &[&str], file, content| {
            format!("{:#}", weigh(rule, settings, file, content).expect_err("refused"))
        };
        assert!(message("nahs", &[], "gram", "[[1]]").contains("did you mean `nash`?"));
        assert!(message("nash", &["max_nrom=1"], "gram", "[[1]]").contains("did you mean `max_norm`?"));
        assert!(message("nash", &["max_norm"], "gram", "[[1]]").contains("KEY=VALUE"));
        assert!(message("graddrop", &[], "gram", "[[1]]").contains("--jacobian"));
        assert!(message("nash", &[], "gram", "[[1, 2], [3]]").contains("row 1 has 1 entries"));
        assert!(message("nash", &[], "gram", "[[1, 2], [3, 4]]").contains("symmetric"));
        assert!(message("nash", &[], "jacobian", "[[1, 2], [3]]").contains("row 1 has 1 columns"));
        assert!(message("nash", &[], "jacobian", "[]").contains("at least one row"));
        assert!(message("nash", &[], "jacobian", "{}").contains("rows of numbers"));
    }
}
