//! `explain`: the page of one member of a registry.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use mtl_weighting::Property;
use serde_json::Value;

use crate::output::line;
use crate::{Context, Registries};

/// Explain a member of a registry (a strategy, a rule, a sampler, an optimizer, a metric, …), or a section of a recipe.
///
/// Prints what it is, its paper, its cost or what it sees, its properties, and every setting with its default.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  {program} explain nash\n  {program} explain cross-stitch\n  {program} explain task"
)]
pub struct Explain {
    /// The member's or the section's name (`{program} list`)
    name: String,
}

/// One member, as far as its registry describes it.
struct Page {
    name: String,
    aliases: Vec<String>,
    /// What it is a member of, and where a recipe or manifest names it.
    kind: &'static str,
    written: &'static str,
    about: String,
    /// Further facts, by their title.
    facts: Vec<(&'static str, String)>,
    /// Its settings with their defaults, an object.
    settings: Option<Value>,
    /// The source of its module, whose header and settings' comments say more; may be empty.
    source: &'static str,
}

impl Page {
    fn new(kind: &'static str, written: &'static str, name: &str, about: &str) -> Self {
        let (name, about) = (name.to_string(), about.to_string());
        Self { name, aliases: Vec::new(), kind, written, about, facts: Vec::new(), settings: None, source: "" }
    }

    fn fact(mut self, title: &'static str, text: impl Into<String>) -> Self {
        self.facts.push((title, text.into()));
        self
    }

    fn settings(self, settings: Value) -> Self {
        Self { settings: Some(settings), ..self }
    }

    fn source(self, source: &'static str) -> Self {
        Self { source, ..self }
    }

    fn print(&self) -> Result<()> {
        line(&format!("{} ({}, {})", self.name, self.kind, self.written))?;
        line(&format!("  {}", self.about))?;
        let titles = self.facts.iter().map(|(title, _)| title.chars().count());
        let width = titles.chain([8]).max().unwrap_or(8);
        if !self.aliases.is_empty() {
            line(&format!("\n  {:width$}  {}", "also", self.aliases.join(", ")))?;
        } else if !self.facts.is_empty() {
            line("")?;
        }
        self.facts.iter().try_for_each(|(title, text)| line(&format!("  {title:width$}  {text}")))?;
        let Some(settings) = &self.settings else { return Ok(()) };
        if !self.source.is_empty() {
            return line(&format!("\n{}", mtl_task::page(self.source, settings).trim_end()));
        }
        let settings: Vec<(&String, &Value)> = settings.as_object().into_iter().flatten().collect();
        if settings.is_empty() {
            return line("\nIt has no settings.");
        }
        line("\nSettings and their defaults:")?;
        let width = settings.iter().map(|(key, _)| key.chars().count()).max().unwrap_or(0);
        settings.iter().try_for_each(|(key, value)| line(&format!("  {key:width$}  {}", shown(value))))
    }
}

/// A default as a recipe writes it.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "(left out)".into(),
        value => value.to_string(),
    }
}

