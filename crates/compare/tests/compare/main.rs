//! Comparisons from beginning to end, on generated text.

mod claims;
mod comparison;
mod integrity;
mod library;
mod measuring;
mod resumption;
mod teachers;
