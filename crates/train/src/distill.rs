//! What teachers say of the training examples, and the loss of whoever learns from it; see [`crate::Distill`].
//!
//! A teacher is a finished run. It reads the texts by its own tokenizer, so that it may be of another encoder; its labels
//! are matched by name. Its answers are worked out without dropout, once, before the first step: they are a function of
//! its weights and the texts, so that a run that goes on finds the same, and refuses other weights.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use candle_core::{DType, Device, Tensor};
use mtl_backbone::Pass;
use mtl_data::{Dataset, Example};
use mtl_task::{Label, Packed, Reads, Soft, Task, TaskBatch, TaskId};
use sha2::{Digest, Sha256};

use crate::evaluate::says_nothing;
use crate::finite::check_logits;
use crate::memory;
use crate::recipe::{Distill, Recipe, Teachers};
use crate::resume::hex;
use crate::run::stored;
use crate::step::Trainer;
use crate::trained::Trained;

/// The targets of every task that has a teacher.
#[derive(Clone, Debug, Default)]
pub(crate) struct SoftTargets {
    /// By task, for each of its training examples: `[outputs]`, or `[words × outputs]` of the words that the teacher saw.
    by_task: BTreeMap<TaskId, Vec<Arc<[f32]>>>,
    /// Hex SHA-256 of the teachers' weights, by `teacher of TASK`.
    pub(crate) digests: BTreeMap<String, String>,
}

/// The name of the digest of the teacher of `task`.
const OF: &str = "teacher of ";

impl SoftTargets {
    /// What the teachers of `recipe` say of the training examples of `datasets`. Relative folders start from `from`.
    ///
    /// # Errors
    /// If a folder holds no whole run, a teacher lacks a task or has other labels, or a kind cannot be learnt so.
    pub(crate) fn of(recipe: &Recipe, datasets: &[Dataset], from: &Path, device: &Device) -> Result<Self> {
        let mut found = Self::default();
        let Some(distill) = &recipe.distill else { return Ok(found) };
        // A folder that teaches several tasks is opened once.
        let mut by_folder: BTreeMap<PathBuf, Vec<usize>> = BTreeMap::new();
        for (at, dataset) in datasets.iter().enumerate() {
            if let Some(folder) = folder_of(&distill.teachers, &dataset.name, from)? {
                by_folder.entry(folder).or_default().push(at);
            }
        }
        for (folder, tasks) in by_folder {
            let place = || format!("[distill] teachers: {}", folder.display());
            let targets = tasks.iter().filter_map(|&at| datasets.get(at)).map(size).sum();
            if device.is_cpu() {
                memory::check_teacher(&folder, targets, memory::available())?;
            }
            let teacher = Trained::open(&recipe.registries, &folder, device).with_context(place)?;
            for at in tasks {
                let Some(dataset) = datasets.get(at) else { continue };
                let context = || format!("{}: task `{}`", place(), dataset.name);
                let asked = Asked::of(&teacher, dataset).with_context(context)?;
                let targets = asked.targets(dataset, distill, recipe.evaluation.batch).with_context(context)?;
                found.by_task.insert(TaskId(at), targets);
                let digits = weights(&teacher, asked.id).with_context(context)?;
                found.digests.insert(format!("{OF}{}", dataset.name), digits);
            }
        }
        Ok(found)
    }

    /// The targets of the training examples `chosen` of `task`; none where the task has no teacher.
    pub(crate) fn chosen(&self, task: TaskId, chosen: impl Iterator<Item = usize>) -> Vec<Arc<[f32]>> {
        let Some(targets) = self.by_task.get(&task) else { return Vec::new() };
        chosen.filter_map(|at| targets.get(at).cloned()).collect()
    }

    /// Bytes of all targets.
    pub(crate) fn bytes(&self) -> u64 {
        let values = self.by_task.values().flatten().map(|targets| targets.len());
        (size_of::<f32>() * values.sum::<usize>()) as u64
    }
}

/// Whether `name` is that of a teacher's digest.
pub(crate) fn is_digest(name: &str) -> bool {
    name.starts_with(OF)
}

/// Bytes of the targets of a dataset, words counted as tokens.
fn size(dataset: &Dataset) -> u64 {
    let (task, examples) = (dataset.task.as_ref(), dataset.train.examples.iter());
    let rows: usize = match task.reads() {
        Reads::Text => examples.count(),
        Reads::Tokens => examples.map(|example| example.encoded.words).sum(),
    };
    (size_of::<f32>() * rows * task.outputs()) as u64
}

