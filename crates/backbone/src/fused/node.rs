//! How an op of the kernel becomes a node of candle's graph.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{CpuStorage, CustomOp2, CustomOp3, DType, Result, Storage, Tensor, WithDType};

use super::Options;
use super::weights::{Gradients, Weights};
use crate::kernel::{Buffer, Real};
use crate::{Flat, GradientAccumulator, GradientBlock, Layout, ParameterView, Wants};

/// f32 or f64, as candle and as gradient segments keep them.
pub(super) trait Element: Real + WithDType {
    /// The elements of `flat`, if it is of this type.
    fn of_flat(flat: &mut Flat) -> Option<&mut [Self]>;
    /// A vector of elements.
    fn to_flat(values: Vec<Self>) -> Flat;
}

impl Element for f32 {
    fn of_flat(flat: &mut Flat) -> Option<&mut [Self]> {
        match flat {
            Flat::F32(values) => Some(values),
            Flat::F64(_) => None,
        }
    }

    fn to_flat(values: Vec<Self>) -> Flat {
        Flat::F32(values)
    }
}

impl Element for f64 {
    fn of_flat(flat: &mut Flat) -> Option<&mut [Self]> {
        match flat {
            Flat::F64(values) => Some(values),
            Flat::F32(_) => None,
        }
    }

    fn to_flat(values: Vec<Self>) -> Flat {
        Flat::F64(values)
    }
}

/// An op of the kernel: `N` inputs of one shape and a part's weights to an output of that shape.
pub(super) trait Block<const N: usize>: Send + Sync + 'static {
    /// What candle calls it in errors.
    const NAME: &'static str;

    /// What the backward needs beyond the inputs.
    type Saved<T: Real>: Send + Sync;

    /// Writes the output, and returns what the backward needs.
    fn forward<T: Real>(&self, inputs: [&[T]; N], weights: Weights<T>, out: &mut [T]) -> Self::Saved<T>;

    /// Writes the output where no backward follows.
    fn answer<T: Real>(&self, inputs: [&[T]; N], weights: Weights<T>, out: &mut [T]) {
        self.forward(inputs, weights, out);
    }

    /// What [`Block::forward`] returned, computed anew.
    fn recompute<T: Real>(&self, inputs: [&[T]; N], weights: Weights<T>) -> Self::Saved<T> {
        self.forward(inputs, weights, &mut Buffer::new(inputs[0].len()))
    }

    /// Adds the weights' gradients, and writes or adds those of the inputs, which are zeros at first.
    fn backward<T: Real>(
        &self,
        inputs: [&[T]; N],
        weights: Weights<T>,
        saved: Self::Saved<T>,
        dout: &[T],
        dinputs: [&mut [T]; N],
        gradients: &mut Gradients<T>,
    );
}

/// The view's θ as an op may take it: a leaf that candle tracks, or nothing that it tracks.
///
/// # Errors
/// If the view asks for a gradient that candle would not compute, as its θ is no tracked leaf.
pub(super) fn leaf(view: &ParameterView) -> Result<Tensor> {
    match &view.accumulator {
        Some(_) if view.theta.is_variable() => view.theta.contiguous(),
        Some(_) => {
            candle_core::bail!("a view with a accumulator must hold θ as a variable, or its gradient is never computed")
        }
        None => view.theta.detach().contiguous(),
    }
}

/// A block at work on one batch.
struct Node<B: Block<N>, T: Element, const N: usize> {
    block: B,
    layout: Arc<Layout>,
    wants: Wants,
    accumulator: Option<GradientAccumulator>,
    saves: bool,
    saved: Mutex<Option<B::Saved<T>>>,
}

/// `block` of `x` and the view's weights; if it recomputes nothing is saved for the backward.
pub(super) fn apply<B: Block<1>>(block: B, x: &Tensor, view: &ParameterView, options: Options) -> Result<Tensor> {
    fn typed<B: Block<1>, T: Element>(block: B, x: &Tensor, view: &ParameterView, options: Options) -> Result<Tensor> {
        let (x, theta) = (x.contiguous()?, leaf(view)?);
        let learns = x.track_op() || theta.track_op();
        let node = Node::<B, T, 1>::new(block, view, learns && !options.recompute);
        if learns { x.apply_op2(&theta, node) } else { x.apply_op2_no_bwd(&theta, &node) }
    }
    match x.dtype() {
        DType::F64 => typed::<B, f64>(block, x, view, options),
        _ => typed::<B, f32>(block, x, view, options),
    }
}

/// As [`apply`], of two inputs.
pub(super) fn apply_to_both<B: Block<2>>(
    block: B,
    inputs: [&Tensor; 2],
    view: &ParameterView,
    options: Options,
) -> Result<Tensor> {
    fn typed<B: Block<2>, T: Element>(
        block: B,
        [x, y]: [&Tensor; 2],
        view: &ParameterView,
        options: Options,
    ) -> Result<Tensor> {
        let (x, y, theta) = (x.contiguous()?, y.contiguous()?, leaf(view)?);
        let learns = x.track_op() || y.track_op() || theta.track_op();
        let node = Node::<B, T, 2>::new(block, view, learns && !options.recompute);
        if learns { x.apply_op3(&y, &theta, node) } else { x.apply_op3_no_bwd(&y, &theta, &node) }
    }
    match inputs[0].dtype() {
        DType::F64 => typed::<B, f64>(block, inputs, view, options),
        _ => typed::<B, f32>(block, inputs, view, options),
    }
}

