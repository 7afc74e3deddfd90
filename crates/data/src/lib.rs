//! Files to tokenised multi-task steps: manifests, readers, tokenizer, samplers, splits.
//!
//! ```text
//! manifest ─► reader ─► rows ─► splits ─► tokenizer ─► Dataset ─► Sampler + collate ─► TaskBatch
//! ```
//!
//! [`load_all`] walks the first line for the datasets of tasks that are trained together, so that no text of any dev or
//! test split is trained on by any task; a [`Sampler`] says which examples a step sees, [`collate`] packs
//! them. Everything is a function of files, manifest and seed: nothing here keeps state between steps.

// What strangers wrote is read here: a file that is odd is an error, never a panic.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

mod audit;
mod collate;
mod dataset;
mod fingerprint;
pub mod generator;
pub mod guess;
mod literal;
pub mod mail;
pub mod manifest;
pub mod reader;
mod registries;
mod rows;
mod sampler;
pub mod samplers;
mod seal;
mod split;
mod table;
mod texts;
mod tokenizer;

pub use audit::{Audit, Balance, Overlap, SplitAudit, TaskAudit, audit};
pub use collate::collate;
pub use dataset::{Dataset, Example, LoadOptions, Split, TaskSource, load, load_all, load_each, survey};
pub use fingerprint::{Fingerprint, SplitFingerprint, files as file_fingerprints};
pub use registries::DataRegistries;
pub use sampler::{Sampler, SamplerKind};
pub use seal::{Sealed, TestKey};
pub use split::overlap::OverlapPolicy;
pub use texts::{RawExample, Texts};
pub use tokenizer::Tokenizer;