/// The folder of the teacher of the task called `name`, if it has one.
fn folder_of(teachers: &Teachers, name: &str, from: &Path) -> Result<Option<PathBuf>> {
    let folder = match teachers {
        Teachers::All(folder) => folder,
        Teachers::Tasks(folders) => match folders.get(name) {
            Some(folder) => folder,
            None => return Ok(None),
        },
    };
    if let Some(arm) = Teachers::arm_of(folder) {
        bail!("[distill] teachers: `arm:{arm}` is an arm of an experiment; a recipe of its own names a run folder");
    }
    let folder = from.join(folder);
    let is_run = folder.join(stored::RECIPE).exists();
    // A folder of runs, one a task.
    let own = folder.join(name);
    Ok(Some(if !is_run && own.join(stored::RECIPE).exists() { own } else { folder }))
}

/// A teacher's task, as it answers for one of the student's.
struct Asked<'a> {
    teacher: &'a Trained,
    id: TaskId,
    task: &'a dyn Task,
    form: Soft,
    /// Which of the teacher's outputs is each of the student's; none where they are the same.
    order: Option<Vec<u32>>,
}

impl<'a> Asked<'a> {
    fn of(teacher: &'a Trained, dataset: &Dataset) -> Result<Self> {
        let (own, kind) = (dataset.task.as_ref(), &dataset.spec.kind);
        let Some(form) = own.soft() else {
            bail!("a task of kind {kind} cannot be learnt from a teacher's answers; leave it out of `teachers`")
        };
        let (id, task) = teacher.task(&dataset.name)?;
        ensure!(
            task.soft() == Some(form) && task.reads() == own.reads(),
            "the teacher was trained on a task of another kind than {kind}"
        );
        let (theirs, names) = (task.names(), own.names());
        let missing = |of: &[String], among: &[String]| of.iter().find(|name| !among.contains(name)).cloned();
        if let Some(name) = missing(names, theirs) {
            bail!("the teacher has no label `{name}`; it knows {}", theirs.join(", "));
        }
        if let Some(name) = missing(theirs, names) {
            bail!("the teacher has a label `{name}`, which the task has not: {}", names.join(", "));
        }
        let place = |name: &String| theirs.iter().position(|known| known == name).map(|at| at as u32);
        let order = names.iter().map(place).collect::<Option<Vec<u32>>>().filter(|_| theirs != names);
        Ok(Self { teacher, id, task, form, order })
    }

