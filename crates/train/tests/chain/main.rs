//! The chain from a recipe to a run folder, on tiny encoders and generated text.

mod apart;
mod optimizers;
mod recipe;
mod rules;
mod runs;
mod schedules;
mod step;
mod strategies;
mod subnetworks;
mod tiny;
