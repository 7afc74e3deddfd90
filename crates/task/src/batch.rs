//! Packed tokens: the sequences of a batch laid end to end, so that no pad token is ever computed.

use std::sync::Arc;

use crate::Label;

/// One tokenised example, special tokens included.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Encoded {
    /// Vocabulary ids.
    pub ids: Vec<u32>,
    /// Segment (token type) of each token: 0, or 1 for the second text of a pair.
    pub segments: Vec<u32>,
    /// For tasks that read tokens: the position of the first sub-token of each word that survived truncation.
    pub anchors: Vec<u32>,
    /// How many words the example had before truncation (0 for tasks that read the whole text).
    pub words: usize,
}

/// The sequences of one batch, end to end.
///
/// `offsets` has one entry more than there are sequences; sequence `s` occupies tokens `offsets[s]..offsets[s + 1]`.
/// On devices without packed kernels the sequences are padded to one length; `lengths` then tells the real ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Packed {
    /// Vocabulary ids, `[tokens]`.
    pub ids: Vec<u32>,
    /// Segment (token type) of each token, `[tokens]`.
    pub segments: Vec<u32>,
    /// Where each sequence begins, and where the last one ends, `[sequences + 1]`.
    pub offsets: Vec<usize>,
    /// Real tokens of each sequence, `[sequences]`; smaller than its extent only if padded.
    pub lengths: Vec<usize>,
    /// Indices into the packed tokens of the first sub-token of each word, sequence after sequence.
    pub anchors: Vec<u32>,
    /// Where each sequence's anchors begin, and where the last one's end, `[sequences + 1]`.
    pub anchor_offsets: Vec<usize>,
    /// Words of each sequence before truncation, `[sequences]`.
    pub words: Vec<usize>,
}

impl Packed {
    /// Lays `sequences` end to end.
    pub fn new<'a>(sequences: impl IntoIterator<Item = &'a Encoded>) -> Self {
        Self::laid_out(sequences, |length| length)
    }

    /// Lays `sequences` end to end, each padded with id `pad` to the longest one's length.
    pub fn padded<'a>(sequences: impl IntoIterator<Item = &'a Encoded>, pad: u32) -> Self {
        let sequences: Vec<&Encoded> = sequences.into_iter().collect();
        let longest = sequences.iter().map(|s| s.ids.len()).max().unwrap_or(0);
        let mut packed = Self::laid_out(sequences, |_| longest);
        for sequence in 0..packed.sequences() {
            let end = packed.offsets[sequence] + packed.lengths[sequence];
            packed.ids[end..packed.offsets[sequence + 1]].fill(pad);
        }
        packed
    }

    fn laid_out<'a>(sequences: impl IntoIterator<Item = &'a Encoded>, extent: impl Fn(usize) -> usize) -> Self {
        let mut packed = Self { offsets: vec![0], anchor_offsets: vec![0], ..Self::default() };
        for sequence in sequences {
            let start = packed.ids.len();
            packed.ids.extend(&sequence.ids);
            packed.segments.extend(&sequence.segments);
            packed.ids.resize(start + extent(sequence.ids.len()), 0);
            packed.segments.resize(packed.ids.len(), 0);
            packed.offsets.push(packed.ids.len());
            packed.lengths.push(sequence.ids.len());
            packed.anchors.extend(sequence.anchors.iter().map(|&anchor| start as u32 + anchor));
            packed.anchor_offsets.push(packed.anchors.len());
            packed.words.push(sequence.words);
        }
        packed
    }

    /// The sequences `range` alone.
    pub fn select(&self, range: std::ops::Range<usize>) -> Self {
        let (tokens, anchors) = (
            self.offsets[range.start]..self.offsets[range.end],
            self.anchor_offsets[range.start]..self.anchor_offsets[range.end],
        );
        let offsets = &self.offsets[range.start..=range.end];
        let anchor_offsets = &self.anchor_offsets[range.start..=range.end];
        Self {
            ids: self.ids[tokens.clone()].to_vec(),
            segments: self.segments[tokens.clone()].to_vec(),
            offsets: offsets.iter().map(|offset| offset - tokens.start).collect(),
            lengths: self.lengths[range.clone()].to_vec(),
            anchors: self.anchors[anchors.clone()].iter().map(|anchor| anchor - tokens.start as u32).collect(),
            anchor_offsets: anchor_offsets.iter().map(|offset| offset - anchors.start).collect(),
            words: self.words[range].to_vec(),
        }
    }

    /// Number of sequences.
    pub fn sequences(&self) -> usize {
        self.lengths.len()
    }

    /// Number of tokens laid out, padding included.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// Number of tokens that carry text.
    pub fn real_tokens(&self) -> usize {
        self.lengths.iter().sum()
    }

    /// Whether some sequence is followed by padding.
    pub fn is_padded(&self) -> bool {
        self.real_tokens() < self.tokens()
    }

    /// The extent that all sequences share, or `None` if they are ragged.
    pub fn common_extent(&self) -> Option<usize> {
        let first = self.offsets.get(1)?;
        self.offsets.windows(2).all(|pair| pair[1] - pair[0] == *first).then_some(*first)
    }

    /// Position of each token in its sequence, `[tokens]`, counted from 0.
    pub fn positions(&self) -> Vec<u32> {
        self.offsets.windows(2).flat_map(|pair| 0..(pair[1] - pair[0]) as u32).collect()
    }

    /// The anchors' range of sequence `index`.
    pub fn anchors_of(&self, index: usize) -> std::ops::Range<usize> {
        self.anchor_offsets[index]..self.anchor_offsets[index + 1]
    }
}

