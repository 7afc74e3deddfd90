//! `pretrain`: trains an encoder as a recipe says, and writes it as a model's folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor};
use clap::Args;
use mtl_backbone::Encoder;
use mtl_backbone::checkpoint::write_safetensors_atomic;
use mtl_cli::locate::{self, Files};
use mtl_compare::Library;
use mtl_task::TaskId;
use mtl_train::{Ended, Run, RunOptions, Silent, Start, Trained, write_atomically};
use sha2::{Digest, Sha256};

/// Train an encoder by a recipe, and write it as the files of a model: config.json, tokenizer.json, model.safetensors
///
/// The first task's view of the encoder is what is written, under the hub's names. The same recipe gives the same bytes.
#[derive(Debug, Args)]
pub(crate) struct Pretrain {
    /// The recipe: a name, or a path
    #[arg(default_value = "planted-text")]
    recipe: String,
    /// The folder that the files are written to
    #[arg(long, default_value = "models/embedded-pretrained")]
    out: PathBuf,
}

impl Pretrain {
    pub(crate) fn run(self, context: &mtl_cli::Context) -> Result<ExitCode> {
        let locate::Given { name, recipe } = locate::recipe(&context.registries, &self.recipe, &[])?;
        let located = Files::new(&context.registries, true)?.locate(&recipe)?;
        let scratch = tempfile::tempdir().context("cannot make a folder to train in")?;
        let out = scratch.path().join("run");
        let options = RunOptions {
            out: out.clone(),
            start: Start::New,
            recipe_name: name,
            fallback: false,
            commit: None,
            device_name: "cpu".into(),
        };
        let run = Run::new(recipe, &located, options, &Device::Cpu)?;
        let Ended::Finished(report) = run.execute(&mut Silent)? else { bail!("the run was interrupted") };
        for (task, scores) in &report.tasks {
            println!(
                "{task}: {} {:.4}, baseline {:.4}",
                scores.headline,
                scores.test.unwrap_or(f64::NAN),
                scores.trivial
            );
        }
        let trained = Trained::open(&context.registries, &out, &Device::Cpu)?;
        let parts = trained.model().sharing.merged(TaskId(0))?;
        let parts = parts.context("the recipe's strategy is more than one encoder's weights; `hard` is one")?;
        let mut tensors: BTreeMap<String, Tensor> = BTreeMap::new();
        for (part, flat) in parts {
            for entry in trained.model().encoder.layout(part).entries() {
                let values = flat.narrow(0, entry.range.start, entry.range.len())?;
                tensors.insert(entry.name.clone(), values.reshape(entry.shape.as_slice())?);
            }
        }
        fs::create_dir_all(&self.out).with_context(|| format!("cannot make the folder {}", self.out.display()))?;
        write_safetensors_atomic(&self.out.join("model.safetensors"), &tensors)?;
        for file in ["config.json", "tokenizer.json"] {
            let from = out.join("encoder").join(file);
            let bytes = fs::read(&from).with_context(|| format!("cannot read {}", from.display()))?;
            write_atomically(&self.out.join(file), &bytes)?;
        }
        for file in ["config.json", "tokenizer.json", "model.safetensors"] {
            let bytes = fs::read(self.out.join(file))?;
            let digits: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            println!("    {{ path = \"{file}\", sha256 = \"{digits}\" }},   # {} bytes", bytes.len());
        }
        Ok(ExitCode::SUCCESS)
    }
}
