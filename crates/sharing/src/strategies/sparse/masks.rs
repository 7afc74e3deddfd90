//! Masks over the layers of an encoder: made by global magnitude pruning, applied, compared, kept as bits.

use std::sync::Arc;

use candle_core::{Device, Result, Tensor};
use mtl_backbone::{Encoder, Family, Flat, Part, with_flat};

use crate::Bits;

/// One task's mask: a bit for every element of every layer's flat vector.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Masks(pub(super) Vec<Arc<Bits>>);

impl Masks {
    /// A mask that keeps everything of `encoder`.
    pub(super) fn full(encoder: &Family) -> Self {
        Self::of(encoder, |_| true)
    }

    /// The elements that pruning may take: the layers' matrices, not biases and LayerNorms.
    pub(super) fn prunable(encoder: &Family) -> Self {
        Self::of(encoder, |shape| shape.len() > 1)
    }

    fn of(encoder: &Family, belongs: impl Fn(&[usize]) -> bool) -> Self {
        let layer = |index| {
            let layout = encoder.layout(Part::Layer(index));
            let mut bits = vec![false; layout.len()];
            for entry in layout.entries() {
                bits[entry.range.clone()].fill(belongs(&entry.shape));
            }
            Arc::new(Bits::from_fn(bits.len(), |at| bits[at]))
        };
        Self((0..encoder.layers()).map(layer).collect())
    }

    /// Number of elements that are kept.
    pub(super) fn ones(&self) -> usize {
        self.0.iter().map(|bits| bits.ones()).sum()
    }

    /// What is kept here and there.
    pub(super) fn and(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| Arc::new(a.and(b))).collect())
    }

    /// What is kept here or there.
    pub(super) fn or(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| Arc::new(a.or(b))).collect())
    }

    /// Of the `prunable` elements that are still there, the `keep` ones with the highest `scores` stay, over all layers
    /// together; among equal ones the later.
    pub(super) fn pruned(&self, prunable: &Self, scores: &[Vec<f32>], keep: usize) -> Self {
        let candidates = self.and(prunable);
        let mut left: Vec<f32> = Vec::with_capacity(candidates.ones());
        for (bits, scores) in candidates.0.iter().zip(scores) {
            left.extend(scores.iter().enumerate().filter(|(at, _)| bits.get(*at)).map(|(_, score)| score));
        }
        let Some(drop) = left.len().checked_sub(keep).filter(|drop| *drop > 0) else { return self.clone() };
        let (below, threshold, _) = left.select_nth_unstable_by(drop - 1, f32::total_cmp);
        let threshold = *threshold;
        let mut level = drop - below.iter().filter(|score| score.total_cmp(&threshold).is_lt()).count();
        let mut layer = |(index, bits): (usize, &Arc<Bits>)| {
            let (candidates, scores) = (&candidates.0[index], &scores[index]);
            let stays: Vec<bool> = (0..bits.len())
                .map(|at| {
                    if !candidates.get(at) {
                        return bits.get(at);
                    }
                    let order = scores[at].total_cmp(&threshold);
                    if order.is_eq() && level > 0 {
                        level -= 1;
                        return false;
                    }
                    order.is_ge()
                })
                .collect();
            Arc::new(Bits::from_fn(stays.len(), |at| stays[at]))
        };
        Self(self.0.iter().enumerate().map(&mut layer).collect())
    }

    /// Bytes that it takes in a file.
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(|bits| bits.len().div_ceil(8)).sum()
    }

    /// One tensor of bytes a layer, the lowest bit first.
    pub(super) fn tensors(&self) -> Result<Vec<Tensor>> {
        let tensor = |bits: &Arc<Bits>| {
            let mut bytes: Vec<u8> = bits.words().iter().flat_map(|word| word.to_le_bytes()).collect();
            bytes.truncate(bits.len().div_ceil(8));
            Tensor::from_vec(bytes, bits.len().div_ceil(8), &Device::Cpu)
        };
        self.0.iter().map(tensor).collect()
    }

    /// The mask of `encoder` that [`Masks::tensors`] made `tensors` of.
    pub(super) fn of_tensors(encoder: &Family, tensors: &[&Tensor]) -> Result<Self> {
        let layer = |(index, tensor): (usize, &&Tensor)| {
            let (length, bytes) = (encoder.layout(Part::Layer(index)).len(), tensor.to_vec1::<u8>()?);
            if bytes.len() != length.div_ceil(8) {
                candle_core::bail!("a mask of {} bytes for the {length} weights of layer {index}", bytes.len());
            }
            Ok(Arc::new(Bits::from_fn(length, |at| bytes[at / 8] >> (at % 8) & 1 == 1)))
        };
        tensors.iter().enumerate().map(layer).collect::<Result<_>>().map(Self)
    }
}

