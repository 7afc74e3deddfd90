//! Files to tokenised multi-task steps: manifests, readers, tokenizer, samplers, splits.

pub mod mail;
pub mod manifest;
