//! The members that recipes and manifests may name: the built-in tables, in one place.

use mtl_backbone::Architecture;
use mtl_eval::Metric;
use mtl_task::{Kind, Registry};

/// Every registry that a command reads.
#[derive(Clone)]
pub struct Registries {
    /// Encoder architectures.
    pub architectures: &'static [Architecture],
    /// Metrics.
    pub metrics: &'static [&'static dyn Metric],
    /// Optimizers.
    pub optimizers: &'static [mtl_train::optim::Entry],
    /// File readers.
    pub readers: &'static [mtl_data::reader::Reader],
    /// Weighting rules.
    pub rules: &'static [mtl_weighting::Entry],
    /// Samplers.
    pub samplers: &'static [mtl_data::sampler::Entry],
    /// Learning-rate schedules.
    pub schedules: &'static [(&'static str, mtl_train::schedule::Factor)],
    /// Sharing strategies.
    pub strategies: Registry<mtl_sharing::Strategy>,
    /// Task kinds.
    pub tasks: &'static [Kind],
}

impl Default for Registries {
    fn default() -> Self {
        Self {
            architectures: mtl_backbone::ARCHITECTURES,
            metrics: mtl_eval::METRICS,
            optimizers: mtl_train::optim::OPTIMIZERS,
            readers: mtl_data::reader::READERS,
            rules: mtl_weighting::RULES,
            samplers: mtl_data::sampler::SAMPLERS,
            schedules: mtl_train::schedule::SCHEDULES,
            strategies: Registry::default(),
            tasks: mtl_task::KINDS,
        }
    }
}

impl Registries {
    /// The weighting rule called `name`.
    ///
    /// # Errors
    /// If there is none; names the nearest.
    pub fn rule(&self, name: &str) -> anyhow::Result<&'static mtl_weighting::Entry> {
        mtl_weighting::find(name).map_err(|error| anyhow::anyhow!(error))
    }
}
