//! A plane with two axes, each with its unit and direction in words.

use std::ops::Range;

use anyhow::Result;
use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::{Cartesian2d, SVGBackend};
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{INK, RULE, Root, TEXT, text};

/// A plane ready to be drawn on.
pub(super) type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// An axis: what it spans and what it measures.
pub(super) struct Axis {
    /// From where to where.
    pub(super) range: Range<f64>,
    /// Quantity, unit and which direction is better.
    pub(super) name: String,
}

impl Axis {
    /// The axis over some values, with a little room at both ends; values that are not finite are passed over.
    pub(super) fn over(values: impl IntoIterator<Item = f64>, name: impl Into<String>) -> Self {
        let ends = |(low, high): (f64, f64), value: f64| (low.min(value), high.max(value));
        let finite = values.into_iter().filter(|value| value.is_finite());
        let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), ends);
        let (low, high) = if low <= high { (low, high) } else { (0., 1.) };
        let room = if high > low { 0.06 * (high - low) } else { 0.05 * high.abs().max(0.1) };
        Self { range: low - room..high + room, name: name.into() }
    }

    /// An axis of training steps.
    pub(super) fn steps(last: usize) -> Self {
        Self { range: 0. ..last.max(1) as f64 * 1.02, name: "training step".to_string() }
    }
}

/// Room about the plane, in pixels.
#[derive(Clone, Copy)]
pub(super) struct Margins {
    /// Left of the plane: rows' names, or nothing if the vertical axis has ticks, which bring their own.
    pub(super) left: i32,
    /// Right of it.
    pub(super) right: i32,
}

/// Draws the axes; a vertical axis without a name has neither ticks nor grid, for its rows are named otherwise.
pub(super) fn axes<'a, 'b>(root: &'a Root<'b>, x: &Axis, y: &Axis, margins: Margins) -> Result<Chart<'a, 'b>> {
    let rows = y.name.is_empty();
    let across = root.dim_in_pixel().0 as i32 - margins.left - margins.right - if rows { 0 } else { 62 };
    let mut chart = ChartBuilder::on(root)
        .margin_top(8)
        .margin_right(margins.right)
        .margin_left(margins.left)
        .margin_bottom(4)
        .x_label_area_size(42)
        .y_label_area_size(if rows { 0 } else { 62 })
        .build_cartesian_2d(x.range.clone(), y.range.clone())?;
    let (digits_x, digits_y) = (digits(&x.range), digits(&y.range));
    let format_x = move |value: &f64| plain(*value, digits_x);
    let format_y = move |value: &f64| plain(*value, digits_y);
    let mut mesh = chart.configure_mesh();
    mesh.light_line_style(RULE.mix(0.)).bold_line_style(RULE).axis_style(INK.mix(0.5)).set_all_tick_mark_size(4);
    mesh.label_style(text(TEXT - 1., HPos::Center, VPos::Top)).axis_desc_style(text(TEXT, HPos::Center, VPos::Top));
    mesh.x_labels((across / 45).clamp(3, 8) as usize).x_label_formatter(&format_x).x_desc(&x.name);
    if rows {
        mesh.disable_y_mesh().disable_y_axis();
    } else {
        mesh.y_labels(6).y_label_formatter(&format_y).y_desc(&y.name);
    }
    mesh.draw()?;
    Ok(chart)
}

/// The pixel of a point.
pub(super) fn pixel(chart: &Chart, x: f64, y: f64) -> (i32, i32) {
    chart.backend_coord(&(x, y))
}

/// Digits after the point that tell about six ticks of a range apart.
fn digits(range: &Range<f64>) -> usize {
    let step = (range.end - range.start).abs() / 6.;
    if step > 0. { (-step.log10()).ceil().clamp(0., 6.) as usize } else { 0 }
}

/// A tick's number, without a sign before 0.
fn plain(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    if text.bytes().all(|byte| matches!(byte, b'-' | b'0' | b'.')) { text.replace('-', "") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_have_the_digits_that_tell_them_apart() {
        assert_eq!((digits(&(0. ..1.)), digits(&(0. ..300.)), digits(&(0.81..0.82))), (1, 0, 3));
        assert_eq!((plain(-0.00001, 2), plain(0.25, 2)), ("0.00".to_string(), "0.25".to_string()));
    }

    #[test]
    fn an_axis_has_room_even_for_one_value_or_none() {
        let one = Axis::over([0.5, f64::NAN], "score").range;
        assert!(one.start < 0.5 && one.end > 0.5);
        let none = Axis::over([], "score").range;
        assert!(none.start < none.end);
    }
}
