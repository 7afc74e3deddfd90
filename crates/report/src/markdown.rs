//! The comparison as Markdown: the page's words and tables without its plots.

use anyhow::{Context, Result};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Output, State, UndefinedBehavior, Value, context};
use mtl_eval::comparison::Comparison;

use crate::tables::{self, tables};
use crate::verdict::{preamble, verdicts};

const TEMPLATE: &str = include_str!("../templates/report.md");

/// The comparison as GitHub-flavoured Markdown.
///
/// Every text is escaped: none of it can end a cell, start a list or become a tag, a link or a mention.
pub fn markdown(comparison: &Comparison) -> Result<String> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // Every value that the template shows is escaped for Markdown.
    environment.set_auto_escape_callback(|_| AutoEscape::Custom("markdown".into()));
    environment.set_formatter(|out: &mut Output, _: &mut State, value: &Value| {
        if value.is_safe() {
            return Ok(write!(out, "{value}")?);
        }
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_string);
        Ok(out.write_str(&escape(&text))?)
    });
    let values = context! {
        comparison => Serde(comparison),
        preamble => preamble(comparison),
        verdicts => Serde(verdicts(comparison)),
        broken => tables::broken(comparison),
        chapters => Serde(tables(comparison)),
    };
    Ok(environment.render_str(TEMPLATE, values).context("the Markdown report")? + "\n")
}

/// Text that Markdown leaves as it is.
pub(crate) fn escape(text: &str) -> String {
    let mut out = text.chars().fold(String::new(), |mut out, letter| {
        match letter {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '|' | '~' | '$' | '@' => out.extend(['\\', letter]),
            letter if letter.is_control() => out.push(' '),
            letter => out.push(letter),
        }
        out
    });
    // A scheme would become a link of its own.
    out = out.replace("://", "&#58;//").replace("www.", "www&#46;");
    match out.chars().next() {
        // At the start of a line these would open a list.
        Some('+' | '-') if out[1..].starts_with(' ') => format!("\\{out}"),
        _ => out,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        assert_eq!(escape("a|b\n<b> *c* $d$ @e"), r"a\|b &lt;b&gt; \*c\* \$d\$ \@e");
        assert_eq!(escape("http://x.y www.z"), "http&#58;//x.y www&#46;z");
        assert_eq!((escape("- a"), escape("-0.5")), ("\\- a".to_string(), "-0.5".to_string()));
    }
}
