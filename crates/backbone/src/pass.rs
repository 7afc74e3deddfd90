//! One task's way through a model: what is random in it, and where its gradient is gathered.
//!
//! The encoder never sees a strategy's graph. For each part the strategy hands it a [`ParameterView`]: the flat vector θ as a
//! leaf, and a accumulator. The layer's backward adds dθ straight into the accumulator and answers candle with no gradient for the
//! leaf, so that no dense gradient is ever allocated, zeroed and added. [`Pass::backward`] then carries dθ on into
//! the strategy's own variables: for a θ computed from them, by differentiating ⟨θ, dθ⟩.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, Var};
use mtl_task::rng::Key;

use crate::kernel::Dropout;
use crate::{BufferPool, Flat, GradientAccumulator, GradientBlock, Layout, Param, Params, TaskGradient};

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
pub struct ParameterView {
    /// The flat vector, `[layout.len()]`: a leaf of candle's graph.
    pub theta: Tensor,
    /// The tensors in it.
    pub layout: Arc<Layout>,
    /// Which of their gradients are wanted.
    pub wants: Wants,
    /// Where they go; `None` when nothing is wanted.
    pub accumulator: Option<GradientAccumulator>,
}

/// Carries a view's gradient dθ into the gradient row.
type PullBack = Box<dyn FnOnce(GradientBlock, &mut TaskGradient) -> Result<()> + Send>;

enum Origin {
    Expression(Tensor),
    PullBack(PullBack),
}

/// A tensor of a view, or some rows of it (rising), that the reference path copied out into a leaf of its own.
struct Leaf {
    var: Var,
    accumulator: GradientAccumulator,
    start: usize,
    touched: Option<Vec<u32>>,
}

/// Where several passes gather one gradient, that of the sum of their losses: there is one buffer for each parameter,
/// whatever their number. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct GradientSum(Arc<Mutex<BTreeMap<String, GradientAccumulator>>>);

impl GradientSum {
    /// Takes out what was gathered.
    pub fn take(&self) -> TaskGradient {
        let accumulators = std::mem::take(&mut *self.lock());
        TaskGradient(accumulators.into_iter().map(|(name, accumulator)| (name, accumulator.take())).collect())
    }

    /// The accumulator of the parameter called `name`, made by `new` if this is the first pass that reaches it.
    fn accumulator(
        &self,
        name: &str,
        new: impl FnOnce() -> Result<GradientAccumulator>,
    ) -> Result<GradientAccumulator> {
        let mut accumulators = self.lock();
        if let Some(known) = accumulators.get(name) {
            return Ok(known.clone());
        }
        let accumulator = new()?;
        accumulators.insert(name.to_string(), accumulator.clone());
        Ok(accumulator)
    }

    /// The blocks gathered so far; until [`GradientSum::put_back`] nothing can be added.
    fn lend(&self) -> TaskGradient {
        TaskGradient(self.lock().iter().map(|(name, accumulator)| (name.clone(), accumulator.take())).collect())
    }

