//! Optimizers: from a gradient to a step, one parameter at a time, with explicit state.

mod adamw;
mod flat;
mod registry;
mod sgd;

use std::collections::BTreeMap;

use candle_core::{Result, Tensor};
use mtl_backbone::{GradientBlock, Param};
use mtl_sharing::{Bits, Moments};

pub use registry::OptimizerKind;
pub(crate) use registry::rate;

/// The gradient of one parameter, Σ weight · segment, not yet added up: the optimizer does that on the way.
#[derive(Clone, Debug, Default)]
pub struct WeightedSum<'a>(pub Vec<(f64, &'a GradientBlock)>);

/// How a step moves one parameter.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace<'a> {
    /// The learning rate of the step.
    pub rate: f64,
    /// The weight decay in place of the optimizer's own; an optimizer that has none need not look at it.
    pub weight_decay: Option<f64>,
    /// Elements outside it stay as they are; none stays if left out.
    pub mask: Option<&'a Bits>,
}

impl Pace<'_> {
    /// The optimizer's own weight decay, and every element, at learning rate `rate`.
    pub fn of(rate: f64) -> Self {
        Self { rate, ..Self::default() }
    }
}

/// Makes steps. What is frozen or masked feels neither gradient, momentum nor decay. What it remembers of a parameter can
/// be split, joined and forgotten while training goes on, see [`Moments`].
pub trait Optimizer: Moments + Send + Sync {
    /// Changes `param` by a step against its gradient `blend`, as `pace` says.
    ///
    /// # Errors
    /// Those of candle.
    fn step(&mut self, param: &Param, blend: &WeightedSum, pace: Pace) -> Result<()>;

    /// How many vectors of a parameter's length it remembers: what an estimate of memory counts on.
    fn moments_kept(&self) -> usize {
        2
    }

    /// Forgets all moments.
    fn reset(&mut self);

    /// All that the next step depends on, as named tensors.
    ///
    /// # Errors
    /// Those of candle.
    fn state(&self) -> Result<BTreeMap<String, Tensor>>;

    /// Continues from a saved state.
    ///
    /// # Errors
    /// If it is no state of this optimizer.
    fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()>;
}
