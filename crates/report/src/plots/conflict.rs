//! The conflict between tasks: mean cosine of their gradients, one map an arm.

use anyhow::{Result, ensure};
use mtl_eval::comparison::{ArmResult, Comparison};
use plotters::element::Rectangle;
use plotters::prelude::RGBColor;
use plotters::style::text_anchor::{HPos, VPos};
use plotters::style::{Color, FontTransform};

use super::canvas::{Figure, Root, TEXT, cut, draw, text, width, write};

/// Vermillion for conflict, blue for agreement: the two ends that every reader tells apart.
const CONFLICT: RGBColor = RGBColor(0xd5, 0x5e, 0x00);
const AGREEMENT: RGBColor = RGBColor(0x00, 0x72, 0xb2);

/// One map for each arm whose gradients were measured.
pub(crate) fn conflicts(comparison: &Comparison) -> Result<Vec<Figure>> {
    let names: Vec<&str> = comparison.tasks.iter().map(|task| task.name.as_str()).collect();
    comparison.arms.iter().filter(|arm| !arm.cosines.is_empty()).map(|arm| map(arm, &names)).collect()
}

fn map(arm: &ArmResult, names: &[&str]) -> Result<Figure> {
    let name = &arm.arm.name;
    let square = arm.cosines.len() == names.len() && arm.cosines.iter().all(|row| row.len() == names.len());
    ensure!(square, "the cosines of arm `{name}` are not one for each pair of the {} tasks", names.len());
    let cell = if names.len() > 8 { 32 } else { 46 };
    let room = names.iter().map(|name| width(name, TEXT)).max().unwrap_or(0).clamp(40, 110) + 8;
    let side = cell * names.len() as i32;
    let total = (room + side + 6, room + side + 30);
    draw(name, (total.0.max(260) as u32, total.1 as u32), |root| {
        for (row, cosines) in arm.cosines.iter().enumerate() {
            let middle = |index: usize| room + cell * index as i32 + cell / 2;
            let label = cut(names[row], TEXT, room - 8);
            write(root, &label, &text(TEXT, HPos::Right, VPos::Center), (room - 6, middle(row)))?;
            let upright = text(TEXT, HPos::Left, VPos::Center).transform(FontTransform::Rotate270);
            write(root, &label, &upright, (middle(row), room - 6))?;
            for (column, &cosine) in cosines.iter().enumerate() {
                square_of(root, (room + cell * column as i32, room + cell * row as i32), cell, cosine)?;
            }
        }
        write(root, "cosine: −1 conflict, +1 agreement", &text(TEXT - 1., HPos::Left, VPos::Top), (6, room + side + 10))
    })
}

fn square_of(root: &Root, (x, y): (i32, i32), cell: i32, cosine: f64) -> Result<()> {
    let (color, words) = if cosine.is_finite() {
        (shade(cosine), format!("{cosine:.2}").replace('-', "−"))
    } else {
        (RGBColor(0xee, 0xee, 0xee), "–".to_string())
    };
    root.draw(&Rectangle::new([(x, y), (x + cell - 2, y + cell - 2)], color.filled()))?;
    // Cells are coloured on any page, so their ink is their own.
    let ink = if cosine.abs() > 0.65 { RGBColor(0xff, 0xff, 0xff) } else { RGBColor(0x11, 0x11, 0x11) };
    let style = text(TEXT - 1., HPos::Center, VPos::Center).color(&ink);
    write(root, &words, &style, (x + cell / 2 - 1, y + cell / 2 - 1))
}

/// White at 0, the full colour at ±1.
fn shade(cosine: f64) -> RGBColor {
    let end = if cosine < 0. { CONFLICT } else { AGREEMENT };
    let strength = cosine.abs().min(1.);
    let mix = |channel: u8| (255. + (f64::from(channel) - 255.) * strength).round() as u8;
    RGBColor(mix(end.0), mix(end.1), mix(end.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shades_run_from_conflict_over_white_to_agreement() {
        assert_eq!([shade(-1.), shade(0.), shade(1.)], [CONFLICT, RGBColor(255, 255, 255), AGREEMENT]);
    }
}
