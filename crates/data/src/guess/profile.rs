//! One column in numbers.

use std::collections::BTreeMap;

use mtl_task::Cell;

use crate::reader::{Field, Record};

/// What a column holds, over all rows.
pub(super) struct Profile<'a> {
    pub(super) name: &'a str,
    /// Rows in all.
    pub(super) rows: usize,
    /// The texts that are not empty.
    pub(super) texts: Vec<&'a str>,
    /// The lists.
    pub(super) lists: Vec<&'a [String]>,
    /// How often each text occurs.
    pub(super) counts: BTreeMap<&'a str, usize>,
    /// Whether every text is a number, and whether every one is a whole number.
    pub(super) numeric: bool,
    pub(super) whole: bool,
    /// Of a text, on average.
    pub(super) words: f64,
    /// The longest text, in letters.
    pub(super) longest: usize,
}

impl<'a> Profile<'a> {
    /// Every column of `records`, as the first of them has them.
    pub(super) fn all(records: &'a [Record]) -> Vec<Self> {
        let columns = records.first().into_iter().flat_map(|first| first.columns.iter().enumerate());
        columns.map(|(at, name)| Self::of(at, name, records)).collect()
    }

    fn of(at: usize, name: &'a str, records: &'a [Record]) -> Self {
        let mut found = Self {
            name,
            rows: records.len(),
            texts: Vec::new(),
            lists: Vec::new(),
            counts: BTreeMap::new(),
            numeric: false,
            whole: false,
            words: 0.,
            longest: 0,
        };
        for record in records {
            // JSON objects may have their keys in another order.
            let at = match record.columns.get(at) {
                Some(name) if name == found.name => Some(at),
                _ => record.columns.iter().position(|name| name == found.name),
            };
            match at.and_then(|at| record.fields.get(at)) {
                Some(Field::Cell(Cell::Text(text))) if !text.trim().is_empty() => found.texts.push(text.trim()),
                Some(Field::Cell(Cell::Many(list))) => found.lists.push(list),
                _ => {}
            }
        }
        for text in &found.texts {
            *found.counts.entry(text).or_default() += 1;
        }
        let number = |text: &&str| text.parse::<f64>().is_ok_and(f64::is_finite);
        found.numeric = !found.texts.is_empty() && found.counts.keys().all(number);
        found.whole = found.numeric && found.counts.keys().all(|text| text.parse::<i64>().is_ok());
        let words: usize = found.texts.iter().map(|text| text.split_whitespace().count()).sum();
        found.words = words as f64 / found.texts.len().max(1) as f64;
        found.longest = found.texts.iter().map(|text| text.chars().count()).max().unwrap_or(0);
        found
    }

    /// Whether it names its rows.
    pub(super) fn is_name(&self) -> bool {
        let named = matches!(
            self.name.to_lowercase().as_str(),
            "id" | "idx"
                | "index"
                | "key"
                | "uuid"
                | "guid"
                | "url"
                | "link"
                | "date"
                | "time"
                | "timestamp"
                | ""
                | "unnamed: 0"
        ) || self.name.to_lowercase().ends_with("_id");
        let each = self.rows > 10 && self.counts.len() == self.rows;
        named || (each && self.lists.is_empty() && (self.whole || (self.words < 1.5 && !self.numeric)))
    }

    /// Whether it says the same again and again: a class.
    pub(super) fn is_class(&self) -> bool {
        let distinct = self.counts.len();
        self.lists.is_empty()
            && distinct >= 2
            && self.longest <= 80
            && distinct <= 200
            && distinct * 2 <= self.texts.len()
            && !self.is_value()
    }

    /// Whether it is a number on a scale.
    pub(super) fn is_value(&self) -> bool {
        self.numeric && (!self.whole || self.counts.len() > 20)
    }

    /// Whether somebody would read it.
    pub(super) fn is_text(&self) -> bool {
        self.lists.is_empty() && !self.numeric && !self.texts.is_empty() && self.words >= 1.5 && !self.is_class()
    }

    /// The separator of the labels in it, if its cells are sets of few labels.
    pub(super) fn separator(&self) -> Option<&'static str> {
        if self.numeric || self.texts.is_empty() {
            return None;
        }
        ["|", ";", ","].into_iter().find(|separator| {
            let several = self.texts.iter().filter(|text| text.contains(separator)).count();
            let mut parts: Vec<&str> = self
                .texts
                .iter()
                .flat_map(|text| text.split(separator))
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .collect();
            let all = parts.len();
            parts.sort_unstable();
            parts.dedup();
            let short = parts.iter().all(|part| part.split_whitespace().count() <= 3);
            several * 20 >= self.texts.len() && short && parts.len() >= 2 && parts.len() * 4 <= all.max(1)
        })
    }
}
