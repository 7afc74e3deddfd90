//! Schemes of tags that write spans: a letter says where in a span a word stands, the rest what kind of span it is.
//!
//! IOB1 and IOB2: Tjong Kim Sang and Veenstra, "Representing text chunks" (1999); IOBES and BILOU: Ratinov and Roth,
//! "Design challenges and misconceptions in named entity recognition" (2009). The letter is the tag's first (`B-PER`) or
//! last (`PER-B`), with `-` or `_` between, or the whole tag where all spans are of one kind.

use std::fmt;

use crate::{TaskSpec, nearest};

/// What the letters of tags mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    /// Every word of a span is `I`; `B` begins one right behind another of its kind.
    Iob1,
    /// `B` begins a span, `I` goes on. Also called BIO.
    Iob2,
    /// `E` ends a span, `I` stands before.
    Ioe2,
    /// `B` begins, `I` goes on, `E` ends, `S` is a span of one word. Also called BIOES.
    Iobes,
    /// `B` begins, `I` goes on, `L` ends, `U` is a span of one word.
    Bilou,
}

/// Where a tag's letter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// In front: `B-PER`.
    Prefix,
    /// Behind: `PER-B`.
    Suffix,
}

/// A tag taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag<'a> {
    /// Where in its span the word stands: one of `BIOESLU`.
    pub letter: u8,
    /// The span's kind; `_` if the tag names none.
    pub kind: &'a str,
}

/// The tags of a task, taken apart.
#[derive(Clone, Debug)]
pub struct SpanTags<'a> {
    /// Where their letters stand.
    pub side: Side,
    /// The scheme that has such letters: IOB2 for `B` and `I`, which IOB1 has as well.
    pub scheme: Scheme,
    /// One for each name.
    pub tags: Vec<Tag<'a>>,
}

/// A tag at odds with its scheme where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// Its place in the sentence, from 0.
    pub word: usize,
    /// Whether what stands behind it is at fault; else what stands before it.
    pub behind: bool,
}

/// Why tags are not of a scheme, and what to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// What is wrong, and the remedy.
    pub message: String,
    /// A tag that does not fit.
    pub tag: Option<String>,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Misfit {}

/// What a manifest may call the schemes, and what is no scheme.
const NAMES: [(&str, Option<Scheme>); 8] = [
    ("bilou", Some(Scheme::Bilou)),
    ("bio", Some(Scheme::Iob2)),
    ("bioes", Some(Scheme::Iobes)),
    ("iob1", Some(Scheme::Iob1)),
    ("iob2", Some(Scheme::Iob2)),
    ("iobes", Some(Scheme::Iobes)),
    ("ioe2", Some(Scheme::Ioe2)),
    ("plain", None),
];

/// The remedy where tags write no spans.
const PLAIN: &str = "scheme = \"plain\" in [task] judges them word by word, by token-accuracy";

