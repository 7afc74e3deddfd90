//! `bench step`: what one training step costs, on the batches, heads and settings of the PyTorch peer in
//! `docs/benches/peers`.
//!
//! Three tasks of 2, 3 and 5 classes, each forward, loss and backward on a batch of its own, then bargaining if there
//! is one, and one AdamW update of every parameter. Step i uses set i mod 4 of its case.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Tensor};
use clap::{Args, ValueEnum};
use mtl_backbone::checkpoint::Checkpoint;
use mtl_backbone::kernel::ProductPrecision;
use mtl_backbone::{DeviceName, Family, Implementation as Route, Pretrained, pretrained, random};
use mtl_cli::Program;
use mtl_cli::commands::minilm;
use mtl_cli::device::{OnDevice, set_threads};
use mtl_task::rng::Key;
use mtl_task::{Encoded, Label, Packed, Progress, TaskBatch, TaskId, TaskSpec};
use mtl_train::{Recipe, Trainer, trainer};
use serde_json::{Value, json};

/// Classes of the tasks, in turn.
const CLASSES: [usize; 3] = [2, 3, 5];
/// Sets of batches a case.
const SETS: usize = 4;
/// Learning rate of the peer.
const RATE: f64 = 2e-5;

/// Time the training step on MiniLM's shape, three tasks at a time.
#[derive(Debug, Args)]
pub(super) struct BenchStep {
    /// ragged (16 texts of 8 to 64 tokens), f64 (16 × 64), f128 (16 × 128)
    #[arg(long, default_value = "f64")]
    case: String,
    /// ew (equal weights), nash, or forward (no gradient); any other word is a weighting rule
    #[arg(long, default_value = "ew")]
    mode: String,
    /// The sharing strategy
    #[arg(long, default_value = "hard")]
    strategy: String,
    /// What a rule over losses keeps: each task's gradient, as the log's norms and cosines need; the gradient of their
    /// weighted sum alone; or both in turns, with the ratio of their times
    #[arg(long, value_enum, default_value_t = Gradients::Each)]
    gradients: Gradients,
    /// Tasks
    #[arg(long, default_value_t = 3)]
    tasks: usize,
    /// Layers of the encoder, if it is not a given model
    #[arg(long, default_value_t = 6, conflicts_with = "model")]
    layers: usize,
    /// Width of its states, a multiple of 32; the feed-forward block is four times as wide
    #[arg(long, default_value_t = 384, conflicts_with = "model")]
    hidden: usize,
    /// Timed steps, after one that warms up
    #[arg(long, default_value_t = 5)]
    steps: usize,
    /// Threads; 0 for one a core
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// auto (the fused kernel) or reference (candle's own operations)
    #[arg(long, default_value = "auto")]
    path: String,
    /// f32 or bf16
    #[arg(long, default_value = "f32")]
    precision: String,
    // On a GPU texts are padded to one length.
    #[command(flatten)]
    on: OnDevice,
    /// A folder with config.json and model.safetensors; random weights of MiniLM's shape if left out
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// The peers' batches and heads, safetensors; drawn by seed if left out
    #[arg(long, value_name = "FILE")]
    batches: Option<PathBuf>,
    /// Measure the lines `CASE MODE STEPS` on standard input, see docs/benches/peers/README.md
    #[arg(long)]
    serve: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Which gradients a step keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Gradients {
    Each,
    Sum,
    Turns,
}

impl BenchStep {
    pub(super) fn run(self, program: &Program) -> Result<ExitCode> {
        if let Some(code) = self.on.rerun(program)? {
            return Ok(code);
        }
        set_threads(self.threads)?;
        let mut bench = Bench {
            pretrained: self.encoder()?,
            device: self.on.open()?,
            batches: self.batches.as_deref().map(read).transpose()?,
            strategy: self.strategy.clone(),
            tasks: self.tasks,
            trainers: BTreeMap::new(),
            steps: 0,
        };
        if self.serve {
            return serve(&mut bench).map(|()| ExitCode::SUCCESS);
        }
        if self.gradients == Gradients::Turns {
            return self.turns(&mut bench).map(|()| ExitCode::SUCCESS);
        }
        bench.time(&self.case, &self.mode, self.gradients, 1)?;
        let answer = bench.time(&self.case, &self.mode, self.gradients, self.steps)?;
        if self.json {
            println!("{answer}");
        } else {
            let mut times: Vec<f64> = answer["ms"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
            times.sort_by(f64::total_cmp);
            println!(
                "{} {} {}: median {:.0} ms a step of {} ({:.0} to {:.0}), peak memory {:.0} MB",
                self.case,
                self.mode,
                self.strategy,
                times[times.len() / 2],
                times.len(),
                times[0],
                times[times.len() - 1],
                answer["rss_mb"].as_f64().unwrap_or_default()
            );
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Times steps of both kinds in turns, on the same batches.
    fn turns(&self, bench: &mut Bench) -> Result<()> {
        let (mut times, mut ratios) = ([Vec::new(), Vec::new()], Vec::new());
        for turn in 0..=self.steps {
            let at = bench.steps;
            let mut pair = [0.; 2];
            // Whoever is second finds warm caches: they take turns at that too.
            let order = if turn % 2 == 0 { [0, 1] } else { [1, 0] };
            for which in order {
                bench.steps = at;
                let kept = [Gradients::Each, Gradients::Sum][which];
                let answer = bench.time(&self.case, &self.mode, kept, 1)?;
                pair[which] = answer["ms"][0].as_f64().context("a time")?;
            }
            if turn > 0 {
                times.iter_mut().zip(pair).for_each(|(times, time)| times.push(time));
                ratios.push(pair[1] / pair[0]);
            }
        }
        let [each, sum, ratio] = [&mut times[0].clone(), &mut times[1].clone(), &mut ratios].map(|values| {
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        });
        println!(
            "{} {} {}: median {each:.0} ms a step with each task's gradient, {sum:.0} ms with their sum; ratio {ratio:.3} \
             (median of {} turns, {:.3} to {:.3})",
            self.case,
            self.mode,
            self.strategy,
            ratios.len(),
            ratios[0],
            ratios[ratios.len() - 1],
        );
        Ok(())
    }

    fn encoder(&self) -> Result<Pretrained> {
        let mut pretrained = match &self.model {
            Some(folder) => pretrained(&Default::default(), &Checkpoint::read(folder)?)?,
            None => {
                let mut shape = minilm();
                shape["num_hidden_layers"] = self.layers.into();
                shape["hidden_size"] = self.hidden.into();
                shape["intermediate_size"] = (4 * self.hidden).into();
                shape["num_attention_heads"] = (self.hidden / 32).into();
                random(&Default::default(), "bert", &shape, Key::new(0))?
            }
        };
        let route = match self.path.as_str() {
            "auto" if self.on.device == DeviceName::Cpu => Route::Auto,
            "auto" | "reference" => Route::Reference,
            other => bail!("--path {other}: there are auto, reference"),
        };
        let precision = match self.precision.as_str() {
            "f32" => ProductPrecision::F32,
            "bf16" => ProductPrecision::Bf16,
            other => bail!("--precision {other}: there are f32, bf16"),
        };
        let plain: Family = pretrained.encoder.clone();
        pretrained.encoder = plain.with_path(route).with_dropout(0.1, 0.1).with_precision(precision)?;
        Ok(pretrained)
    }
}

struct Bench {
    pretrained: Pretrained,
    device: Device,
    batches: Option<BTreeMap<String, Tensor>>,
    strategy: String,
    tasks: usize,
    /// By rule and what is kept.
    trainers: BTreeMap<(String, Gradients), Trainer>,
    /// Steps of the whole life.
    steps: usize,
}

impl Bench {
    /// Runs `count` steps; returns their times and the peak memory.
    fn time(&mut self, case: &str, mode: &str, kept: Gradients, count: usize) -> Result<Value> {
        let rule = match mode {
            "ew" | "ewacc" | "forward" => "equal",
            "nash" | "nash_flat" => "nash",
            other => other,
        };
        let key = (rule.to_string(), kept);
        if !self.trainers.contains_key(&key) {
            let built = self.trainer(rule, kept)?;
            self.trainers.insert(key.clone(), built);
        }
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let batches = self.set(case, self.steps % SETS)?;
            let trainer = self.trainers.get_mut(&key).context("a trainer")?;
            let mini_batches = vec![batches; trainer.mini_batches()];
            let progress = Progress { step: self.steps, of: usize::MAX };
            let start = Instant::now();
            if mode == "forward" {
                for batch in &mini_batches[0] {
                    let mut pass = mtl_backbone::Pass::evaluation();
                    trainer.model.logits(batch.task, &batch.tokens, &mut pass)?;
                }
            } else {
                trainer.step(&mini_batches, progress, RATE, &mtl_train::DevSplits::none())?;
            }
            self.device.synchronize()?;
            times.push((start.elapsed().as_secs_f64() * 1e6).round() / 1e3);
            self.steps += 1;
        }
        Ok(json!({ "case": case, "mode": mode, "ms": times, "rss_mb": peak_memory() }))
    }

    fn trainer(&self, rule: &str, kept: Gradients) -> Result<Trainer> {
        let logged = usize::from(kept != Gradients::Sum);
        let names: Vec<String> = (0..self.tasks).map(|task| format!("task{task}")).collect();
        let text = format!(
            "tasks = {names:?}\ncheckpoint = \"bench\"\n[sharing]\nstrategy = \"{}\"\n[weighting]\nrule = \"{rule}\"\n\
             [train]\nclip = 0.0\nlog_gradients = {logged}\n[optimizer]\nrate = {RATE}\n\
             groups.head.scale = 1.0\n",
            self.strategy
        );
        let (recipe, _) = Recipe::parse(&Default::default(), "bench", &text, &[])?;
        let specs: Vec<(String, TaskSpec)> = names
            .into_iter()
            .enumerate()
            .map(|(task, name)| {
                let labels = (0..classes(task)).map(|class| class.to_string()).collect();
                (name, TaskSpec { kind: "classification".into(), labels, ..TaskSpec::default() })
            })
            .collect();
        let built = trainer(&recipe, &self.pretrained, &specs, &self.device)?;
        if let Some(tensors) = &self.batches {
            for (index, (name, _)) in specs.iter().enumerate() {
                for (ours, theirs) in [("weight", "w"), ("bias", "b")] {
                    let key = format!("head.{index}.{theirs}");
                    let value = tensors.get(&key).with_context(|| format!("the batch file has no `{key}`"))?;
                    let name = format!("task.{name}/head.{ours}");
                    let param = built.model.params.get(&name).with_context(|| format!("no parameter `{name}`"))?;
                    param.var().set(&value.reshape(param.tensor().shape())?.to_device(&self.device)?)?;
                }
            }
        }
        Ok(built)
    }

    /// One batch for every task.
    fn set(&self, case: &str, set: usize) -> Result<Vec<TaskBatch>> {
        (0..self.tasks)
            .map(|task| {
                let (texts, labels) = match &self.batches {
                    Some(tensors) => given(tensors, &format!("{case}.{set}.{task}"))?,
                    None => drawn(case, set, task)?,
                };
                let tokens = if self.device.is_cpu() { Packed::new(&texts) } else { Packed::padded(&texts, 0) };
                Ok(TaskBatch { task: TaskId(task), tokens, labels, teacher: Vec::new() })
            })
            .collect()
    }
}

fn classes(task: usize) -> usize {
    CLASSES[task % CLASSES.len()]
}

type Texts = (Vec<Encoded>, Vec<Label>);

fn given(tensors: &BTreeMap<String, Tensor>, key: &str) -> Result<Texts> {
    let numbers = |what: &str| -> Result<Tensor> {
        let name = format!("{key}.{what}");
        Ok(tensors.get(&name).with_context(|| format!("the batch file has no `{name}`"))?.to_dtype(DType::I64)?)
    };
    let (rows, lengths) = (numbers("ids")?.to_vec2::<i64>()?, numbers("len")?.to_vec1::<i64>()?);
    let texts = rows
        .iter()
        .zip(&lengths)
        .map(|(row, &length)| text(row[..length as usize].iter().map(|&id| id as u32).collect()));
    let labels = numbers("lab")?.to_vec1::<i64>()?.into_iter().map(|label| Label::Class(label as u32));
    Ok((texts.collect(), labels.collect()))
}

/// Texts of the case's lengths, ids and labels drawn by seed.
fn drawn(case: &str, set: usize, task: usize) -> Result<Texts> {
    let mut stream = Key::new(7).named(case).with(set as u64).with(task as u64).stream();
    let (texts, shortest, longest) = match case {
        "ragged" => (16, 8, 64),
        "f64" => (16, 64, 64),
        "f128" => (16, 128, 128),
        other => bail!("--case {other}: there are ragged, f64, f128"),
    };
    let mut draw = || {
        let length = shortest + stream.below(longest - shortest + 1);
        let ids = (0..length).map(|_| 1000 + stream.below(29_000) as u32).collect();
        (text(ids), Label::Class(stream.below(classes(task)) as u32))
    };
    Ok((0..texts).map(|_| draw()).unzip())
}

fn text(ids: Vec<u32>) -> Encoded {
    Encoded { segments: vec![0; ids.len()], ids, ..Encoded::default() }
}

fn read(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    mtl_train::read_tensors(path).with_context(|| format!("{}: the batches", path.display()))
}

fn serve(bench: &mut Bench) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", json!({ "ready": true }))?;
    out.flush()?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match words.as_slice() {
            [] => continue,
            [case, mode, steps] => steps
                .parse()
                .context("STEPS must be a whole number")
                .and_then(|steps| bench.time(case, mode, Gradients::Each, steps))
                .unwrap_or_else(|error| json!({ "error": format!("{error:#}") })),
            _ => json!({ "error": "a line is CASE MODE STEPS" }),
        };
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

/// The process's peak resident memory in megabytes, where the system tells it.
fn peak_memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kilobytes| kilobytes / 1024.)
}
