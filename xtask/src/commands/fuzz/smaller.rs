//! The smallest part of an input that fails as the whole does, by leaving out halves, quarters and so on.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::Fuzz;
use super::failure::{Failure, Kind};
use super::watched::Watched;

/// Every try starts a process.
const MOST_TRIES: usize = 200;
const LONGEST: Duration = Duration::from_secs(30);

/// A part of the failure's input that fails alike. What takes long is left as it is.
pub(super) fn input(fuzz: &Fuzz, failure: &Failure) -> Result<Vec<u8>> {
    let mut bytes = failure.input.clone();
    if matches!(failure.kind, Kind::Slow(_)) {
        return Ok(bytes);
    }
    let (start, mut tries) = (Instant::now(), 0);
    let mut size = bytes.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < bytes.len() {
            if tries == MOST_TRIES || start.elapsed() > LONGEST {
                return Ok(bytes);
            }
            tries += 1;
            let end = (at + size).min(bytes.len());
            let part = [&bytes[..at], &bytes[end..]].concat();
            if fails_alike(fuzz, failure, &part)? {
                bytes = part;
            } else {
                at = end;
            }
        }
        size /= 2;
    }
    Ok(bytes)
}

fn fails_alike(fuzz: &Fuzz, failure: &Failure, part: &[u8]) -> Result<bool> {
    let path = std::env::temp_dir().join(format!("mtl-fuzz-part-{}", std::process::id()));
    std::fs::write(&path, part)?;
    let found = Watched::new(fuzz, failure.target)?.input(&path);
    std::fs::remove_file(&path)?;
    Ok(found?.0.is_some_and(|kind| kind.is_like(&failure.kind)))
}
