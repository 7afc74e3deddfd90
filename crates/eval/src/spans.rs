//! Spans of tagged words and their F1: a span counts if its type, its first and its last word are right.
//!
//! Two readings of tags, which are those of seqeval, letter by letter:
//! * *default*, [`spans`]: that of CoNLL's script, lenient. A span starts at `B` or `S`, and at any tag that cannot
//!   continue the one before; so an `I-` after `O` or after another type starts one. `L` and `U` of BILOU end nothing,
//!   so that neighbours of one type may be joined.
//! * *strict*, [`spans_strict`]: only the well-formed spans of a [`Scheme`] count.
//!
//! Ramshaw and Marcus, "Text chunking using transformation-based learning" (1995); Nakayama, "seqeval" (2018).

use mtl_task::{Answer, Label, Scheme, Side, SpanTags, Tag};

use crate::Metric;
use crate::f1::Counts;
use crate::judged;

/// A typed span of words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span<'a> {
    /// What the tag says beside its letter; `_` if it says nothing.
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
        "micro F1 of spans in any scheme, an I- that continues nothing starts a span (seqeval's default)"
    }

    fn judges(&self, truth: &Label) -> bool {
        matches!(truth, Label::Tags(_))
    }

    fn fits(&self, names: &[String]) -> Result<(), String> {
        scheme(names).map(|_| ())
    }

    fn score(&self, answers: &[Answer], truth: &[Label], names: &[String]) -> f64 {
        span_f1(answers, truth, &known(names), lenient)
    }
}

/// Micro F1 of well-formed spans.
pub(crate) struct SpanF1Strict;

impl Metric for SpanF1Strict {
    fn name(&self) -> &'static str {
        "span-f1-strict"
    }

    fn about(&self) -> &'static str {
        "micro F1 of well-formed spans, IOB2, IOE2, IOBES or BILOU by the tag set (seqeval's strict mode)"
    }

    fn judges(&self, truth: &Label) -> bool {
        matches!(truth, Label::Tags(_))
    }

    fn fits(&self, names: &[String]) -> Result<(), String> {
        scheme(names).map(|_| ())
    }

    fn score(&self, answers: &[Answer], truth: &[Label], names: &[String]) -> f64 {
        let scheme = scheme(names).unwrap_or(Scheme::Iob2);
        span_f1(answers, truth, &trimmed(known(names)), |tags, found| strict(tags, scheme, found))
    }
}

/// Micro F1 of well-formed spans of IOB1, whose tags have the names of IOB2's.
pub(crate) struct SpanF1StrictIob1;

impl Metric for SpanF1StrictIob1 {
    fn name(&self) -> &'static str {
        "span-f1-strict-iob1"
    }

    fn about(&self) -> &'static str {
        "micro F1 of well-formed spans of IOB1 (seqeval's strict mode)"
    }

    fn judges(&self, truth: &Label) -> bool {
        matches!(truth, Label::Tags(_))
    }

    fn fits(&self, names: &[String]) -> Result<(), String> {
        match scheme(names)? {
            Scheme::Iob1 | Scheme::Iob2 => Ok(()),
            other => Err(format!("the tags are {}", other.name())),
        }
    }

    fn score(&self, answers: &[Answer], truth: &[Label], names: &[String]) -> f64 {
        span_f1(answers, truth, &trimmed(known(names)), |tags, found| strict(tags, Scheme::Iob1, found))
    }
}

/// The spans of one sequence of tags, leniently read, in order. A tag that has no letter is of no span.
pub fn spans<'a>(tags: &[&'a str]) -> Vec<Span<'a>> {
    let mut found = Vec::new();
    lenient(&split(tags), &mut found);
    found
}

/// The well-formed spans of one sequence of tags, in order.
pub fn spans_strict<'a>(tags: &[&'a str], scheme: Scheme) -> Vec<Span<'a>> {
    let mut found = Vec::new();
    strict(&trimmed(split(tags)), scheme, &mut found);
    found
}

fn split<'a>(tags: &[&'a str]) -> Vec<Tag<'a>> {
    let side = Side::of(tags).unwrap_or(Side::Prefix);
    tags.iter().map(|tag| side.split(tag).unwrap_or(Tag::OUTSIDE)).collect()
}

/// The scheme of the tags called `names`, by their letters.
fn scheme(names: &[String]) -> Result<Scheme, String> {
    let shown: Vec<&str> = names.iter().take(6).map(String::as_str).collect();
    let none = || format!("the tags {} are of no scheme of spans; token-accuracy judges them", shown.join(", "));
    SpanTags::read(names).map(|read| read.scheme).ok_or_else(none)
}

/// The tags called `names`; none if they are of no scheme.
fn known(names: &[String]) -> Vec<Tag<'_>> {
    SpanTags::read(names).map_or_else(Vec::new, |read| read.tags)
}

