//! `cargo xtask weigh`: one step of a weighting rule on gradients from a file.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use mtl_task::rng::Key;
use mtl_task::{Progress, Registry};
use mtl_weighting::{Dense, Gram, Jacobian, Outcome, Rule, StepInputs, Weighting};
use serde_json::{Value, json};

/// Weigh tasks by a rule, from their gradients or the inner products of these.
///
/// Prints the weights, the direction and its norm, each task's progress ⟨gᵢ, d⟩, the pairwise cosines, the certificate
/// and the status. A rule that wants several independent mini_batches sees the same gradients in each.
#[derive(Debug, Args)]
pub struct Weigh {
    /// The rule; `list rules` names them
    #[arg(long)]
    rule: String,
    /// A setting of the rule, as KEY=VALUE; the value is JSON or a word. `max_norm` is none unless set
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// A JSON file of the task gradients, one row a task
    #[arg(long, value_name = "FILE", required_unless_present = "gram", conflicts_with = "gram")]
    jacobian: Option<PathBuf>,
    /// A JSON file of the gradients' inner products
    #[arg(long, value_name = "FILE")]
    gram: Option<PathBuf>,
    /// The tasks' losses, for rules that look at them; 1 if left out
    #[arg(long, value_delimiter = ',', value_name = "LOSS,…", allow_hyphen_values = true)]
    losses: Vec<f64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What came of it.
struct Answer {
    outcome: Outcome,
    direction: Option<Vec<f64>>,
    /// ‖d‖.
    norm: f64,
    progress: Vec<f64>,
    cosines: Vec<Vec<f64>>,
}

impl Weigh {
    pub(super) fn run(self) -> Result<ExitCode> {
        let rules = Registry::<Rule>::default();
        let entry = rules.find(&self.rule)?;
        let answer = self.weigh(entry)?;
        if let Some(warning) = answer.outcome.warning {
            eprintln!("warning: {warning}");
        }
        if self.json {
            println!("{}", answer.json(entry));
        } else {
            print!("{}", answer.text(entry));
        }
        Ok(ExitCode::SUCCESS)
    }

    fn weigh(&self, entry: &Rule) -> Result<Answer> {
        let (jacobian, gram) = match (&self.jacobian, &self.gram) {
            (Some(path), _) => {
                let rows = matrix(path)?;
                let jacobian = Dense::new(rows).map_err(|error| anyhow!("{}: {error}", path.display()))?;
                let gram = jacobian.gram();
                (Some(jacobian), gram)
            }
            (None, Some(path)) => (None, inner_products(path)?),
            (None, None) => bail!("give the gradients as --jacobian FILE or their inner products as --gram FILE"),
        };
        let tasks = gram.tasks();
        if !self.losses.is_empty() && self.losses.len() != tasks {
            bail!("--losses has {} values for {tasks} tasks", self.losses.len());
        }
        let mut rule = (entry.build)(tasks, &self.settings(entry)?).map_err(|error| anyhow!(error))?;
        let seen = StepInputs {
            losses: &self.losses,
            likelihood: &[],
            progress: Progress { step: 0, of: 1 },
            key: Key::new(0),
        };
        let mini_batches = rule.needs().mini_batches;
        let mut direction = None;
        let outcome = match &mut rule {
            Weighting::Losses(rule) if self.losses.is_empty() => {
                let unit = vec![1.0; tasks];
                rule.weights(&StepInputs { losses: &unit, ..seen })
            }
            Weighting::Losses(rule) => rule.weights(&seen),
            Weighting::Gram(rule) => rule.weights(&repeated(&gram, mini_batches), &seen),
            Weighting::Jacobian(rule) => {
                let Some(jacobian) = &jacobian else {
                    bail!("`{}` sees every coordinate of the gradients: give them as --jacobian", entry.name)
                };
                let mut written = Vec::with_capacity(jacobian.columns());
                let outcome = rule.direction(&vec![jacobian as &dyn Jacobian; mini_batches], &seen, &mut |_, part| {
                    written.extend(part)
                });
                direction = Some(written);
                outcome
            }
        };
        let (progress, norm) = match (&direction, &jacobian) {
            (Some(direction), Some(jacobian)) => {
                let along = |task: usize| dot(jacobian.row(task), direction);
                ((0..tasks).map(along).collect(), dot(direction, direction).sqrt())
            }
            _ => {
                direction = jacobian.as_ref().map(|jacobian| jacobian.combine(&outcome.weights));
                (gram.times(&outcome.weights), gram.quadratic(&outcome.weights).max(0.0).sqrt())
            }
        };
        let cosines = (0..tasks).map(|i| (0..tasks).map(|j| gram.cosine(i, j)).collect()).collect();
        Ok(Answer { outcome, direction, norm, progress, cosines })
    }

    /// The settings given, an object. What is asked for is the rule's own direction: unclipped unless told otherwise.
    fn settings(&self, entry: &Rule) -> Result<Value> {
        let mut settings = json!({});
        if (entry.defaults)().get("max_norm").is_some() {
            settings["max_norm"] = json!("none");
        }
        for setting in &self.settings {
            let (key, value) =
                setting.split_once('=').with_context(|| format!("--set wants KEY=VALUE, found `{setting}`"))?;
            settings[key] = serde_json::from_str(value).unwrap_or_else(|_| json!(value));
        }
        Ok(settings)
    }
}

impl Answer {
    fn json(&self, entry: &Rule) -> Value {
        let weights = Some(&self.outcome.weights).filter(|weights| !weights.is_empty());
        json!({
            "rule": entry.name,
            "weights": weights,
            "direction": self.direction,
            "progress": self.progress,
            "cosines": self.cosines,
            "residual": self.outcome.residual,
            "status": self.outcome.status.to_string(),
        })
    }

    fn text(&self, entry: &Rule) -> String {
        let mut text = format!("{}: {}, {}\n", entry.name, entry.about, self.outcome.status);
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
    serde_json::from_str(&text).with_context(|| format!("{}: expected rows of numbers, [[…], …]", path.display()))
}

fn inner_products(path: &Path) -> Result<Gram> {
    let rows = matrix(path)?;
    if rows.is_empty() {
        bail!("{}: a Gram matrix needs at least one row, found none", path.display());
    }
    if let Some(odd) = rows.iter().position(|row| row.len() != rows.len()) {
        bail!("{}: row {odd} has {} entries, a Gram matrix of {1} rows needs {1}", path.display(), rows[odd].len());
    }
    for (i, row) in rows.iter().enumerate() {
        for (j, value) in row.iter().enumerate().take(i) {
            let size = (rows[i][i] * rows[j][j]).abs().sqrt();
            if (value - rows[j][i]).abs() > 1e-9 * size {
                bail!("{}: entries ({i}, {j}) and ({j}, {i}) differ: inner products are symmetric", path.display());
            }
        }
    }
    Ok(Gram::from_rows(&rows))
}

/// The inner products of `mini_batches` mini_batches of the same gradients.
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
            json: true,
        };
        let rules = Registry::<Rule>::default();
        let entry = rules.find(rule)?;
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
