//! The files that mutations begin from: a folder for each target, of files of a few hundred bytes.
//!
//! A file whose name begins with `bad-` is one that a parser refuses; those that it once failed on are of this kind.

use include_dir::{Dir, include_dir};

static FOLDERS: Dir = include_dir!("$CARGO_MANIFEST_DIR/corpus");

/// A file of the corpus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed {
    /// Its name in the target's folder.
    pub name: &'static str,
    /// Its content.
    pub bytes: &'static [u8],
}

impl Seed {
    /// Whether the parser ought to read it.
    pub fn is_valid(&self) -> bool {
        !self.name.starts_with("bad-")
    }
}

/// The files of the target called `target`, by name.
pub fn of(target: &str) -> Vec<Seed> {
    let files = FOLDERS.get_dir(target).into_iter().flat_map(Dir::files);
    let mut seeds: Vec<Seed> = files
        .filter_map(|file| Some(Seed { name: file.path().file_name()?.to_str()?, bytes: file.contents() }))
        .collect();
    seeds.sort_unstable_by_key(|seed| seed.name);
    seeds
}

/// The targets that have a folder, by name.
pub fn names() -> Vec<&'static str> {
    let mut names: Vec<&str> =
        FOLDERS.dirs().filter_map(|folder| folder.path().file_name()).filter_map(|name| name.to_str()).collect();
    names.sort_unstable();
    names
}
