//! The bottom of an encoder, shared or not: what strategies that branch above it have in common.

use candle_core::{Result, Tensor};
use mtl_backbone::{Family, Param, Part, Pass, Ports};
use mtl_task::Packed;

use crate::{BuildContext, EncoderWeights, walk};

/// Words, embeddings and the first layers, as parameters of one owner.
#[derive(Clone, Debug)]
pub(crate) struct Trunk(Vec<Param>);

impl Trunk {
    /// Puts the pretrained weights below layer `layers` into the model as parameters of `owner`.
    pub(crate) fn insert(site: &mut BuildContext, owner: &str, layers: usize) -> Result<Self> {
        let parts =
            Part::all(layers).map(|part| EncoderWeights::insert_part(site.pretrained, owner, part, site.params));
        Ok(Self(parts.collect::<Result<_>>()?))
    }

    /// The parameter of `part`.
    pub(crate) fn part(&self, part: Part) -> &Param {
        match part {
            Part::Words => &self.0[0],
            Part::Embeddings => &self.0[1],
            Part::Layer(index) => &self.0[index + 2],
        }
    }

    /// Every state on the way, the embeddings' first: one more than there are layers, `[tokens, hidden]` each.
    pub(crate) fn states(&self, encoder: &Family, tokens: &Packed, pass: &mut Pass) -> Result<Vec<Tensor>> {
        let view = |part: Part, pass: &mut Pass| pass.view(self.part(part));
        walk(encoder, tokens, self.0.len() - 2, pass, view, |_| Ports::default())
    }

    /// The last of them.
    pub(crate) fn top(&self, encoder: &Family, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
        Ok(self.states(encoder, tokens, pass)?.swap_remove(self.0.len() - 2))
    }

    /// The parameters of the embeddings and the first `layers` layers.
    pub(crate) fn below(&self, layers: usize) -> &[Param] {
        &self.0[..layers + 2]
    }

    /// Their names.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.iter().map(|param| param.name().to_string()).collect()
    }
}
