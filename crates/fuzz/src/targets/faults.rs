//! Parsers that fail on every input, each in another way: whoever runs fuzzers has to notice.

use anyhow::Result;

pub(super) fn panics(bytes: &[u8]) -> Result<()> {
    panic!("{} bytes are too many", bytes.len())
}

/// Takes memory without end, as far as there is any.
pub(super) fn hoards(_bytes: &[u8]) -> Result<()> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    loop {
        all.push(std::hint::black_box(vec![1; 1 << 24]));
    }
}

pub(super) fn loops(_bytes: &[u8]) -> Result<()> {
    loop {
        std::hint::black_box(0);
    }
}

pub(super) fn rambles(_bytes: &[u8]) -> Result<()> {
    anyhow::bail!("{}", "and so on ".repeat(10_000))
}
