//! What came out of a section.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

/// What came out of a section.
pub(super) enum Outcome {
    /// It was not done, and why.
    Skipped(String),
    /// It was done.
    Tried(Tally),
}

impl Outcome {
    pub(super) fn to_json(&self) -> Value {
        match self {
            Self::Skipped(reason) => json!({ "skipped": reason }),
            Self::Tried(tally) => {
                let mut entry = json!({});
                tally.counts.iter().for_each(|(name, count)| entry[name] = json!(count));
                let failures = tally.failures.iter().map(|(point, what)| json!({ "point": point, "what": what }));
                entry["failures"] = failures.collect();
                entry
            }
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Skipped(reason) => write!(f, "skipped: {reason}"),
            Self::Tried(tally) => {
                let counts: Vec<String> = tally.counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
                f.write_str(&counts.join(", "))
            }
        }
    }
}

/// What came out of one point.
#[derive(Debug, Default)]
pub(super) struct Point {
    /// What is to be counted.
    counted: Vec<&'static str>,
    /// What went wrong: how it is counted, and in words.
    wrong: Option<(&'static str, String)>,
}

impl Point {
    /// A point that counts under `name`.
    pub(super) fn of(name: &'static str) -> Self {
        Self::default().and(name)
    }

    /// Counts under `name` too.
    #[must_use]
    pub(super) fn and(mut self, name: &'static str) -> Self {
        self.counted.push(name);
        self
    }

    /// Went wrong, if `wrong` says so. What went wrong first stays.
    #[must_use]
    pub(super) fn judged(mut self, wrong: Option<(&'static str, String)>) -> Self {
        self.wrong = self.wrong.or(wrong);
        self
    }

    /// Whether nothing has gone wrong so far.
    pub(super) fn is_good(&self) -> bool {
        self.wrong.is_none()
    }
}

/// Counts of a section, in the order that its line tells them, and what went wrong.
#[derive(Debug)]
pub(super) struct Tally {
    counts: Vec<(&'static str, usize)>,
    failures: Vec<(usize, String)>,
}

impl Tally {
    /// Of points by number; `names` are counted even where there are none. What else is counted follows.
    pub(super) fn new(names: &[&'static str], points: BTreeMap<usize, Point>) -> Self {
        let mut tally = Self { counts: vec![("tried", points.len())], failures: Vec::new() };
        names.iter().for_each(|name| tally.counts.push((name, 0)));
        for (number, Point { counted, wrong }) in points {
            counted.iter().for_each(|name| tally.count(name));
            if let Some((name, what)) = wrong {
                tally.count(name);
                tally.failures.push((number, format!("{name}: {what}")));
            }
        }
        tally
    }

    fn count(&mut self, name: &'static str) {
        match self.counts.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => self.counts.push((name, 1)),
        }
    }

    /// What went wrong, by point.
    pub(super) fn failures(&self) -> &[(usize, String)] {
        &self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_come_in_the_order_that_was_asked_for_and_failures_with_their_points() {
        let lost =
            Point::of("double").judged(Some(("lost", "it ended".into()))).judged(Some(("left", "a file".into())));
        assert!(!lost.is_good());
        let points = BTreeMap::from([(0, Point::of("double")), (7, lost), (8, Point::default())]);
        let outcome = Outcome::Tried(Tally::new(&["lost", "different"], points));
        assert_eq!(outcome.to_string(), "tried 3, lost 1, different 0, double 2");
        let wanted = json!({
            "tried": 3, "lost": 1, "different": 0, "double": 2,
            "failures": [{ "point": 7, "what": "lost: it ended" }],
        });
        assert_eq!(outcome.to_json(), wanted);
    }
}
