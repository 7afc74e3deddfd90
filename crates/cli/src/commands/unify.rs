//! `unify`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use candle_core::{DType, Device, Tensor as Array};
use clap::Args;
use mtl_backbone::{Encoder, Flat};
use mtl_compare::{Library, paths};
use mtl_data::Example;
use mtl_task::{Registry, TaskId};
use mtl_train::{Trained, headline, judged_truths, write_atomically, write_tensors};
use mtl_unify::{Inputs, Merged, Method, Model, Needs, Tensor, Tensors};
use serde_json::{Map, Value, json};

use crate::device::{OnDevice, set_threads};
use crate::local::DataFolders;
use crate::locate::Files;
use crate::output::{line, note};

/// Merge the encoders of single-task runs, and score what comes out on dev
///
/// Every run has one task and began from the same encoder. Each method makes one encoder of theirs (some keep a small
/// addition for each task), and each task's own head answers its dev split on it: beside its own encoder, and the one
/// that all began from.
#[derive(Debug, Args)]
pub struct Unify {
    /// The run folders, two or more
    #[arg(required = true, num_args = 2..)]
    runs: Vec<PathBuf>,
    /// A method; may be repeated [default: all that need weights alone]
    #[arg(long = "method", value_name = "NAME")]
    methods: Vec<String>,
    /// A method's setting, such as ties.density=0.3; may be repeated
    #[arg(long, value_name = "METHOD.KEY=VALUE")]
    set: Vec<String>,
    /// Write the merged encoders, heads and scores here, a folder for each method
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    #[command(flatten)]
    folders: DataFolders,
    #[command(flatten)]
    on: OnDevice,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Work offline: use only what is on this machine
    #[arg(long)]
    offline: bool,
}

/// What one candidate scores.
struct Scored {
    name: String,
    settings: Value,
    /// On each task's dev split, in the runs' order.
    scores: Vec<f64>,
    /// Bytes of its encoder weights.
    bytes: usize,
}

impl Unify {
    pub(super) fn run(self, context: &crate::Context) -> Result<ExitCode> {
        if let Some(code) = self.on.rerun(&context.program)? {
            return Ok(code);
        }
        set_threads(0)?;
        let registry = Registry::<Method>::default();
        let settings = settings(&registry, &self.set)?;
        let methods = self.methods(&registry)?;
        if let Some(out) = &self.out {
            let taken = std::fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some());
            ensure!(!taken, "--out {}: there are files in it; name a folder that is new or empty", out.display());
        }
        let files = Files::new(&context.registries, self.offline)?.with_data(&self.folders.data)?;
        let device = self.on.open()?;
        let open = |folder: &PathBuf| {
            let trained = Trained::open(&context.registries, folder, &device)?;
            Member::open(folder, trained, &files).with_context(|| folder.display().to_string())
        };
        let members = self.runs.iter().map(open).collect::<Result<Vec<_>>>()?;
        let inputs = inputs(&members)?;
        let size = 4 * inputs.ancestor().values().map(|tensor| tensor.values.len()).sum::<usize>();

