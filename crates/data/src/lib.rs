//! Files to tokenised multi-task steps: manifests, readers, tokenizer, samplers, splits.
//!
//! ```text
//! manifest ─► reader ─► rows ─► splits ─► tokenizer ─► Dataset ─► Sampler + collate ─► TaskBatch
//! ```
//!
//! [`load`] walks the first line for one dataset; a [`Sampler`] says which examples a step sees, [`collate`] packs
//! them. Everything is a function of files, manifest and seed: nothing here keeps state between steps.

mod audit;
mod collate;
mod dataset;
pub mod generator;
pub mod mail;
pub mod manifest;
pub mod reader;
mod registries;
mod rows;
mod sampler;
pub mod samplers;
mod seal;
mod split;
mod texts;
mod tokenizer;

pub use audit::{Audit, Balance, Overlap, SplitAudit, TaskAudit, audit};
pub use collate::collate;
pub use dataset::{Dataset, Example, LoadOptions, Split, load, survey};
pub use registries::DataRegistries;
pub use sampler::{Sampler, SamplerKind};
pub use seal::{Sealed, TestKey};
pub use texts::{RawExample, Texts};
pub use tokenizer::Tokenizer;
