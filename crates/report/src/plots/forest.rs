//! Forest plots: an estimate and its interval a row, with 0 marked.

use anyhow::Result;
use mtl_eval::comparison::{Comparison, TaskFacts};
use mtl_eval::stats::Interval;
use plotters::element::PathElement;
use plotters::style::text_anchor::{HPos, VPos};
use plotters::style::{Color, ShapeStyle};

use super::canvas::{Figure, INK, TEXT, color_of, cut, draw, line, mark, room, text, write};
use super::chart::{Axis, Margins, axes, pixel};
use crate::numbers::{ends, signed};

const ROW: i32 = 24;

/// The most that names take, in pixels.
const NAMES: i32 = 520;

struct Row<'a> {
    name: &'a str,
    convention: &'static str,
    index: usize,
    hollow: bool,
    interval: &'a Interval,
}

/// The mean gain in headline score of every arm but the baseline, which the verdicts rest on; those that are no candidates
/// are hollow. `None` if no arm has an interval.
pub(crate) fn gains(comparison: &Comparison) -> Result<Option<Figure>> {
    let mut rows = Vec::new();
    for (index, arm) in comparison.arms.iter().enumerate() {
        if let Some(interval) = &arm.headline {
            let hollow = !arm.arm.is_candidate();
            rows.push(Row { name: &arm.arm.name, convention: "", index, hollow, interval });
        }
    }
    let name = format!("mean gain in headline score over {} (higher is better)", comparison.baseline);
    forest("Mean gain with intervals", &rows, &name, 4, 780)
}

/// Δm of every arm but the baseline, of the headline metrics and of all; `None` if no arm has an interval.
pub(crate) fn shares(comparison: &Comparison) -> Result<Option<Figure>> {
    let mut rows = Vec::new();
    for (index, arm) in comparison.arms.iter().enumerate() {
        for (interval, convention, hollow) in
            [(&arm.gain_headline, ", headline", false), (&arm.gain_per_task, ", all metrics", true)]
        {
            if let Some(interval) = interval {
                rows.push(Row { name: &arm.arm.name, convention, index, hollow, interval });
            }
        }
    }
    let name = format!("Δm against {}, % (higher is better)", comparison.baseline);
    forest("Δm with intervals", &rows, &name, 2, 780)
}

/// The transfer to each task, one panel a task.
pub(crate) fn transfers(comparison: &Comparison) -> Result<Vec<Figure>> {
    comparison
        .tasks
        .iter()
        .enumerate()
        .filter_map(|(index, facts)| transfer(comparison, index, facts).transpose())
        .collect()
}

/// A row of a forest plot of its own.
#[derive(Clone, Debug)]
pub(crate) struct Effect {
    /// What stands left of it.
    pub(crate) name: String,
    /// The place of its series, which its colour and marker follow.
    pub(crate) index: usize,
    /// Whether it stands back.
    pub(crate) hollow: bool,
    /// The estimate and its interval.
    pub(crate) interval: Interval,
}

/// Effects with their intervals, one a row; `axis` is what they measure. `None` if there are none.
pub(crate) fn effects(title: &str, effects: &[Effect], axis: &str) -> Result<Option<Figure>> {
    let mut rows = Vec::new();
    for Effect { name, index, hollow, interval } in effects {
        rows.push(Row { name, convention: "", index: *index, hollow: *hollow, interval });
    }
    forest(title, &rows, axis, 4, 780)
}

fn transfer(comparison: &Comparison, index: usize, facts: &TaskFacts) -> Result<Option<Figure>> {
    let mut rows = Vec::new();
    for (number, arm) in comparison.arms.iter().enumerate() {
        if let Some(interval) = arm.tasks.get(index).and_then(|task| task.transfer.as_ref()) {
            rows.push(Row { name: &arm.arm.name, convention: "", index: number, hollow: false, interval });
        }
    }
    let name = format!("gain in {} (higher is better)", facts.headline);
    forest(&facts.name, &rows, &name, 3, 580)
}

fn forest(title: &str, rows: &[Row], name: &str, digits: usize, across: i32) -> Result<Option<Figure>> {
    if rows.is_empty() {
        return Ok(None);
    }
    let words = |row: &Row| format!("{} {}", signed(row.interval.estimate, digits), ends(row.interval, digits));
    let widest = |texts: Vec<String>| texts.iter().map(|text| room(text, TEXT)).max().unwrap_or(0) + 12;
    let left = widest(rows.iter().map(|row| format!("{}{}", row.name, row.convention)).collect()).min(NAMES);
    let right = widest(rows.iter().map(words).collect());
    // Long names make the plot wider, not its middle narrower.
    let across = across.max(left + right + across / 3);
    let values = rows.iter().flat_map(|row| [row.interval.low, row.interval.high, row.interval.estimate]);
    let x = Axis::over(values.chain([0.]), name);
    let y = Axis { range: rows.len() as f64..0., name: String::new() };
    let height = ROW * rows.len() as i32 + 54;
    let drawn = draw(title, (across as u32, height as u32), |root| {
        let chart = axes(root, &x, &y, Margins { left, right })?;
        let zero = |y: f64| pixel(&chart, 0., y);
        line(root, zero(0.), zero(rows.len() as f64), INK.stroke_width(1))?;
        for (place, row) in rows.iter().enumerate() {
            let middle = place as f64 + 0.5;
            let at = |value: f64| pixel(&chart, value, middle);
            let (low, high) = (at(row.interval.low), at(row.interval.high));
            let style: ShapeStyle = color_of(row.index).stroke_width(2);
            line(root, low, high, style)?;
            for (x, y) in [low, high] {
                root.draw(&PathElement::new([(x, y - 4), (x, y + 4)], style))?;
            }
            mark(root, at(row.interval.estimate), row.index, 4, row.hollow)?;
            let label = cut(row.name, TEXT, left - 8 - room(row.convention, TEXT)) + row.convention;
            write(root, &label, &text(TEXT, HPos::Right, VPos::Center), (left - 6, low.1))?;
            write(root, &words(row), &text(TEXT, HPos::Left, VPos::Center), (across - right + 8, low.1))?;
        }
        Ok(())
    });
    drawn.map(Some)
}
