//! The critical-difference diagram: mean ranks on a line, bars over arms that Nemenyi's test does not tell apart.
//!
//! Demšar, "Statistical comparisons of classifiers over multiple data sets" (JMLR 2006), figure 1. Here the best stands
//! to the left.

use anyhow::{Result, bail};
use mtl_eval::comparison::Comparison;
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{Figure, INK, Root, TEXT, color_of, cut, draw, line, room, text, write};
use crate::numbers;

/// Width of the scale, and of names at most, in pixels.
const SCALE: i32 = 400;
const NAMES: i32 = 420;
const STEP: i32 = 22;

/// The diagram; `None` without Nemenyi's comparison, or if it is of fewer than three arms, which is no more than one test.
pub(crate) fn ranks(comparison: &Comparison) -> Result<Option<Figure>> {
    let Some(nemenyi) = comparison.nemenyi.as_ref().filter(|nemenyi| nemenyi.mean_ranks.len() > 2) else {
        return Ok(None);
    };
    let count = nemenyi.mean_ranks.len();
    let names = ranked(comparison, count)?;
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|&a, &b| nemenyi.mean_ranks[a].total_cmp(&nemenyi.mean_ranks[b]));

    let side = names.iter().map(|(_, name)| room(name, TEXT)).max().unwrap_or(0).min(NAMES) + 64;
    let (first, last) = (side, side + SCALE);
    let across = SCALE + 2 * side;
    let at = |rank: f64| first + ((rank - 1.) / (count as f64 - 1.) * f64::from(last - first)).round() as i32;
    let (axis, bars) = (74, 12 * nemenyi.groups.len() as i32);
    let left = count.div_ceil(2);
    let height = axis + bars + 14 + STEP * left as i32 + 34;
    let drawn = draw("Critical-difference diagram", (across as u32, height as u32), |root| {
        scale(root, axis, count, at)?;
        let reach = at(1. + nemenyi.critical_difference) - first;
        measure(root, nemenyi.critical_difference, (first, reach.min(last - first)), reach > last - first)?;
        for (row, group) in nemenyi.groups.iter().enumerate() {
            let ends = group.iter().filter_map(|&arm| nemenyi.mean_ranks.get(arm)).copied();
            let (low, high) = ends.fold((f64::INFINITY, 0f64), |(low, high), rank| (low.min(rank), high.max(rank)));
            let y = axis + 12 + 12 * row as i32;
            line(root, (at(low) - 4, y), (at(high) + 4, y), INK.stroke_width(5))?;
        }
        for (place, &arm) in order.iter().enumerate() {
            let (to_left, row) = if place < left { (true, place) } else { (false, count - 1 - place) };
            let (x, y) = (at(nemenyi.mean_ranks[arm]), axis + bars + 20 + STEP * row as i32);
            let (index, name) = names[arm];
            let style = color_of(index).stroke_width(2);
            let end = if to_left { first - 14 } else { last + 14 };
            line(root, (x, axis), (x, y), style)?;
            line(root, (x, y), (end, y), style)?;
            let words = format!("{} ({:.2})", cut(name, TEXT, side - 64), nemenyi.mean_ranks[arm]);
            let (anchor, beside) = if to_left { (HPos::Right, end - 5) } else { (HPos::Left, end + 5) };
            write(root, &words, &text(TEXT, anchor, VPos::Center), (beside, y))?;
        }
        let under =
            format!("mean rank over {} (lower is better)", numbers::counted(comparison.tasks.len(), "task", "tasks"));
        write(root, &under, &text(TEXT, HPos::Center, VPos::Bottom), (across / 2, height - 4))
    });
    drawn.map(Some)
}

/// The arms that were ranked, by their place among all: all of them, or those that have a mean rank.
pub(crate) fn ranked(comparison: &Comparison, count: usize) -> Result<Vec<(usize, &str)>> {
    let all = || comparison.arms.iter().enumerate().map(|(index, arm)| (index, arm.arm.name.as_str()));
    if comparison.arms.len() == count {
        return Ok(all().collect());
    }
    let with_rank: Vec<_> = all().filter(|&(index, _)| comparison.arms[index].mean_rank.is_some()).collect();
    if with_rank.len() != count {
        bail!("Nemenyi's comparison ranks {count} arms, but {} arms have a mean rank", with_rank.len());
    }
    Ok(with_rank)
}

fn scale(root: &Root, y: i32, count: usize, at: impl Fn(f64) -> i32) -> Result<()> {
    line(root, (at(1.), y), (at(count as f64), y), INK.stroke_width(1))?;
    for rank in 1..=count {
        let x = at(rank as f64);
        line(root, (x, y - 6), (x, y), INK.stroke_width(1))?;
        write(root, &rank.to_string(), &text(TEXT, HPos::Center, VPos::Bottom), (x, y - 10))?;
    }
    Ok(())
}

/// The critical difference as a measure above the scale; an arrow's head if it is longer than the scale.
fn measure(root: &Root, difference: f64, (start, length): (i32, i32), beyond: bool) -> Result<()> {
    let (y, end) = (30, start + length);
    line(root, (start, y), (end, y), INK.stroke_width(2))?;
    line(root, (start, y - 5), (start, y + 5), INK.stroke_width(2))?;
    if beyond {
        line(root, (end - 7, y - 5), (end, y), INK.stroke_width(2))?;
        line(root, (end - 7, y + 5), (end, y), INK.stroke_width(2))?;
    } else {
        line(root, (end, y - 5), (end, y + 5), INK.stroke_width(2))?;
    }
    let more = if beyond { ", more than the scale is long: no pair can differ" } else { "" };
    let words = format!("critical difference {difference:.2}{more}");
    write(root, &words, &text(TEXT, HPos::Left, VPos::Bottom), (start, y - 9))
}
