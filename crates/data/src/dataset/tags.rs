//! Which scheme the tags of a task are written in: what the manifest states is held against them, else they tell.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use mtl_task::{Cell, Contradiction, Scheme, SpanTags, Tag, TaskSpec};

use crate::RawExample;
use crate::manifest::DatasetManifest;
use crate::split::Rows;

/// One tag in so many spans may contradict a scheme that is stated: files have slips.
const SPANS_A_SLIP: usize = 100;

/// How many tags contradict a scheme, and where the first of them stands.
#[derive(Default)]
struct Found {
    count: usize,
    spans: usize,
    first: Option<String>,
}

/// Fills in the scheme of `spec`, and says what was found.
///
/// # Errors
/// If the tags are not of the scheme that is stated, if they are of none and look like one, or are to be judged as spans:
/// with the row of a tag that does not fit.
pub(super) fn settle(
    spec: &mut TaskSpec,
    rows: &Rows,
    manifest: &DatasetManifest,
    notes: &mut Vec<String>,
) -> Result<()> {
    let column = manifest.columns.label(true);
    let scheme = match Scheme::of(spec) {
        Ok(scheme) => scheme,
        Err(misfit) => match misfit.tag.as_deref().and_then(|tag| place_of(tag, rows, manifest)) {
            Some(place) => bail!("{place}: column `{column}`: {misfit}"),
            None => bail!("column `{column}`: {misfit}"),
        },
    };
    let (Some(scheme), Some(read)) = (scheme, SpanTags::read(&spec.labels)) else {
        if spec.scheme.is_none() {
            notes.push(plain(&spec.labels));
        }
        return Ok(());
    };
    let sentences = |rows: &[RawExample], scheme: Scheme| contradicting(rows, scheme, &read, &spec.labels, manifest);
    let stated = spec.scheme.is_some();
    let (first, other) = (sentences(&rows.train, scheme), sentences(&rows.train, Scheme::Iob1));
    // The tags of IOB1 and IOB2 have the same names, and stand elsewhere.
    let scheme = match scheme {
        Scheme::Iob2 if !stated && other.count < first.count => Scheme::Iob1,
        scheme => scheme,
    };
    let kinds: BTreeSet<&str> = read.tags.iter().filter(|tag| tag.letter != b'O').map(|tag| tag.kind).collect();
    let shown: Vec<&str> = kinds.iter().take(8).copied().collect();
    let more = if kinds.len() > shown.len() { format!(", … ({} in all)", kinds.len()) } else { String::new() };
    let example = spec.labels.iter().find(|name| *name != "O").map_or("", String::as_str);
    notes.push(format!(
        "tags are spans in the scheme {}, written as `{example}`, of {}{more}{}",
        long_name(scheme),
        if kinds.iter().all(|kind| *kind == "_") { "one kind".into() } else { shown.join(", ") },
        if scheme == Scheme::Bilou {
            "; span-f1 joins neighbours of a kind, as seqeval's default mode does"
        } else {
            ""
        }
    ));
    notes.extend(contradictions(rows, scheme, &read, spec.scheme.as_deref(), &sentences)?);
    if !stated {
        spec.scheme = Some(scheme.name().into());
    }
    Ok(())
}

