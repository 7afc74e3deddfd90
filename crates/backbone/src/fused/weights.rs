//! A part's tensors, and their gradients, as slices of one flat vector.

use crate::{Layout, Wants};

/// The tensors of a part.
#[derive(Clone, Copy)]
pub(super) struct Weights<'a, T> {
    theta: &'a [T],
    layout: &'a Layout,
}

impl<'a, T> Weights<'a, T> {
    /// `theta` as `layout` lays it out; they are of one length.
    pub(super) fn new(theta: &'a [T], layout: &'a Layout) -> Self {
        Self { theta, layout }
    }

    /// Tensor `place`.
    pub(super) fn get(&self, place: usize) -> &'a [T] {
        self.span(place, place)
    }

    /// Tensors `first` to `last`, which lie side by side.
    pub(super) fn span(&self, first: usize, last: usize) -> &'a [T] {
        &self.theta[self.layout.range(first).start..self.layout.range(last).end]
    }
}

/// Where the gradients of a part's tensors are added: `None` for those that are not wanted.
pub(super) struct Gradients<'a, T>(Vec<Option<&'a mut [T]>>);

impl<'a, T> Gradients<'a, T> {
    /// None of a part of `tensors` tensors is wanted.
    pub(super) fn unwanted(tensors: usize) -> Self {
        Self((0..tensors).map(|_| None).collect())
    }

    /// The tensors in `gradient`, the part's whole vector, that `wants` names.
    pub(super) fn new(mut gradient: &'a mut [T], layout: &Layout, wants: &Wants) -> Self {
        let mut slices = Vec::with_capacity(layout.entries().len());
        for entry in layout.entries() {
            let (slice, rest) = gradient.split_at_mut(entry.range.len());
            gradient = rest;
            slices.push(wants.wants(&entry.range).then_some(slice));
        }
        Self(slices)
    }

    /// Tensor `place`, to add to; each can be taken once.
    pub(super) fn take(&mut self, place: usize) -> Option<&'a mut [T]> {
        self.0[place].take()
    }
}
