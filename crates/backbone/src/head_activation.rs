//! What stands between the two maps of a head.

use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};

/// The activation of a head's hidden layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeadActivation {
    /// The hyperbolic tangent, as in BERT's pooler and RoBERTa's classification head.
    #[default]
    Tanh,
    /// max(x, 0), as in DistilBERT's.
    Relu,
    /// x·Φ(x), Φ being the normal distribution function, as in ELECTRA's.
    Gelu,
}

impl HeadActivation {
    /// The word that recipes and files use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tanh => "tanh",
            Self::Relu => "relu",
            Self::Gelu => "gelu",
        }
    }

    /// Of every element of `x`.
    ///
    /// # Errors
    /// Those of candle.
    pub fn apply(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Tanh => x.tanh(),
            Self::Relu => x.relu(),
            Self::Gelu => x.gelu_erf(),
        }
    }
}
