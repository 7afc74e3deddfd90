//! Held against the field's own tools on random inputs; `tests/fixtures/make.py` wrote what they answer.

mod fixture;
mod metrics;
mod recovery;
mod statistics;