/// What to say of tags at odds with `scheme`, which the manifest may have `stated`.
///
/// # Errors
/// If it is stated, and they are too many for slips.
fn contradictions(
    rows: &Rows,
    scheme: Scheme,
    read: &SpanTags,
    stated: Option<&str>,
    sentences: &dyn Fn(&[RawExample], Scheme) -> Found,
) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    let all = [("train", &rows.train), ("dev", &rows.dev), ("test", &rows.test)];
    let found = all.map(|(which, rows)| (which, sentences(rows, scheme)));
    let many = |which: &str, found: &Found| {
        let tags = if found.count == 1 { "tag" } else { "tags" };
        format!("{} {tags} of {which} at odds with it ({} spans)", found.count, found.spans)
    };
    let slips = |found: &mut dyn Iterator<Item = &Found>| {
        let (count, spans) = found.fold((0, 0), |sum, found| (sum.0 + found.count, sum.1 + found.spans));
        count * SPANS_A_SLIP <= spans
    };
    for (which, split) in &found {
        let Some(first) = &split.first else { continue };
        if let (Some(stated), false) = (stated, slips(&mut found.iter().map(|(_, found)| found))) {
            let fits = |other: &Scheme| slips(&mut all.map(|(_, rows)| sentences(rows, *other)).iter());
            let others = [Scheme::Iob2, Scheme::Iob1].into_iter();
            let mut others =
                others.filter(|_| matches!(read.scheme, Scheme::Iob1 | Scheme::Iob2)).filter(|other| *other != scheme);
            let remedy = match others.find(fits) {
                Some(other) => format!("they are of scheme = \"{}\"", other.name()),
                None => "without scheme, the tags tell".into(),
            };
            bail!("{first}, which the scheme `{stated}` of [task] does not allow; {}; {remedy}", many(which, split));
        }
        notes.push(format!("{}, read as the metrics say (first: {first})", many(which, split)));
    }
    Ok(notes)
}

/// The tags of `rows` that stand where `scheme` would not put them.
fn contradicting(
    rows: &[RawExample],
    scheme: Scheme,
    read: &SpanTags,
    labels: &[String],
    manifest: &DatasetManifest,
) -> Found {
    let index: std::collections::HashMap<&str, Tag> =
        labels.iter().map(String::as_str).zip(read.tags.iter().copied()).collect();
    let mut found = Found::default();
    for row in rows {
        let Cell::Many(tags) = &row.label else { continue };
        let kept: Vec<(usize, &String)> =
            tags.iter().enumerate().filter(|(_, tag)| !manifest.columns.is_ignored(tag)).collect();
        let sentence: Vec<Tag> =
            kept.iter().map(|(_, tag)| index.get(tag.as_str()).copied().unwrap_or(Tag::OUTSIDE)).collect();
        found.spans += begun(&sentence);
        let contradictions = scheme.contradictions(&sentence);
        found.count += contradictions.len();
        if let (None, Some(Contradiction { word, behind })) = (&found.first, contradictions.first()) {
            let neighbour = if *behind { kept.get(word + 1) } else { word.checked_sub(1).and_then(|at| kept.get(at)) };
            let stands = match (neighbour, behind) {
                (Some((_, tag)), true) => format!("before `{tag}`"),
                (Some((_, tag)), false) => format!("behind `{tag}`"),
                (None, true) => "at the end of its sentence".into(),
                (None, false) => "at the beginning of its sentence".into(),
            };
            found.first = kept.get(*word).map(|(at, tag)| format!("{}: `{tag}` {stands}", row.place.of_word(*at)));
        }
    }
    found
}

/// How many runs of tags of one kind, or beginnings within them, a sentence has.
fn begun(tags: &[Tag]) -> usize {
    let before = std::iter::once(&Tag::OUTSIDE).chain(tags);
    let begins = |(before, tag): (&Tag, &Tag)| {
        tag.letter != b'O'
            && (matches!(tag.letter, b'B' | b'S' | b'U') || before.letter == b'O' || before.kind != tag.kind)
    };
    before.zip(tags).filter(|&pair| begins(pair)).count()
}

/// Where `tag` stands first.
fn place_of(tag: &str, rows: &Rows, manifest: &DatasetManifest) -> Option<String> {
    super::labels::every(rows).find_map(|row| match &row.label {
        Cell::Many(tags) => {
            let at = tags.iter().position(|known| known == tag && !manifest.columns.is_ignored(known))?;
            Some(row.place.of_word(at))
        }
        Cell::Text(_) => None,
    })
}

fn long_name(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Iob1 => "IOB1",
        Scheme::Iob2 => "IOB2 (BIO)",
        Scheme::Ioe2 => "IOE2",
        Scheme::Iobes => "IOBES (BIOES)",
        Scheme::Bilou => "BILOU",
    }
}

fn plain(labels: &[String]) -> String {
    let numbers = labels.iter().all(|name| name.parse::<i64>().is_ok());
    let hint = if numbers { "; if its numbers stand for tags of spans, [columns.label_names] names them" } else { "" };
    format!("tags are of no scheme of spans, and are judged word by word (plain){hint}")
}
