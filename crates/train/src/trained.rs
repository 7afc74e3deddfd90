//! A finished run, opened to answer.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use candle_core::Device;
use mtl_backbone::kernel::ProductPrecision as Rounding;
use mtl_backbone::{Pretrained, random};
use mtl_data::{Dataset, Example, LoadOptions, Texts, Tokenizer};
use mtl_sharing::Model;
use mtl_task::rng::Key;
use mtl_task::{Answer, Label, Task, TaskId, TaskSpec};
use serde_json::Value;

use crate::assemble::{Located, LocatedModel, computing, datasets, encoder, trainer};
use crate::evaluate::Forward;
use crate::recipe::{Precision, Recipe};
use crate::registries::Registries;
use crate::resume;
use crate::run::stored;
use crate::step::Trainer;
use crate::trained_on::{self, TrainedOn};

/// A model out of a run folder, with the tokenizer and the tasks it was trained on. Threads may share one.
pub struct Trained {
    /// The recipe, as it was resolved.
    pub recipe: Recipe,
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// Task names and tables, in the recipe's order.
    pub tasks: Vec<(String, TaskSpec)>,
    trained_on: TrainedOn,
    /// The encoder's configuration, as the run folder has it.
    config: Value,
    /// The model, or, where tasks keep weights of steps of their own, one for each step that a task keeps.
    models: Vec<Trainer>,
    /// Which of them answers for each task.
    model_of: Vec<usize>,
}

impl Trained {
    /// Opens the run in `folder`: the weights that its recipe keeps, best or last.
    ///
    /// # Errors
    /// If the folder holds no whole run.
    pub fn open(registries: &Arc<Registries>, folder: &Path, device: &Device) -> Result<Self> {
        Self::opened(registries, folder, None, device)
    }

    /// As [`Trained::open`], with the weights of the checkpoint called `name` (see `evaluation.keep_evaluations`).
    ///
    /// # Errors
    /// If the folder holds no whole run, or no such checkpoint.
    pub fn open_at(registries: &Arc<Registries>, folder: &Path, name: &str, device: &Device) -> Result<Self> {
        Self::opened(registries, folder, Some(name), device)
    }

