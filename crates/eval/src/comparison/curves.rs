//! Curves averaged over seeds.

use std::collections::BTreeMap;

use super::{Curve, Point};
use crate::transfer::{Moment, Overfitting, overfitting};

/// Most points of a curve that has one for every step.
const POINTS: usize = 200;

/// The mean of `curves` at every step that one of them has, over those that have it.
pub(super) fn mean_curve<'a>(curves: impl IntoIterator<Item = &'a Curve>) -> Curve {
    let mut sums: BTreeMap<usize, (f64, usize)> = BTreeMap::new();
    for point in curves.into_iter().flat_map(|curve| &curve.0).filter(|point| point.value.is_finite()) {
        let (sum, count) = sums.entry(point.step).or_default();
        *sum += point.value;
        *count += 1;
    }
    Curve(sums.into_iter().map(|(step, (sum, count))| Point { step, value: sum / count as f64 }).collect())
}

/// `curve` in at most [`POINTS`] points, each the mean of as many neighbours at the last one's step.
pub(super) fn thinned(curve: Curve) -> Curve {
    let size = curve.0.len().div_ceil(POINTS).max(1);
    let mean = |points: &[Point]| Point {
        step: points[points.len() - 1].step,
        value: points.iter().map(|point| point.value).sum::<f64>() / points.len() as f64,
    };
    Curve(curve.0.chunks(size).map(mean).collect())
}

/// How the mean dev curve turned, at the steps where train was scored too.
pub(super) fn turned(train: &Curve, dev: &Curve) -> Option<Overfitting> {
    let train: BTreeMap<usize, f64> = train.0.iter().map(|point| (point.step, point.value)).collect();
    let moment = |point: &Point| Some(Moment { step: point.step, train: *train.get(&point.step)?, dev: point.value });
    overfitting(&dev.0.iter().filter_map(moment).collect::<Vec<_>>())
}

/// The values alone.
pub(super) fn values(curve: &Curve) -> Vec<f64> {
    curve.0.iter().map(|point| point.value).collect()
}
