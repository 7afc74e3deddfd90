//! Spans of tagged words and their F1: a span counts if its type, its first and its last word are right.
//!
//! Two readings of `B-`, `I-`, `E-`, `S-` and `O`, which are those of CoNLL's script and of seqeval:
//! * *default*, [`spans`]: lenient. A span starts at `B` or `S`, and at any tag that cannot continue the one before;
//!   so an `I-` after `O` or after another type starts one.
//! * *strict*, [`spans_strict`]: only well-formed spans count: `B I*`, or `S` and `B I* E` if the tag set has `E` or `S`.
//!
//! Ramshaw and Marcus, "Text chunking using transformation-based learning" (1995).

use mtl_task::{Answer, Label};

use crate::Metric;
use crate::f1::Counts;
use crate::judged;

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
        span_f1(answers, truth, names, lenient)
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
        span_f1(answers, truth, names, |tags, found| strict(tags, bounded, found))
    }
}

/// The spans of one sequence of tags, leniently read, in order.
pub fn spans<'a>(tags: &[&'a str]) -> Vec<Span<'a>> {
    let mut found = Vec::new();
    lenient(&tags.iter().map(|tag| split(tag)).collect::<Vec<_>>(), &mut found);
    found
}

/// The well-formed spans of one sequence of tags, in order: IOBES if `bounded`, else IOB2.
pub fn spans_strict<'a>(tags: &[&'a str], bounded: bool) -> Vec<Span<'a>> {
    let mut found = Vec::new();
    strict(&tags.iter().map(|tag| split(tag)).collect::<Vec<_>>(), bounded, &mut found);
    found
}

/// The first letter of a tag's prefix, and its type.
type Tag<'a> = (u8, &'a str);

fn split(tag: &str) -> Tag<'_> {
    let (prefix, kind) = tag.split_once('-').unwrap_or((tag, ""));
    (prefix.bytes().next().unwrap_or(b'O'), kind)
}

fn lenient<'a>(tags: &[Tag<'a>], found: &mut Vec<Span<'a>>) {
    let mut before = (b'O', "");
    for (word, &(prefix, kind)) in tags.iter().enumerate() {
        if prefix != b'O' {
            let continues =
                !matches!(prefix, b'B' | b'S') && !matches!(before.0, b'O' | b'E' | b'S') && kind == before.1;
            match found.last_mut() {
                Some(span) if continues => span.last = word,
                _ => found.push(Span { kind, first: word, last: word }),
            }
        }
        before = (prefix, kind);
    }
}

fn strict<'a>(tags: &[Tag<'a>], bounded: bool, found: &mut Vec<Span<'a>>) {
    for (first, &(prefix, kind)) in tags.iter().enumerate() {
        let after = || first + 1 + tags[first + 1..].iter().take_while(|tag| **tag == (b'I', kind)).count();
        match prefix {
            b'S' if bounded => found.push(Span { kind, first, last: first }),
            b'B' if !bounded => found.push(Span { kind, first, last: after() - 1 }),
            b'B' if tags.get(after()) == Some(&(b'E', kind)) => found.push(Span { kind, first, last: after() }),
            _ => {}
        }
    }
}

fn span_f1<'a>(
    answers: &[Answer],
    truth: &[Label],
    names: &'a [String],
    read: impl Fn(&[Tag<'a>], &mut Vec<Span<'a>>),
) -> f64 {
    // Bootstraps come here a million times: tags are taken apart once, and buffers are kept.
    let known: Vec<Tag> = names.iter().map(|name| split(name)).collect();
    let (mut tags, mut answered, mut expected) = (Vec::new(), Vec::new(), Vec::new());
    let mut read_into = |sequence: &[u32], found: &mut Vec<Span<'a>>| {
        tags.clear();
        tags.extend(sequence.iter().map(|&tag| known.get(tag as usize).copied().unwrap_or((b'O', ""))));
        found.clear();
        read(&tags, found);
    };
    let mut counts = Counts::default();
    for (answer, truth) in judged::tags(answers, truth) {
        read_into(answer, &mut answered);
        read_into(truth, &mut expected);
        let hits = matches(&answered, &expected) as f64;
        counts.hits += hits;
        counts.alarms += answered.len() as f64 - hits;
        counts.misses += expected.len() as f64 - hits;
    }
    counts.f1()
}

/// How many spans two lists share; in both, each span begins after the one before.
fn matches(left: &[Span], right: &[Span]) -> usize {
    let (mut left, mut right, mut hits) = (left.iter().peekable(), right.iter().peekable(), 0);
    while let (Some(one), Some(other)) = (left.peek(), right.peek()) {
        let order = one.first.cmp(&other.first);
        hits += usize::from(one == other);
        if order.is_le() {
            left.next();
        }
        if order.is_ge() {
            right.next();
        }
    }
    hits
}
