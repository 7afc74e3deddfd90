//! Parameters against the mean gain in headline score, with the arms that no other one beats in both: the Pareto front.

use anyhow::Result;
use mtl_eval::comparison::Comparison;
use plotters::series::LineSeries;
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{Figure, INK, TEXT, cut, draw, line, mark, text, width, write};
use super::chart::{Axis, Margins, axes, pixel};

const SIZE: (u32, u32) = (760, 380);

struct Spot<'a> {
    index: usize,
    name: &'a str,
    millions: f64,
    gain: f64,
    control: bool,
}

/// The arms that have a mean gain, and the baseline at 0; `None` if there is no arm beside the baseline.
pub(crate) fn front(comparison: &Comparison) -> Result<Option<Figure>> {
    let spot = |(index, arm): (usize, &'_ mtl_eval::comparison::ArmResult)| {
        let baseline = arm.arm.name == comparison.baseline;
        let found = arm.headline.as_ref().map(|found| found.estimate).filter(|gain| gain.is_finite());
        let gain = if baseline { Some(0.) } else { found };
        let known = arm.parameters > 0 && (arm.finished > 0 || baseline);
        gain.filter(|_| known).map(|gain| (index, arm.parameters as f64 / 1e6, gain))
    };
    let spots: Vec<Spot> = comparison
        .arms
        .iter()
        .enumerate()
        .filter_map(spot)
        .map(|(index, millions, gain)| {
            let arm = &comparison.arms[index].arm;
            Spot { index, name: &arm.name, millions, gain, control: !arm.is_candidate() }
        })
        .collect();
    if spots.len() < 2 {
        return Ok(None);
    }
    let x = Axis::over(spots.iter().map(|spot| spot.millions), "parameters, millions (lower is better)");
    let y = Axis::over(spots.iter().map(|spot| spot.gain), "mean gain in headline score (higher is better)");
    let drawn = draw("Parameters against the mean gain", SIZE, |root| {
        let mut chart = axes(root, &x, &y, Margins { left: 0, right: 20 })?;
        line(root, pixel(&chart, x.range.start, 0.), pixel(&chart, x.range.end, 0.), INK.mix(0.6).stroke_width(1))?;
        let stairs = stairs(&spots, x.range.end);
        let lines = stairs.windows(2).map(|pair| [pair[0], pair[1]]).chain([[(x.range.start, 0.), (x.range.end, 0.)]]);
        let around = |[a, b]: [(f64, f64); 2]| {
            let (a, b) = (pixel(&chart, a.0, a.1), pixel(&chart, b.0, b.1));
            [a.0.min(b.0) - 1, a.1.min(b.1) - 1, a.0.max(b.0) + 1, a.1.max(b.1) + 1]
        };
        let mut taken: Vec<[i32; 4]> = lines.map(around).collect();
        chart.draw_series(LineSeries::new(stairs, INK.mix(0.8).stroke_width(2)))?;
        let at = |spot: &Spot| pixel(&chart, spot.millions, spot.gain);
        taken.extend(spots.iter().map(at).map(|(x, y)| [x - 6, y - 6, x + 6, y + 6]));
        for spot in &spots {
            mark(root, at(spot), spot.index, 5, spot.control)?;
            label(root, spot.name, at(spot), &mut taken)?;
        }
        Ok(())
    });
    drawn.map(Some)
}

/// The front as stairs: more parameters to the right, the best gain that so many reach.
fn stairs(spots: &[Spot], end: f64) -> Vec<(f64, f64)> {
    let mut sorted: Vec<&Spot> = spots.iter().filter(|spot| !spot.control).collect();
    sorted.sort_by(|a, b| a.millions.total_cmp(&b.millions).then(b.gain.total_cmp(&a.gain)));
    let mut path: Vec<(f64, f64)> = Vec::new();
    for spot in sorted {
        match path.last().copied() {
            Some((_, best)) if spot.gain <= best => {}
            Some((_, best)) => path.extend([(spot.millions, best), (spot.millions, spot.gain)]),
            None => path.push((spot.millions, spot.gain)),
        }
    }
    let last = path.last().map(|&(_, best)| (end, best));
    path.extend(last);
    path
}

/// Writes a name beside its point, at the first of some places that is free.
fn label(root: &super::canvas::Root, name: &str, (x, y): (i32, i32), taken: &mut Vec<[i32; 4]>) -> Result<()> {
    let name = cut(name, TEXT, 190);
    let (across, right) = (width(&name, TEXT), SIZE.0 as i32 - 4);
    let places = [(10, 0), (-10 - across, 0), (-across / 2, -16), (-across / 2, 16), (10, -14), (10, 14)]
        .into_iter()
        .chain((2..12).flat_map(|step| [(10, -14 * step), (10, 14 * step), (-10 - across, -14 * step)]))
        .map(|(dx, dy)| [x + dx, y + dy - 7, x + dx + across, y + dy + 7]);
    let free = |place: &[i32; 4]| {
        let inside = place[0] > 66 && place[2] < right && place[1] > 4 && place[3] < SIZE.1 as i32 - 48;
        inside && taken.iter().all(|t| place[2] < t[0] || t[2] < place[0] || place[3] < t[1] || t[3] < place[1])
    };
    let fallback = [x + 10, y - 7, x + 10 + across, y + 7];
    let place = places.clone().find(free).unwrap_or(fallback);
    taken.push(place);
    let middle = (place[1] + place[3]) / 2;
    write(root, &name, &text(TEXT, HPos::Left, VPos::Center), (place[0], middle))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_keeps_what_no_other_arm_beats_in_both() {
        let spot = |millions, gain, control| Spot { index: 0, name: "", millions, gain, control };
        let spots = [spot(4., 0., false), spot(1., -1., false), spot(2., 1., false), spot(1.5, 3., true)];
        assert_eq!(stairs(&spots, 5.), [(1., -1.), (2., -1.), (2., 1.), (5., 1.)]);
    }
}