    /// The targets of every training example of `dataset`.
    fn targets(&self, dataset: &Dataset, distill: &Distill, batch: usize) -> Result<Vec<Arc<[f32]>>> {
        let examples = self.encoded(dataset)?;
        let mut order: Vec<usize> = (0..examples.len()).collect();
        order.sort_by_key(|&at| examples.get(at).map_or(0, |example| example.encoded.ids.len()));
        let nothing: Arc<[f32]> = Arc::new([]);
        let mut found = vec![nothing; examples.len()];
        // See `Trainer::step`: a loop from within the pool wakes nobody who is awake.
        rayon::scope(|_| -> Result<()> {
            for chunk in order.chunks(batch.max(1)) {
                let texts: Vec<&Example> = chunk.iter().filter_map(|&at| examples.get(at)).collect();
                for (&at, targets) in chunk.iter().zip(self.batch(&texts, dataset.task.as_ref(), distill)?) {
                    if let Some(place) = found.get_mut(at) {
                        *place = targets;
                    }
                }
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// The training texts as the teacher reads them.
    fn encoded(&self, dataset: &Dataset) -> Result<Vec<Example>> {
        let (tokenizer, most) = (&self.teacher.tokenizer, self.teacher.recipe.train.max_tokens);
        let encode = |(at, example): (usize, &Example)| {
            let text = dataset.train.texts.get(example.row).context("a training example without its text")?;
            let encoded = tokenizer.encode(text, most).with_context(|| format!("training text {}", at + 1))?;
            Ok(Example { encoded, label: example.label.clone(), row: example.row })
        };
        dataset.train.examples.iter().enumerate().map(encode).collect()
    }

    /// The targets of a few texts.
    fn batch(&self, texts: &[&Example], own: &dyn Task, distill: &Distill) -> Result<Vec<Arc<[f32]>>> {
        let model = self.teacher.model_of(self.id);
        let encoded = texts.iter().map(|example| &example.encoded);
        let tokens = if model.params.device().is_cpu() { Packed::new(encoded) } else { Packed::padded(encoded, 0) };
        if says_nothing(self.task, &tokens) {
            let nothing: Arc<[f32]> = Arc::new([]);
            return Ok(vec![nothing; texts.len()]);
        }
        let logits = model.logits(self.id, &tokens, &mut Pass::evaluation())?.detach();
        check_logits(&logits)?;
        let logits = match &self.order {
            Some(order) => logits.index_select(&Tensor::new(order.as_slice(), logits.device())?, 1)?,
            None => logits,
        };
        let targets = match self.form {
            // A value goes over from the teacher's units to those that the student is trained in.
            Soft::Value => {
                let answers = self.task.decode(&logits, &tokens)?;
                let labels: Vec<Label> = answers.into_iter().map(|answer| answer.label).collect();
                own.collate(&labels, &tokens, &Device::Cpu)?.unsqueeze(1)?
            }
            form => form.targets(&logits, distill.temperature)?,
        };
        let rows: Vec<Vec<f32>> = targets.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.to_vec2()?;
        let of = |sequence: usize| {
            let range = match self.task.reads() {
                Reads::Text => sequence..sequence + 1,
                Reads::Tokens => tokens.anchors_of(sequence),
            };
            rows.get(range).unwrap_or_default().concat().into()
        };
        Ok((0..texts.len()).map(of).collect())
    }
}

/// Hex SHA-256 of the weights that answer for a teacher's task, name by name.
fn weights(teacher: &Trained, id: TaskId) -> Result<String> {
    let mut digest = Sha256::new();
    for (name, tensor) in teacher.model_of(id).params.tensors()? {
        digest.update(format!("{name}\n"));
        for value in tensor.flatten_all()?.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.to_vec1::<f64>()? {
            digest.update(value.to_le_bytes());
        }
    }
    Ok(hex(&digest.finalize()))
}

impl Trainer {
    /// The loss of `batch` in step `step`: that of its labels, of what its teacher says where it has one, or of both.
    pub(crate) fn loss(&self, batch: &TaskBatch, step: usize, pass: &mut Pass) -> Result<Tensor> {
        let task = &self.tasks[batch.task.0];
        let logits = self.model.logits(batch.task, &batch.tokens, pass)?;
        let truth = task.collate(&batch.labels, &batch.tokens, logits.device())?;
        let loss = task.loss(&logits, &truth)?;
        let (Some(distill), Some(form)) = (&self.recipe.distill, task.soft()) else {
            return self.weighted(batch.task, loss);
        };
        if batch.teacher.is_empty() {
            return self.weighted(batch.task, loss);
        }
        let targets = targets(task.as_ref(), batch, logits.device())?;
        let taught = form.loss(&logits, &targets, distill.temperature)?;
        let labels = distill.label_weight_at(step, self.budget.of);
        self.weighted(batch.task, ((loss * labels)? + (taught * (1. - labels))?)?)
    }
}

/// What the teacher says of `batch`, `[rows, outputs]`. Of a word that it did not see, for it reads fewer tokens of a text,
/// the truth.
fn targets(task: &dyn Task, batch: &TaskBatch, device: &Device) -> Result<Tensor> {
    let outputs = task.outputs();
    let mut flat: Vec<f32> = Vec::new();
    for (sequence, said) in batch.teacher.iter().enumerate() {
        let rows = match task.reads() {
            Reads::Text => 1,
            Reads::Tokens => batch.tokens.anchors_of(sequence).len(),
        };
        flat.extend(said.iter().take(rows * outputs));
        for word in said.len() / outputs.max(1)..rows {
            let Some(Label::Tags(tags)) = batch.labels.get(sequence) else {
                bail!("task {}: the teacher said nothing of a text", batch.task.0)
            };
            flat.extend(
                (0..outputs).map(|tag| f32::from(u8::from(tags.get(word).is_some_and(|t| *t as usize == tag)))),
            );
        }
    }
    let rows = flat.len() / outputs.max(1);
    Ok(Tensor::from_vec(flat, (rows, outputs), device)?)
}
