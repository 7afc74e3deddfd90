//! A finished run, opened to answer.

use std::path::Path;

use anyhow::{Context, Result, bail};
use candle_core::Device;
use mtl_backbone::random;
use mtl_data::{Example, Texts, Tokenizer};
use mtl_sharing::Model;
use mtl_task::rng::Key;
use mtl_task::{Answer, Label, Task, TaskId, TaskSpec};
use serde_json::Value;

use crate::assemble::trainer;
use crate::recipe::Recipe;
use crate::resume;
use crate::step::Trainer;

/// A model out of a run folder, with the tokenizer and the tasks it was trained on.
pub struct Trained {
    /// The recipe, as it was resolved.
    pub recipe: Recipe,
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// Task names and tables, in the recipe's order.
    pub tasks: Vec<(String, TaskSpec)>,
    trainer: Trainer,
}

impl Trained {
    /// Opens the run in `folder`: the weights that its recipe keeps, best or last.
    ///
    /// # Errors
    /// If the folder holds no whole run.
    pub fn open(folder: &Path, device: &Device) -> Result<Self> {
        Self::opened(folder, None, device)
    }

    /// As [`Trained::open`], with the weights of the checkpoint called `name` (see `evaluation.keep_looks`).
    ///
    /// # Errors
    /// If the folder holds no whole run, or no such checkpoint.
    pub fn open_at(folder: &Path, name: &str, device: &Device) -> Result<Self> {
        Self::opened(folder, Some(name), device)
    }

    fn opened(folder: &Path, name: Option<&str>, device: &Device) -> Result<Self> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path).with_context(|| format!("{}: not a run folder: no {name}", folder.display()))
        };
        let (recipe, _) = Recipe::parse(&folder.join("recipe.toml").display().to_string(), &read("recipe.toml")?, &[])?;
        let tasks: Vec<(String, TaskSpec)> =
            serde_json::from_str(&read("tasks.json")?).with_context(|| format!("{}/tasks.json", folder.display()))?;
        let config: Value = serde_json::from_str(&read("encoder/config.json")?)
            .with_context(|| format!("{}/encoder/config.json", folder.display()))?;
        let architecture = config.get("model_type").and_then(Value::as_str).unwrap_or("bert").to_string();
        let tokenizer = Tokenizer::read(&folder.join("encoder"))?;
        // The weights come from the checkpoint; what the encoder starts from does not matter.
        let mut pretrained = random(&architecture, &config, Key::new(0))?;
        pretrained.encoder = pretrained.encoder.with_dropout(0., 0.);
        let mut trainer = trainer(&recipe, &pretrained, &tasks, device)?;
        let checkpoints = folder.join("checkpoints");
        let kept = match (name, recipe.evaluation.keep) {
            (Some(name), _) => resume::find(&checkpoints, name),
            (None, keep) => keep.checkpoints().iter().find_map(|name| resume::find(&checkpoints, name)),
        };
        let Some(checkpoint) = kept else {
            let which = name.map(|name| format!(" `{name}`")).unwrap_or_default();
            bail!("{}: no checkpoint{which}; the run has not got that far", checkpoints.display())
        };
        resume::restore(&checkpoint, &mut trainer)?;
        Ok(Self { recipe, tokenizer, tasks, trainer })
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.trainer.model
    }

    /// The task called `name`.
    ///
    /// # Errors
    /// If there is none; names those there are.
    pub fn task(&self, name: &str) -> Result<(TaskId, &dyn Task)> {
        let names: Vec<&str> = self.tasks.iter().map(|(name, _)| name.as_str()).collect();
        match names.iter().position(|known| *known == name) {
            Some(at) => Ok((TaskId(at), self.trainer.tasks[at].as_ref())),
            None => bail!(
                "unknown task `{name}`{}; the run has {}",
                mtl_task::nearest(name, names.iter().copied()),
                names.join(", ")
            ),
        }
    }

    /// The answers to `texts` by the task `id`.
    ///
    /// # Errors
    /// Those of the forward pass.
    pub fn answer(&self, id: TaskId, texts: &[Texts]) -> Result<Vec<Answer>> {
        let examples: Vec<Example> = texts
            .iter()
            .enumerate()
            .map(|(row, text)| {
                let encoded = self.tokenizer.encode(text, self.recipe.train.max_tokens)?;
                // Nobody looks at the truth of a text that is asked about.
                Ok(Example { encoded, label: Label::Value(0.), row })
            })
            .collect::<Result<_>>()?;
        self.answer_examples(id, &examples)
    }

    /// The answers to tokenised `examples` by the task `id`.
    ///
    /// # Errors
    /// Those of the forward pass.
    pub fn answer_examples(&self, id: TaskId, examples: &[Example]) -> Result<Vec<Answer>> {
        self.trainer.answers(id, examples, self.recipe.evaluation.batch)
    }
}