impl Scheme {
    /// The name in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Iob1 => "iob1",
            Self::Iob2 => "iob2",
            Self::Ioe2 => "ioe2",
            Self::Iobes => "iobes",
            Self::Bilou => "bilou",
        }
    }

    /// The scheme of a tagging task by its table, and none if its tags are judged one by one.
    ///
    /// # Errors
    /// If the scheme that it states is unknown or has not such tags, if its metric is one of spans and the tags are of no
    /// scheme, or if all but some tags look like those of a scheme and the table does not say what they are.
    pub fn of(spec: &TaskSpec) -> Result<Option<Self>, Misfit> {
        let read = SpanTags::read(&spec.labels);
        let refuse = |message: String, tag: Option<&str>| Err(Misfit { message, tag: tag.map(str::to_string) });
        if let Some(stated) = spec.scheme.as_deref() {
            let Some((_, known)) = NAMES.iter().find(|(name, _)| *name == stated) else {
                let all = NAMES.map(|(name, _)| name);
                let hint = nearest(stated, all.iter().copied());
                return refuse(format!("unknown tagging scheme `{stated}`{hint}; there are {}", all.join(", ")), None);
            };
            if let Some(scheme) = known {
                let Some(odd) = scheme.odd(&spec.labels) else { return Ok(Some(*scheme)) };
                let other = match &read {
                    Some(read) => format!("scheme = \"{}\" has all of them", read.scheme.name()),
                    None => PLAIN.to_string(),
                };
                let of = scheme.letters();
                return refuse(format!("`{odd}` is no tag of the scheme `{stated}` ({of}); {other}"), Some(odd));
            }
        }
        let plain = spec.scheme.is_some();
        if let (Some(read), false) = (&read, plain) {
            return Ok(Some(read.scheme));
        }
        match spec.metric.as_deref() {
            Some(metric) if metric.starts_with("span-") => {
                let odd = spec.labels.iter().find(|name| *name != "O").map(String::as_str);
                let why = if plain { "[task] scheme is plain".into() } else { none(odd.unwrap_or("O")) };
                refuse(format!("metric `{metric}` judges spans, and {why}; without it, {PLAIN}"), odd)
            }
            None if !plain => match nearly(&spec.labels) {
                Some(odd) => refuse(format!("{}, though others look like one; {PLAIN}", none(odd)), Some(odd)),
                None => Ok(None),
            },
            _ => Ok(None),
        }
    }

    /// The first of `names` that is no tag of this scheme, in the form that the others have.
    fn odd<S: AsRef<str>>(self, names: &[S]) -> Option<&str> {
        let side = Side::of(names).unwrap_or(match Side::Suffix.fitting(names) > Side::Prefix.fitting(names) {
            true => Side::Suffix,
            false => Side::Prefix,
        });
        let fits = |name: &str| side.split(name).is_some_and(|tag| self.letters().as_bytes().contains(&tag.letter));
        let odd = names.iter().map(AsRef::as_ref).find(|name| !fits(name));
        // Tags that are all `O` write nothing.
        odd.or_else(|| names.iter().all(|name| name.as_ref() == "O").then(|| names.first().map_or("", AsRef::as_ref)))
    }

    /// The letters that its tags may have.
    fn letters(self) -> &'static str {
        match self {
            Self::Iob1 | Self::Iob2 => "B, I, O",
            Self::Ioe2 => "I, O, E",
            Self::Iobes => "I, O, B, E, S",
            Self::Bilou => "B, I, L, O, U",
        }
    }

    /// The tags of a sentence that this scheme would not put where they stand.
    pub fn contradictions(self, tags: &[Tag]) -> Vec<Contradiction> {
        let mut found = Vec::new();
        for word in 0..=tags.len() {
            let before = if word == 0 { Tag::OUTSIDE } else { tags[word - 1] };
            let tag = tags.get(word).copied().unwrap_or(Tag::OUTSIDE);
            let same = before.kind == tag.kind;
            let open = matches!(before.letter, b'B' | b'I');
            let goes_on = matches!(tag.letter, b'I' | b'E' | b'L');
            let (unended, unbegun) = match self {
                Self::Iob1 => (false, tag.letter == b'B' && !(open && same)),
                Self::Iob2 => (false, tag.letter == b'I' && !(open && same)),
                Self::Ioe2 => (open && !(goes_on && same), false),
                Self::Iobes | Self::Bilou => (open && !(goes_on && same), goes_on && !(open && same)),
            };
            if unended {
                found.push(Contradiction { word: word - 1, behind: true });
            }
            if unbegun {
                found.push(Contradiction { word, behind: false });
            }
        }
        found
    }
}

impl Side {
    /// The side on which all of `names` have a letter, and some a letter other than `O`.
    pub fn of<S: AsRef<str>>(names: &[S]) -> Option<Self> {
        let inside = names.iter().any(|name| name.as_ref() != "O");
        let fits = |side: &Self| inside && side.fitting(names) == names.len();
        [Self::Prefix, Self::Suffix].into_iter().find(fits)
    }

    fn fitting<S: AsRef<str>>(self, names: &[S]) -> usize {
        names.iter().filter(|name| self.split(name.as_ref()).is_some()).count()
    }

