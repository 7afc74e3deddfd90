//! The recipe and the training loop, where the crates meet.
