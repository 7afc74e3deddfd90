//! Fetch, against servers of this process: nothing here leaves the loopback.
#![allow(clippy::print_stdout, reason = "a skipped test says so")]

mod faults;
mod hub;
mod manifests;
mod order;
mod packages;
mod push;
mod server;
mod whole;
