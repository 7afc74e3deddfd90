//! Whole commands, as they are typed.

mod chain;
mod device;
#[cfg(unix)]
mod interrupted;
mod malformed;
mod names;
mod own;
mod shipped;
mod tool;
