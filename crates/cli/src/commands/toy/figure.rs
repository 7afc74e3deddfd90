//! The trajectories in loss space, a panel a rule, as SVG.

use std::fmt::Write;

use super::Run;

const PANEL: [f64; 2] = [190.0, 170.0];
const ACROSS: usize = 6;
const COLOURS: [&str; 5] = ["#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#9c6b4e"];

/// All runs over one front.
pub(super) fn draw(runs: &[Run], front: &[[f64; 2]], scale: f64) -> String {
    let rows = runs.len().div_ceil(ACROSS);
    let size = [PANEL[0] * ACROSS.min(runs.len()) as f64 + 20.0, PANEL[1] * rows as f64 + 40.0];
    // ℓ₁ spans [−2.2, 1.2] at the paper's scale of 0.1.
    let place = |point: [f64; 2]| {
        let across = (point[0] / scale * 0.1).clamp(-2.2, 1.2);
        let up = point[1].clamp(-22.0, 10.0);
        [10.0 + (PANEL[0] - 20.0) * (across + 2.2) / 3.4, (PANEL[1] - 34.0) * (10.0 - up) / 32.0]
    };
    let line = |points: &[[f64; 2]]| {
        let mut text = String::new();
        for point in points {
            let [x, y] = place(*point);
            let _ = write!(text, "{x:.1},{y:.1} ");
        }
        text
    };
    let every: Vec<[f64; 2]> = front.iter().copied().step_by(50).collect();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0} {1:.0}\" width=\"{0:.0}\" height=\"{1:.0}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"{2:.0}\">across ℓ₁, up ℓ₂; black: the Pareto front; ○ start, ● end</text>\n",
        size[0],
        size[1],
        size[1] - 10.0
    );
    for (index, run) in runs.iter().enumerate() {
        let corner = [10.0 + PANEL[0] * (index % ACROSS) as f64, 10.0 + PANEL[1] * (index / ACROSS) as f64];
        let _ = writeln!(svg, "<g transform=\"translate({:.0} {:.0})\">", corner[0], corner[1]);
        let _ = writeln!(
            svg,
            "<rect x=\"6\" y=\"16\" width=\"{:.0}\" height=\"{:.0}\" fill=\"none\" stroke=\"#ccc\"/>\n\
             <text x=\"8\" y=\"12\">{}, {} of 5</text>\n<g transform=\"translate(0 18)\" fill=\"none\">",
            PANEL[0] - 12.0,
            PANEL[1] - 30.0,
            run.rule,
            run.starts.iter().filter(|start| start.reached).count()
        );
        let _ =
            writeln!(svg, "<polyline points=\"{}\" stroke=\"black\" stroke-width=\"2.5\"/>", line(&every).trim_end());
        for (start, colour) in run.starts.iter().zip(COLOURS) {
            let _ = writeln!(svg, "<polyline points=\"{}\" stroke=\"{colour}\"/>", line(&start.path).trim_end());
            let ends = [(start.path.first(), "white"), (start.path.last(), colour)];
            for (point, fill) in ends.into_iter().filter_map(|(point, fill)| Some((point?, fill))) {
                let [x, y] = place(*point);
                let _ =
                    writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" stroke=\"{colour}\" fill=\"{fill}\"/>");
            }
        }
        svg += "</g>\n</g>\n";
    }
    svg + "</svg>\n"
}
