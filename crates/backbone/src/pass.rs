//! One task's way through a model: what is random in it, and where its gradient is gathered.
//!
//! The encoder never sees a strategy's graph. For each part the strategy hands it a [`Slot`]: the flat vector θ as a
//! leaf, and a sink. The layer's backward adds dθ straight into the sink and answers candle with no gradient for the
//! leaf, so that no dense gradient is ever allocated, zeroed and added. [`Pass::backward`] then carries dθ on into
//! the strategy's own variables: for a θ computed from them, by differentiating ⟨θ, dθ⟩.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, Var};
use mtl_task::rng::Key;

use crate::kernel::Dropout;
use crate::{Flat, Layout, Param, Params, Row, Segment, Sink, Spares};

/// Which of a part's weight gradients an op has to compute.
#[derive(Clone, Debug)]
pub enum Wants {
    /// None: the part is frozen.
    None,
    /// Those of tensors that overlap these ranges of θ.
    Ranges(Arc<[Range<usize>]>),
    /// All.
    All,
}

impl Wants {
    /// Whether the gradient of the tensor at `range` is wanted.
    pub fn wants(&self, range: &Range<usize>) -> bool {
        match self {
            Self::None => false,
            Self::Ranges(ranges) => ranges.iter().any(|wanted| wanted.start < range.end && range.start < wanted.end),
            Self::All => true,
        }
    }
}

/// One part's parameters as a task sees them now, and where their gradient goes.
#[derive(Clone, Debug)]
pub struct Slot {
    /// The flat vector, `[layout.len()]`: a leaf of candle's graph.
    pub theta: Tensor,
    /// The tensors in it.
    pub layout: Arc<Layout>,
    /// Which of their gradients are wanted.
    pub wants: Wants,
    /// Where they go; `None` when nothing is wanted.
    pub sink: Option<Sink>,
}

/// Carries a slot's gradient dθ into the gradient row.
type PullBack = Box<dyn FnOnce(Segment, &mut Row) -> Result<()> + Send>;

enum Origin {
    Expression(Tensor),
    PullBack(PullBack),
}

/// A tensor of a slot, or some rows of it (rising), that the reference path copied out into a leaf of its own.
struct Leaf {
    var: Var,
    sink: Sink,
    start: usize,
    touched: Option<Vec<u32>>,
}

/// One forward (and, in training, one backward) of one task.
#[derive(Default)]
pub struct Pass {
    key: Option<Key>,
    sites: u64,
    row: BTreeMap<String, Sink>,
    leaves: Vec<Leaf>,
    origins: Vec<(Sink, Origin)>,
    spares: Spares,
}

impl Pass {
    /// A pass that learns; dropout draws from `key`, which names run, step and task.
    pub fn training(key: Key) -> Self {
        Self { key: Some(key), ..Self::default() }
    }

    /// The same pass, gathering its gradient in memory that `spares` kept.
    #[must_use]
    pub fn reusing(self, spares: &Spares) -> Self {
        Self { spares: spares.clone(), ..self }
    }

    /// A pass that only answers: no dropout, nothing saved.
    pub fn evaluation() -> Self {
        Self::default()
    }

    /// Whether this pass learns.
    pub fn is_training(&self) -> bool {
        self.key.is_some()
    }

    /// How many dropout sites the pass has gone by, whether or not anything was dropped: a measure of how much of an
    /// encoder was walked, since every layer has the same number.
    pub fn sites(&self) -> u64 {
        self.sites
    }

    /// The dropout of the next site on the way; keeps everything when answering, or at `probability` 0.
    pub fn next_dropout(&mut self, probability: f64) -> Dropout {
        self.sites += 1;
        match self.key {
            Some(key) if probability > 0. => Dropout::new(probability, key.with(self.sites).bits()),
            _ => Dropout::none(),
        }
    }

