//! One of the parsers of `mtl-fuzz` under libFuzzer: the one that this program is called like.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mtl_fuzz::Target;

static TARGET: LazyLock<&Target> = LazyLock::new(|| Target::named(env!("CARGO_BIN_NAME")).expect("a target's name"));

fuzz_target!(|bytes: &[u8]| TARGET.run(bytes));
