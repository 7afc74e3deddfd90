//! Whole commands, as they are typed.

mod chain;
mod comparing;
mod device;
mod explain;
mod export;
mod folders;
mod init;
#[cfg(unix)]
mod interrupted;
mod kept;
mod labels;
mod malformed;
#[cfg(target_os = "linux")]
mod memory;
mod names;
mod own;
mod own_data;
mod own_method;
mod paper;
mod paths;
mod shipped;
#[cfg(target_os = "linux")]
mod streams;
mod tables;
mod tool;
#[cfg(unix)]
mod tutorial;
mod unify;
