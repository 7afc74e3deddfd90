//! The members that manifests of datasets may name: the built-in ones by default, and those that a program adds.

use mtl_task::{Kind, Registry};

use crate::generator::GeneratorKind;
use crate::reader::Reader;

/// Every registry that a dataset is loaded by.
///
/// ```
/// let registries = mtl_data::DataRegistries::default();
/// assert!(registries.kinds.find("tagging").is_ok() && registries.readers.find("jsonl").is_ok());
/// ```
#[derive(Clone, Default)]
pub struct DataRegistries {
    /// Task kinds: `[task] kind`.
    pub kinds: Registry<Kind>,
    /// Readers: `[reader] name`.
    pub readers: Registry<Reader>,
    /// Generators: `[generator] name`.
    pub generators: Registry<GeneratorKind>,
}
