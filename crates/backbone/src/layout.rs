//! Parts of an encoder, and the tensors that lie end to end in each part's one flat vector.

use std::ops::Range;
use std::sync::Arc;

/// A piece of an encoder whose parameters form one contiguous vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The word table. On its own because its gradient is row-sparse.
    Words,
    /// Everything else below the first layer: positions, types, LayerNorm, projection.
    Embeddings,
    /// A transformer layer, counted from 0 at the bottom.
    Layer(usize),
}

impl Part {
    /// All parts of an encoder of `layers` layers, bottom up.
    pub fn all(layers: usize) -> impl Iterator<Item = Self> {
        [Self::Words, Self::Embeddings].into_iter().chain((0..layers).map(Self::Layer))
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Words => write!(f, "words"),
            Self::Embeddings => write!(f, "embeddings"),
            Self::Layer(index) => write!(f, "layer.{index}"),
        }
    }
}

/// One tensor of a part.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The hub's name of it, such as `encoder.layer.0.attention.self.query.weight`.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Where it lies in the flat vector.
    pub range: Range<usize>,
    /// Whether weight decay applies: not to biases and LayerNorms.
    pub decay: bool,
}

/// The tensors of one part, in the order in which they lie.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layout {
    entries: Vec<Entry>,
    /// Set if the gradient touches few rows of a `[rows, width]` table.
    row_width: Option<usize>,
}

impl Layout {
    /// Lays out `tensors` (name, shape, decay) one after the other.
    pub fn new(tensors: impl IntoIterator<Item = (String, Vec<usize>, bool)>) -> Arc<Self> {
        let mut start = 0;
        let entries = tensors
            .into_iter()
            .map(|(name, shape, decay)| {
                let range = start..start + shape.iter().product::<usize>();
                start = range.end;
                Entry { name, shape, range, decay }
            })
            .collect();
        Arc::new(Self { entries, row_width: None })
    }

    /// A single table `[rows, width]` whose gradient is kept by rows.
    pub fn table(name: String, rows: usize, width: usize) -> Arc<Self> {
        let entries = vec![Entry { name, shape: vec![rows, width], range: 0..rows * width, decay: true }];
        Arc::new(Self { entries, row_width: Some(width) })
    }

    /// Length of the flat vector.
    pub fn len(&self) -> usize {
        self.entries.last().map_or(0, |entry| entry.range.end)
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The tensors, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The `index`-th tensor's range.
    pub fn range(&self, index: usize) -> Range<usize> {
        self.entries[index].range.clone()
    }

    /// Width of a row, if the gradient is kept by rows.
    pub fn row_width(&self) -> Option<usize> {
        self.row_width
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_lie_end_to_end() {
        let layout = Layout::new([("a".into(), vec![2, 3], true), ("b".into(), vec![4], false)]);
        assert_eq!(layout.len(), 10);
        assert_eq!(layout.range(1), 6..10);
        assert_eq!(Part::all(1).map(|part| part.to_string()).collect::<Vec<_>>(), ["words", "embeddings", "layer.0"]);
    }
}