    /// `tag` taken apart, if its letter stands on this side.
    pub fn split(self, tag: &str) -> Option<Tag<'_>> {
        let (letter, rest) = match self {
            Self::Prefix => (*tag.as_bytes().first()?, tag.get(1..)?),
            Self::Suffix => (*tag.as_bytes().last()?, tag.get(..tag.len() - 1)?),
        };
        let kind = match self {
            _ if rest.is_empty() => "",
            Self::Prefix => rest.strip_prefix(['-', '_'])?,
            Self::Suffix => rest.strip_suffix(['-', '_'])?,
        };
        let known = if rest.is_empty() { "BIOESLU" } else { "BIESLU" };
        known.as_bytes().contains(&letter).then_some(Tag { letter, kind: if kind.is_empty() { "_" } else { kind } })
    }
}

impl Tag<'static> {
    /// Of no span.
    pub const OUTSIDE: Self = Self { letter: b'O', kind: "_" };
}

impl<'a> SpanTags<'a> {
    /// `names` taken apart, if they are tags of a scheme.
    pub fn read<S: AsRef<str>>(names: &'a [S]) -> Option<Self> {
        let sided = |side: Side| -> Option<Self> {
            let tags: Vec<Tag> = names.iter().map(|name| side.split(name.as_ref())).collect::<Option<_>>()?;
            Some(Self { side, scheme: scheme(&tags)?, tags })
        };
        let begins = |read: &Self| read.tags.iter().any(|tag| tag.letter == b'B');
        match (sided(Side::Prefix), sided(Side::Suffix)) {
            // `L-B`, `L-I`: a kind called `L`.
            (Some(prefix), Some(suffix)) if begins(&suffix) && !begins(&prefix) => Some(suffix),
            (prefix, suffix) => prefix.or(suffix),
        }
    }
}

/// The scheme that has the letters of `tags`, and can write a span with them.
fn scheme(tags: &[Tag]) -> Option<Scheme> {
    let has = |letter: u8| tags.iter().any(|tag| tag.letter == letter);
    let bare = tags.iter().all(|tag| tag.kind == "_");
    let [b, i, e, s, l, u] = b"BIESLU".map(has);
    match ((e || s), (l || u)) {
        (true, true) => None,
        // Single letters are names of much else.
        _ if bare && !(b || i) => None,
        (true, false) if s || b => Some(Scheme::Iobes).filter(|_| s || e),
        (true, false) => Some(Scheme::Ioe2),
        (false, true) => Some(Scheme::Bilou).filter(|_| u || b),
        (false, false) if b => Some(Scheme::Iob2),
        (false, false) => Some(Scheme::Iob1).filter(|_| i),
    }
}

/// The first of `names` that keeps them from being of a scheme, where some kind has a `B` and a tag that goes on.
fn nearly<S: AsRef<str>>(names: &[S]) -> Option<&str> {
    if SpanTags::read(names).is_some() {
        return None;
    }
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    [Side::Prefix, Side::Suffix].into_iter().find_map(|side| {
        let tags: Vec<Tag> = names.iter().filter_map(|name| side.split(name)).collect();
        let goes_on = |begun: &Tag| {
            tags.iter().any(|tag| matches!(tag.letter, b'I' | b'E' | b'L') && tag.kind == begun.kind && tag.kind != "_")
        };
        if !tags.iter().any(|tag| tag.letter == b'B' && goes_on(tag)) {
            return None;
        }
        let odd = |name: &&&str| side.split(name).is_none_or(|tag| matches!(tag.letter, b'L' | b'U'));
        names.iter().find(odd).copied()
    })
}

