//! The table for a paper: arms by tasks, `booktabs`, the best mean of each task in bold, marks of significance.

use anyhow::{Context, Result};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, context};
use mtl_eval::comparison::{ArmResult, Comparison, Tone};
use mtl_eval::stats::Interval;
use serde::Serialize;

use crate::numbers::{millions, percent, score, signed};
use crate::tables;

const TABLE: &str = include_str!("../templates/table.tex");
const DOCUMENT: &str = include_str!("../templates/document.tex");

/// Tasks side by side; more of them go below.
const ABREAST: usize = 4;
/// Letters of a task's name before it is broken into lines.
const HEAD: usize = 18;

/// Some of the columns, for every arm.
#[derive(Serialize)]
struct Block {
    heads: Vec<String>,
    lines: Vec<Line>,
}

#[derive(Clone, Serialize)]
struct Line {
    name: String,
    cells: Vec<String>,
    baseline: bool,
}

/// A complete `table` environment, to be put into a paper that loads `booktabs` and `graphicx`.
///
/// Text is escaped. A character that pdfLaTeX's fonts lack (Korean, say) is shown as its code point, so that the table
/// compiles with every engine.
pub fn latex(comparison: &Comparison) -> Result<String> {
    render(TABLE, comparison)
}

/// The same table as a document of its own, to be compiled as it is.
pub fn latex_document(comparison: &Comparison) -> Result<String> {
    Ok(DOCUMENT.replace("%TABLE%", latex(comparison)?.trim_end()))
}

fn render(template: &str, comparison: &Comparison) -> Result<String> {
    let mut lines: Vec<Line> = comparison.arms.iter().map(|arm| line(comparison, arm)).collect();
    lines.sort_by_key(|line| !line.baseline);
    let tasks = 0..comparison.tasks.len();
    let tone = |arm: &ArmResult| matches!(comparison.verdict(arm).tone, Tone::Better | Tone::Worse);
    let told = |arm: &ArmResult| {
        let other = arm.arm.name != comparison.baseline;
        other && (tone(arm) || tasks.clone().any(|task| comparison.mark(arm, task).is_some()))
    };
    let marks = comparison.arms.iter().any(told);
    let tested = comparison.arms.iter().flat_map(|arm| &arm.tasks).any(|task| task.corrected_p.is_some())
        && comparison.pilot.is_none();
    let confidence = comparison.arms.iter().find_map(|arm| arm.headline.as_ref()).map(|found| found.confidence);
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let values = context! {
        name => escape(&comparison.name),
        label => label(&comparison.name),
        baseline => escape(&comparison.baseline),
        pilot => comparison.pilot.as_deref().map(|why| escape(why.trim().trim_end_matches('.'))),
        split => tables::split(comparison),
        seeds => comparison.seeds.len(),
        level => comparison.level,
        confidence => confidence.map(percent),
        marks => marks,
        tested => tested,
        blocks => Serde(blocks(comparison, &lines)),
    };
    Ok(environment.render_str(template, values).context("the LaTeX table")? + "\n")
}

/// The columns in blocks of at most [`ABREAST`] tasks, what speaks of all tasks in the last one.
fn blocks(comparison: &Comparison, lines: &[Line]) -> Vec<Block> {
    let mut heads: Vec<String> = comparison.tasks.iter().map(|task| head(&task.name, &task.headline)).collect();
    heads.extend(["gain", "$\\Delta m$, \\%", "rank", "\\shortstack[b]{parameters,\\\\millions}"].map(String::from));
    let tasks = comparison.tasks.len();
    let count = tasks.div_ceil(ABREAST).max(1);
    let of = |index: usize| {
        let (start, end) = (tasks * index / count, tasks * (index + 1) / count);
        let range = start..if index + 1 == count { heads.len() } else { end };
        let cut = |line: &Line| Line { cells: line.cells[range.clone()].to_vec(), ..line.clone() };
        Block { heads: heads[range.clone()].to_vec(), lines: lines.iter().map(cut).collect() }
    };
    (0..count).map(of).collect()
}

/// A task's name over its metric, broken between words if it is long.
fn head(name: &str, metric: &str) -> String {
    let mut rows: Vec<String> = Vec::new();
    for word in name.split_whitespace() {
        match rows.last_mut() {
            Some(row) if row.chars().count() + word.chars().count() < HEAD => *row += &format!(" {word}"),
            _ => rows.push(word.to_string()),
        }
    }
    rows.push(metric.to_string());
    let rows: Vec<String> = rows.iter().map(|row| escape(row)).collect();
    format!("\\shortstack[b]{{{}}}", rows.join("\\\\"))
}

