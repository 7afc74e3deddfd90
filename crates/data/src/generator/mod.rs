//! Generators: datasets that a program writes, so that they need no network and their truth is known.

mod kind;

use anyhow::{Context, Result};
use mtl_task::{Member, Registry};
use serde_json::Value;

use crate::manifest::Generator;

pub use kind::{Ceiling, Generated, GeneratorKind};
pub use planted::{Relation, Truth, truth};

/// Declares each generator's module and lists its entry. A new generator is one file and one line here.
macro_rules! generators {
    ($($module:ident),* $(,)?) => {
        $(pub mod $module;)*

        const BUILT_IN: &[GeneratorKind] = &[$($module::GENERATOR),*];
    };
}

generators! {
    planted,
}

impl Member for GeneratorKind {
    const KIND: &'static str = "generator";

    fn built_in() -> Vec<Self> {
        BUILT_IN.to_vec()
    }

    fn name(&self) -> &str {
        self.name
    }
}

/// What `generator` writes.
pub(crate) fn rows(generators: &Registry<GeneratorKind>, generator: &Generator) -> Result<Generated> {
    let (kind, settings) = (generators.find(&generator.name)?, settings(generator)?);
    (kind.rows)(&settings).with_context(|| format!("generator `{}`", generator.name))
}

/// Every word that `generator` may write.
pub(crate) fn vocabulary(generators: &Registry<GeneratorKind>, generator: &Generator) -> Result<Vec<String>> {
    let (kind, settings) = (generators.find(&generator.name)?, settings(generator)?);
    (kind.vocabulary)(&settings).with_context(|| format!("generator `{}`", generator.name))
}

fn settings(generator: &Generator) -> Result<Value> {
    Ok(serde_json::to_value(&generator.settings)?)
}
