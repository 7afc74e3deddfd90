//! What every plot is drawn on and with.

use anyhow::{Context, Result};
use plotters::coord::Shift;
use plotters::element::{Circle, PathElement, Polygon};
use plotters::prelude::{DrawingArea, IntoDrawingArea, RGBColor, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontFamily, IntoTextStyle, ShapeStyle, TextStyle};
use serde::Serialize;

/// The surface of one plot.
pub(crate) type Root<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Colour of text and axes; the page puts its own in its place.
pub(super) const INK: RGBColor = RGBColor(0x24, 0x29, 0x2e);
/// Colour of grids and of what stands back; the page puts its own in its place.
pub(super) const RULE: RGBColor = RGBColor(0xd5, 0xda, 0xe0);
/// Height of the plots' text in pixels.
pub(super) const TEXT: f64 = 13.;
/// plotters makes every font smaller by this much for SVG.
const SHRINKS: f64 = 1.24;
/// Okabe and Ito's colours but for black and the pale yellow.
const PALETTE: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x8c, 0x8c, 0x8c),
];
const MARKERS: [&str; 4] = ["●", "▲", "■", "◆"];

/// A plot with its caption.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    /// What it shows.
    pub(crate) title: String,
    /// The drawing, safe to put into a page as it is.
    pub(crate) svg: String,
}

/// One entry of a legend.
#[derive(Debug, Serialize)]
pub(crate) struct Key {
    /// The series.
    pub(crate) name: String,
    /// Its colour, as CSS writes it.
    pub(crate) color: String,
    /// Its marker.
    pub(crate) marker: &'static str,
}

impl Key {
    /// The legend of so many series.
    pub(crate) fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<Self> {
        let key = |(index, name): (usize, &str)| {
            let RGBColor(r, g, b) = color_of(index);
            Self { name: name.to_string(), color: format!("#{r:02x}{g:02x}{b:02x}"), marker: marker_of(index) }
        };
        names.into_iter().enumerate().map(key).collect()
    }
}

/// The colour of the series of an index.
pub(crate) fn color_of(index: usize) -> RGBColor {
    PALETTE[index % PALETTE.len()]
}

/// The marker of the series of an index.
pub(crate) fn marker_of(index: usize) -> &'static str {
    MARKERS[index % MARKERS.len()]
}

/// Draws the marker of the series of an index at a pixel; `hollow` if the series stands back.
pub(super) fn mark(root: &Root, at: (i32, i32), index: usize, size: i32, hollow: bool) -> Result<()> {
    let color = color_of(index);
    let style = if hollow { color.stroke_width(2) } else { color.filled() };
    let (x, y) = at;
    let corners = match index % MARKERS.len() {
        0 => return Ok(root.draw(&Circle::new(at, size, style))?),
        1 => vec![(x, y - size - 1), (x + size + 1, y + size), (x - size - 1, y + size), (x, y - size - 1)],
        2 => vec![
            (x - size, y - size),
            (x + size, y - size),
            (x + size, y + size),
            (x - size, y + size),
            (x - size, y - size),
        ],
        _ => {
            let reach = size + 2;
            vec![(x, y - reach), (x + reach, y), (x, y + reach), (x - reach, y), (x, y - reach)]
        }
    };
    if hollow {
        root.draw(&PathElement::new(corners, style))?
    } else {
        root.draw(&Polygon::new(corners, style))?
    }
    Ok(())
}

/// Draws a straight line between two pixels.
pub(super) fn line(root: &Root, from: (i32, i32), to: (i32, i32), style: ShapeStyle) -> Result<()> {
    Ok(root.draw(&PathElement::new([from, to], style))?)
}

/// The style of text of a height in pixels, anchored at its place.
pub(super) fn text<'a>(size: f64, horizontal: HPos, vertical: VPos) -> TextStyle<'a> {
    (FontFamily::SansSerif, size * SHRINKS).into_text_style(&(1, 1)).color(&INK).pos(Pos::new(horizontal, vertical))
}

/// Writes text at a pixel.
pub(super) fn write(root: &Root, words: &str, style: &TextStyle, at: (i32, i32)) -> Result<()> {
    Ok(root.draw_text(&visible(words), style, at)?)
}

/// About how wide text of a height will be, in pixels; no font is at hand to ask.
pub(super) fn width(words: &str, size: f64) -> i32 {
    let em = |letter: char| match letter {
        'i' | 'j' | 'l' | '.' | ',' | '\'' | '|' | ' ' | 't' | 'f' | 'r' | ':' => 0.36,
        'm' | 'w' | 'M' | 'W' | '%' | '@' => 0.9,
        'A'..='Z' => 0.7,
        letter if letter >= '\u{1100}' => 1.,
        _ => 0.57,
    };
    (words.chars().map(em).sum::<f64>() * size).ceil() as i32
}

/// Room for text of a height in pixels, whatever font it is shown in: some are a quarter wider than others.
pub(super) fn room(words: &str, size: f64) -> i32 {
    width(words, size) * 5 / 4
}

/// The text, cut with an ellipsis to about so many pixels.
pub(super) fn cut(words: &str, size: f64, pixels: i32) -> String {
    if width(words, size) <= pixels {
        return words.to_string();
    }
    let mut kept = String::new();
    for letter in words.chars() {
        if width(&kept, size) + width(&format!("{letter}…"), size) > pixels {
            break;
        }
        kept.push(letter);
    }
    kept + "…"
}

/// Draws one plot of a size in pixels; `title` is also what a screen reader says.
pub(super) fn draw(
    title: impl Into<String>,
    (width, height): (u32, u32),
    paint: impl FnOnce(&Root) -> Result<()>,
) -> Result<Figure> {
    let title = title.into();
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (width, height)).into_drawing_area();
        paint(&root).with_context(|| format!("the plot “{title}”"))?;
        root.present().with_context(|| format!("the plot “{title}”"))?;
    }
    // Escaped text holds no quote, so a quoted colour is an attribute.
    let svg = svg
        .replacen("<svg ", &format!("<svg role=\"img\" aria-label=\"{}\" ", attribute(&title)), 1)
        .replace("\"#24292E\"", "\"currentColor\"")
        .replace("\"#D5DAE0\"", "\"var(--rule)\"");
    Ok(Figure { title, svg })
}

/// Control characters are no text: an SVG that holds one is no XML.
fn visible(words: &str) -> String {
    words.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

fn attribute(words: &str) -> String {
    visible(words).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_text_and_is_escaped() {
        let figure = draw("<a> \"b\"", (200, 50), |root| {
            write(root, "<script>&\u{0} 한국어 fill=\"#24292E\"", &text(TEXT, HPos::Left, VPos::Top), (1, 1))
        })
        .expect("draws");
        assert!(figure.svg.contains("<text") && figure.svg.contains("&lt;script&gt;&amp;  한국어"), "{}", figure.svg);
        assert!(figure.svg.contains("fill=&quot;#24292E&quot;"), "text is left alone");
        assert!(figure.svg.contains("aria-label=\"&lt;a&gt; &quot;b&quot;\""), "{}", figure.svg);
        assert!(!figure.svg.contains("<script") && figure.svg.contains("fill=\"currentColor\""));
    }

    #[test]
    fn long_names_are_cut_and_short_ones_are_not() {
        assert_eq!(cut("short", 12., 100), "short");
        let long = cut("a name that no label has room for", 12., 60);
        assert!(long.ends_with('…') && width(&long, 12.) <= 60, "{long}");
    }
}
