//! Ranges of a flat vector θ that a task has for itself, such as its biases or its LayerNorms.
//!
//! There either the task's values stand in the place of θ's, θ_t = φ_t, starting from θ, or they are offsets from
//! them, θ_t = θ + δ_t, starting from 0. The pull-back is a copy of those ranges of dθ_t.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use candle_core::{Device, Result, Tensor};
use mtl_backbone::{Entry, Flat, GradientBlock, Layout, Param, ParameterView, Part, Pass, TaskGradient, Wants};

use crate::{BuildContext, EncoderWeights, Scope};

/// How an overlay's values meet those below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OverlayMode {
    /// In their place, from their values on.
    Replace,
    /// Added to them, from zero on.
    Add,
}

/// Which tensors of a part, in their order.
pub(crate) type Choice = fn(&Layout) -> Vec<&Entry>;

/// Own values for some tensors of one part.
pub(crate) struct Overlay {
    own: Param,
    /// Where they lie in the part.
    ranges: Arc<[Range<usize>]>,
    over: OverlayMode,
}

impl Overlay {
    /// Puts own values for the tensors of `base` that `choice` names into the model as `scope/name`; `None` if it
    /// names none.
    ///
    /// # Errors
    /// If the name is taken.
    pub(crate) fn insert(
        scope: &Scope,
        name: &str,
        base: &Param,
        (over, choice): (OverlayMode, Choice),
        context: &mut BuildContext,
    ) -> Result<Option<Self>> {
        let entries = choice(base.layout());
        if entries.is_empty() {
            return Ok(None);
        }
        let ranges: Arc<[Range<usize>]> = entries.iter().map(|entry| entry.range.clone()).collect();
        let called = |entry: &Entry| match over {
            OverlayMode::Replace => entry.name.clone(),
            OverlayMode::Add => format!("{}.offset", entry.name),
        };
        let layout = Layout::new(entries.iter().map(|entry| (called(entry), entry.shape.clone(), entry.decay)));
        let values = match over {
            OverlayMode::Replace => taken(&Flat::of(&base.tensor().detach())?, &ranges),
            OverlayMode::Add => Flat::zeros(context.dtype(), layout.len())?,
        };
        Ok(Some(Self { own: context.insert(scope, name, &layout, &values)?, ranges, over }))
    }

    /// θ of the part `base` as the task sees it, `[len]`.
    ///
    /// # Errors
    /// Those of candle.
    pub(crate) fn theta(&self, base: &Param) -> Result<Tensor> {
        let (theta, own) = (base.tensor().detach(), self.own.tensor().detach());
        let mut at = 0;
        overwritten(&theta, &self.ranges, |index| {
            let range = &self.ranges[index];
            let values = own.narrow(0, at, range.len())?;
            at += range.len();
            match self.over {
                OverlayMode::Replace => Ok(values),
                OverlayMode::Add => theta.narrow(0, range.start, range.len())? + values,
            }
        })
    }

    /// The values of the part `base` that lie below the task's own.
    ///
    /// # Errors
    /// Those of candle.
    pub(crate) fn below(&self, base: &Param) -> Result<Tensor> {
        let theta = base.tensor().detach();
        let pieces = self.ranges.iter().map(|range| theta.narrow(0, range.start, range.len()));
        Tensor::cat(&pieces.collect::<Result<Vec<Tensor>>>()?, 0)
    }

    /// The view of the part `base` as the task sees it.
    ///
    /// # Errors
    /// Those of candle.
    pub(crate) fn view(&self, base: &Param, pass: &mut Pass) -> Result<ParameterView> {
        let theta = self.theta(base)?;
        let trains_below = base.trainable();
        let wants = if trains_below { Wants::All } else { Wants::Ranges(self.ranges.clone()) };
        let (ranges, over) = (self.ranges.clone(), self.over);
        let (below, own) = (base.name().to_string(), self.own.name().to_string());
        pass.materialise_with(&theta, base.layout(), wants, move |gradient: GradientBlock, row: &mut TaskGradient| {
            let mut gradient = dense(gradient)?;
            row.add(TaskGradient([(own, GradientBlock::Dense(taken(&gradient, &ranges)))].into()));
            if trains_below {
                if over == OverlayMode::Replace {
                    // The values below are hidden here: they had no part in this loss.
                    clear(&mut gradient, &ranges);
                }
                row.add(TaskGradient([(below, GradientBlock::Dense(gradient))].into()));
            }
            Ok(())
        })
    }

    /// Name of the parameter that holds the values.
    pub(crate) fn name(&self) -> &str {
        self.own.name()
    }

    /// Where they lie in the part.
    pub(crate) fn ranges(&self) -> &Arc<[Range<usize>]> {
        &self.ranges
    }

    /// The task's own values.
    pub(crate) fn own(&self) -> &Param {
        &self.own
    }
}

/// The overlays of one task, part by part.
#[derive(Default)]
pub(crate) struct Overlays(BTreeMap<Part, Overlay>);

