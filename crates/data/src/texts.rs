//! What is read before it is tokenised.

use mtl_task::Cell;

use crate::reader::Place;

/// The text of one example.
#[derive(Clone, Debug, PartialEq)]
pub enum Texts {
    /// One text.
    One(String),
    /// A pair, joined by the tokenizer.
    Pair(String, String),
    /// Words.
    Tokens(Vec<String>),
}

impl Texts {
    /// The text in lower case with single spaces, by which duplicates are told.
    pub fn normalised(&self) -> String {
        let words = |text: &str| text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
        match self {
            Self::One(text) => words(text),
            Self::Pair(a, b) => format!("{}\u{1f}{}", words(a), words(b)),
            Self::Tokens(tokens) => words(&tokens.join(" ")),
        }
    }

    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::One(text) => text.trim().is_empty(),
            Self::Pair(a, b) => a.trim().is_empty() && b.trim().is_empty(),
            Self::Tokens(tokens) => tokens.iter().all(|token| token.trim().is_empty()),
        }
    }
}

/// One labelled text and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct RawExample {
    /// The text.
    pub texts: Texts,
    /// The truth, unparsed.
    pub label: Cell,
    /// Where it was read, for messages.
    pub place: Place,
}