/// In its strict mode, seqeval takes every hyphen from the ends of a type.
fn trimmed(mut tags: Vec<Tag<'_>>) -> Vec<Tag<'_>> {
    for tag in &mut tags {
        tag.kind = Some(tag.kind.trim_matches('-')).filter(|kind| !kind.is_empty()).unwrap_or("_");
    }
    tags
}

fn lenient<'a>(tags: &[Tag<'a>], found: &mut Vec<Span<'a>>) {
    let (mut before, mut first): (Tag, usize) = (Tag::OUTSIDE, 0);
    for (word, &tag) in tags.iter().chain([&Tag::OUTSIDE]).enumerate() {
        let other = before.kind != tag.kind;
        let ends = matches!((before.letter, tag.letter), (b'E' | b'S', _) | (b'B' | b'I', b'B' | b'S' | b'O'));
        if ends || (before.letter != b'O' && other) {
            found.push(Span { kind: before.kind, first, last: word - 1 });
        }
        let starts = matches!((before.letter, tag.letter), (_, b'B' | b'S') | (b'E' | b'S' | b'O', b'E' | b'I'));
        if starts || (tag.letter != b'O' && other) {
            first = word;
        }
        before = tag;
    }
}

fn strict<'a>(tags: &[Tag<'a>], scheme: Scheme, found: &mut Vec<Span<'a>>) {
    let (mut word, mut before): (usize, Tag) = (0, Tag::OUTSIDE);
    while let Some(&tag) = tags.get(word) {
        let first = word;
        word += 1;
        if starts(scheme, before, tag) {
            while word < tags.len() && continues(scheme, tags[word - 1], tags[word]) {
                word += 1;
            }
            if ends(scheme, tags[word - 1], tags.get(word).copied().unwrap_or(Tag::OUTSIDE)) {
                found.push(Span { kind: tag.kind, first, last: word - 1 });
            }
        }
        before = tags[word - 1];
    }
}

/// Whether a span starts at `tag`: seqeval's `start_patterns`.
fn starts(scheme: Scheme, before: Tag, tag: Tag) -> bool {
    let same = before.kind == tag.kind;
    match scheme {
        Scheme::Iob1 => match (before.letter, tag.letter) {
            (b'O' | b'B', b'I') => true,
            (b'I', b'I') => !same,
            (b'I' | b'B', b'B') => same,
            _ => false,
        },
        Scheme::Iob2 => tag.letter == b'B',
        Scheme::Ioe2 => match (before.letter, tag.letter) {
            (b'O' | b'E', b'I' | b'E') => true,
            (b'I', b'I' | b'E') => !same,
            _ => false,
        },
        Scheme::Iobes => matches!(tag.letter, b'B' | b'S'),
        Scheme::Bilou => matches!(tag.letter, b'B' | b'U'),
    }
}

/// Whether `tag` goes on with the span of the tag before: seqeval's `inside_patterns`.
fn continues(scheme: Scheme, before: Tag, tag: Tag) -> bool {
    let letters = (before.letter, tag.letter);
    before.kind == tag.kind
        && match scheme {
            Scheme::Iob1 | Scheme::Iob2 => matches!(letters, (b'B' | b'I', b'I')),
            Scheme::Ioe2 => matches!(letters, (b'I', b'I' | b'E')),
            Scheme::Iobes => matches!(letters, (b'B' | b'I', b'I' | b'E')),
            Scheme::Bilou => matches!(letters, (b'B' | b'I', b'I' | b'L')),
        }
}

/// Whether a span may end in `last`, with `next` behind it: seqeval's `end_patterns`.
fn ends(scheme: Scheme, last: Tag, next: Tag) -> bool {
    let same = last.kind == next.kind;
    match scheme {
        Scheme::Iob1 => match (last.letter, next.letter) {
            (b'I' | b'B', b'O') | (b'I', b'B') => true,
            (b'I' | b'B', b'I') => !same,
            (b'B', b'B') => same,
            _ => false,
        },
        Scheme::Iob2 => true,
        Scheme::Ioe2 => last.letter == b'E',
        Scheme::Iobes => matches!(last.letter, b'E' | b'S'),
        Scheme::Bilou => matches!(last.letter, b'L' | b'U'),
    }
}

fn span_f1<'a>(
    answers: &[Answer],
    truth: &[Label],
    known: &[Tag<'a>],
    read: impl Fn(&[Tag<'a>], &mut Vec<Span<'a>>),
) -> f64 {
    // Bootstraps come here a million times: tags are taken apart once, and buffers are kept.
    let (mut tags, mut answered, mut expected) = (Vec::new(), Vec::new(), Vec::new());
    let mut read_into = |sequence: &[u32], found: &mut Vec<Span<'a>>| {
        tags.clear();
        tags.extend(sequence.iter().map(|&tag| known.get(tag as usize).copied().unwrap_or(Tag::OUTSIDE)));
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
