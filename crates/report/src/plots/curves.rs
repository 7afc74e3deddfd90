//! Curves over training steps: scores on dev and on training examples, losses, and the weights αᵢ.

use anyhow::Result;
use mtl_eval::comparison::{ArmResult, ArmTask, Comparison, Curve, Point};
use plotters::series::{DashedLineSeries, LineSeries};
use plotters::style::{Color, ShapeStyle};

use super::canvas::{Figure, INK, color_of, draw, mark};
use super::chart::{Axis, Chart, Margins, axes, pixel};

const SIZE: (u32, u32) = (440, 280);
const MARGINS: Margins = Margins { left: 0, right: 14 };
/// Points of a curve that are drawn; a longer one is averaged over equal stretches.
const DRAWN: usize = 200;

/// Learning curves, one panel a task: every arm's scores on dev (solid) and on training examples (dashed).
pub(crate) fn learning(comparison: &Comparison) -> Result<Vec<Figure>> {
    let panel = |index: usize| {
        let facts = &comparison.tasks[index];
        let of = |pick: fn(&ArmTask) -> &Curve| curves(comparison, index, pick);
        let (dev, train) = (of(|task| &task.dev_curve), of(|task| &task.train_curve));
        let values = dev.iter().chain(&train).flatten().map(|point| point.value).chain([facts.trivial]);
        let y = Axis::over(values, format!("{} (higher is better)", facts.headline));
        let x = Axis::steps(last_step(dev.iter().chain(&train)));
        let drawn = draw(&facts.name, SIZE, |root| {
            let mut chart = axes(root, &x, &y, MARGINS)?;
            let trivial = [(x.range.start, facts.trivial), (x.range.end, facts.trivial)];
            chart.draw_series(DashedLineSeries::new(trivial, 2, 4, INK.mix(0.6).into()))?;
            for (arm, curve) in train.iter().enumerate() {
                let style: ShapeStyle = color_of(arm).mix(0.75).stroke_width(1);
                chart.draw_series(DashedLineSeries::new(points(curve), 5, 3, style))?;
            }
            for (arm, curve) in dev.iter().enumerate() {
                chart.draw_series(LineSeries::new(points(curve), color_of(arm).stroke_width(2)))?;
                marks(&chart, root, curve, arm)?;
            }
            Ok(())
        });
        let any = dev.iter().chain(&train).any(|curve| !curve.is_empty());
        any.then_some(drawn).transpose()
    };
    (0..comparison.tasks.len()).filter_map(|index| panel(index).transpose()).collect()
}

/// Training losses, one panel a task.
pub(crate) fn losses(comparison: &Comparison) -> Result<Vec<Figure>> {
    let panel = |index: usize| {
        let losses = curves(comparison, index, |task| &task.loss_curve);
        let name = "training loss (lower is better)";
        series(&comparison.tasks[index].name, &losses, name, None)
    };
    (0..comparison.tasks.len()).filter_map(|index| panel(index).transpose()).collect()
}

/// The weights αᵢ, one panel for each arm that has any, one curve a task.
pub(crate) fn weights(comparison: &Comparison) -> Result<Vec<Figure>> {
    let panel = |arm: &ArmResult| {
        let weights: Vec<Vec<Point>> = arm.weights.iter().map(thinned).collect();
        series(&arm.arm.name, &weights, "weight αᵢ (no unit)", Some(0.))
    };
    comparison.arms.iter().filter_map(|arm| panel(arm).transpose()).collect()
}

/// One panel of curves; `None` if there is not a point. `reach` is a value that the vertical axis must show.
fn series(title: &str, curves: &[Vec<Point>], name: &str, reach: Option<f64>) -> Result<Option<Figure>> {
    if curves.iter().all(Vec::is_empty) {
        return Ok(None);
    }
    let y = Axis::over(curves.iter().flatten().map(|point| point.value).chain(reach), name);
    let x = Axis::steps(last_step(curves));
    let drawn = draw(title, SIZE, |root| {
        let mut chart = axes(root, &x, &y, MARGINS)?;
        for (index, curve) in curves.iter().enumerate() {
            chart.draw_series(LineSeries::new(points(curve), color_of(index).stroke_width(2)))?;
            marks(&chart, root, curve, index)?;
        }
        Ok(())
    });
    drawn.map(Some)
}

fn curves(comparison: &Comparison, task: usize, pick: fn(&ArmTask) -> &Curve) -> Vec<Vec<Point>> {
    comparison.arms.iter().map(|arm| arm.tasks.get(task).map(pick).map(thinned).unwrap_or_default()).collect()
}

/// Finite points only, at most [`DRAWN`] of them, each the mean of an equal stretch.
fn thinned(curve: &Curve) -> Vec<Point> {
    let finite: Vec<Point> = curve.0.iter().copied().filter(|point| point.value.is_finite()).collect();
    let stretch = finite.len().div_ceil(DRAWN).max(1);
    let mean = |points: &[Point]| Point {
        step: points.iter().map(|point| point.step).sum::<usize>() / points.len(),
        value: points.iter().map(|point| point.value).sum::<f64>() / points.len() as f64,
    };
    finite.chunks(stretch).map(mean).collect()
}

fn last_step<'a>(curves: impl IntoIterator<Item = &'a Vec<Point>>) -> usize {
    curves.into_iter().flatten().map(|point| point.step).max().unwrap_or(0)
}

fn points(curve: &[Point]) -> Vec<(f64, f64)> {
    curve.iter().map(|point| (point.step as f64, point.value)).collect()
}

/// Some six markers a curve, so that it is told by shape too; those of different curves do not stand in one line.
fn marks(chart: &Chart, root: &super::canvas::Root, curve: &[Point], index: usize) -> Result<()> {
    let every = curve.len().div_ceil(6).max(1);
    let start = if every > 2 { (index * 2) % every } else { 0 };
    for point in curve.iter().skip(start).step_by(every) {
        mark(root, pixel(chart, point.step as f64, point.value), index, 3, false)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_curves_are_averaged_and_breaks_are_passed_over() {
        let curve = Curve((0..1000).map(|step| Point { step, value: step as f64 }).collect());
        let thin = thinned(&curve);
        assert_eq!((thin.len(), thin[0]), (200, Point { step: 2, value: 2. }));
        let broken = Curve(vec![Point { step: 0, value: f64::NAN }, Point { step: 1, value: 0.5 }]);
        assert_eq!(thinned(&broken), [Point { step: 1, value: 0.5 }]);
    }
}
