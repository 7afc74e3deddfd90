//! The recipe and the training loop, where the crates meet.
//!
//! [`Recipe`] says what is trained, on what, and how; [`Run`] does it: it builds every part by its registry, loops over
//! [`Trainer::step`], looks at dev, keeps checkpoints, and ends in a report. Nothing here prints or touches the
//! network: who runs it watches through an [`Observer`].

// What a library reads may be odd, and that is an error, never a panic; `unwrap` and its kin belong to tests.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod assemble;
mod audit;
mod captured;
mod constant;
mod control;
mod dev;
mod device;
pub mod diagnose;
mod distill;
pub mod dry_run;
mod evaluate;
mod finite;
mod gradients;
mod groups;
mod leaving;
#[deny(clippy::indexing_slicing, clippy::string_slice)]
mod manifest;
pub mod memory;
mod micro_batches;
mod observer;
pub mod optim;
#[deny(clippy::indexing_slicing, clippy::string_slice)]
mod recipe;
mod registries;
#[deny(clippy::indexing_slicing, clippy::string_slice)]
mod resume;
mod run;
pub mod schedule;
#[deny(clippy::indexing_slicing, clippy::string_slice)]
mod slim;
mod step;
#[deny(clippy::indexing_slicing, clippy::string_slice)]
mod store;
mod structure;
mod summed;
mod trained;
#[deny(clippy::indexing_slicing, clippy::string_slice)]
mod trained_on;

pub use assemble::{Assembled, Located, LocatedDataset, LocatedModel, assemble, audit_data, trainer};
pub use audit::audit;
pub use control::Control;
pub use dev::{DevSplits, OnDev};
pub use dry_run::{DryRun, dry_run};
pub use evaluate::{Forward, headline, judged_truths, train_sample};
pub use finite::is_divergence;
pub use gradients::{GradientRows, grams, total};
pub use manifest::check_manifest;
pub use observer::{Observer, Plan, Silent};
pub use recipe::{
    DecisionScope, Distill, Dropped, EncoderPath, Evaluation, Group, Keep, Member, Precision, Recipe, SECTIONS,
    Schedule, ScopeName, Section, StepKind, TaskSettings, Teachers, Test, Train, divided, task_name,
};
pub use registries::Registries;
pub use resume::{has_checkpoint, sweep_one as clear_temporaries, verify as verify_checkpoint};
pub use run::{Answered, Ended, EvaluationPoint, Finished, Run, RunOptions, Spent, Start, is_unfinished};
pub use slim::slim;
pub use step::{StepReport, Trainer};
pub use store::{read_tensors, write_atomically, write_tensors};
pub use trained::Trained;
