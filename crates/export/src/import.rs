//! A folder of a fine-tuned model, read for a run of one task.

mod class;
mod sentence;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use mtl_backbone::checkpoint::{Checkpoint, NamedTensor};
use mtl_backbone::{Architecture, Encoder, HeadActivation, Pooling, pretrained};
use mtl_sharing::HeadSettings;
use mtl_task::{Label, Reads, Registry, Scale};
use serde_json::Value;

use crate::answers::Problem;
use crate::plain::{LinearMap, PlainHead};

/// Longest text that is read where a folder says nothing, in tokens.
const TOKENS: usize = 512;

/// A fine-tuned model: what its folder says beside the encoder, which a run reads from there as it reads any.
#[derive(Clone, Debug)]
pub struct Import {
    /// The folder.
    pub folder: PathBuf,
    /// The encoder's `model_type`.
    pub architecture: String,
    /// What its logits mean.
    pub problem: Problem,
    /// Names of the outputs, in their order, as `id2label` has them.
    pub labels: Vec<String>,
    /// The head.
    pub head: PlainHead,
    /// Tokens that texts are cut to: what the tokenizer says, at most as many as the encoder reads.
    pub max_tokens: usize,
}

impl Import {
    /// Reads `folder`: one that a class for texts or tokens of transformers was saved in, or sentence-transformers with a
    /// map over the pooled vector.
    ///
    /// # Errors
    /// If a file is damaged, or the head is none that a run can have: says what was found.
    pub fn read(architectures: &Registry<Architecture>, folder: &Path) -> Result<Self> {
        let config = || folder.join("config.json").display().to_string();
        if folder.join(crate::shared::TASKS).exists() {
            bail!(
                "{}: a whole run and not one task; export a task of it (`cargo xtask export RUN --task …`)",
                folder.display()
            );
        }
        let checkpoint = Checkpoint::read(folder)?;
        let encoder = pretrained(architectures, &checkpoint)?;
        let (hidden, positions) = (encoder.encoder.hidden(), encoder.encoder.max_tokens());
        let found = Found { checkpoint: &checkpoint, hidden };
        let (head, reads) = match folder.join(sentence::MODULES).exists() {
            true => {
                let modules = || folder.join(sentence::MODULES).display().to_string();
                (sentence::head(&found).with_context(modules)?, Reads::Text)
            }
            false => {
                let architecture = architectures.find(&encoder.architecture)?;
                class::head(&found, architecture.classes).with_context(config)?
            }
        };
        let outputs = head.maps.last().map_or(0, LinearMap::outputs);
        let problem = problem(&checkpoint.config, reads, outputs).with_context(config)?;
        Ok(Self {
            folder: folder.to_path_buf(),
            architecture: encoder.architecture,
            labels: labels(&checkpoint.config, outputs).with_context(config)?,
            problem,
            head,
            max_tokens: max_tokens(folder)?.unwrap_or(TOKENS).min(positions),
        })
    }

    /// The same with other names for its outputs.
    ///
    /// # Errors
    /// If there are not as many as outputs.
    pub fn with_labels(mut self, labels: Vec<String>) -> Result<Self> {
        if labels.len() != self.labels.len() {
            bail!("{} labels for a head of {} outputs ({})", labels.len(), self.labels.len(), self.labels.join(", "));
        }
        self.labels = labels;
        Ok(self)
    }

    /// How a recipe asks for such a head.
    pub fn settings(&self) -> HeadSettings {
        HeadSettings {
            pooling: self.head.pooling.unwrap_or_default(),
            dropout: self.head.dropout,
            hidden: self.head.hidden(),
            activation: self.head.activation,
        }
    }

    /// Refuses a task that asks something else than the head answers; `truth` is a truth of its kind.
    ///
    /// # Errors
    /// Says what each is.
    pub fn check(&self, kind: &str, truth: &Label) -> Result<()> {
        let fits = match self.problem {
            Problem::OneLabel => matches!(truth, Label::Class(_)),
            Problem::ManyLabels => matches!(truth, Label::Set(_)),
            Problem::Regression => matches!(truth, Label::Value(_)),
            Problem::Tokens => matches!(truth, Label::Tags(_)),
        };
        if !fits {
            bail!(
                "{}: its head is for {}, and the task is of kind `{kind}`",
                self.folder.display(),
                self.problem.name().unwrap_or("tags of tokens")
            );
        }
        Ok(())
    }