impl Overlays {
    /// An overlay called `{scope}/{part}.{what}` over every part of `base` that has a tensor that `choice` names.
    ///
    /// # Errors
    /// If a name is taken.
    pub(crate) fn insert(
        scope: &Scope,
        what: &str,
        base: &EncoderWeights,
        (over, choice): (OverlayMode, Choice),
        context: &mut BuildContext,
    ) -> Result<Self> {
        let mut overlays = BTreeMap::new();
        for part in Part::all(base.layers()) {
            let name = format!("{part}.{what}");
            if let Some(overlay) = Overlay::insert(scope, &name, base.part(part), (over, choice), context)? {
                overlays.insert(part, overlay);
            }
        }
        Ok(Self(overlays))
    }

    /// The overlay of `part`, if it has one.
    pub(crate) fn of(&self, part: Part) -> Option<&Overlay> {
        self.0.get(&part)
    }

    /// The view of `part` of `base` as the task sees it.
    ///
    /// # Errors
    /// Those of candle.
    pub(crate) fn view(&self, base: &EncoderWeights, part: Part, pass: &mut Pass) -> Result<ParameterView> {
        match self.of(part) {
            Some(overlay) => overlay.view(base.part(part), pass),
            None => pass.view(base.part(part)),
        }
    }

    /// θ of `part` of `base` as the task sees it, `[len]`.
    ///
    /// # Errors
    /// Those of candle.
    pub(crate) fn theta(&self, base: &EncoderWeights, part: Part) -> Result<Tensor> {
        match self.of(part) {
            Some(overlay) => overlay.theta(base.part(part)),
            None => Ok(base.part(part).tensor().detach()),
        }
    }

    /// The parts and their overlays.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Part, &Overlay)> {
        self.0.iter()
    }
}

/// The scales and shifts of a part's LayerNorms.
pub(crate) fn norms(layout: &Layout) -> Vec<&Entry> {
    layout.entries().iter().filter(|entry| is_norm(entry)).collect()
}

/// Everything in a part that is added to a state: the maps' biases and the LayerNorms' shifts.
pub(crate) fn biases(layout: &Layout) -> Vec<&Entry> {
    layout.entries().iter().filter(|entry| entry.name.ends_with("bias")).collect()
}

pub(crate) fn is_norm(entry: &Entry) -> bool {
    entry.name.contains("LayerNorm") || entry.name.contains("layer_norm")
}

/// A copy of `theta` `[len]` with the rising, disjoint `ranges` replaced by what `with` returns for their numbers.
///
/// # Errors
/// Those of candle.
pub(crate) fn overwritten(
    theta: &Tensor,
    ranges: &[Range<usize>],
    mut with: impl FnMut(usize) -> Result<Tensor>,
) -> Result<Tensor> {
    let (mut pieces, mut at) = (Vec::with_capacity(2 * ranges.len() + 1), 0);
    for (index, range) in ranges.iter().enumerate() {
        if at < range.start {
            pieces.push(theta.narrow(0, at, range.start - at)?);
        }
        pieces.push(with(index)?.flatten_all()?);
        at = range.end;
    }
    let length = theta.dim(0)?;
    if at < length {
        pieces.push(theta.narrow(0, at, length - at)?);
    }
    Tensor::cat(&pieces, 0)
}

/// The gradient of a part whose vector is kept whole.
///
/// # Errors
/// If it is the word table's, which is kept by rows.
pub(crate) fn dense(gradient: GradientBlock) -> Result<Flat> {
    match gradient {
        GradientBlock::Dense(flat) => Ok(flat),
        GradientBlock::Rows(_) => candle_core::bail!("a gradient kept by rows where a whole vector's was expected"),
    }
}

/// The elements of `ranges`, one range after the other.
pub(crate) fn taken(flat: &Flat, ranges: &[Range<usize>]) -> Flat {
    match flat {
        Flat::F32(values) => Flat::F32(ranges.iter().flat_map(|range| &values[range.clone()]).copied().collect()),
        Flat::F64(values) => Flat::F64(ranges.iter().flat_map(|range| &values[range.clone()]).copied().collect()),
    }
}

/// The elements of `range` as a host tensor `[rows, columns]`.
///
/// # Errors
/// If the range has another length.
pub(crate) fn matrix(flat: &Flat, range: &Range<usize>, (rows, columns): (usize, usize)) -> Result<Tensor> {
    match flat {
        Flat::F32(values) => Tensor::from_slice(&values[range.clone()], (rows, columns), &Device::Cpu),
        Flat::F64(values) => Tensor::from_slice(&values[range.clone()], (rows, columns), &Device::Cpu),
    }
}

fn clear(flat: &mut Flat, ranges: &[Range<usize>]) {
    for range in ranges {
        match flat {
            Flat::F32(values) => values[range.clone()].fill(0.),
            Flat::F64(values) => values[range.clone()].fill(0.),
        }
    }
}
