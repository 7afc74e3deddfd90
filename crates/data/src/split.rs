//! Drawing splits: seeded, stratified by class, and with no text in two of them.
//!
//! Rows with the same text (see [`Texts::normalised`](crate::Texts::normalised); a pair counts as a whole) form a group,
//! and a group goes into one split as a whole. Groups are drawn class by class, each class giving its share, so that a
//! class of few rows stays with train rather than being torn apart. What several tables share is drawn for all of them
//! together, see [`shared`].

#![expect(clippy::indexing_slicing, reason = "an index is one of the pool's, whose rows it stands for")]

pub(crate) mod overlap;
pub(crate) mod shared;

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use mtl_task::rng::Key;

use crate::RawExample;
use crate::generator::Ceiling;
use crate::manifest::Splits;

/// One row of a table on its way into a split.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) example: RawExample,
    /// What its text is told apart by.
    pub(crate) key: String,
    /// Its class, where the draw keeps the classes' shares.
    pub(crate) stratum: String,
    /// Whether it has a label of the task; a table of several label columns has rows without.
    pub(crate) labelled: bool,
}

/// The splits, the one that is trusted most last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Train,
    Dev,
    Test,
}

impl Part {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Dev => "dev",
            Self::Test => "test",
        }
    }
}

/// Train, dev and test rows of a dataset, each in the order of its file.
#[derive(Debug)]
pub(crate) struct Rows<T = RawExample> {
    pub(crate) train: Vec<T>,
    pub(crate) dev: Vec<T>,
    pub(crate) test: Vec<T>,
}

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self { train: Vec::new(), dev: Vec::new(), test: Vec::new() }
    }
}

/// A table whose splits are given, drawn, or some of each.
#[derive(Debug)]
pub(crate) struct Parted {
    /// What a split is drawn from; where none is, what is trained on.
    pub(crate) pool: Vec<Entry>,
    /// Where each row of `pool` goes.
    pub(crate) places: Vec<Part>,
    /// Rows of dev and test as the source gives them; empty where they are drawn.
    pub(crate) dev: Vec<Entry>,
    pub(crate) test: Vec<Entry>,
    /// Shares of dev and test that were drawn; 0 where the source gives them.
    pub(crate) shares: [f64; 2],
    /// Seed of the draw.
    pub(crate) seed: u64,
    /// What reading the files found.
    pub(crate) notes: Vec<String>,
    /// Rows that are trained on where the recipe sets no limit; all of them if none.
    pub(crate) size: Option<usize>,
    /// The name by which those are drawn, in place of the dataset's own.
    pub(crate) drawn_as: Option<String>,
    /// The best score that can be expected, where it is known.
    pub(crate) ceiling: Option<Ceiling>,
}

impl Parted {
    /// Draws the splits that `given` lacks.
    ///
    /// # Errors
    /// If a share is out of range.
    pub(crate) fn drawn(given: Rows<Entry>, splits: &Splits) -> Result<Self> {
        let shares = [splits.dev_share.unwrap_or(0.1), splits.test_share.unwrap_or(0.2)];
        for (name, share) in ["dev_share", "test_share"].into_iter().zip(shares) {
            if !(share > 0.0 && share < 0.5) {
                bail!("[splits] {name} must lie between 0 and 0.5, found {share}");
            }
        }
        let Rows { train: pool, dev, test } = given;
        let (draws_dev, draws_test) = (dev.is_empty(), test.is_empty());
        let key = Key::new(splits.seed).named("split");
        let mut places = vec![Part::Train; pool.len()];
        let left =
            |places: &[Part]| (0..places.len()).filter(|&index| places[index] == Part::Train).collect::<Vec<_>>();
        if draws_test {
            draw(&pool, &left(&places), shares[1], key.named("test")).iter().for_each(|&at| places[at] = Part::Test);
        }
        if draws_dev {
            // A share is one of all rows, whether or not the test has been taken out.
            let among = left(&places);
            let share = shares[0] * pool.len() as f64 / among.len().max(1) as f64;
            draw(&pool, &among, share, key.named("dev")).iter().for_each(|&at| places[at] = Part::Dev);
        }
        let shares =
            [(draws_dev, shares[0]), (draws_test, shares[1])].map(|(drawn, share)| if drawn { share } else { 0. });
        let (notes, size, drawn_as, ceiling) = (Vec::new(), None, None, None);
        Ok(Self { pool, places, dev, test, shares, seed: splits.seed, notes, size, drawn_as, ceiling })
    }

