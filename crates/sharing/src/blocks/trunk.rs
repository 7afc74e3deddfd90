//! The bottom of an encoder, shared or not: what strategies that branch above it have in common.

use candle_core::{Result, Tensor};
use mtl_backbone::{Family, Param, Part, Pass, Ports};
use mtl_task::Packed;

use crate::{BuildContext, Scope, walk};

/// Words, embeddings and the first layers, in one scope.
#[derive(Clone, Debug)]
pub(crate) struct Trunk(Vec<Param>);

impl Trunk {
    /// Puts the pretrained weights below layer `layers` into the model in `scope`.
    pub(crate) fn insert(context: &mut BuildContext, scope: &Scope, layers: usize) -> Result<Self> {
        Self::insert_by(context, layers, |_| scope.clone())
    }

    /// As [`Trunk::insert`], each part in the scope that `scope` gives it.
    pub(crate) fn insert_by(context: &mut BuildContext, layers: usize, scope: impl Fn(Part) -> Scope) -> Result<Self> {
        Ok(Self(Part::all(layers).map(|part| context.insert_part(&scope(part), part)).collect::<Result<_>>()?))
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
}