fn none(odd: &str) -> String {
    format!("`{odd}` is no tag of a scheme of spans (iob1, iob2, ioe2, iobes, bilou; `B-x` or `x-B`)")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recognised(names: &str) -> Option<(Scheme, Side)> {
        let names: Vec<&str> = names.split(' ').collect();
        SpanTags::read(&names).map(|read| (read.scheme, read.side))
    }

    #[test]
    fn schemes_are_told_by_their_letters_on_either_side() {
        use Scheme::{Bilou, Iob1, Iob2, Iobes, Ioe2};
        for (letters, scheme) in
            [("BI", Iob2), ("I", Iob1), ("B", Iob2), ("BIES", Iobes), ("BILU", Bilou), ("IE", Ioe2)]
        {
            let tags = |form: &dyn Fn(char) -> String| letters.chars().map(form).collect::<Vec<_>>().join(" ");
            assert_eq!(recognised(&tags(&|letter| format!("{letter}-per"))), Some((scheme, Side::Prefix)), "{letters}");
            let suffix = format!("O {}", tags(&|letter| format!("per-loc_{letter}")));
            assert_eq!(recognised(&suffix), Some((scheme, Side::Suffix)), "{letters}");
            assert_eq!(
                recognised(&format!("O {}", tags(&|l| l.to_string()))),
                Some((scheme, Side::Prefix)),
                "{letters}"
            );
        }
        assert_eq!(recognised("L-B L-I O"), Some((Iob2, Side::Suffix)));
        for other in
            ["O", "NOUN VERB", "O B-a I-b X", "B-a E-a U-a O", "B M E S", "E S", "b-a i-a O", "0 1 2", "L-a O", "Ö-B é"]
        {
            assert_eq!(recognised(other), None, "{other}");
        }
    }

    #[test]
    fn what_a_table_states_has_to_fit_and_what_nearly_fits_is_asked_about() {
        let of = |labels: &str, scheme: Option<&str>, metric: Option<&str>| {
            let (scheme, metric) = (scheme.map(String::from), metric.map(String::from));
            let labels = labels.split(' ').map(String::from).collect();
            Scheme::of(&TaskSpec { labels, scheme, metric, ..TaskSpec::default() }).map_err(|misfit| misfit.message)
        };
        assert_eq!(of("O B-a I-a", None, None), Ok(Some(Scheme::Iob2)));
        assert_eq!(of("O B-a I-a", Some("iob1"), Some("span-f1")), Ok(Some(Scheme::Iob1)));
        assert_eq!(of("O B-a I-a", Some("plain"), None), Ok(None));
        assert_eq!(of("O B-a I-a X", Some("plain"), None), Ok(None));
        assert_eq!(of("O B-a I-a X", None, Some("token-accuracy")), Ok(None));
        assert_eq!(of("NOUN VERB", None, None), Ok(None));
        for (labels, scheme, metric, named) in [
            ("O B-a E-a", Some("bio"), None, "`E-a` is no tag of the scheme `bio` (B, I, O); scheme = \"iobes\""),
            ("O a-B a-S", Some("bilou"), None, "`a-S` is no tag of the scheme `bilou`"),
            ("NOUN VERB", Some("iobes"), None, "`NOUN` is no tag of the scheme `iobes`"),
            ("O", Some("iob2"), None, "`O` is no tag"),
            ("O B-a I-a", Some("bioe"), None, "did you mean `bio"),
            ("NOUN VERB", None, Some("span-f1"), "`NOUN` is no tag of a scheme of spans"),
            ("O B-a", Some("plain"), Some("span-f1-strict"), "[task] scheme is plain"),
            ("O B-a I-a M-a", None, None, "`M-a` is no tag of a scheme"),
            ("O B-a E-a L-a", None, None, "`L-a` is no tag of a scheme"),
        ] {
            let error = of(labels, scheme, metric).expect_err(labels);
            assert!(error.contains(named), "`{named}` is missing in: {error}");
            assert!(error.contains("scheme = \"") || error.contains("there are"), "no remedy: {error}");
        }
    }

    #[test]
    fn each_scheme_says_which_tags_stand_where_it_would_not_put_them() {
        let found = |scheme: Scheme, tags: &str| -> Vec<(usize, bool)> {
            let tags: Vec<Tag> = tags.split(' ').map(|tag| Side::Prefix.split(tag).expect("a tag")).collect();
            scheme.contradictions(&tags).iter().map(|found| (found.word, found.behind)).collect()
        };
        assert_eq!(found(Scheme::Iob1, "I-a I-a B-a I-b O B-a"), [(5, false)]);
        assert_eq!(found(Scheme::Iob2, "I-a I-a B-a I-b O I-a"), [(0, false), (3, false), (5, false)]);
        assert_eq!(found(Scheme::Ioe2, "I-a E-a E-a I-a O I-b"), [(3, true), (5, true)]);
        assert_eq!(found(Scheme::Iobes, "B-a I-a E-a S-a O B-a O E-a"), [(5, true), (7, false)]);
        assert_eq!(found(Scheme::Bilou, "B-a L-a U-a B-a L-b"), [(3, true), (4, false)]);
    }
}
