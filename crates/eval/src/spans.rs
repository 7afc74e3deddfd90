//! Spans of tagged words and their F1: a span counts if its type, its first and its last word are right.
//!
//! Two readings of `B-`, `I-`, `E-`, `S-` and `O`, which are those of CoNLL's script and of seqeval:
//! * *default*, [`spans`]: lenient. A span starts at `B` or `S`, and at any tag that cannot continue the one before;
//!   so an `I-` after `O` or after another type starts one.
//! * *strict*, [`spans_strict`]: only well-formed spans count: `B I*`, or `S` and `B I* E` if the tag set has `E` or `S`.
//!
//! Ramshaw and Marcus, "Text chunking using transformation-based learning" (1995).

use std::collections::BTreeSet;

use mtl_task::{Answer, Label};

use crate::Metric;
use crate::f1::Counts;
use crate::judged::tags;

/// A typed span of words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span<'a> {
    /// What the tag says after its prefix; empty if it says nothing.
    pub kind: &'a str,
    /// The first word.
    pub first: usize,
    /// The last word.
    pub last: usize,
}

/// Micro F1 of spans, leniently read.
pub(crate) struct SpanF1;

impl Metric for SpanF1 {
    fn name(&self) -> &'static str {
        "span-f1"
    }

    fn about(&self) -> &'static str {
        "micro F1 of BIO spans, an I- that continues nothing starts a span (seqeval's default)"
    }

    fn judges(&self, truth: &Label) -> bool {
        matches!(truth, Label::Tags(_))
    }

    fn score(&self, answers: &[Answer], truth: &[Label], names: &[String]) -> f64 {
        span_f1(answers, truth, names, spans)
    }
}

/// Micro F1 of well-formed spans.
pub(crate) struct SpanF1Strict;

impl Metric for SpanF1Strict {
    fn name(&self) -> &'static str {
        "span-f1-strict"
    }

    fn about(&self) -> &'static str {
        "micro F1 of well-formed spans, IOB2 or IOBES by the tag set (seqeval's strict mode)"
    }

    fn judges(&self, truth: &Label) -> bool {
        matches!(truth, Label::Tags(_))
    }

    fn score(&self, answers: &[Answer], truth: &[Label], names: &[String]) -> f64 {
        let bounded = names.iter().any(|name| name.starts_with("E-") || name.starts_with("S-"));
        span_f1(answers, truth, names, |tags| spans_strict(tags, bounded))
    }
}

/// The spans of one sequence of tags, leniently read, in order.
pub fn spans<'a>(tags: &[&'a str]) -> Vec<Span<'a>> {
    let mut found: Vec<Span> = Vec::new();
    let mut before = ("O", "");
    for (word, tag) in tags.iter().enumerate() {
        let (prefix, kind) = split(tag);
        if prefix != "O" {
            let continues = !matches!(prefix, "B" | "S") && !matches!(before.0, "O" | "E" | "S") && kind == before.1;
            match found.last_mut() {
                Some(span) if continues => span.last = word,
                _ => found.push(Span { kind, first: word, last: word }),
            }
        }
        before = (prefix, kind);
    }
    found
}

/// The well-formed spans of one sequence of tags, in order: IOBES if `bounded`, else IOB2.
pub fn spans_strict<'a>(tags: &[&'a str], bounded: bool) -> Vec<Span<'a>> {
    let tags: Vec<(&str, &'a str)> = tags.iter().map(|tag| split(tag)).collect();
    let mut found = Vec::new();
    for (first, &(prefix, kind)) in tags.iter().enumerate() {
        let inside = tags[first + 1..].iter().take_while(|tag| **tag == ("I", kind)).count();
        match prefix {
            "S" if bounded => found.push(Span { kind, first, last: first }),
            "B" if !bounded => found.push(Span { kind, first, last: first + inside }),
            "B" if tags.get(first + inside + 1) == Some(&("E", kind)) => {
                found.push(Span { kind, first, last: first + inside + 1 });
            }
            _ => {}
        }
    }
    found
}

/// Prefix and type of a tag; `O` has neither.
fn split(tag: &str) -> (&str, &str) {
    tag.split_once('-').unwrap_or((tag, ""))
}

fn span_f1<'a>(
    answers: &[Answer],
    truth: &[Label],
    names: &'a [String],
    read: impl Fn(&[&'a str]) -> Vec<Span<'a>>,
) -> f64 {
    let named = |tags: &[u32]| -> Vec<&'a str> {
        tags.iter().map(|&tag| names.get(tag as usize).map_or("O", String::as_str)).collect()
    };
    let mut counts = Counts::default();
    for (answer, truth) in tags(answers, truth) {
        let answered: BTreeSet<Span> = read(&named(answer)).into_iter().collect();
        let true_spans: BTreeSet<Span> = read(&named(truth)).into_iter().collect();
        let hits = answered.intersection(&true_spans).count() as f64;
        counts.hits += hits;
        counts.alarms += answered.len() as f64 - hits;
        counts.misses += true_spans.len() as f64 - hits;
    }
    counts.f1()
}
