//! The invented words: fillers, and lists of words that tasks read, each word with a place in several readings.
//!
//! A list has `count` words. Reading r of word i is the r-th digit of i to the base 4, so that every two readings cross:
//! among the words that one reading takes for the same, another finds all four of its classes, equally often.

use mtl_task::rng::Stream;

/// Classes of a reading.
pub(super) const CLASSES: usize = 4;

/// Readings that a list may have.
pub(super) const READINGS: usize = 3;

/// The most words of a list.
pub(super) const MOST_WORDS: usize = 1024;

/// The most lists.
pub(super) const MOST_LISTS: usize = MARKS.len();

/// What the words of a list begin with.
const MARKS: [&str; 16] =
    ["ba", "do", "ku", "re", "vi", "za", "te", "lu", "mi", "no", "ga", "hi", "jo", "pu", "se", "wa"];

const FILLER: &str = "fo";

const FILLERS: usize = 24;

/// Word `index` of those that begin with `mark`.
fn word(mark: &str, index: usize) -> String {
    let syllable = |index: usize| {
        let (consonants, vowels) = (b"bdgklmnp", b"aeio");
        let letter = |of: &[u8], at: usize| of.get(at % of.len()).copied().map_or(' ', char::from);
        [letter(consonants, index), letter(vowels, index / consonants.len())]
    };
    mark.chars().chain(syllable(index)).chain(syllable(index / 32)).collect()
}

/// Word `index` of list `list`.
pub(super) fn listed(list: usize, index: usize) -> String {
    word(MARKS.get(list).copied().unwrap_or_default(), index)
}

/// One of the words that say nothing.
pub(super) fn filler(stream: &mut Stream) -> String {
    word(FILLER, stream.below(FILLERS))
}

/// Every word of `lists` lists of `count` words, and the fillers.
pub(super) fn all(lists: usize, count: usize) -> Vec<String> {
    let listed = (0..lists).flat_map(|list| (0..count).map(move |index| listed(list, index)));
    listed.chain((0..FILLERS).map(|index| word(FILLER, index))).collect()
}

/// Whether lists of `count` words have the readings below `readings`, each class of each equally often.
pub(super) fn holds(count: usize, readings: usize) -> bool {
    let unit = CLASSES.pow(readings as u32);
    (unit..=MOST_WORDS).contains(&count) && count.is_multiple_of(unit)
}

/// What reading `reading` takes word `index` for, in 0..4.
pub(super) fn read(index: usize, reading: usize) -> usize {
    index / CLASSES.pow(reading as u32) % CLASSES
}

/// A word's index, drawn from those of a list of `count` that each of `fixed` (a reading and what it takes them for)
/// allows; one reading is named once at most.
pub(super) fn draw(count: usize, fixed: &[(usize, usize)], stream: &mut Stream) -> usize {
    let index = stream.below(count);
    fixed.iter().fold(index, |index, (reading, class)| {
        let unit = CLASSES.pow(*reading as u32);
        index - read(index, *reading) * unit + class * unit
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use mtl_task::rng::Key;

    use super::*;

    #[test]
    fn no_word_is_spelt_like_another() {
        let words = all(MOST_LISTS, MOST_WORDS);
        let distinct: BTreeSet<&String> = words.iter().collect();
        assert_eq!(distinct.len(), words.len());
        assert!(words.iter().all(|word| word.len() == 6 && word.chars().all(|letter| letter.is_ascii_lowercase())));
    }

    #[test]
    fn every_two_readings_cross() {
        let mut counts: BTreeMap<(usize, usize, usize), usize> = BTreeMap::new();
        (0..128).for_each(|i| *counts.entry((read(i, 0), read(i, 1), read(i, 2))).or_default() += 1);
        assert_eq!(counts.len(), 64);
        assert!(counts.values().all(|count| *count == 2));
        assert!(holds(128, 3) && holds(16, 2) && !holds(16, 3) && !holds(100, 2) && !holds(2048, 2));
    }

    #[test]
    fn a_draw_keeps_to_what_is_fixed_and_reaches_every_such_word() {
        let mut stream = Key::new(1).stream();
        let drawn: BTreeSet<usize> = (0..400).map(|_| draw(128, &[(0, 3), (1, 1)], &mut stream)).collect();
        assert_eq!(drawn.len(), 8);
        assert!(drawn.iter().all(|&index| read(index, 0) == 3 && read(index, 1) == 1));
        let drawn: BTreeSet<usize> = (0..4000).map(|_| draw(64, &[], &mut stream)).collect();
        assert_eq!(drawn.len(), 64);
    }
}