    /// `x` with elements dropped at random and the others scaled by 1/(1 − probability).
    ///
    /// # Errors
    /// Those of candle.
    pub fn dropout(&mut self, x: &Tensor, probability: f64) -> Result<Tensor> {
        let dropout = self.next_dropout(probability);
        if dropout.is_none() {
            return Ok(x.clone());
        }
        x * Tensor::from_vec(dropout.factors(x.elem_count()), x.shape(), x.device())?.to_dtype(x.dtype())?
    }

    /// The slot of a part that the task reads as it is.
    ///
    /// # Errors
    /// Those of candle.
    pub fn slot(&mut self, param: &Param) -> Result<Slot> {
        self.slot_wanting(param, Wants::All)
    }

    /// As [`Pass::slot`], for a part of which only some tensors are trained.
    ///
    /// # Errors
    /// Those of candle.
    pub fn slot_wanting(&mut self, param: &Param, wants: Wants) -> Result<Slot> {
        let layout = param.layout().clone();
        if !self.is_training() || !param.trainable() || matches!(wants, Wants::None) {
            return Ok(Slot { theta: param.tensor().detach(), layout, wants: Wants::None, sink: None });
        }
        let sink = match self.row.get(param.name()) {
            Some(sink) => sink.clone(),
            None => {
                let sink = Sink::new(self.spares.zeros(&layout, param.tensor().dtype())?);
                self.row.insert(param.name().to_string(), sink.clone());
                sink
            }
        };
        Ok(Slot { theta: param.tensor().clone(), layout, wants, sink: Some(sink) })
    }

    /// The slot of a part computed by a differentiable expression of the strategy's variables, `[layout.len()]`.
    ///
    /// # Errors
    /// If the expression has another length, or those of candle.
    pub fn materialise(&mut self, expression: &Tensor, layout: &Arc<Layout>, wants: Wants) -> Result<Slot> {
        self.materialised(&expression.detach(), layout, wants, Origin::Expression(expression.clone()))
    }

    /// The slot of a part with values `theta`, whose gradient `pull_back` carries on.
    ///
    /// # Errors
    /// If `theta` has another length, or those of candle.
    pub fn materialise_with(
        &mut self,
        theta: &Tensor,
        layout: &Arc<Layout>,
        wants: Wants,
        pull_back: impl FnOnce(Segment, &mut Row) -> Result<()> + Send + 'static,
    ) -> Result<Slot> {
        self.materialised(&theta.detach(), layout, wants, Origin::PullBack(Box::new(pull_back)))
    }

    fn materialised(&mut self, theta: &Tensor, layout: &Arc<Layout>, wants: Wants, origin: Origin) -> Result<Slot> {
        if theta.elem_count() != layout.len() {
            candle_core::bail!("a part of {} parameters was given {}", layout.len(), theta.elem_count());
        }
        let layout = layout.clone();
        if !self.is_training() || matches!(wants, Wants::None) {
            return Ok(Slot { theta: theta.flatten_all()?, layout, wants: Wants::None, sink: None });
        }
        // The op's θ must be a leaf that candle tracks, or it prunes the node and the sink stays empty.
        let theta = Var::from_tensor(&theta.flatten_all()?)?.into_inner();
        let sink = Sink::new(self.spares.zeros(&layout, theta.dtype())?);
        self.origins.push((sink.clone(), origin));
        Ok(Slot { theta, layout, wants, sink: Some(sink) })
    }

    /// Tensor `index` of a slot, in its own shape, for ops made of candle's: a leaf whose gradient is gathered into
    /// the slot's sink. Narrowing θ itself would pad every gradient to θ's full length.
    ///
    /// # Errors
    /// Those of candle.
    pub fn leaf(&mut self, slot: &Slot, index: usize) -> Result<Tensor> {
        let values = tensor_of(slot, index)?;
        self.gathered(slot, index, values, None)
    }