/// One task's share of a step.
#[derive(Clone, Debug)]
pub struct TaskBatch {
    /// Which task.
    pub task: crate::TaskId,
    /// Its texts.
    pub tokens: Packed,
    /// Their truths, one per sequence.
    pub labels: Vec<Label>,
    /// What a teacher says of each sequence, `[outputs]` or `[words × outputs]`; empty without a teacher.
    pub teacher: Vec<Arc<[f32]>>,
}

/// What one training step sees: one batch per task (joint), or the batch of one task.
#[derive(Clone, Debug, Default)]
pub struct Step(pub Vec<TaskBatch>);

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(ids: &[u32], anchors: &[u32]) -> Encoded {
        Encoded { ids: ids.to_vec(), segments: vec![0; ids.len()], anchors: anchors.to_vec(), words: anchors.len() }
    }

    #[test]
    fn sequences_lie_end_to_end() {
        let packed = Packed::new([&encoded(&[1, 2, 3], &[1]), &encoded(&[4, 5], &[0, 1])]);
        assert_eq!(packed.ids, [1, 2, 3, 4, 5]);
        assert_eq!(packed.offsets, [0, 3, 5]);
        assert_eq!(packed.anchors, [1, 3, 4]);
        assert_eq!(packed.anchors_of(1), 1..3);
        assert_eq!(packed.positions(), [0, 1, 2, 0, 1]);
        assert_eq!(packed.common_extent(), None);
        assert!(!packed.is_padded());
    }

    #[test]
    fn a_selection_is_what_packing_it_would_have_made() {
        let texts = [encoded(&[1, 2, 3], &[1]), encoded(&[4, 5], &[0, 1]), encoded(&[6], &[])];
        assert_eq!(Packed::new(&texts).select(1..3), Packed::new(&texts[1..]));
    }

    #[test]
    fn padding_keeps_real_lengths_and_moves_anchors() {
        let packed = Packed::padded([&encoded(&[1, 2, 3], &[1]), &encoded(&[4, 5], &[0, 1])], 9);
        assert_eq!(packed.ids, [1, 2, 3, 4, 5, 9]);
        assert_eq!(packed.lengths, [3, 2]);
        assert_eq!(packed.anchors, [1, 3, 4]);
        assert_eq!(packed.common_extent(), Some(3));
        assert_eq!((packed.tokens(), packed.real_tokens()), (6, 5));
    }
}
