//! Gain by sharing against how unequal two tasks are, one curve for each way in which they are related.

use anyhow::Result;
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{Figure, INK, RULE, TEXT, color_of, draw, line, mark, text, write};
use super::chart::Axis;

const SIZE: (u32, u32) = (760, 396);
/// Left, top, right and bottom of the plane, in pixels; right of it stand the curves' names.
const PLANE: [i32; 4] = [70, 30, 560, 336];

/// One measurement: the gain of the small task by sharing, against training it alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RegimePoint {
    /// Training examples of the companion for one of the task that gains or loses.
    pub ratio: f64,
    /// Mean gain in headline score.
    pub gain: f64,
    /// Its interval.
    pub interval: [f64; 2],
}

/// The measurements of one relation between two tasks.
#[derive(Clone, Debug, PartialEq)]
pub struct RegimeCurve {
    /// The relation, such as `related`.
    pub relation: String,
    /// By rising ratio.
    pub points: Vec<RegimePoint>,
}

/// The picture; none where there is no point. Ratios stand side by side, evenly.
///
/// # Errors
/// If the drawing library refuses.
pub(crate) fn regimes(curves: &[RegimeCurve]) -> Result<Option<Figure>> {
    let mut ratios: Vec<f64> = curves.iter().flat_map(|curve| curve.points.iter().map(|point| point.ratio)).collect();
    ratios.sort_by(f64::total_cmp);
    ratios.dedup();
    if ratios.is_empty() {
        return Ok(None);
    }
    let values = curves.iter().flat_map(|curve| &curve.points);
    let y = Axis::over(values.flat_map(|point| [point.gain, point.interval[0], point.interval[1], 0.]), "");
    let [left, top, right, bottom] = PLANE;
    let step = f64::from(right - left) / ratios.len() as f64;
    let across = |ratio: f64, curve: usize| {
        let at = ratios.iter().position(|known| *known == ratio).unwrap_or(0);
        // Intervals of one ratio stand beside each other.
        let aside = (curve as f64 - (curves.len() as f64 - 1.) / 2.) * 10.;
        left + ((at as f64 + 0.5) * step + aside) as i32
    };
    let up = |value: f64| {
        bottom - ((value - y.range.start) / (y.range.end - y.range.start) * f64::from(bottom - top)).round() as i32
    };
    let drawn = draw("Gain by sharing against the ratio of sizes", SIZE, |root| {
        for tick in ticks(y.range.start, y.range.end) {
            line(root, (left, up(tick)), (right, up(tick)), RULE.stroke_width(1))?;
            write(root, &format!("{tick:+.2}"), &text(TEXT - 1., HPos::Right, VPos::Center), (left - 6, up(tick)))?;
        }
        line(root, (left, up(0.)), (right, up(0.)), INK.mix(0.6).stroke_width(1))?;
        for ratio in &ratios {
            let at = left + ((ratios.iter().position(|known| known == ratio).unwrap_or(0) as f64 + 0.5) * step) as i32;
            let words = if *ratio >= 10. { format!("{ratio:.0}") } else { format!("{}", (ratio * 10.).round() / 10.) };
            write(root, &format!("{words} : 1"), &text(TEXT - 1., HPos::Center, VPos::Top), (at, bottom + 6))?;
        }
        let centre = (left + right) / 2;
        let below = "examples of the companion for one of the task";
        write(root, below, &text(TEXT, HPos::Center, VPos::Top), (centre, bottom + 28))?;
        let above = "gain in headline score over training alone";
        write(root, above, &text(TEXT, HPos::Left, VPos::Top), (left, 6))?;
        for (index, curve) in curves.iter().enumerate() {
            let color = color_of(index);
            for pair in curve.points.windows(2) {
                let at = |point: &RegimePoint| (across(point.ratio, index), up(point.gain));
                line(root, at(&pair[0]), at(&pair[1]), color.stroke_width(2))?;
            }
            for point in &curve.points {
                let x = across(point.ratio, index);
                line(root, (x, up(point.interval[0])), (x, up(point.interval[1])), color.stroke_width(1))?;
                mark(root, (x, up(point.gain)), index, 4, false)?;
            }
        }
        for ((name, index), at) in labels(curves).into_iter().zip(spread(curves, &up)) {
            mark(root, (right + 14, at), index, 4, false)?;
            write(root, name, &text(TEXT, HPos::Left, VPos::Center), (right + 24, at))?;
        }
        Ok(())
    });
    drawn.map(Some)
}

/// The curves that have a point, by their last gain, the highest first.
fn labels(curves: &[RegimeCurve]) -> Vec<(&str, usize)> {
    let mut found: Vec<(f64, &str, usize)> = curves
        .iter()
        .enumerate()
        .filter_map(|(index, curve)| Some((curve.points.last()?.gain, curve.relation.as_str(), index)))
        .collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    found.into_iter().map(|(_, name, index)| (name, index)).collect()
}

/// Where the names of [`labels`] stand: beside the curves' ends, one line apart at least.
fn spread(curves: &[RegimeCurve], up: &impl Fn(f64) -> i32) -> Vec<i32> {
    let mut last = i32::MIN / 2;
    let height = TEXT as i32 + 5;
    let place = |(_, index): (&str, usize)| {
        let end = curves.get(index).and_then(|curve| curve.points.last()).map_or(0, |point| up(point.gain));
        last = end.max(last + height);
        last
    };
    labels(curves).into_iter().map(place).collect()
}

/// A few round values between two, five at most or one more.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let raw = (high - low) / 5.;
    let power = 10f64.powf(raw.log10().floor());
    let step = [1., 2., 5., 10.].into_iter().map(|times| times * power).find(|step| *step >= raw).unwrap_or(raw);
    let first = (low / step).ceil() as i64;
    (first..).map(|at| at as f64 * step).take_while(|tick| *tick <= high).take(20).collect()
}

#[cfg(test)]
mod tests {
    use super::super::canvas::room;
    use super::*;

    #[test]
    fn every_curve_ratio_and_interval_is_drawn() {
        let point = |ratio, gain| RegimePoint { ratio, gain, interval: [gain - 0.01, gain + 0.01] };
        let curve = |relation: &str, gains: [f64; 2]| RegimeCurve {
            relation: relation.into(),
            points: vec![point(1., gains[0]), point(50., gains[1])],
        };
        let curves = [curve("related", [0., 0.06]), curve("conflicting", [-0.01, -0.05])];
        let svg = regimes(&curves).expect("draws").expect("points").svg;
        for words in ["related", "conflicting", "1 : 1", "50 : 1", "gain in headline score"] {
            assert!(svg.contains(words), "{words}: {svg}");
        }
        // Two curves of one stretch and two intervals each, in their colours.
        for color in ["#0072B2", "#D55E00"] {
            assert!(svg.matches(&format!("stroke=\"{color}\"")).count() >= 3, "{color}: {svg}");
        }
        assert!(room("conflicting", TEXT) + PLANE[2] + 24 < SIZE.0 as i32, "names have room");
        assert!(regimes(&[]).expect("draws").is_none());
        assert_eq!(ticks(-0.06, 0.07), [-0.05, 0., 0.05]);
    }
}