        let mut all = Vec::new();
        let own = |member: &Member| member.score(&member.own);
        let scores = members.iter().map(own).collect::<Result<_>>()?;
        all.push(Scored { name: "separate".into(), settings: json!({}), scores, bytes: size * members.len() });
        let first = |member: &Member| member.score(inputs.ancestor());
        let scores = members.iter().map(first).collect::<Result<_>>()?;
        all.push(Scored { name: "ancestor".into(), settings: json!({}), scores, bytes: size });
        for method in methods.iter().filter(|method| self.asked(method, &members)) {
            let given = settings.get(method.name).cloned().unwrap_or_default();
            let merged = method.merge(&Value::Object(given.clone()), &inputs)?;
            let score = |(at, member): (usize, &Member)| member.score(&merged.of_task(at, inputs.ancestor())?);
            let scores = members.iter().enumerate().map(score).collect::<Result<_>>()?;
            let mut whole = (method.defaults)();
            given.into_iter().for_each(|(key, value)| whole[key] = value);
            if let Some(out) = &self.out {
                write(&out.join(method.name), &self.runs, &members, &merged, &inputs)?;
            }
            all.push(Scored { name: method.name.into(), settings: whole, scores, bytes: merged.stored_bytes() });
        }
        let report = report(&members, &all, size);
        if let Some(out) = &self.out {
            write_atomically(&out.join("scores.json"), serde_json::to_string_pretty(&report)?.as_bytes())?;
        }
        match self.json {
            true => line(&serde_json::to_string_pretty(&report)?)?,
            false => table(&members, &all, size).iter().try_for_each(|row| line(row))?,
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Those that were named, or all.
    fn methods(&self, registry: &Registry<Method>) -> Result<Vec<Method>> {
        if self.methods.is_empty() {
            return Ok(registry.iter().copied().collect());
        }
        self.methods.iter().map(|name| registry.find(name).copied()).collect()
    }

    /// Whether a method takes part: each that was named, and of the others those that need no more than these weights.
    fn asked(&self, method: &Method, members: &[Member]) -> bool {
        let Needs { at_least, at_most, fisher, inner_products } = method.needs;
        let fits = members.len() >= at_least && at_most.is_none_or(|most| members.len() <= most);
        if !self.methods.is_empty() || fits && !fisher && !inner_products {
            return true;
        }
        note(&format!("`{}` is left out: it needs {}", method.name, method.needs.words()));
        false
    }
}

/// A run, its task, and what it is scored on.
struct Member {
    task: String,
    id: TaskId,
    trained: Trained,
    dev: Vec<Example>,
    metric: String,
    ancestor: Tensors,
    own: Tensors,
}

impl Member {
    fn open(folder: &Path, trained: Trained, files: &Files) -> Result<Self> {
        let names: Vec<&str> = trained.tasks.iter().map(|(name, _)| name.as_str()).collect();
        let [name] = names[..] else {
            bail!("the run has {} tasks, {}; merging takes runs of one task", names.len(), names.join(", "))
        };
        let task = name.to_owned();
        let recipe = &trained.recipe;
        let anchored = paths::anchored_recipe(recipe, folder);
        files.check_data(&anchored.tasks)?;
        let located = files.locate(&anchored)?;
        let started = trained.started_from(&located.model)?;
        let mut ancestor = Tensors::new();
        for (part, values) in &started.weights {
            let values = match values {
                Flat::F32(values) => values.clone(),
                Flat::F64(values) => values.iter().map(|value| *value as f32).collect(),
            };
            take(&mut ancestor, started.encoder.layout(*part), &values);
        }
        let mut datasets = trained.datasets(&located, |name| recipe.load_options_of(name))?;
        let dev = std::mem::take(&mut datasets.first_mut().context("the run has no data")?.dev.examples);
        ensure!(!dev.is_empty(), "task `{task}` has no dev examples to score on");
        let (id, kind) = trained.task(&task)?;
        let metric = kind.metrics().first().context("the task has no metric")?.to_string();
        let own = weights(&trained, id)?;
        let member = Self { task, id, trained, dev, metric, ancestor, own };
        // Written back and read again: whatever a strategy adds to an encoder's weights would show twice.
        member.put(&member.ancestor)?;
        let again = weights(&member.trained, id)?;
        member.put(&member.own)?;
        ensure!(
            again == member.ancestor,
            "the strategy `{}` is more than the weights of one encoder; train the task with `sharing.strategy=single`",
            member.trained.recipe.sharing.name
        );
        Ok(member)
    }

    /// Gives the encoder these weights.
    fn put(&self, tensors: &Tensors) -> Result<()> {
        let params = &self.trained.model_of(self.id).params;
        let mut all: BTreeMap<String, Array> = params.tensors()?.into_iter().collect();
        for (name, array) in &mut all {
            if let Some(tensor) = name.split_once('/').and_then(|(_, name)| tensors.get(name)) {
                *array = array_of(tensor)?;
            }
        }
        Ok(params.assign(&all)?)
    }

    /// The headline score on dev of the task's head on an encoder of these weights.
    fn score(&self, tensors: &Tensors) -> Result<f64> {
        self.put(tensors)?;
        let answers = self.trained.answer_examples(self.id, &self.dev)?;
        let (_, task) = self.trained.task(&self.task)?;
        let metrics = &self.trained.recipe.registries.metrics;
        headline(metrics, task, &answers, &judged_truths(&self.dev)).with_context(|| format!("task `{}`", self.task))
    }

