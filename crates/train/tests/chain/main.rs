//! The chain from a recipe to a run folder, on tiny encoders and generated text.

mod apart;
mod diverging;
mod dry_run;
mod groups;
mod kept;
mod masked;
mod recipe;
mod rules;
mod runs;
mod schedules;
mod settings;
mod snapshots;
mod starts;
mod step;
mod stored;
mod strategies;
mod subnetworks;
mod summed;
mod tasks;
mod taught;
mod tiny;
mod walk;
mod wordless;
