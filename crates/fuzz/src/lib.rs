//! Every parser that reads what strangers write, as a function of bytes, with valid files to begin from.
//!
//! A [`Target`] says what such a file is called and how the product reads it. `cargo xtask fuzz` gives it mutations of the
//! [`corpus`] ([`mutate`]) on a stable toolchain, each in a process with little memory and a watchdog; `fuzz/` is a
//! folder for cargo-fuzz, which gives it what libFuzzer finds by coverage.
//!
//! An input fails by a panic, an abort, too much time, or a message that nobody can read; a refusal is as good as an
//! answer. What has failed once stays in the corpus.

pub mod corpus;
mod dictionary;
pub mod mutate;
mod scratch;
mod targets;

pub use scratch::here as scratch_folder;
pub use targets::{FAULTS, TARGETS, trained_run};

/// A longer message is no help. It may show the input more than once; the command line cuts long lines.
const LONGEST_MESSAGE: usize = 20_000;
const SHOWN: usize = 4;

/// A parser, as the product calls it.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What it is called on the command line; its folder of the corpus.
    pub name: &'static str,
    /// What its input is.
    pub about: &'static str,
    /// Reads an input.
    pub read: fn(&[u8]) -> anyhow::Result<()>,
    /// What is put into inputs in place of their tokens, beside [`mutate::ODD`].
    pub dictionary: &'static [&'static [u8]],
    /// Whether a parser of another crate reads it, whose panics become errors at the border.
    pub foreign: bool,
}

impl Target {
    /// The target called `name`.
    pub fn named(name: &str) -> Option<&'static Self> {
        TARGETS.iter().chain(FAULTS).find(|target| target.name == name)
    }

    /// Reads `bytes`: the entry point of every fuzzer.
    ///
    /// # Panics
    /// If the input fails.
    pub fn run(&self, bytes: &[u8]) {
        let Err(error) = (self.read)(bytes) else { return };
        let message = format!("{error:#}");
        assert!(!message.is_empty(), "a refusal without a word");
        let most = LONGEST_MESSAGE + SHOWN * bytes.len();
        assert!(message.len() < most, "{} bytes of message about {}", message.len(), bytes.len());
        assert!(self.foreign || !message.contains(" gave up"), "a panic that was contained: {message}");
    }
}
