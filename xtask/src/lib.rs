//! The command line of mtl as a library, so that its parts can be tested.

pub mod fetch;