    /// Whether `part` is drawn from the pool.
    pub(crate) fn draws(&self, part: Part) -> bool {
        match part {
            Part::Train => true,
            Part::Dev => self.shares[0] > 0.,
            Part::Test => self.shares[1] > 0.,
        }
    }

    /// The rows of each split.
    pub(crate) fn into_rows(self) -> Rows<Entry> {
        let mut rows = Rows { train: Vec::new(), dev: self.dev, test: self.test };
        for (entry, place) in self.pool.into_iter().zip(self.places) {
            match place {
                Part::Train => rows.train.push(entry),
                Part::Dev => rows.dev.push(entry),
                Part::Test => rows.test.push(entry),
            }
        }
        rows
    }
}

impl Rows<Entry> {
    pub(crate) fn parts(&self) -> [(Part, &[Entry]); 3] {
        [(Part::Train, &self.train), (Part::Dev, &self.dev), (Part::Test, &self.test)]
    }

    /// Leaves out what has no label of the task; answers how many that were.
    pub(crate) fn keep_labelled(&mut self) -> usize {
        let mut left_out = 0;
        for rows in [&mut self.train, &mut self.dev, &mut self.test] {
            let before = rows.len();
            rows.retain(|entry| entry.labelled);
            left_out += before - rows.len();
        }
        left_out
    }

    /// The rows alone.
    pub(crate) fn into_examples(self) -> Rows {
        let examples = |rows: Vec<Entry>| rows.into_iter().map(|entry| entry.example).collect();
        Rows { train: examples(self.train), dev: examples(self.dev), test: examples(self.test) }
    }
}

/// A `share` of the rows `among` those of `pool`, by their indices.
fn draw(pool: &[Entry], among: &[usize], share: f64, key: Key) -> Vec<usize> {
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for &index in among {
        groups.entry(&pool[index].key).or_default().push(index);
    }
    // By first appearance, so that the draw does not depend on how texts sort.
    let mut groups: Vec<Vec<usize>> = groups.into_values().collect();
    groups.sort_by_key(|group| group[0]);
    let mut strata: BTreeMap<&str, Vec<Vec<usize>>> = BTreeMap::new();
    for group in groups {
        strata.entry(&pool[group[0]].stratum).or_default().push(group);
    }
    let mut drawn = Vec::new();
    for (name, mut groups) in strata {
        let wanted = (share * groups.iter().map(Vec::len).sum::<usize>() as f64).round() as usize;
        key.named(name).stream().shuffle(&mut groups);
        let mut taken = 0;
        for group in groups {
            // A group too large for what is left is passed over, not cut.
            if taken + group.len() <= wanted {
                taken += group.len();
                drawn.extend(group);
            }
        }
    }
    drawn
}

/// What is taken of a split.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// How many rows; 0 for all.
    pub(crate) limit: usize,
    /// By which they are drawn.
    pub(crate) key: Key,
    /// Whether the draw keeps the classes' shares.
    pub(crate) stratified: bool,
}

impl Sample {
    /// The sample of `items`, in their order; `classes`, where they are given, keep their shares in it. A smaller sample
    /// is a part of a larger one.
    pub(crate) fn of<T>(self, items: Vec<T>, classes: Option<&[u32]>) -> Vec<T> {
        if self.limit == 0 || self.limit >= items.len() {
            return items;
        }
        let order = match classes {
            Some(classes) => stratified(classes, self.key),
            None => self.key.stream().permutation(items.len()),
        };
        let mut kept = vec![false; items.len()];
        order[..self.limit].iter().for_each(|&index| kept[index] = true);
        items.into_iter().zip(kept).filter_map(|(item, kept)| kept.then_some(item)).collect()
    }
}

