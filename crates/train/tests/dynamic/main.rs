//! A structure that changes in training: parameters that appear later are weighted, clipped, audited and resumed like
//! any other, under every class of rule.

#[path = "../chain/tiny.rs"]
#[allow(dead_code, reason = "the chain's tests use what these do not")]
mod tiny;

mod adaptive;
mod apart;
mod gamble;
mod groups;
mod recon;
mod resume;
mod strategy;
