//! The optimizers, apart from the chain, so that they can be tested again in seconds.

mod formula;
mod moments;
mod pytorch;
