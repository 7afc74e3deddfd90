//! From task losses and gradients to one direction: every weighting rule of the field.
