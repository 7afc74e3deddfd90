//! The tiny recipes that are harmed, and the manifests that they name.
//!
//! Between them they have what a run may keep: moments of either optimizer, states of rules over losses and over
//! gradients, strategies with weights of their own, with masks and phases and with nothing shared, every kind of kept
//! checkpoint, dropout, accumulation, steps of one task. Saves fall in the middle of epochs.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Steps between two saves.
pub(super) const SAVE_EVERY: usize = 2;

/// A recipe to be harmed.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: &'static str,
    /// What it says beside [`COMMON`], by section.
    settings: &'static [(&'static str, &'static str)],
}

/// The first one stands for all where time is short.
pub(super) const CASES: &[Case] = &[
    Case { name: "hard-nash", settings: &[("sharing", "strategy = \"hard\""), ("weighting", "rule = \"nash\"")] },
    Case {
        name: "cross-stitch-famo",
        settings: &[
            ("sharing", "strategy = \"cross-stitch\""),
            ("weighting", "rule = \"famo\""),
            ("train", "accumulate = 2"),
            ("evaluation", "keep_evaluations = true"),
        ],
    },
    Case {
        name: "sparse-auto-lambda",
        settings: &[
            ("sharing", "strategy = \"sparse\"\nrounds = 2"),
            ("weighting", "rule = \"auto-lambda\""),
            ("optimizer", "name = \"sgd\""),
        ],
    },
    Case {
        name: "single-equal",
        settings: &[
            ("sharing", "strategy = \"single\""),
            ("weighting", "rule = \"equal\""),
            ("train", "step = \"one\""),
            ("sampler", "name = \"annealed\""),
            ("evaluation", "keep = \"each\""),
        ],
    },
];

/// What every recipe says.
const COMMON: &[(&str, &str)] = &[
    ("head", "dropout = 0.1"),
    ("train", "steps = 8\nbatch = 2\nmax_tokens = 16\ndropout = 0.1\nthreads = 1"),
    ("optimizer", "rate = 3e-3"),
    ("evaluation", "every = 4\ndev_limit = 6\ntest_limit = 6"),
];

const TASKS: [(&str, &str); 3] = [("topic", "classification"), ("mood", "regression"), ("tags", "tagging")];

const MODEL: &str = r#"about = "two layers of width 16"
licence = "MIT OR Apache-2.0"
architecture = "bert"

[random]
hidden_size = 16
num_hidden_layers = 2
num_attention_heads = 2
intermediate_size = 32
max_position_embeddings = 32
type_vocab_size = 2
hidden_act = "gelu"
layer_norm_eps = 1e-12
initializer_range = 0.05
"#;

impl Case {
    fn recipe(&self) -> String {
        let tasks: Vec<String> = TASKS.iter().map(|(task, _)| format!("\"tiny-{task}\"")).collect();
        let mut text = format!("tasks = [{}]\ncheckpoint = \"tiny\"\n", tasks.join(", "));
        for section in ["sharing", "head", "weighting", "train", "sampler", "optimizer", "evaluation"] {
            text += &format!("\n[{section}]\n");
            for (_, lines) in COMMON.iter().chain(self.settings).filter(|(name, _)| *name == section) {
                text += &format!("{lines}\n");
            }
            if section == "train" {
                text += &format!("save_every = {SAVE_EVERY}\n");
            }
        }
        text
    }

    /// Writes the recipe and its manifests into `folder`, where its name finds them.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let write = |file: &str, text: &str| -> Result<()> {
            let path = folder.join(file);
            fs::create_dir_all(path.parent().unwrap_or(folder))?;
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        write(&format!("recipes/{}.toml", self.name), &self.recipe())?;
        write("models/tiny.toml", MODEL)?;
        for (task, kind) in TASKS {
            let text = format!(
                "about = \"generated text\"\nlicence = \"MIT OR Apache-2.0\"\n\n[task]\nkind = \"{kind}\"\n\n[generator]\n\
                 name = \"planted\"\ntask = \"{task}\"\nexamples = 90\n"
            );
            write(&format!("datasets/tiny-{task}.toml"), &text)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_a_recipe() {
        for case in CASES {
            let parsed = mtl_train::Recipe::parse(&Default::default(), case.name, &case.recipe(), &[]);
            let (recipe, _) = parsed.unwrap_or_else(|error| panic!("{}: {error:#}\n{}", case.name, case.recipe()));
            assert_eq!(recipe.train.save_every, SAVE_EVERY);
            assert!(recipe.train.steps > 2 * SAVE_EVERY && recipe.train.dropout > Some(0.));
        }
    }
}
