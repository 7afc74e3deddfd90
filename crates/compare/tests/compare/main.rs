//! Comparisons from beginning to end, on generated text.

mod comparison;
mod library;
mod resumption;
