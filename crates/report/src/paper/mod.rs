//! Everything of a paper that follows from committed rows: tables as Markdown and LaTeX, figures as SVG, and what the rows
//! say of claims. The same rows give the same bytes.

mod read;
mod tables;
mod text;

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use mtl_eval::comparison::Role;

pub use read::{FILES, Rows};

use crate::claims::JudgedClaim;
use crate::latex::label;
use crate::markdown;
use crate::plots::{self, Effect};
use crate::table::Table;
use crate::{regimes_svg, standalone};

/// The page that shows all of it, by which a folder is known to be a paper's.
pub const PAGE: &str = "paper.md";

/// First line of [`PAGE`].
pub const MARK: &str = "<!-- made by `paper` from the rows of experiments; edit the rows, not this -->";

/// The files of a paper, by name: [`PAGE`] and `paper.tex` with every table, each table and figure as a file of its own,
/// `claims.md` and `claims.tex` where there are claims.
///
/// # Errors
/// If two of `rows` are of one experiment, none holds anything to show, or the drawing library refuses.
pub fn paper(rows: &[Rows], judged: &[JudgedClaim]) -> Result<BTreeMap<String, String>> {
    let mut made = Made::default();
    if let Some(table) = tables::claims(judged) {
        made.table("claims", &table);
        let lines: Vec<String> = judged.iter().map(tables::sentence).map(|text| markdown::escape(&text)).collect();
        made.page += &format!("- {}\n\n", lines.join("\n- "));
    }
    let mut names: Vec<String> = Vec::new();
    let mut all: Vec<Effect> = Vec::new();
    for one in rows {
        let name = label(&one.experiment);
        if names.contains(&name) {
            bail!("two folders hold rows of the experiment `{}`; name one of them", one.experiment);
        }
        made.experiment(&name, one)?;
        all.extend(effects(one, |arm| format!("{}: {arm}", one.experiment)));
        names.push(name);
    }
    if names.len() > 1 {
        let axis = "mean gain in headline score over the baseline (higher is better)";
        made.figure(
            "effects",
            plots::effects("Mean gains with intervals", &all, axis)?,
            "Mean gains of all experiments",
        );
    }
    if made.files.is_empty() {
        bail!("the rows hold nothing to show");
    }
    let tables = made.latex.join("\n");
    let document = include_str!("../../templates/document.tex").replace("%TABLE%", tables.trim_end());
    made.files.insert("paper.tex".into(), document);
    made.files.insert(PAGE.into(), format!("{MARK}\n\n# Results\n\n{}", made.page.trim_end().to_string() + "\n"));
    Ok(made.files)
}

/// The gains of an experiment's arms as a forest plot shows them.
fn effects(rows: &Rows, name: impl Fn(&str) -> String) -> Vec<Effect> {
    let of = |(index, arm): (usize, &read::ArmRows)| {
        let (interval, _, _) = rows.gain(arm, None)?;
        Some(Effect { name: name(&arm.name), index, hollow: arm.role != Role::Candidate, interval })
    };
    rows.arms.iter().enumerate().filter_map(of).collect()
}

/// The files so far.
#[derive(Default)]
struct Made {
    files: BTreeMap<String, String>,
    page: String,
    latex: Vec<String>,
}

impl Made {
    fn table(&mut self, name: &str, table: &Table) {
        let (markdown, latex) = (text::markdown_of(table), text::latex_of(table, name));
        self.page += &format!("{markdown}\n");
        self.files.insert(format!("{name}.md"), markdown);
        self.files.insert(format!("{name}.tex"), latex.clone());
        self.latex.push(latex);
    }

    fn figure(&mut self, name: &str, figure: Option<plots::Figure>, caption: &str) {
        if let Some(figure) = figure {
            self.svg(name, standalone(&figure.svg), caption);
        }
    }

    fn svg(&mut self, name: &str, svg: String, caption: &str) {
        self.page += &format!("![{}]({name}.svg)\n\n", markdown::escape(caption));
        self.files.insert(format!("{name}.svg"), svg);
    }

    fn experiment(&mut self, name: &str, rows: &Rows) -> Result<()> {
        if let Some(table) = tables::scores(rows)? {
            self.table(&format!("{name}-scores"), &table);
        }
        let axis = format!("mean gain in headline score over {} (higher is better)", rows.baseline());
        let gains = plots::effects("Mean gain with intervals", &effects(rows, str::to_string), &axis)?;
        self.figure(&format!("{name}-effects"), gains, &format!("{}: mean gains", rows.experiment));
        if let Some(table) = tables::gains(rows) {
            self.table(&format!("{name}-gains"), &table);
            let mut by_task = Vec::new();
            for (index, task) in rows.tasks.iter().enumerate() {
                for arm in &rows.arms {
                    let Some((interval, ..)) = rows.gain(arm, Some(&task.name)) else { continue };
                    let hollow = arm.role != Role::Candidate;
                    by_task.push(Effect { name: format!("{}: {}", task.name, arm.name), index, hollow, interval });
                }
            }
            let axis = format!("gain in headline score over {} (higher is better)", rows.baseline());
            let figure = plots::effects("Gain on each task with intervals", &by_task, &axis)?;
            self.figure(&format!("{name}-gains"), figure, &format!("{}: gains by task", rows.experiment));
        }
        if let Some(table) = tables::contrasts(rows) {
            self.table(&format!("{name}-contrasts"), &table);
        }
        if let Some(table) = tables::regimes(rows) {
            self.table(&format!("{name}-sizes"), &table);
            if let Some(svg) = regimes_svg(&rows.curves())? {
                self.svg(&format!("{name}-sizes"), svg, &format!("{}: gain against size", rows.experiment));
            }
        }
        if let Some(table) = tables::metrics(rows) {
            self.table(&format!("{name}-metrics"), &table);
        }
        Ok(())
    }
}