    fn opened(registries: &Arc<Registries>, folder: &Path, name: Option<&str>, device: &Device) -> Result<Self> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path).with_context(|| format!("{}: not a run folder: no {name}", folder.display()))
        };
        let (resolved, place) = (read(stored::RECIPE)?, folder.join(stored::RECIPE).display().to_string());
        let recipe = Recipe::parse_resolved(registries, &place, &resolved)?;
        read(trained_on::TASKS)?;
        let Some(trained_on) = TrainedOn::read(folder)? else { bail!("{}: not a run folder", folder.display()) };
        trained_on.check_folder(folder)?;
        let tasks = trained_on.tasks.clone();
        let mut config: Value = serde_json::from_str(&read("encoder/config.json")?)
            .with_context(|| format!("{}/encoder/config.json", folder.display()))?;
        // Runs of old, whose model named none, were of BERT.
        let architecture = config.get("model_type").and_then(Value::as_str).unwrap_or("bert").to_string();
        if let Some(keys) = config.as_object_mut() {
            keys.insert("model_type".into(), architecture.clone().into());
        }
        let tokenizer = Tokenizer::read(&folder.join("encoder"))?;
        // The weights come from the checkpoint; what the encoder starts from does not matter.
        let mut pretrained = random(&registries.architectures, &architecture, &config, Key::new(0))
            .with_context(|| format!("{}/encoder/config.json", folder.display()))?;
        let mut encoder = pretrained.encoder.with_dropout(0., 0.);
        // What was trained in bf16 where the kernel can do it answers alike where it cannot.
        if recipe.train.precision == Precision::Bf16 && !Rounding::Bf16.is_available() {
            encoder = encoder.with_path(mtl_backbone::Implementation::Reference);
        }
        pretrained.encoder = computing(encoder, &recipe, device)?;
        let mut base = trainer(&recipe, &pretrained, &tasks, device)?;
        let checkpoints = folder.join("checkpoints");
        let named: Vec<&str> = name.into_iter().collect();
        let names = if named.is_empty() { recipe.evaluation.keep.checkpoints() } else { &named };
        let Some(weights) = resume::read_weights(&checkpoints, names)? else {
            let which = name.map(|name| format!(" `{name}`")).unwrap_or_default();
            bail!("{}: no checkpoint{which}; the run has not got that far", checkpoints.display())
        };
        let from = weights.place().to_path_buf();
        let state = resume::load_weights(weights, &mut base)?;
        let by_this_recipe = |by: &str, from: &Path| -> Result<()> {
            // The fingerprint in a checkpoint of before tells words, not keys.
            if stored::is_by_keys(by) && !stored::is_of(by, &resolved)? {
                bail!(
                    "{place}: not the recipe that {} was trained by: its fingerprint was {by}, and is {}; restore it",
                    from.display(),
                    stored::fingerprint(&resolved)?
                );
            }
            Ok(())
        };
        by_this_recipe(&state.recipe, &from)?;
        let (mut models, mut model_of) = (vec![base], vec![0; tasks.len()]);
        if name.is_none() && recipe.keeps_snapshots()? {
            // Steps that several tasks keep are one model.
            let mut steps: Vec<(usize, usize)> = Vec::new();
            for (at, (task, _)) in tasks.iter().enumerate() {
                let Some(snapshot) = resume::read_snapshot(&checkpoints, TaskId(at))? else {
                    if state.each.get(at).is_some_and(|written| !written.is_empty()) {
                        let missing = checkpoints.join(resume::snapshot_name(TaskId(at)));
                        bail!(
                            "{}: the weights of task `{task}` are missing; restore them from a backup",
                            missing.display()
                        );
                    }
                    continue;
                };
                by_this_recipe(snapshot.recipe(), &checkpoints.join(resume::snapshot_name(TaskId(at))))?;
                let place = match steps.iter().find(|(step, _)| *step == snapshot.step()) {
                    Some((_, place)) => *place,
                    None => {
                        let mut own = trainer(&recipe, &pretrained, &tasks, device)?;
                        if let Some(weights) = resume::read_weights(&checkpoints, names)? {
                            resume::load_weights(weights, &mut own)?;
                        }
                        models.push(own);
                        steps.push((snapshot.step(), models.len() - 1));
                        models.len() - 1
                    }
                };
                if let (Some(model), Some(of)) = (models.get_mut(place), model_of.get_mut(at)) {
                    snapshot.put_into(model)?;
                    *of = place;
                }
            }
        }
        Ok(Self { recipe, tokenizer, tasks, trained_on, config, models, model_of })
    }

    /// The encoder's `config.json`, whose `model_type` is a name of its architecture.
    pub fn encoder_config(&self) -> &Value {
        &self.config
    }

    /// The model; where tasks keep weights of steps of their own, the one that was best for their mean.
    pub fn model(&self) -> &Model {
        &self.models[0].model
    }

    /// The model that answers for the task `id`.
    pub fn model_of(&self, id: TaskId) -> &Model {
        &self.trainer_of(id).model
    }

    fn trainer_of(&self, id: TaskId) -> &Trainer {
        &self.models[self.model_of[id.0]]
    }

    /// The task called `name`.
    ///
    /// # Errors
    /// If there is none; names those there are.
    pub fn task(&self, name: &str) -> Result<(TaskId, &dyn Task)> {
        let names: Vec<&str> = self.tasks.iter().map(|(name, _)| name.as_str()).collect();
        match names.iter().position(|known| *known == name) {
            Some(at) => Ok((TaskId(at), self.models[0].tasks[at].as_ref())),
            None => bail!(
                "unknown task `{name}`{}; the run has {}",
                mtl_task::nearest(name, names.iter().copied()),
                names.join(", ")
            ),
        }
    }

    /// The data that the run was trained and scored on, its tasks as the run stored them; of the task of a name as much
    /// as `options` says, which is [`Recipe::load_options_of`] for what the run itself had.
    ///
    /// # Errors
    /// If it cannot be loaded, or a label list, a file or a split is another one than then: with both fingerprints.
    pub fn datasets(&self, located: &Located, options: impl Fn(&str) -> LoadOptions) -> Result<Vec<Dataset>> {
        self.trained_on.check(located)?;
        let registries = &self.recipe.registries;
        let mut datasets = datasets(registries, located, &self.tokenizer, options)?;
        self.trained_on.take(&registries.data.kinds, &mut datasets)?;
        Ok(datasets)
    }

    /// The encoder that the run began from.
    ///
    /// # Errors
    /// If `model` cannot be read, or is another one than then: with both fingerprints.
    pub fn started_from(&self, model: &LocatedModel) -> Result<Pretrained> {
        let pretrained = encoder(&self.recipe, model, &self.tokenizer, &Device::Cpu)?;
        self.trained_on.check_encoder(&model.name, &self.tokenizer, &pretrained)?;
        Ok(pretrained)
    }

    /// Whether the task `id` reads pairs of texts; nothing in a run of before, which does not say.
    pub fn reads_pairs(&self, id: TaskId) -> Option<bool> {
        self.trained_on.reads_pairs(&self.tasks[id.0].0)
    }

    /// The columns that hold the text, the two texts of a pair, or the words in the files that the task `id` was trained
    /// on; none for generated text, and in a run of before.
    pub fn text_columns(&self, id: TaskId) -> &[String] {
        self.tasks.get(id.0).map_or(&[], |(name, _)| self.trained_on.columns(name))
    }

    /// The answers to `texts` by the task `id`.
    ///
    /// # Errors
    /// Those of the forward pass.
    pub fn answer(&self, id: TaskId, texts: &[Texts]) -> Result<Vec<Answer>> {
        self.answer_examples(id, &self.examples(texts)?)
    }

    /// The answers of several tasks, one list for each of `asked`, which is a task and the texts that it reads: those
    /// of [`Trained::answer`]. Tasks whose texts come to the same tokens, a tagging task's words among them, are
    /// answered in one pass, which walks the encoder once where they share it.
    ///
    /// # Errors
    /// Those of the forward pass.
    pub fn answer_each(&self, asked: &[(TaskId, &[Texts])]) -> Result<Vec<Vec<Answer>>> {
        // The places in `asked` of those who share a pass, the texts of the first of them, and the pass's tokens.
        let mut passes: Vec<(Vec<usize>, &[Texts], Vec<Example>)> = Vec::new();
        // A pass is one model's.
        let model = |place: usize| self.model_of[asked[place].0.0];
        for (place, &(_, texts)) in asked.iter().enumerate() {
            let same = |pass: &&mut (Vec<usize>, &[Texts], Vec<Example>)| {
                pass.0.first().is_some_and(|first| model(*first) == model(place))
            };
            if let Some((places, ..)) = passes.iter_mut().filter(same).find(|(_, known, _)| *known == texts) {
                places.push(place);
                continue;
            }
            let examples = self.examples(texts)?;
            let mut alike = passes.iter_mut().filter(same);
            let joined = alike.find_map(|pass| Some((joined(&pass.2, &examples)?, pass)));
            match joined {
                Some((joined, (places, _, known))) => {
                    places.push(place);
                    *known = joined;
                }
                None => passes.push((vec![place], texts, examples)),
            }
        }
        let mut answers = vec![Vec::new(); asked.len()];
        for (places, _, examples) in passes {
            let task = |&place: &usize| (asked[place].0, self.models[0].tasks[asked[place].0.0].as_ref());
            let tasks: Vec<(TaskId, &dyn Task)> = places.iter().map(task).collect();
            let Some(&(first, _)) = tasks.first() else { continue };
            let found = Forward::of(self.model_of(first)).answers_each(&tasks, &examples, self.recipe.evaluation.batch);
            let names = || tasks.iter().map(|(id, _)| self.tasks[id.0].0.as_str()).collect::<Vec<_>>().join(", ");
            let found = found.with_context(|| format!("task {}", names()))?;
            places.into_iter().zip(found).for_each(|(place, found)| answers[place] = found);
        }
        Ok(answers)
    }

    fn examples(&self, texts: &[Texts]) -> Result<Vec<Example>> {
        let example = |(row, text): (usize, &Texts)| {
            let encoded = self.tokenizer.encode(text, self.recipe.train.max_tokens);
            let encoded = encoded.with_context(|| format!("text {}", row + 1))?;
            // Nobody looks at the truth of a text that is asked about.
            Ok(Example { encoded, label: Label::Value(0.), row })
        };
        texts.iter().enumerate().map(example).collect()
    }

    /// The answers to tokenised `examples` by the task `id`. One task at a time, because datasets have texts of their
    /// own: there is no pass that two of them could share.
    ///
    /// # Errors
    /// Those of the forward pass.
    pub fn answer_examples(&self, id: TaskId, examples: &[Example]) -> Result<Vec<Answer>> {
        self.trainer_of(id).answers(id, examples, self.recipe.evaluation.batch)
    }
}

/// The examples that stand for both `a` and `b`, if these are the same tokens: words are marked in what one task reads
/// and not in what the other does, or alike.
fn joined(a: &[Example], b: &[Example]) -> Option<Vec<Example>> {
    let both = |(first, second): (&Example, &Example)| {
        let (a, b) = (&first.encoded, &second.encoded);
        let same = a.ids == b.ids && a.segments == b.segments;
        let marked = if a.words > 0 { first } else { second };
        (same && (a.words == 0 || b.words == 0 || a == b)).then(|| marked.clone())
    };
    if a.len() == b.len() { a.iter().zip(b).map(both).collect() } else { None }
}

// A server's threads answer with one model.
const _: () = {
    const fn shared_by_threads<T: Send + Sync>() {}
    shared_by_threads::<Trained>();
};