    /// The tensors of its head, by their names in checkpoints.
    fn head(&self) -> Result<BTreeMap<String, Array>> {
        let model = self.trained.model_of(self.id);
        let names = model.head(self.id).into_iter().collect();
        Ok(model.params.tensors_of(&names)?.into_iter().collect())
    }
}

/// The encoder of task `id` as a plain one.
fn weights(trained: &Trained, id: TaskId) -> Result<Tensors> {
    let model = trained.model_of(id);
    let Some(parts) = model.sharing.merged(id)? else {
        bail!("the strategy `{}` is more than the weights of one encoder", trained.recipe.sharing.name)
    };
    let mut tensors = Tensors::new();
    for (part, values) in parts {
        let values: Vec<f32> = values.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.to_vec1()?;
        take(&mut tensors, model.encoder.layout(part), &values);
    }
    Ok(tensors)
}

/// The tensors that lie in `values`.
fn take(tensors: &mut Tensors, layout: &mtl_backbone::Layout, values: &[f32]) {
    for entry in layout.entries() {
        let own = values.get(entry.range.clone()).unwrap_or_default().to_vec();
        tensors.insert(entry.name.clone(), Tensor { shape: entry.shape.clone(), values: own });
    }
}

fn array_of(tensor: &Tensor) -> Result<Array> {
    Ok(Array::from_vec(tensor.values.clone(), tensor.shape.as_slice(), &Device::Cpu)?)
}

fn inputs(members: &[Member]) -> Result<Inputs> {
    let first = members.first().context("there is no run")?;
    for other in members {
        ensure!(
            other.ancestor == first.ancestor,
            "the runs of `{}` and `{}` began from different encoder weights; merging takes runs of one encoder, and where \
             that is random, of one `train.seed`",
            first.task,
            other.task
        );
    }
    let model = |member: &Member| Model { name: member.task.clone(), tensors: member.own.clone(), ..Model::default() };
    Inputs::new(first.ancestor.clone(), members.iter().map(model).collect())
}

/// The settings of each method, from `METHOD.KEY=VALUE`.
fn settings(registry: &Registry<Method>, set: &[String]) -> Result<BTreeMap<&'static str, Map<String, Value>>> {
    let mut settings: BTreeMap<&'static str, Map<String, Value>> = BTreeMap::new();
    for given in set {
        let parts = given.split_once('=').and_then(|(path, value)| Some((path.split_once('.')?, value)));
        let Some(((method, key), value)) = parts else {
            bail!("--set {given}: expected METHOD.KEY=VALUE, such as ties.density=0.3")
        };
        let method = registry.find(method).with_context(|| format!("--set {given}"))?;
        let parsed = toml::from_str::<toml::Table>(&format!("value = {value}")).ok();
        let value = match parsed.and_then(|mut table| table.remove("value")) {
            Some(value) => serde_json::to_value(value)?,
            None => Value::from(value),
        };
        settings.entry(method.name).or_default().insert(key.to_owned(), value);
    }
    Ok(settings)
}

/// A folder in the form of the Hugging Face Hub with the merged encoder, and each task's head; where tasks have encoder
/// weights of their own, these too.
fn write(folder: &Path, runs: &[PathBuf], members: &[Member], merged: &Merged, inputs: &Inputs) -> Result<()> {
    let arrays = |tensors: &Tensors| -> Result<BTreeMap<String, Array>> {
        tensors.iter().map(|(name, tensor)| Ok((name.clone(), array_of(tensor)?))).collect()
    };
    write_tensors(&folder.join("model.safetensors"), &arrays(&merged.tensors)?)?;
    let encoder = runs.first().context("there is no run")?.join("encoder");
    let entries = std::fs::read_dir(&encoder).with_context(|| format!("cannot read {}", encoder.display()))?;
    for entry in entries {
        let entry = entry?;
        let bytes = std::fs::read(entry.path()).with_context(|| format!("cannot read {}", entry.path().display()))?;
        write_atomically(&folder.join(entry.file_name()), &bytes)?;
    }
    for (at, member) in members.iter().enumerate() {
        let own = folder.join("tasks").join(&member.task);
        write_tensors(&own.join("head.safetensors"), &member.head()?)?;
        if !merged.additions.is_empty() {
            write_tensors(&own.join("model.safetensors"), &arrays(&merged.of_task(at, inputs.ancestor())?)?)?;
        }
    }
    Ok(())
}

fn mean(scores: &[f64]) -> f64 {
    scores.iter().sum::<f64>() / scores.len() as f64
}

fn report(members: &[Member], all: &[Scored], size: usize) -> Value {
    let candidate = |scored: &Scored| {
        let scores = members.iter().zip(&scored.scores).map(|(member, score)| (member.task.clone(), json!(score)));
        let own = json!({
            "settings": scored.settings,
            "scores": scores.collect::<Map<_, _>>(),
            "mean": mean(&scored.scores),
            "encoders": scored.bytes as f64 / size as f64,
        });
        (scored.name.clone(), own)
    };
    let metrics = members.iter().map(|member| (member.task.clone(), json!(member.metric))).collect::<Map<_, _>>();
    json!({ "split": "dev", "metrics": metrics, "merged": all.iter().map(candidate).collect::<Map<_, _>>() })
}

fn table(members: &[Member], all: &[Scored], size: usize) -> Vec<String> {
    let heads: Vec<String> = members.iter().map(|member| format!("{} {}", member.task, member.metric)).collect();
    let mut rows = vec![format!("| dev | {} | mean | encoders |", heads.join(" | "))];
    rows.push(format!("| --- | {}--: | --: |", "--: | ".repeat(heads.len())));
    for scored in all {
        let cells: Vec<String> = scored.scores.iter().map(|score| format!("{score:.4}")).collect();
        let encoders = scored.bytes as f64 / size as f64;
        let mean = mean(&scored.scores);
        rows.push(format!("| {} | {} | {mean:.4} | {encoders:.2} |", scored.name, cells.join(" | ")));
    }
    rows
}
