//! A member of the registry of methods. [`Registry<Method>`](mtl_task::Registry) holds the built-in ones by default,
//! and takes those of a program: every field is public, so that another crate can write its own constant.

use anyhow::{Result, bail, ensure};
use serde_json::Value;

use crate::{Inputs, Merged};

/// Makes one model of several.
pub trait Merge: Send + Sync {
    /// Merges `inputs`, which have what the method [`Needs`].
    ///
    /// # Errors
    /// If the formula has no answer for these weights or statistics.
    fn merge(&self, inputs: &Inputs) -> Result<Merged>;
}

/// What a method asks of its inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// The fewest models.
    pub at_least: usize,
    /// The most models; `None` for any number.
    pub at_most: Option<usize>,
    /// The Fisher information of every model.
    pub fisher: bool,
    /// The inner products of the layers' inputs of every model.
    pub inner_products: bool,
}

impl Needs {
    /// The weights alone, of any number of models.
    pub const WEIGHTS: Self = Self { at_least: 1, at_most: None, fisher: false, inner_products: false };

    /// What it is, in words.
    pub fn words(&self) -> String {
        let models = match (self.at_least, self.at_most) {
            (least, Some(most)) if least == most => format!("exactly {most} models"),
            (least, Some(most)) => format!("{least} to {most} models"),
            (1, None) => "weights".to_owned(),
            (least, None) => format!("at least {least} models"),
        };
        let more = [(self.fisher, "Fisher information"), (self.inner_products, "inner products of layer inputs")];
        let more = more.iter().filter(|(needed, _)| *needed).map(|(_, what)| format!(", {what}"));
        more.fold(models, |words, what| words + &what)
    }
}

/// A way to merge: what it is called, what it needs, and how it is built.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// The name a file uses.
    pub name: &'static str,
    /// Other names for it.
    pub aliases: &'static [&'static str],
    /// One line for a list.
    pub about: &'static str,
    /// Where it comes from.
    pub paper: &'static str,
    /// What it asks of its inputs.
    pub needs: Needs,
    /// Whether every task keeps something of its own, so that its weights are not those of the others.
    pub per_task: bool,
    /// Builds it from its settings, an object; unknown keys are refused with the nearest known.
    pub build: fn(settings: &Value) -> Result<Box<dyn Merge>, String>,
    /// Its settings with their default values, an object.
    pub defaults: fn() -> Value,
    /// The text of its source file, which [`mtl_task::page`] makes a page of.
    pub source: &'static str,
}

impl Method {
    /// Merges `inputs` with these settings, an object.
    ///
    /// # Errors
    /// If the settings are not this method's, the inputs lack what it needs, or a merged weight is not finite.
    pub fn merge(&self, settings: &Value, inputs: &Inputs) -> Result<Merged> {
        let merge = (self.build)(settings).map_err(anyhow::Error::msg)?;
        self.check(inputs)?;
        let merged = merge.merge(inputs)?;
        for (name, tensor) in &merged.tensors {
            if let Some(value) = tensor.values.iter().find(|value| !value.is_finite()) {
                bail!("`{}` makes {value} of tensor `{name}`: its settings are too large for these weights", self.name);
            }
        }
        Ok(merged)
    }

    fn check(&self, inputs: &Inputs) -> Result<()> {
        let (name, Needs { at_least, at_most, fisher, inner_products }) = (self.name, self.needs);
        let found = inputs.models().len();
        ensure!(
            found >= at_least && at_most.is_none_or(|most| found <= most),
            "`{name}` needs {}, found {found}",
            self.needs.words()
        );
        for model in inputs.models() {
            if fisher {
                let Some(known) = &model.fisher else {
                    bail!("`{name}` needs the Fisher information of model `{}`, which has none", model.name);
                };
                if let Some(tensor) = model.tensors.keys().find(|tensor| !known.contains_key(*tensor)) {
                    bail!("the Fisher information of model `{}` lacks tensor `{tensor}`", model.name);
                }
            }
            ensure!(
                !inner_products || model.inner_products.is_some(),
                "`{name}` needs the inner products of the layers' inputs of model `{}`, which has none",
                model.name
            );
        }
        Ok(())
    }
}