/// An order of all rows of which every beginning has the shares of `classes`, to the next whole row: the j-th of a class's
/// n rows stands at (j − ½)/n of the way (Sainte-Laguë). Who comes first within a class, and which class among
/// equals, is drawn by `key`.
fn stratified(classes: &[u32], key: Key) -> Vec<usize> {
    let mut strata: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (index, class) in classes.iter().enumerate() {
        strata.entry(*class).or_default().push(index);
    }
    let turns = key.named("classes").stream().permutation(strata.len());
    let mut order: Vec<(f64, usize, usize)> = Vec::with_capacity(classes.len());
    for ((class, mut rows), turn) in strata.into_iter().zip(turns) {
        key.with(u64::from(class)).stream().shuffle(&mut rows);
        let count = rows.len() as f64;
        order.extend(rows.into_iter().enumerate().map(|(at, row)| ((at as f64 + 0.5) / count, turn, row)));
    }
    order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    order.into_iter().map(|(_, _, row)| row).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use mtl_task::Cell;

    use super::*;
    use crate::Texts;
    use crate::reader::{At, Place};

    pub(super) fn entry(text: &str, class: &str, line: usize) -> Entry {
        let texts = Texts::One(text.into());
        Entry {
            key: texts.normalised(),
            example: RawExample {
                texts,
                label: Cell::Text(class.into()),
                place: Place { file: "rows".into(), at: At::Line(line) },
            },
            stratum: class.into(),
            labelled: true,
        }
    }

    fn rows(count: usize, distinct: usize) -> Rows<Entry> {
        let class = |index: usize| if (index % distinct).is_multiple_of(10) { "rare" } else { "common" };
        let train = (0..count).map(|index| entry(&format!("Text  {}", index % distinct), class(index), index + 1));
        Rows { train: train.collect(), ..Rows::default() }
    }

    fn texts(rows: &[Entry]) -> BTreeSet<&str> {
        rows.iter().map(|entry| entry.key.as_str()).collect()
    }

    #[test]
    fn a_draw_keeps_shares_of_classes_and_never_parts_duplicates() -> Result<()> {
        let parted = |seed: u64| {
            let splits = Splits { seed, ..Splits::default() };
            Ok::<_, anyhow::Error>(Parted::drawn(rows(1000, 400), &splits)?.into_rows())
        };
        let Rows { train, dev, test }: Rows<Entry> = parted(3)?;
        assert_eq!(train.len() + dev.len() + test.len(), 1000);
        assert!((190..=200).contains(&test.len()) && (90..=100).contains(&dev.len()), "{} {}", test.len(), dev.len());
        let rare = test.iter().filter(|entry| entry.stratum == "rare").count();
        assert!((17..=20).contains(&rare), "{rare}");
        assert!(texts(&train).is_disjoint(&texts(&test)) && texts(&train).is_disjoint(&texts(&dev)));
        let lines = |rows: &[Entry]| rows.iter().map(|entry| entry.example.place.clone()).collect::<Vec<_>>();
        assert_eq!(lines(&parted(3)?.test), lines(&test));
        assert_ne!(lines(&parted(4)?.test), lines(&test));
        Ok(())
    }

    #[test]
    fn limits_nest() {
        let items: Vec<usize> = (0..100).collect();
        let classes: Vec<u32> = items.iter().map(|item| u32::from(item % 10 == 0)).collect();
        for classes in [None, Some(classes.as_slice())] {
            let of = |limit| Sample { limit, key: Key::new(1), stratified: true }.of(items.clone(), classes);
            let (few, more) = (of(10), of(30));
            assert_eq!((few.len(), more.len()), (10, 30));
            assert!(few.iter().all(|item| more.contains(item)) && few.is_sorted());
            assert_eq!(of(0), items);
        }
    }

    #[test]
    fn a_stratified_sample_has_the_shares_of_the_whole() {
        // Half, 30 %, 15 % and 5 % of 1,000 rows.
        let classes: Vec<u32> = (0..1000u32)
            .map(|row| match row % 100 {
                0..50 => 0,
                50..80 => 1,
                80..95 => 2,
                _ => 3,
            })
            .collect();
        let drawn = |limit: usize, seed: u64| {
            let sample = Sample { limit, key: Key::new(seed), stratified: true };
            sample.of((0..1000usize).collect(), Some(&classes))
        };
        let counts = |rows: &[usize]| {
            let mut counts = [0; 4];
            rows.iter().for_each(|&row| counts[classes[row] as usize] += 1);
            counts
        };
        for seed in 0..20 {
            assert_eq!(counts(&drawn(100, seed)), [50, 30, 15, 5]);
            let [a, b, c, d] = counts(&drawn(20, seed));
            assert!(a == 10 && b == 6 && c == 3 && d == 1, "{a} {b} {c} {d}");
        }
        assert_eq!(drawn(50, 1), drawn(50, 1));
        assert_ne!(drawn(50, 1), drawn(50, 2));
        // Classes of one size take turns that are drawn: nobody is always the one left out.
        let even: Vec<u32> = (0..90).map(|row| row % 3).collect();
        let left_out = |seed: u64| {
            let rows =
                Sample { limit: 4, key: Key::new(seed), stratified: true }.of((0..90usize).collect(), Some(&even));
            (0..3).filter(|class| rows.iter().filter(|&&row| even[row] == *class).count() == 2).collect::<Vec<u32>>()
        };
        let found: BTreeSet<Vec<u32>> = (0..30).map(left_out).collect();
        assert_eq!(found.len(), 3, "{found:?}");
    }
}
