//! The members that recipes and manifests may name: the built-in ones by default, and those that a program adds.

use std::fmt;

use mtl_backbone::Architecture;
use mtl_data::generator::GeneratorKind;
use mtl_data::reader::Reader;
use mtl_data::{DataRegistries, SamplerKind};
use mtl_eval::{Metric, Metrics};
use mtl_sharing::Strategy;
use mtl_task::{Kind, Member, Registry};
use mtl_weighting::Rule;

use crate::optim::OptimizerKind;
use crate::schedule::ScheduleKind;

/// Every registry that a recipe, and what it names, is read by.
///
/// ```
/// let registries = mtl_train::Registries::default();
/// assert!(registries.strategies.find("hard").is_ok() && registries.rules.find("nash").is_ok());
/// assert!(registries.data.readers.find("csv").is_ok() && registries.metrics.find("accuracy").is_ok());
/// ```
#[derive(Clone, Default)]
pub struct Registries {
    /// Sharing strategies: `[sharing] strategy`.
    pub strategies: Registry<Strategy>,
    /// Weighting rules: `[weighting] rule`.
    pub rules: Registry<Rule>,
    /// Optimizers: `[optimizer] name`.
    pub optimizers: Registry<OptimizerKind>,
    /// Samplers: `[sampler] name`.
    pub samplers: Registry<SamplerKind>,
    /// Schedules: `[schedule] name`.
    pub schedules: Registry<ScheduleKind>,
    /// Architectures: `architecture` of a model's manifest.
    pub architectures: Registry<Architecture>,
    /// Metrics: `[task] metric` of a dataset's manifest, and those that a task kind names.
    pub metrics: Metrics,
    /// Task kinds, readers and generators, which datasets are loaded by.
    pub data: DataRegistries,
}

impl Registries {
    /// The names of all members, registry by registry.
    fn names(&self) -> [(&'static str, Vec<&str>); 10] {
        [
            (Strategy::KIND, self.strategies.names()),
            (Rule::KIND, self.rules.names()),
            (OptimizerKind::KIND, self.optimizers.names()),
            (SamplerKind::KIND, self.samplers.names()),
            (ScheduleKind::KIND, self.schedules.names()),
            (Architecture::KIND, self.architectures.names()),
            (<&dyn Metric as Member>::KIND, self.metrics.names()),
            (Kind::KIND, self.data.kinds.names()),
            (Reader::KIND, self.data.readers.names()),
            (GeneratorKind::KIND, self.data.generators.names()),
        ]
    }
}

impl fmt::Debug for Registries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.names()).finish()
    }
}

/// Two are the same if the same names are in them.
impl PartialEq for Registries {
    fn eq(&self, other: &Self) -> bool {
        self.names() == other.names()
    }
}