/// Sets what `mask` does not keep of `values` to zero.
pub(super) fn clear(values: &mut Flat, mask: &Bits) {
    fn clear<T: Default>(values: &mut [T], mask: &Bits) {
        for (values, word) in values.chunks_mut(64).zip(mask.words()) {
            if *word == u64::MAX {
                continue;
            }
            for (bit, value) in values.iter_mut().enumerate() {
                if word >> bit & 1 == 0 {
                    *value = T::default();
                }
            }
        }
    }
    with_flat!(values, values => clear(values, mask));
}

/// Share of what some of `masks` keep that all of them keep, |∩ Mₜ| / |∪ Mₜ|, of the `prunable` elements: 1 where all
/// are equal, 0 where none is shared; `None` if none keeps anything.
pub(super) fn overlap(masks: &[&Masks], prunable: &Masks) -> Option<f64> {
    let first = masks.first()?.and(prunable);
    let all = masks.iter().fold(first.clone(), |sum, mask| sum.and(mask));
    let any = masks.iter().fold(first, |sum, mask| sum.or(&mask.and(prunable)));
    (any.ones() > 0).then(|| all.ones() as f64 / any.ones() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masks(layers: &[&[u8]]) -> Masks {
        let bits = |layer: &&[u8]| Arc::new(Bits::from_fn(layer.len(), |at| layer[at] == 1));
        Masks(layers.iter().map(bits).collect())
    }

    #[test]
    fn overlap_of_a_hand_made_case() {
        // The last element of each layer is a bias, which every mask keeps and no report counts.
        let prunable = masks(&[&[1, 1, 1, 1, 0], &[1, 1, 0]]);
        let a = masks(&[&[1, 1, 0, 0, 1], &[1, 0, 1]]);
        let b = masks(&[&[1, 0, 1, 0, 1], &[1, 0, 1]]);
        let c = masks(&[&[0, 1, 0, 0, 1], &[1, 0, 1]]);
        let none = masks(&[&[0, 0, 0, 0, 1], &[0, 0, 1]]);
        assert_eq!(overlap(&[&a, &a], &prunable), Some(1.));
        assert_eq!(overlap(&[&a, &b], &prunable), Some(2. / 4.));
        assert_eq!(overlap(&[&b, &c], &prunable), Some(1. / 4.));
        assert_eq!(overlap(&[&a, &b, &c], &prunable), Some(1. / 4.));
        assert_eq!(overlap(&[&a, &none], &prunable), Some(0.));
        assert_eq!(overlap(&[&none, &none], &prunable), None);
    }

    #[test]
    fn pruning_takes_the_lowest_over_all_layers_and_spares_what_it_may_not_touch() {
        let prunable = masks(&[&[1, 1, 1, 0], &[1, 1, 1, 0]]);
        let full = masks(&[&[1, 1, 1, 1], &[1, 1, 1, 1]]);
        let scores = [vec![0.5, 0.1, 0.9, 0.], vec![0.2, 0.3, 0.8, 0.]];
        let once = full.pruned(&prunable, &scores, 3);
        assert_eq!(once, masks(&[&[1, 0, 1, 1], &[0, 0, 1, 1]]));
        // What is gone stays gone, whatever it has become since.
        let twice = once.pruned(&prunable, &[vec![0.2, 9., 0.9, 0.], vec![9., 9., 0.8, 0.]], 2);
        assert_eq!(twice, masks(&[&[0, 0, 1, 1], &[0, 0, 1, 1]]));
        assert_eq!(twice.pruned(&prunable, &scores, 5), twice);
        let level = full.pruned(&prunable, &[vec![1.; 4], vec![1.; 4]], 2);
        assert_eq!(level, masks(&[&[0, 0, 0, 1], &[0, 1, 1, 1]]));
        assert_eq!(full.pruned(&prunable, &scores, 0).and(&prunable).ones(), 0);
    }

    #[test]
    fn clearing_keeps_the_kept_bit_for_bit() {
        let mask = Bits::from_fn(130, |at| at < 64 || at % 3 == 0);
        let mut values = Flat::F32((0..130).map(|at| at as f32 - 70.5).collect());
        let before = values.clone();
        clear(&mut values, &mask);
        for at in 0..130 {
            assert_eq!(values.at(at), if mask.get(at) { before.at(at) } else { 0. });
        }
    }
}
