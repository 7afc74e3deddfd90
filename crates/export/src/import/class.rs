//! The head of a class of transformers.

use anyhow::{Context, Result, bail};
use mtl_backbone::{Classes, HeadActivation, Pooling, TOKEN_OUTPUT};
use mtl_task::Reads;
use serde_json::Value;

use super::{Found, map, plain};
use crate::plain::PlainHead;

/// The head that the folder's class has, and what it reads.
pub(super) fn head(found: &Found, classes: Option<&'static Classes>) -> Result<(PlainHead, Reads)> {
    let config = &found.checkpoint.config;
    let class = config.pointer("/architectures/0").and_then(Value::as_str).unwrap_or_default();
    let Some(classes) = classes else { bail!("transformers has no classes with heads for this encoder") };
    let known = classes.stems.iter().find_map(|(_, stem)| class.strip_prefix(stem));
    let others = found.checkpoint.others()?;
    let number = |key: &str| config.get(key).and_then(Value::as_f64);
    let dropout = number(classes.dropout).or_else(|| number("hidden_dropout_prob")).unwrap_or(0.1);
    match known {
        Some("ForSequenceClassification") => {
            let dense = map(&others, classes.dense, found.hidden)?;
            let output = map(&others, classes.output, dense.outputs())?;
            let head = plain(Some(Pooling::Cls), classes.activation, dropout, vec![dense, output]);
            Ok((head, Reads::Text))
        }
        Some("ForTokenClassification") => {
            let output = map(&others, TOKEN_OUTPUT, found.hidden)?;
            Ok((plain(None, HeadActivation::Tanh, dropout, vec![output]), Reads::Tokens))
        }
        _ => {
            let stem = classes.stems.first().context("an architecture without a class")?.1;
            let said = if class.is_empty() { "it names no class".into() } else { format!("it is `{class}`") };
            bail!(
                "{said}, which has no head of a task; `{stem}ForSequenceClassification`, `{stem}ForTokenClassification` and \
                 sentence-transformers with a Dense module can be imported, and an encoder alone is what a model's manifest \
                 names"
            )
        }
    }
}
