//! What comes out of a merge: one set of weights, and what single tasks add to it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use crate::inputs::tensor;
use crate::linear::add_product;
use crate::{Tensor, Tensors};

/// The result of a merge.
#[derive(Clone, Debug)]
pub struct Merged {
    /// The weights that all tasks share.
    pub tensors: Tensors,
    /// One addition for each model, in their order; empty if the shared weights are all there is.
    pub additions: Vec<Addition>,
}

/// How one task's weights follow from the ancestor's and the merged ones, tensor by tensor, by its [`Part`].
#[derive(Clone, Debug)]
pub struct Addition {
    /// The model whose task it serves.
    pub model: String,
    /// What all masked task vectors are multiplied by.
    pub scale: f64,
    /// One part for each tensor.
    pub parts: BTreeMap<String, Part>,
}

/// One tensor's share of an [`Addition`]; τ is what the merged tensor adds to the ancestor's.
#[derive(Clone, Debug)]
pub enum Part {
    /// θ₀ + scale · mask ⊙ τ.
    Masked(Mask),
    /// θ₀ + left · right.
    LowRank {
        /// `[out, rank]`, row-major.
        left: Vec<f32>,
        /// `[rank, in]`, row-major.
        right: Vec<f32>,
        /// How many singular values are kept.
        rank: usize,
        /// What is added to: the ancestor's tensor, or with `true` the merged one.
        to_merged: bool,
    },
    /// The task's own tensor.
    Own(Vec<f32>),
}

impl Part {
    /// Bytes that it takes when stored: a bit for each element of a mask, four bytes for a number.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Masked(mask) => mask.len().div_ceil(8),
            Self::LowRank { left, right, .. } => 4 * (left.len() + right.len()),
            Self::Own(values) => 4 * values.len(),
        }
    }
}

impl Addition {
    /// Bytes that it takes when stored beside the ancestor and the merged weights.
    pub fn bytes(&self) -> usize {
        let masked = self.parts.values().any(|part| matches!(part, Part::Masked(_)));
        self.parts.values().map(Part::bytes).sum::<usize>() + if masked { 4 } else { 0 }
    }
}

impl Merged {
    /// Bytes that all tasks' encoders take when stored, four for each number: the merged weights, the additions, and the
    /// ancestor's where an addition goes by it.
    pub fn stored_bytes(&self) -> usize {
        let parts = || self.additions.iter().flat_map(|addition| addition.parts.values());
        let ancestor = parts().any(|part| matches!(part, Part::Masked(_) | Part::LowRank { to_merged: false, .. }));
        let merged = self.additions.is_empty()
            || parts().any(|part| matches!(part, Part::Masked(_) | Part::LowRank { to_merged: true, .. }));
        let size: usize = self.tensors.values().map(|tensor| 4 * tensor.values.len()).sum();
        let copies = usize::from(ancestor) + usize::from(merged);
        copies * size + self.additions.iter().map(Addition::bytes).sum::<usize>()
    }

    /// The weights of task `task`, by its index among the models: the merged ones where there is no addition.
    ///
    /// # Errors
    /// If there are additions but none for this task, or `ancestor` is not the one of the merge.
    pub fn of_task(&self, task: usize, ancestor: &Tensors) -> Result<Tensors> {
        if self.additions.is_empty() {
            return Ok(self.tensors.clone());
        }
        let of = self.additions.len();
        let addition = self.additions.get(task).with_context(|| format!("there is no task {task}: there are {of}"))?;
        let mut own = Tensors::new();
        for (name, merged) in &self.tensors {
            let before = tensor(ancestor, name)?;
            ensure!(
                before.shape == merged.shape,
                "tensor `{name}` of the ancestor has another shape than in the merge"
            );
            let values = match addition.parts.get(name) {
                None => merged.values.clone(),
                Some(part) => applied(part, addition.scale, before, merged)?,
            };
            own.insert(name.clone(), Tensor { shape: merged.shape.clone(), values });
        }
        Ok(own)
    }
}

fn applied(part: &Part, scale: f64, before: &Tensor, merged: &Tensor) -> Result<Vec<f32>> {
    Ok(match part {
        Part::Masked(mask) => {
            let pairs = before.values.iter().zip(&merged.values).enumerate();
            let value = |(at, (before, merged)): (usize, (&f32, &f32))| {
                if !mask.get(at) {
                    return *before;
                }
                let before = f64::from(*before);
                (before + scale * (f64::from(*merged) - before)) as f32
            };
            pairs.map(value).collect()
        }
        Part::LowRank { left, right, rank, to_merged } => {
            let base = if *to_merged { merged } else { before };
            let mut sum: Vec<f64> = base.values.iter().map(|value| f64::from(*value)).collect();
            let double = |values: &[f32]| values.iter().map(|value| f64::from(*value)).collect::<Vec<f64>>();
            let inner = merged.shape.get(1).copied().unwrap_or(1);
            add_product(&double(left), &double(right), *rank, inner, &mut sum);
            sum.into_iter().map(|value| value as f32).collect()
        }
        Part::Own(values) => values.clone(),
    })
}

/// A bit for each element of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    words: Vec<u64>,
    length: usize,
}

impl Mask {
    /// The mask of these bits.
    pub fn new(bits: impl IntoIterator<Item = bool>) -> Self {
        let (mut words, mut length) = (Vec::new(), 0);
        for bit in bits {
            if length % 64 == 0 {
                words.push(0);
            }
            if let Some(word) = words.last_mut() {
                *word |= u64::from(bit) << (length % 64);
            }
            length += 1;
        }
        Self { words, length }
    }

    /// The bit of element `at`; false after the end.
    pub fn get(&self, at: usize) -> bool {
        at < self.length && self.words.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    /// How many elements it is of.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether it is of no element.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// How many bits are set.
    pub fn ones(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }
}
