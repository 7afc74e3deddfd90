//! Trained runs as folders of transformers and sentence-transformers, and such folders as runs.
//!
//! [`PlainModel::of`] says what one task of a run is as a plain network: the encoder's tensors by the hub's names, its
//! `config.json`, and the maps of its head, in the data's own units. [`write_task`] makes a folder of it that
//! `AutoModelFor…` or `SentenceTransformer` loads, [`write_run`] one of a whole run whose tasks share an encoder.
//!
//! ```no_run
//! use mtl_export::{Card, Format, PlainModel, write_task};
//! use mtl_train::{Registries, Trained};
//!
//! # fn main() -> anyhow::Result<()> {
//! let registries = std::sync::Arc::new(Registries::default());
//! let run = std::path::Path::new("runs/default");
//! let trained = Trained::open(&registries, run, &candle_core::Device::Cpu)?;
//! let (task, _) = trained.task("spam-assassin")?;
//! let plain = PlainModel::of(&trained, task)?;
//! let written = write_task(&plain, &trained, &Card::of(&trained, run)?, Format::Auto, "spam".as_ref())?;
//! assert_eq!(written.class, "BertForSequenceClassification");
//! # Ok(())
//! # }
//! ```

// Files of strangers are read here, and what is odd is an error, never a panic.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

mod answers;
mod card;
mod config;
mod fit;
mod folder;
mod plain;
mod sentence;
mod shared;
mod tokenizer;
mod transformers;
mod write;

pub use answers::Problem;
pub use card::{Card, Licence};
pub use fit::Fitted;
pub use plain::{LinearMap, PlainHead, PlainModel};
pub use write::{Format, Written, write_each, write_run, write_task};

/// The Rust in the README compiles and holds.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
