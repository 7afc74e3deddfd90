//! An input that fails, and what is told of it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use mtl_fuzz::Target;

use super::Fuzz;

/// How an input fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The process ended by itself: a panic, an abort, a signal.
    Broken {
        /// Its exit status, in words.
        how: String,
        /// What it said last.
        said: String,
    },
    /// It took so long, and was ended.
    Slow(Duration),
}

impl Kind {
    /// Whether `other` is a failure of the same cause, as far as can be told.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        // Up to the first digit behind the place a message is of the cause, then of the input.
        let cause =
            |said: &str| said.split_once(": ").map_or(said, |(_, rest)| rest).chars().take(40).collect::<String>();
        match (self, other) {
            (Self::Broken { how, said }, Self::Broken { how: other, said: also }) => {
                how == other && cause(said) == cause(also)
            }
            (Self::Slow(_), Self::Slow(_)) => true,
            _ => false,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Broken { how, said } => write!(f, "{how}: {said}"),
            Self::Slow(waited) => write!(f, "ended after {:.1} s", waited.as_secs_f64()),
        }
    }
}

/// An input on which a parser fails.
pub(super) struct Failure {
    pub(super) target: &'static Target,
    /// The case that makes the input.
    pub(super) case: Option<u64>,
    pub(super) kind: Kind,
    pub(super) input: Vec<u8>,
}

impl Failure {
    /// Writes `input`, the smallest that fails so, to a file, and says how to have it again.
    pub(super) fn tell(&self, fuzz: &Fuzz, input: &[u8]) -> Result<()> {
        let path = self.path(fuzz, input)?;
        let case = self.case.map(|case| format!("case {case} of seed {}", fuzz.seed)).unwrap_or_default();
        println!("  {}: {case}: {}", self.target.name, self.kind);
        println!("    input   {} ({} of {} bytes)", path.display(), input.len(), self.input.len());
        println!("    again   cargo xtask fuzz --target {} --input {}", self.target.name, path.display());
        let kept = format!("crates/fuzz/corpus/{}/bad-NAME", self.target.name);
        println!("    mended  cp {} {kept}", path.display());
        Ok(())
    }

    fn path(&self, fuzz: &Fuzz, input: &[u8]) -> Result<PathBuf> {
        std::fs::create_dir_all(&fuzz.out).with_context(|| format!("cannot make {}", fuzz.out.display()))?;
        let case = self.case.unwrap_or_default();
        let path = fuzz.out.join(format!("{}-{}-{case}", self.target.name, fuzz.seed));
        std::fs::write(&path, input).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}
