//! Comparisons from beginning to end, on generated text.

mod comparison;
mod integrity;
mod library;
mod measuring;
mod resumption;