    /// The rows `ids` of the table that tensor `index` of a slot is, `[ids.len(), width]`. The leaf is no longer than the
    /// rows that are read, each once.
    ///
    /// # Errors
    /// Those of candle.
    pub fn rows(&mut self, slot: &Slot, index: usize, ids: &[u32]) -> Result<Tensor> {
        let mut touched = ids.to_vec();
        touched.sort_unstable();
        touched.dedup();
        let places: Vec<u32> = ids.iter().map(|id| touched.partition_point(|other| other < id) as u32).collect();
        let table = tensor_of(slot, index)?;
        let values = table.index_select(&Tensor::new(touched.as_slice(), table.device())?, 0)?;
        let leaf = self.gathered(slot, index, values, Some(touched))?;
        leaf.index_select(&Tensor::new(places, leaf.device())?, 0)
    }

    /// `values` as a leaf whose gradient is gathered as that of tensor `index`, or of its rows `touched`.
    fn gathered(&mut self, slot: &Slot, index: usize, values: Tensor, touched: Option<Vec<u32>>) -> Result<Tensor> {
        let range = slot.layout.range(index);
        match &slot.sink {
            Some(sink) if slot.wants.wants(&range) => {
                let var = Var::from_tensor(&values)?;
                let tensor = var.as_tensor().clone();
                self.leaves.push(Leaf { var, sink: sink.clone(), start: range.start, touched });
                Ok(tensor)
            }
            _ => Ok(values),
        }
    }

    /// Differentiates `loss` and gathers the gradient of every trainable parameter that it reached.
    ///
    /// # Errors
    /// Those of candle.
    pub fn backward(self, loss: &Tensor, params: &Params) -> Result<Row> {
        let mut gradients = loss.backward()?;
        for leaf in self.leaves {
            if let Some(gradient) = gradients.remove(leaf.var.as_tensor()) {
                leaf.sink.lock().add_tensor(leaf.start, &gradient, leaf.touched.as_deref())?;
            }
        }
        let mut row = Row(self.row.into_iter().map(|(name, sink)| (name, sink.take())).collect());
        gather(params, &gradients, &mut row)?;
        drop(gradients);
        let mut price: Option<Tensor> = None;
        for (sink, origin) in self.origins {
            let gradient = sink.take();
            match origin {
                Origin::PullBack(pull_back) => pull_back(gradient, &mut row)?,
                Origin::Expression(expression) => {
                    let expression = expression.flatten_all()?;
                    let gradient = gradient.dense(expression.elem_count())?.tensor(expression.device())?;
                    let product = (expression * gradient)?.sum_all()?;
                    price = Some(match price {
                        Some(sum) => (sum + product)?,
                        None => product,
                    });
                }
            }
        }
        if let Some(price) = price {
            gather(params, &price.backward()?, &mut row)?;
        }
        Ok(row)
    }
}

/// Tensor `index` of a slot in its own shape, untracked.
fn tensor_of(slot: &Slot, index: usize) -> Result<Tensor> {
    let entry = &slot.layout.entries()[index];
    slot.theta.detach().narrow(0, entry.range.start, entry.range.len())?.reshape(entry.shape.as_slice())
}

/// Adds the gradients that candle found for trainable parameters to `row`.
///
/// # Errors
/// Those of candle.
pub fn gather(params: &Params, gradients: &GradStore, row: &mut Row) -> Result<()> {
    for param in params.iter().filter(|param| param.trainable()) {
        let Some(gradient) = gradients.get(param.tensor()) else { continue };
        match row.0.get_mut(param.name()) {
            Some(segment) => segment.add_tensor(0, gradient, None)?,
            None => {
                row.0.insert(param.name().to_string(), Segment::of(gradient, param.layout())?);
            }
        }
    }
    Ok(())
}

/// A flat host copy of a parameter's values.
///
/// # Errors
/// Those of candle.
pub fn values_of(param: &Param) -> Result<Flat> {
    Flat::of(param.tensor())
}
