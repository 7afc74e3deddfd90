//! From task losses and gradients to one direction: every weighting rule of the field.
//!
//! A rule is a small deterministic function of what it may look at, and its kind is its cost: [`FromLosses`] sees K
//! losses, [`FromGram`] the K×K inner products of the task gradients, [`FromJacobian`] the gradients themselves. All
//! arithmetic is f64; no rule touches a tensor, a device or a file, and none can fail: what goes wrong is a
//! [`Status`]. [`RULES`] lists them, [`find`] looks one up by name.
//!
//! Notation of the module docs: gᵢ is the gradient of task i's loss ℓᵢ on the shared parameters, G = (⟨gᵢ, gⱼ⟩) their
//! Gram matrix, C the same for unit gradients, w or α the weights, d = Σ wᵢ gᵢ the direction (θ ← θ − η d).

mod adam;
mod buffer;
mod inputs;
mod jacobian;
mod outcome;
mod property;
mod registry;
mod rule;
mod settings;
mod softmax;
mod solver;
mod state;
mod table;

mod aligned_mtl;
mod auto_lambda;
mod cagrad;
mod config;
mod db_mtl;
mod dualproj;
mod dwa;
mod equal;
mod excess_mtl;
mod fairgrad;
mod famo;
mod fixed;
mod gls;
mod graddrop;
mod gradnorm;
mod gradvac;
mod imtl_g;
mod imtl_l;
mod krum;
mod mean;
mod mgda;
mod moco;
mod modo;
mod nash;
mod pcgrad;
mod random;
mod scale_invariant;
mod sdmgrad;
mod single_task;
mod stch;
mod trimmed_mean;
mod uncertainty;
mod upgrad;

pub(crate) use inputs::Preference;
pub use inputs::{Needs, Private, StepInputs};
pub use jacobian::{Dense, Jacobian};
pub use mtl_nash::{Gram, Status};
pub use outcome::{CachedWeights, Outcome, Warning};
pub use property::{Property, matrix};
pub use registry::{Class, Entry, RULES, find};
pub use rule::{FromGram, FromJacobian, FromLosses, Rule, Weighting};
pub use state::State;
