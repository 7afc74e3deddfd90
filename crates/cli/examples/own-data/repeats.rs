//! Three letters, and whether the first one comes again.

use mtl_data::generator::GeneratorKind;
use mtl_data::reader::{At, Place};
use mtl_data::{RawExample, Texts};
use mtl_task::Cell;
use mtl_task::rng::Key;
use serde::Deserialize;

/// The member of the registry.
pub(crate) const GENERATOR: GeneratorKind = GeneratorKind {
    name: "repeats",
    about: "three letters, and whether the first one comes again",
    rows: |settings| Ok(rows(&serde_json::from_value(settings.clone())?).into()),
    vocabulary: |_| Ok(letters()),
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    examples: usize,
}

fn letters() -> Vec<String> {
    ('a'..='f').map(String::from).collect()
}

fn rows(settings: &Settings) -> Vec<RawExample> {
    let (letters, key) = (letters(), Key::new(0).named("repeats"));
    let row = |index: usize| {
        let mut stream = key.with(index as u64).stream();
        let words: Vec<&str> = (0..3).map(|_| letters[stream.below(letters.len())].as_str()).collect();
        let label = if words[1..].contains(&words[0]) { "again" } else { "once" };
        RawExample {
            texts: Texts::One(words.join(" ")),
            label: Cell::Text(label.into()),
            place: Place { file: "repeats".into(), at: At::Record(index + 1) },
        }
    };
    (0..settings.examples).map(row).collect()
}
