//! From task losses and gradients to one direction: every weighting rule of the field.
//!
//! A rule is a small deterministic function of what it may look at, and its kind is its cost: [`FromLosses`] sees K
//! losses, [`FromGram`] the K×K inner products of the task gradients, [`FromJacobian`] the gradients themselves. All
//! arithmetic is f64; no rule touches a tensor, a device or a file, and none can fail: what goes wrong is a
//! [`Status`]. [`rules`] has a file for each; a [`Registry<Rule>`](mtl_task::Registry) holds them by name, and a program's
//! own beside them. [`GroupRule`] is a rule at work on a group of tasks of which some may be absent.
//!
//! Notation of the module docs: gᵢ is the gradient of task i's loss ℓᵢ on the shared parameters, G = (⟨gᵢ, gⱼ⟩) their
//! Gram matrix, C the same for unit gradients, w or α the weights, d = Σ wᵢ gᵢ the direction (θ ← θ − η d).

mod adam;
mod group;
mod horizon;
mod inputs;
mod jacobian;
mod matrix;
mod outcome;
mod per_task;
mod property;
mod rule;
pub mod rules;
mod settings;
mod softmax;
mod solver;
mod state;
mod table;
mod vectors;
mod weighting;

pub use group::GroupRule;
pub use horizon::Horizon;
pub use inputs::{Needs, Preference, Private, StepInputs};
pub use jacobian::{Dense, Jacobian};
pub use matrix::matrix;
pub use mtl_nash::{Gram, Status};
pub use outcome::{CachedWeights, Outcome, TOLERANCE, Warning};
pub use per_task::PerTask;
pub use property::Property;
pub use rule::{Rule, Select};
pub use state::{State, StateShape};
pub use vectors::TaskVectors;
pub use weighting::{Class, FromGram, FromJacobian, FromLosses, Weighting, WeightingRule};
