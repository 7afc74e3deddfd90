//! How long a normaliser may make a text.
//!
//! A chain of forty `Replace` steps, each of which writes one letter as two, makes a terabyte of every letter. Chains
//! that could do so are run step by step in front of the library's own call, and stopped.

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use tokenizers::{NormalizedString, Normalizer, NormalizerWrapper};

use super::guard::guarded;
use super::member;

/// A text may become this many times longer, and [`SHORT`] more.
const TIMES: usize = 64;
/// Bytes that any text may become.
const SHORT: usize = 1 << 16;
/// Bytes that no text may become in one step.
const MOST: usize = 1 << 24;

/// The steps of a normaliser that could grow texts without measure; empty if it cannot.
#[derive(Clone, Debug, Default)]
pub(super) struct Growth {
    steps: Vec<(NormalizerWrapper, Step)>,
}

/// How much longer a step may make what it gets.
#[derive(Clone, Debug)]
enum Step {
    /// By this many bytes for each match of a pattern; `None` is one that could match everywhere.
    Replace(usize, Option<String>),
    /// By this many bytes.
    Prepend(usize),
    /// By what Unicode does to letters.
    Other,
}

impl Growth {
    /// The growth of the `normalizer` of a `tokenizer.json`, tried on the normalised ones of its `added_tokens`.
    pub(super) fn of(tokenizer: &Value) -> Result<Self> {
        let mut flat = Vec::new();
        flatten(&tokenizer["normalizer"], &mut flat);
        let (mut times, mut more) = (1_f64, 0_usize);
        let steps: Vec<Step> = flat.iter().map(|step| Step::of(step)).collect();
        for step in &steps {
            match step {
                Step::Replace(content, Some(pattern)) => {
                    times *= (*content as f64 / pattern.len().max(1) as f64).max(1.);
                }
                Step::Replace(content, None) => times *= 1. + *content as f64,
                Step::Prepend(bytes) => more = more.saturating_add(*bytes),
                Step::Other => {}
            }
        }
        if times <= TIMES as f64 && more <= SHORT {
            return Ok(Self::default());
        }
        let made = flat.iter().zip(steps).enumerate().map(|(index, (value, step))| {
            let made = guarded(|| serde_json::from_value::<NormalizerWrapper>((*value).clone()))?;
            Ok((made.with_context(|| format!("normalizer, step {index}"))?, step))
        });
        let growth = Self { steps: made.collect::<Result<_>>()? };
        let contents = flat.iter().filter_map(|step| step["content"].as_str());
        let added = tokenizer["added_tokens"].as_array().into_iter().flatten();
        let added = added.filter_map(|token| token["content"].as_str());
        for probe in contents.chain(added) {
            growth.check(probe).context("normalizer")?;
        }
        Ok(growth)
    }

    /// Refuses `text` if the normaliser makes it too long.
    pub(super) fn check(&self, text: &str) -> Result<()> {
        if self.steps.is_empty() {
            return Ok(());
        }
        let most = text.len().saturating_mul(TIMES).saturating_add(SHORT);
        let mut normalized = NormalizedString::from(text);
        for (index, (step, kind)) in self.steps.iter().enumerate() {
            let now = normalized.get();
            let growth = match kind {
                Step::Replace(content, Some(pattern)) if !pattern.is_empty() => {
                    content.saturating_mul(now.matches(pattern.as_str()).count())
                }
                Step::Replace(content, _) => content.saturating_mul(now.chars().count() + 1),
                Step::Prepend(bytes) => *bytes,
                Step::Other => 0,
            };
            // An upper bound, so that what is refused has not been made.
            let mut length = now.len().saturating_add(growth);
            let far = growth > 0 && length > MOST.max(text.len().saturating_mul(2));
            if !far {
                guarded(|| step.normalize(&mut normalized))?.map_err(|error| anyhow!("step {index}: {error}"))?;
                length = normalized.get().len();
            }
            if far || length > most {
                bail!(
                    "step {index} of the normalizer makes {length} bytes of a text of {}; at most {TIMES} times as \
                     many are taken: its `Replace` or `Prepend` steps grow what others have written",
                    text.len()
                );
            }
        }
        Ok(())
    }
}

impl Step {
    fn of(step: &Value) -> Self {
        let length = |key: &str| step[key].as_str().map(str::len);
        // Old files leave the step's type out; its keys tell it then.
        match (length("content"), length("prepend")) {
            (Some(content), _) => Self::Replace(content, member(&step["pattern"], "String").as_str().map(String::from)),
            (None, Some(prepend)) => Self::Prepend(prepend),
            _ => Self::Other,
        }
    }
}

/// The steps of nested sequences, in order.
fn flatten<'a>(normalizer: &'a Value, into: &mut Vec<&'a Value>) {
    match normalizer["normalizers"].as_array() {
        Some(steps) => steps.iter().for_each(|step| flatten(step, into)),
        None if normalizer.is_null() => {}
        None => into.push(normalizer),
    }
}