impl<B: Block<N>, T: Element, const N: usize> Node<B, T, N> {
    fn new(block: B, view: &ParameterView, saves: bool) -> Self {
        Self {
            block,
            layout: view.layout.clone(),
            wants: view.wants.clone(),
            accumulator: view.accumulator.clone(),
            saves,
            saved: Mutex::new(None),
        }
    }

    fn saved(&self) -> MutexGuard<'_, Option<B::Saved<T>>> {
        self.saved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forward(&self, inputs: [&[T]; N], theta: &[T]) -> CpuStorage {
        let mut out = vec![T::default(); inputs[0].len()];
        let weights = Weights::new(theta, &self.layout);
        if self.saves {
            *self.saved() = Some(self.block.forward(inputs, weights, &mut out));
        } else {
            self.block.answer(inputs, weights, &mut out);
        }
        T::to_cpu_storage_owned(out)
    }

    fn backward(&self, inputs: [&Tensor; N], theta: &Tensor, dout: &Tensor) -> Result<[Option<Tensor>; N]> {
        let dout = dout.contiguous()?;
        let mut dinputs = inputs.map(|input| vec![T::default(); input.elem_count()]);
        {
            let (theta, dout) = (theta.storage_and_layout(), dout.storage_and_layout());
            let (theta, dout) = (host::<T>(&theta.0, theta.1)?, host::<T>(&dout.0, dout.1)?);
            let guards = inputs.map(Tensor::storage_and_layout);
            let mut slices: [&[T]; N] = [&[]; N];
            for (slice, (storage, layout)) in slices.iter_mut().zip(&guards) {
                *slice = host(storage, layout)?;
            }
            let mut segment = self.accumulator.as_ref().map(GradientAccumulator::lock);
            let mut gradients = match segment.as_deref_mut() {
                None => Gradients::unwanted(self.layout.entries().len()),
                Some(GradientBlock::Dense(flat)) if flat.len() == self.layout.len() => match T::of_flat(flat) {
                    Some(gradient) => Gradients::new(gradient, &self.layout, &self.wants),
                    None => candle_core::bail!("{}: states and gradients of two types", B::NAME),
                },
                Some(_) => candle_core::bail!("{}: its gradient was collected before this backward", B::NAME),
            };
            let weights = Weights::new(theta, &self.layout);
            let saved = self.saved().take().unwrap_or_else(|| self.block.recompute(slices, weights));
            let into = dinputs.each_mut().map(Vec::as_mut_slice);
            self.block.backward(slices, weights, saved, dout, into, &mut gradients);
        }
        let mut answers = [const { None }; N];
        for ((answer, input), values) in answers.iter_mut().zip(inputs).zip(dinputs) {
            if input.track_op() {
                *answer = Some(Tensor::from_vec(values, input.shape(), input.device())?);
            }
        }
        Ok(answers)
    }
}

impl<B: Block<1>, T: Element> CustomOp2 for Node<B, T, 1> {
    fn name(&self) -> &'static str {
        B::NAME
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &candle_core::Layout,
        theta: &CpuStorage,
        theta_layout: &candle_core::Layout,
    ) -> Result<(CpuStorage, candle_core::Shape)> {
        let out = self.forward([slice(x, x_layout)?], slice(theta, theta_layout)?);
        Ok((out, x_layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, theta: &Tensor, _: &Tensor, dout: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [dx] = self.backward([x], theta, dout)?;
        Ok((dx, None))
    }
}

impl<B: Block<2>, T: Element> CustomOp3 for Node<B, T, 2> {
    fn name(&self) -> &'static str {
        B::NAME
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &candle_core::Layout,
        y: &CpuStorage,
        y_layout: &candle_core::Layout,
        theta: &CpuStorage,
        theta_layout: &candle_core::Layout,
    ) -> Result<(CpuStorage, candle_core::Shape)> {
        let out = self.forward([slice(x, x_layout)?, slice(y, y_layout)?], slice(theta, theta_layout)?);
        Ok((out, x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        y: &Tensor,
        theta: &Tensor,
        _: &Tensor,
        dout: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [dx, dy] = self.backward([x, y], theta, dout)?;
        Ok((dx, dy, None))
    }
}

/// The elements of a contiguous tensor on the host.
pub(super) fn host<'a, T: Element>(storage: &'a Storage, layout: &candle_core::Layout) -> Result<&'a [T]> {
    match storage {
        Storage::Cpu(storage) => slice(storage, layout),
        _ => candle_core::bail!("the kernel reads tensors on the host"),
    }
}

/// The elements of a contiguous tensor.
pub(super) fn slice<'a, T: Element>(storage: &'a CpuStorage, layout: &candle_core::Layout) -> Result<&'a [T]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<T>()?[start..end]),
        None => candle_core::bail!("the kernel reads contiguous tensors"),
    }
}
