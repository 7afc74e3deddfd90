//! The built-in samplers, a file each. A new sampler is one file and one line here.

mod settings;

use mtl_task::Member;

use crate::sampler::SamplerKind;

/// Declares each sampler's module and lists its entry.
macro_rules! samplers {
    ($($module:ident),* $(,)?) => {
        $(pub mod $module;)*

        const BUILT_IN: &[SamplerKind] = &[$($module::SAMPLER),*];
    };
}

samplers! {
    annealed,
    proportional,
    temperature,
    uniform,
}

impl Member for SamplerKind {
    const KIND: &'static str = "sampler";

    fn built_in() -> Vec<Self> {
        BUILT_IN.to_vec()
    }

    fn name(&self) -> &str {
        self.name
    }
}