    /// Takes the lent blocks back, and new ones beside them. Other passes' graphs hold the same accumulators.
    fn put_back(&self, gradient: TaskGradient) {
        let mut accumulators = self.lock();
        for (name, block) in gradient.0 {
            match accumulators.get(&name) {
                Some(accumulator) => *accumulator.lock() = block,
                None => {
                    accumulators.insert(name, GradientAccumulator::new(block));
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, GradientAccumulator>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One forward (and, in training, one backward) of one task.
#[derive(Default)]
pub struct Pass {
    key: Option<Key>,
    sites: u64,
    computed: usize,
    gathered: GradientSum,
    leaves: Vec<Leaf>,
    origins: Vec<(GradientAccumulator, Origin)>,
    pool: BufferPool,
}

impl Pass {
    /// A pass that learns; dropout draws from `key`, which names run, step and task.
    pub fn training(key: Key) -> Self {
        Self { key: Some(key), ..Self::default() }
    }

    /// The same pass, gathering its gradient in memory that `pool` kept.
    #[must_use]
    pub fn reusing(self, pool: &BufferPool) -> Self {
        Self { pool: pool.clone(), ..self }
    }

    /// The same pass, gathering its gradient in `sum` beside that of other passes; see [`Pass::backward_into_sum`].
    #[must_use]
    pub fn summing(self, sum: &GradientSum) -> Self {
        Self { gathered: sum.clone(), ..self }
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

    /// Number of values in the parts that the strategy computed for this pass (see [`Pass::materialise`]), which a
    /// parameter that is read as it is does not add to.
    pub fn computed_values(&self) -> usize {
        self.computed
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

    /// The view of a part that the task reads as it is.
    ///
    /// # Errors
    /// Those of candle.
    pub fn view(&mut self, param: &Param) -> Result<ParameterView> {
        self.view_wanting(param, Wants::All)
    }

    /// As [`Pass::view`], for a part of which only some tensors are trained.
    ///
    /// # Errors
    /// Those of candle.
    pub fn view_wanting(&mut self, param: &Param, wants: Wants) -> Result<ParameterView> {
        let layout = param.layout().clone();
        if !self.is_training() || !param.trainable() || matches!(wants, Wants::None) {
            return Ok(ParameterView { theta: param.tensor().detach(), layout, wants: Wants::None, accumulator: None });
        }
        let new = || Ok(GradientAccumulator::new(self.pool.zeros(&layout, param.tensor().dtype())?));
        let accumulator = self.gathered.accumulator(param.name(), new)?;
        Ok(ParameterView { theta: param.tensor().clone(), layout, wants, accumulator: Some(accumulator) })
    }

    /// The view of a part computed by a differentiable expression of the strategy's variables, `[layout.len()]`.
    ///
    /// # Errors
    /// If the expression has another length, or those of candle.
    pub fn materialise(&mut self, expression: &Tensor, layout: &Arc<Layout>, wants: Wants) -> Result<ParameterView> {
        self.materialised(&expression.detach(), layout, wants, Origin::Expression(expression.clone()))
    }

    /// The view of a part with values `theta`, whose gradient `pull_back` carries on.
    ///
    /// # Errors
    /// If `theta` has another length, or those of candle.
    pub fn materialise_with(
        &mut self,
        theta: &Tensor,
        layout: &Arc<Layout>,
        wants: Wants,
        pull_back: impl FnOnce(GradientBlock, &mut TaskGradient) -> Result<()> + Send + 'static,
    ) -> Result<ParameterView> {
        self.materialised(&theta.detach(), layout, wants, Origin::PullBack(Box::new(pull_back)))
    }

    fn materialised(
        &mut self,
        theta: &Tensor,
        layout: &Arc<Layout>,
        wants: Wants,
        origin: Origin,
    ) -> Result<ParameterView> {
        if theta.elem_count() != layout.len() {
            candle_core::bail!("a part of {} parameters was given {}", layout.len(), theta.elem_count());
        }
        let layout = layout.clone();
        self.computed += layout.len();
        if !self.is_training() || matches!(wants, Wants::None) {
            return Ok(ParameterView { theta: theta.flatten_all()?, layout, wants: Wants::None, accumulator: None });
        }
        // The op's θ must be a leaf that candle tracks, or it prunes the node and the accumulator stays empty.
        let theta = Var::from_tensor(&theta.flatten_all()?)?.into_inner();
        let accumulator = GradientAccumulator::new(self.pool.zeros(&layout, theta.dtype())?);
        self.origins.push((accumulator.clone(), origin));
        Ok(ParameterView { theta, layout, wants, accumulator: Some(accumulator) })
    }

    /// Tensor `index` of a view, in its own shape, for ops made of candle's: a leaf whose gradient is gathered into
    /// the view's accumulator. Narrowing θ itself would pad every gradient to θ's full length.
    ///
    /// # Errors
    /// Those of candle.
    pub fn leaf(&mut self, view: &ParameterView, index: usize) -> Result<Tensor> {
        let values = tensor_of(view, index)?;
        self.gathered(view, index, values, None)
    }

    /// The rows `ids` of the table that tensor `index` of a view is, `[ids.len(), width]`. The leaf is no longer than the
    /// rows that are read, each once.
    ///
    /// # Errors
    /// Those of candle.
    pub fn rows(&mut self, view: &ParameterView, index: usize, ids: &[u32]) -> Result<Tensor> {
        let mut touched = ids.to_vec();
        touched.sort_unstable();
        touched.dedup();
        let places: Vec<u32> = ids.iter().map(|id| touched.partition_point(|other| other < id) as u32).collect();
        let table = tensor_of(view, index)?;
        let values = table.index_select(&Tensor::new(touched.as_slice(), table.device())?, 0)?;
        let leaf = self.gathered(view, index, values, Some(touched))?;
        leaf.index_select(&Tensor::new(places, leaf.device())?, 0)
    }

    /// `values` as a leaf whose gradient is gathered as that of tensor `index`, or of its rows `touched`.
    fn gathered(
        &mut self,
        view: &ParameterView,
        index: usize,
        values: Tensor,
        touched: Option<Vec<u32>>,
    ) -> Result<Tensor> {
        let range = view.layout.range(index);
        match &view.accumulator {
            Some(accumulator) if view.wants.wants(&range) => {
                let var = Var::from_tensor(&values)?;
                let tensor = var.as_tensor().clone();
                self.leaves.push(Leaf { var, accumulator: accumulator.clone(), start: range.start, touched });
                Ok(tensor)
            }
            _ => Ok(values),
        }
    }

    /// Differentiates `loss` and gathers the gradient of every trainable parameter that it reached.
    ///
    /// # Errors
    /// Those of candle.
    pub fn backward(self, loss: &Tensor, params: &Params) -> Result<TaskGradient> {
        let gathered = self.gathered.clone();
        self.backward_into_sum(loss, params)?;
        Ok(gathered.take())
    }

    /// As [`Pass::backward`], leaving the gradient in the sum that the pass gathers in, added to what is there.
    ///
    /// # Errors
    /// Those of candle.
    pub fn backward_into_sum(self, loss: &Tensor, params: &Params) -> Result<()> {
        let mut gradients = loss.backward()?;
        for leaf in self.leaves {
            if let Some(gradient) = gradients.remove(leaf.var.as_tensor()) {
                leaf.accumulator.lock().add_tensor(leaf.start, &gradient, leaf.touched.as_deref())?;
            }
        }
        let mut row = self.gathered.lend();
        gather(params, &gradients, &mut row)?;
        drop(gradients);
        let mut price: Option<Tensor> = None;
        for (accumulator, origin) in self.origins {
            let gradient = accumulator.take();
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
        self.gathered.put_back(row);
        Ok(())
    }
}

/// Tensor `index` of a view in its own shape, untracked.
fn tensor_of(view: &ParameterView, index: usize) -> Result<Tensor> {
    let entry = &view.layout.entries()[index];
    view.theta.detach().narrow(0, entry.range.start, entry.range.len())?.reshape(entry.shape.as_slice())
}

/// Adds the gradients that candle found for trainable parameters to `row`.
///
/// # Errors
/// Those of candle.
pub fn gather(params: &Params, gradients: &GradStore, row: &mut TaskGradient) -> Result<()> {
    for param in params.iter().filter(|param| param.trainable()) {
        let Some(gradient) = gradients.get(param.tensor()) else { continue };
        match row.0.get_mut(param.name()) {
            Some(segment) => segment.add_tensor(0, gradient, None)?,
            None => {
                row.0.insert(param.name().to_string(), GradientBlock::of(gradient, param.layout())?);
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
