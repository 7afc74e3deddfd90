//! Whole commands, as they are typed.

mod chain;
#[cfg(unix)]
mod device;
#[cfg(unix)]
mod interrupted;
mod malformed;
mod names;
mod own;
mod readme;
mod tool;