impl Explain {
    pub(super) fn run(self, context: &Context) -> Result<ExitCode> {
        let pages = pages(&context.registries);
        let called = |page: &&Page| page.name == self.name || page.aliases.contains(&self.name);
        let found: Vec<&Page> = pages.iter().filter(called).collect();
        if found.is_empty() {
            bail!(
                "nothing is called `{}`{}; see `{} list`",
                self.name,
                nearest(&self.name, &pages),
                context.program.name
            );
        }
        for (index, page) in found.iter().enumerate() {
            if index > 0 {
                line("")?;
            }
            page.print()?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The names of all registries that come nearest to `name`, each with what it is.
fn nearest(name: &str, pages: &[Page]) -> String {
    let mut left: Vec<&Page> = pages.iter().collect();
    let mut near: Vec<String> = Vec::new();
    while near.len() < 3 {
        let names = left.iter().map(|page| page.name.as_str());
        let suggested = mtl_task::nearest(name, names);
        let Some(at) = left.iter().position(|page| suggested.contains(&format!("`{}`", page.name))) else { break };
        let page = left.remove(at);
        near.push(format!("`{}` ({})", page.name, page.kind));
    }
    if near.is_empty() { String::new() } else { format!("; the nearest: {}", near.join(", ")) }
}

/// Every member of every registry, and the sections of a recipe that belong to none.
fn pages(registries: &Registries) -> Vec<Page> {
    let mut pages = Vec::new();
    for entry in &registries.strategies {
        let page = Page::new("sharing strategy", "[sharing] strategy", entry.name, entry.about)
            .fact("paper", entry.paper)
            .fact("parameters", entry.cost)
            .fact("learning rates", format!("{}, of `optimizer.rate`; see `[optimizer.groups]`", entry.rates))
            .fact(
                "shares",
                if entry.shares { "trained parameters that several tasks reach" } else { "none that is trained" },
            );
        pages.push(page.settings((entry.defaults)()).source(entry.source));
    }
    for entry in &registries.rules {
        let titles: Vec<&str> = (Property::ALL.iter())
            .filter(|property| entry.properties.contains(property))
            .map(|property| property.title())
            .collect();
        let mut page = Page::new("weighting rule", "[weighting] rule", entry.name, entry.about)
            .fact("paper", entry.paper)
            .fact("sees", entry.class.name())
            .fact("properties", if titles.is_empty() { "none claimed".into() } else { titles.join(", ") })
            .fact("oracle", if entry.verified { "verified" } else { "unverified" })
            .settings((entry.defaults)())
            .source(entry.source);
        page.aliases = entry.aliases.iter().map(|alias| (*alias).to_string()).collect();
        pages.push(page);
    }
    for entry in &registries.samplers {
        let page = Page::new("sampler", "[sampler] name", entry.name, entry.about);
        pages.push(page.settings((entry.defaults)()));
    }
    for entry in &registries.optimizers {
        let page = Page::new("optimizer", "[optimizer] name", entry.name, entry.about);
        pages.push(page.settings((entry.defaults)()));
    }
    for entry in &registries.schedules {
        pages.push(Page::new("schedule", "[schedule] name", entry.name, entry.about));
    }
    for entry in &registries.architectures {
        let mut page = Page::new("architecture", "a model's `architecture`", entry.name, entry.about);
        page.aliases = entry.aliases.iter().map(|alias| (*alias).to_string()).collect();
        pages.push(page);
    }
    for entry in &registries.data.kinds {
        let judging = registries.metrics.iter().filter(|metric| metric.judges(&entry.truth));
        let judging: Vec<&str> = judging.map(|metric| metric.name()).collect();
        let page = Page::new("task kind", "a dataset's [task] kind", entry.name, entry.about);
        pages.push(page.fact("metrics", judging.join(", ")));
    }
    for entry in &registries.data.generators {
        pages.push(Page::new("generator", "a dataset's [generator] name", entry.name, entry.about));
    }
    for entry in &registries.data.readers {
        let page = Page::new("reader", "a dataset's [reader] name", entry.name, entry.about);
        pages.push(page.fact("endings", entry.endings.join(", ")));
    }
    for section in mtl_train::SECTIONS {
        let page = Page::new("section of a recipe", section.written, section.name, section.about);
        pages.push(page.settings((section.defaults)()).source(section.source));
    }
    for metric in &registries.metrics {
        let judged = registries.data.kinds.iter().filter(|kind| metric.judges(&kind.truth));
        let judged: Vec<&str> = judged.map(|kind| kind.name).collect();
        let better = if metric.higher_is_better() { "higher" } else { "lower" };
        let page = Page::new("metric", "a dataset's [task] metric", metric.name(), metric.about());
        pages.push(page.fact("judges", judged.join(", ")).fact("better", better));
    }
    pages
}