fn line(comparison: &Comparison, arm: &ArmResult) -> Line {
    let baseline = arm.arm.name == comparison.baseline;
    let mut cells: Vec<String> = (0..comparison.tasks.len()).map(|index| cell(comparison, arm, index)).collect();
    let mark = match comparison.verdict(arm).tone {
        Tone::Better => "^{\\uparrow}",
        Tone::Worse => "^{\\downarrow}",
        Tone::Undecided | Tone::None => "",
    };
    let ends = |gain: &Interval| format!("$[{}, {}]$", signed(gain.low, 3), signed(gain.high, 3));
    let gain = arm.headline.as_ref();
    let gain = gain.map(|gain| format!("${}{mark}$ {{\\scriptsize {}}}", signed(gain.estimate, 3), ends(gain)));
    let share = arm.gain_headline.as_ref().map(|gain| format!("${}$", signed(gain.estimate, 2)));
    for cell in [gain, share] {
        cells.push(if baseline { nothing() } else { cell.unwrap_or_else(nothing) });
    }
    cells.push(arm.mean_rank.map_or_else(nothing, |rank| format!("{rank:.2}")));
    cells.push(if arm.parameters > 0 { millions(arm.parameters) } else { nothing() });
    Line { name: escape(&tables::title(&arm.arm)), cells, baseline }
}

fn cell(comparison: &Comparison, arm: &ArmResult, index: usize) -> String {
    let Some((task, mean)) = arm.tasks.get(index).and_then(|task| Some((task, task.mean?))) else { return nothing() };
    let best = tables::best(comparison, arm, index);
    let mean = if best { format!("\\mathbf{{{}}}", score(mean)) } else { score(mean) };
    let spread = task.deviation.map_or(String::new(), |deviation| format!("_{{\\pm {}}}", score(deviation)));
    let mark = match comparison.mark(arm, index) {
        Some(true) => "^{\\uparrow}",
        Some(false) => "^{\\downarrow}",
        None => "",
    };
    format!("${mean}{spread}{mark}$")
}

fn nothing() -> String {
    "--".to_string()
}

/// Text as LaTeX sets it; what it cannot set becomes its code point.
pub(crate) fn escape(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, letter| {
        match letter {
            '\\' => out += "\\textbackslash{}",
            '~' => out += "\\textasciitilde{}",
            '^' => out += "\\textasciicircum{}",
            '"' => out += "\\textquotedbl{}",
            '<' => out += "\\textless{}",
            '>' => out += "\\textgreater{}",
            '|' => out += "\\textbar{}",
            '`' => out += "\\textasciigrave{}",
            '\'' => out += "\\textquotesingle{}",
            '{' | '}' | '$' | '&' | '#' | '_' | '%' => out.extend(['\\', letter]),
            '-' if out.ends_with('-') => out += "{}-",
            '[' | ']' => out += &format!("{{{letter}}}"),
            '–' => out += "\\textendash{}",
            'Δ' => out += "$\\Delta$",
            'α' => out += "$\\alpha$",
            'λ' => out += "$\\lambda$",
            '±' => out += "$\\pm$",
            '−' => out += "$-$",
            '×' => out += "$\\times$",
            letter if letter.is_control() => out.push(' '),
            ' '..='~' | 'À'..='Ö' | 'Ø'..='ö' | 'ø'..='ÿ' => out.push(letter),
            letter => out += &format!("\\texttt{{[U+{:04X}]}}", u32::from(letter)),
        }
        out
    })
}

/// The name as a label may hold it.
pub(crate) fn label(name: &str) -> String {
    let kept = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' };
    name.chars().map(kept).collect::<String>().trim_matches('-').to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_special_character_is_text() {
        assert_eq!(
            escape(r"a_b & 50% $x$ #1 {y} ~ ^ \z"),
            r"a\_b \& 50\% \$x\$ \#1 \{y\} \textasciitilde{} \textasciicircum{} \textbackslash{}z"
        );
        assert_eq!(escape("é 한\n<"), "é \\texttt{[U+D55C]} \\textless{}");
        assert_eq!(label("Quick & dirty!"), "quick---dirty");
    }
}
