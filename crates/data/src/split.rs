//! Drawing splits: seeded, stratified by class, and with no text in two of them.
//!
//! Rows with the same normalised text form a group, and a group goes into one split as a whole. Groups are drawn class
//! by class, each class giving its share, so that a class of few rows stays with train rather than being torn apart.

use std::collections::BTreeMap;

use mtl_task::Cell;
use mtl_task::rng::Key;

use crate::RawExample;

/// Train, dev and test rows of a dataset, each in the order of its file.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) train: Vec<RawExample>,
    pub(crate) dev: Vec<RawExample>,
    pub(crate) test: Vec<RawExample>,
    /// What reading them found.
    pub(crate) notes: Vec<String>,
}

/// Splits `rows` into what stays and a `share` that is drawn from them.
pub(crate) fn draw(
    rows: Vec<RawExample>,
    share: f64,
    stratified: bool,
    key: Key,
) -> (Vec<RawExample>, Vec<RawExample>) {
    let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, row) in rows.iter().enumerate() {
        groups.entry(row.texts.normalised()).or_default().push(index);
    }
    // By first appearance, so that the draw does not depend on how texts sort.
    let mut groups: Vec<Vec<usize>> = groups.into_values().collect();
    groups.sort_by_key(|group| group[0]);
    let mut strata: BTreeMap<&str, Vec<Vec<usize>>> = BTreeMap::new();
    for group in groups {
        let stratum = match &rows[group[0]].label {
            Cell::Text(class) if stratified => class.as_str(),
            _ => "",
        };
        strata.entry(stratum).or_default().push(group);
    }
    let mut drawn = vec![false; rows.len()];
    for (name, mut groups) in strata {
        let wanted = (share * groups.iter().map(Vec::len).sum::<usize>() as f64).round() as usize;
        key.named(name).stream().shuffle(&mut groups);
        let mut taken = 0;
        for group in groups {
            // A group too large for what is left is passed over, not cut.
            if taken + group.len() <= wanted {
                taken += group.len();
                group.iter().for_each(|&index| drawn[index] = true);
            }
        }
    }
    let (mut kept, mut out) = (Vec::new(), Vec::new());
    for (row, drawn) in rows.into_iter().zip(drawn) {
        if drawn { out.push(row) } else { kept.push(row) }
    }
    (kept, out)
}

/// `limit` of `items` drawn by `key`, in their order; all of them if `limit` is 0. A smaller limit draws a subset of a
/// larger one's.
pub(crate) fn limited<T>(items: Vec<T>, limit: usize, key: Key) -> Vec<T> {
    if limit == 0 || limit >= items.len() {
        return items;
    }
    let mut kept = vec![false; items.len()];
    key.stream().permutation(items.len())[..limit].iter().for_each(|&index| kept[index] = true);
    items.into_iter().zip(kept).filter_map(|(item, kept)| kept.then_some(item)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::Texts;
    use crate::reader::{At, Place};

    fn rows(count: usize, distinct: usize) -> Vec<RawExample> {
        let class = |index: usize| if (index % distinct).is_multiple_of(10) { "rare" } else { "common" };
        (0..count)
            .map(|index| RawExample {
                texts: Texts::One(format!("Text  {}", index % distinct)),
                label: Cell::Text(class(index).into()),
                place: Place { file: "rows".into(), at: At::Line(index + 1) },
            })
            .collect()
    }

    fn texts(rows: &[RawExample]) -> BTreeSet<String> {
        rows.iter().map(|row| row.texts.normalised()).collect()
    }

    #[test]
    fn a_draw_keeps_shares_of_classes_and_never_parts_duplicates() {
        let (train, test) = draw(rows(1000, 400), 0.2, true, Key::new(3));
        assert_eq!(train.len() + test.len(), 1000);
        assert!((190..=200).contains(&test.len()), "{}", test.len());
        let rare = test.iter().filter(|row| row.label == Cell::Text("rare".into())).count();
        assert!((17..=20).contains(&rare), "{rare}");
        assert!(texts(&train).is_disjoint(&texts(&test)));
        let lines = |rows: &[RawExample]| rows.iter().map(|row| row.place.clone()).collect::<Vec<_>>();
        assert_eq!(lines(&draw(rows(1000, 400), 0.2, true, Key::new(3)).1), lines(&test));
        assert_ne!(lines(&draw(rows(1000, 400), 0.2, true, Key::new(4)).1), lines(&test));
    }

    #[test]
    fn limits_nest() {
        let items: Vec<usize> = (0..100).collect();
        let (few, more) = (limited(items.clone(), 10, Key::new(1)), limited(items.clone(), 30, Key::new(1)));
        assert_eq!((few.len(), more.len()), (10, 30));
        assert!(few.iter().all(|item| more.contains(item)) && few.is_sorted());
        assert_eq!(limited(items.clone(), 0, Key::new(1)), items);
    }
}
