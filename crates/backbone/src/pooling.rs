//! From token states to what a head reads.

use candle_core::{Result, Tensor};
use mtl_task::Packed;
use serde::{Deserialize, Serialize};

/// How the states of a text become one vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// Their mean.
    #[default]
    Mean,
    /// The first token's state.
    Cls,
    /// Their maximum, coordinate by coordinate.
    Max,
}

/// One vector per sequence, `[sequences, hidden]`, from states `[tokens, hidden]`; padding does not count.
///
/// # Errors
/// Those of candle.
pub fn pool(states: &Tensor, tokens: &Packed, pooling: Pooling) -> Result<Tensor> {
    match pooling {
        Pooling::Mean => {
            // One product with a sparse matrix of 1/length, written densely: sequences × tokens is small.
            let mut weights = vec![0f32; tokens.sequences() * tokens.tokens()];
            for (sequence, &length) in tokens.lengths.iter().enumerate() {
                let start = sequence * tokens.tokens() + tokens.offsets[sequence];
                weights[start..start + length].fill(1. / length as f32);
            }
            let shape = (tokens.sequences(), tokens.tokens());
            Tensor::from_vec(weights, shape, states.device())?.to_dtype(states.dtype())?.matmul(states)
        }
        Pooling::Cls => {
            let first: Vec<u32> = tokens.offsets[..tokens.sequences()].iter().map(|&at| at as u32).collect();
            states.index_select(&Tensor::new(first, states.device())?, 0)
        }
        Pooling::Max => {
            let rows = (0..tokens.sequences())
                .map(|sequence| states.narrow(0, tokens.offsets[sequence], tokens.lengths[sequence])?.max(0))
                .collect::<Result<Vec<Tensor>>>()?;
            Tensor::stack(&rows, 0)
        }
    }
}

/// The states at the words' anchors, `[anchors, hidden]`: none of them where no word has one. A head has nothing to say
/// then; a GPU refuses empty tensors, so nobody should ask it.
///
/// # Errors
/// Those of candle.
pub fn anchors(states: &Tensor, tokens: &Packed) -> Result<Tensor> {
    if tokens.anchors.is_empty() {
        return states.narrow(0, 0, 0);
    }
    states.index_select(&Tensor::new(tokens.anchors.as_slice(), states.device())?, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use mtl_task::Encoded;

    #[test]
    fn pooling_ignores_padding() -> Result<()> {
        let text = |ids: &[u32]| Encoded { ids: ids.to_vec(), segments: vec![0; ids.len()], ..Encoded::default() };
        let tokens = Packed::padded([&text(&[1, 2]), &text(&[3])], 0);
        let states = Tensor::new(&[[1f32, 8.], [3., 2.], [5., 6.], [99., 99.]], &Device::Cpu)?;
        let rows = |pooling| pool(&states, &tokens, pooling)?.to_vec2::<f32>();
        assert_eq!(rows(Pooling::Mean)?, [[2., 5.], [5., 6.]]);
        assert_eq!(rows(Pooling::Cls)?, [[1., 8.], [5., 6.]]);
        assert_eq!(rows(Pooling::Max)?, [[3., 8.], [5., 6.]]);
        Ok(())
    }
}
