//! Fetch, against servers of this process: nothing here leaves the loopback.

mod faults;
mod hub;
mod manifests;
mod order;
mod packages;
mod server;
mod whole;
