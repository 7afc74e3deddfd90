//! The command line of mtl.
fn main() {}