    /// The maps of the head for a task whose outputs are called `labels`, and whose targets are standardised by `scale`:
    /// the same answers.
    ///
    /// # Errors
    /// If the labels are not those of the folder, in whichever order.
    pub fn maps(&self, labels: &[String], scale: Option<Scale>) -> Result<Vec<LinearMap>> {
        let mut maps = self.head.maps.clone();
        let Some(last) = maps.last_mut() else { bail!("{}: a head without a map", self.folder.display()) };
        if self.problem == Problem::Regression {
            if let Some(Scale { mean, deviation }) = scale {
                last.rescale(1. / deviation, -mean / deviation);
            }
            return Ok(maps);
        }
        let place = |label: &String| self.labels.iter().position(|known| known == label);
        let places: Option<Vec<usize>> = labels.iter().map(place).collect();
        let Some(places) = places.filter(|places| places.len() == self.labels.len()) else {
            bail!(
                "{}: its outputs are {}, and the task's labels {}; where they mean the same, say what the outputs are called \
                 in their order: --labels \"{}\"",
                self.folder.display(),
                shown(&self.labels),
                shown(labels),
                labels.iter().take(self.labels.len()).cloned().collect::<Vec<_>>().join(",")
            )
        };
        *last = last.selected(&places)?;
        Ok(maps)
    }
}

fn shown(labels: &[String]) -> String {
    let first = labels.iter().take(12).map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
    if labels.len() > 12 { format!("{first}, … ({} in all)", labels.len()) } else { first }
}

/// What the readers of heads are given.
struct Found<'a> {
    checkpoint: &'a Checkpoint,
    hidden: usize,
}

/// The map `name` of `tensors`, which reads `inputs` values.
fn map(tensors: &std::collections::BTreeMap<String, NamedTensor>, name: &str, inputs: usize) -> Result<LinearMap> {
    let find = |kind: &str| {
        let name = format!("{name}.{kind}");
        tensors.get(&name).cloned().with_context(|| format!("tensor `{name}` is missing"))
    };
    let (weight, bias) = (find("weight")?, find("bias")?);
    match (weight.shape.as_slice(), bias.shape.as_slice()) {
        ([outputs, found], [biases]) if outputs == biases && *found == inputs && *outputs > 0 => {
            Ok(LinearMap { weight, bias })
        }
        (weight, bias) => {
            bail!("`{name}` has a weight of shape {weight:?} and a bias of {bias:?}, where it reads {inputs} values")
        }
    }
}

/// What logits mean, by `problem_type`, or by the rule of transformers where it says nothing.
fn problem(config: &Value, reads: Reads, outputs: usize) -> Result<Problem> {
    if reads == Reads::Tokens {
        return Ok(Problem::Tokens);
    }
    let one = [Problem::OneLabel, Problem::ManyLabels, Problem::Regression];
    match config.get("problem_type").filter(|value| !value.is_null()) {
        None if outputs == 1 => Ok(Problem::Regression),
        None => Ok(Problem::OneLabel),
        Some(stated) => {
            let known = one.into_iter().find(|problem| stated.as_str() == problem.name());
            let problem = known.with_context(|| format!("`problem_type` is {stated}"))?;
            if problem == Problem::Regression && outputs != 1 {
                bail!("a regression of {outputs} values; a task has one");
            }
            Ok(problem)
        }
    }
}

/// `id2label` in the order of the numbers; `LABEL_0` … as transformers calls them where there is none.
fn labels(config: &Value, outputs: usize) -> Result<Vec<String>> {
    let Some(names) = config.get("id2label").and_then(Value::as_object) else {
        return Ok((0..outputs).map(|at| format!("LABEL_{at}")).collect());
    };
    if names.len() != outputs {
        bail!("`id2label` has {} names for {outputs} outputs", names.len());
    }
    let name = |at: usize| {
        let name = names.get(&at.to_string()).and_then(Value::as_str);
        name.map(String::from).with_context(|| format!("`id2label` has no name for output {at}"))
    };
    (0..outputs).map(name).collect()
}

/// The longest text by the tokenizer's own word, if it says one.
fn max_tokens(folder: &Path) -> Result<Option<usize>> {
    let sentences = json(&folder.join("sentence_bert_config.json"))?;
    let tokenizer = json(&folder.join("tokenizer_config.json"))?;
    let stated = |value: &Option<Value>, key: &str| value.as_ref()?.get(key)?.as_u64();
    let longest = stated(&sentences, "max_seq_length").or_else(|| stated(&tokenizer, "model_max_length"));
    Ok(longest.and_then(|longest| usize::try_from(longest).ok()).filter(|longest| *longest > 0))
}

/// The JSON in the file at `path`, if there is one.
fn json(path: &Path) -> Result<Option<Value>> {
    if !path.exists() {
        return Ok(None);
    }
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).map(Some).with_context(|| format!("{}: no JSON", path.display()))
}

/// A head over texts or tokens.
fn plain(pooling: Option<Pooling>, activation: HeadActivation, dropout: f64, maps: Vec<LinearMap>) -> PlainHead {
    let dropout = if (0. ..1.).contains(&dropout) { dropout } else { 0. };
    PlainHead { pooling, activation, dropout, maps }
}

#[cfg(test)]
mod tests;
