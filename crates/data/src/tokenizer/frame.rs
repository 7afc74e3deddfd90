//! Where special tokens stand around a text or a pair: learnt once from the tokenizer's own template.

use anyhow::{Result, anyhow, bail};
use mtl_task::Encoded;
use tokenizers::{Encoding, Token};

use super::guard::guarded;

/// An id and its segment.
type Marked = (u32, u32);

/// The ids, with their segments, that surround the texts.
#[derive(Clone, Debug, Default)]
pub(super) struct Frame {
    before: Vec<Marked>,
    between: Vec<Marked>,
    after: Vec<Marked>,
    /// Segment of each text.
    segments: [u32; 2],
}

/// Ids that no vocabulary has; they mark where the texts go.
const FIRST: u32 = u32::MAX;
const SECOND: u32 = u32::MAX - 1;

impl Frame {
    pub(super) fn single(inner: &tokenizers::Tokenizer) -> Result<Self> {
        let marked = framed(inner, None)?;
        let Some((before, segment, after)) = parted(&marked, FIRST) else { bail!("its template leaves the text out") };
        Ok(Self { before: before.to_vec(), after: after.to_vec(), segments: [segment; 2], ..Self::default() })
    }

    pub(super) fn pair(inner: &tokenizers::Tokenizer) -> Result<Self> {
        let marked = framed(inner, Some(mark(SECOND, 1)))?;
        let (Some((before, first, rest)), Some(_)) = (parted(&marked, FIRST), parted(&marked, SECOND)) else {
            bail!("its template leaves a text of a pair out")
        };
        let Some((between, second, after)) = parted(rest, SECOND) else {
            bail!("its template puts the second text of a pair first")
        };
        let [before, between, after] = [before, between, after].map(<[_]>::to_vec);
        Ok(Self { before, between, after, segments: [first, second] })
    }

    /// How many special tokens there are.
    pub(super) fn special(&self) -> usize {
        self.before.len() + self.between.len() + self.after.len()
    }

    /// How many of them stand in front.
    pub(super) fn before(&self) -> usize {
        self.before.len()
    }

    /// The special tokens in front of a text, and those behind it.
    pub(super) fn around_a_text(&self) -> [Vec<u32>; 2] {
        [&self.before, &self.after].map(|tokens| tokens.iter().map(|(id, _)| *id).collect())
    }

    /// The texts `a` and `b` with their special tokens.
    pub(super) fn around(&self, a: &[u32], b: &[u32]) -> Encoded {
        let text = |ids: &[u32], segment: u32| ids.iter().map(|&id| (id, segment)).collect::<Vec<_>>();
        let [first, second] = self.segments;
        let all = [&self.before, &text(a, first), &self.between, &text(b, second), &self.after];
        let (ids, segments) = all.into_iter().flatten().copied().unzip();
        Encoded { ids, segments, ..Encoded::default() }
    }
}

/// A text of one token, of the segment that the library gives a text before any template.
fn mark(id: u32, segment: u32) -> Encoding {
    Encoding::from_tokens(vec![Token::new(id, "x".into(), (0, 1))], segment)
}

fn framed(inner: &tokenizers::Tokenizer, second: Option<Encoding>) -> Result<Vec<Marked>> {
    let framed = guarded(|| inner.post_process(mark(FIRST, 0), second, true))?
        .map_err(|error| anyhow!("its template cannot be applied: {error}"))?;
    Ok(framed.get_ids().iter().copied().zip(framed.get_type_ids().iter().copied()).collect())
}

/// What stands in front of `mark`, its segment, and what stands behind it.
fn parted(marked: &[Marked], mark: u32) -> Option<(&[Marked], u32, &[Marked])> {
    let (before, rest) = marked.split_at_checked(marked.iter().position(|(id, _)| *id == mark)?)?;
    let ((_, segment), after) = rest.split_first()?;
    Some((before, *segment, after))
}
