//! The task kinds, sorted by name.

use anyhow::{Result, bail};

use crate::task::Kind;
use crate::{Task, TaskSpec, classification, member, multilabel, nearest, regression, tagging};

/// Every task kind.
pub const KINDS: &[Kind] = &[classification::KIND, multilabel::KIND, regression::KIND, tagging::KIND];

/// Builds the task that `spec` describes; its `labels` are filled in already.
///
/// # Errors
/// If the kind is unknown or the table does not fit it.
pub fn build(spec: &TaskSpec) -> Result<Box<dyn Task>> {
    (member("task kind", &spec.kind, KINDS, |kind| kind.name)?.build)(spec)
}

/// The index of `name` in `names`, or an error that lists them.
pub(crate) fn index_of(name: &str, names: &[String], what: &str) -> Result<u32> {
    if let Some(index) = names.iter().position(|known| known == name) {
        return Ok(index as u32);
    }
    let known: Vec<&str> = names.iter().map(String::as_str).collect();
    let shown = known.iter().take(12).copied().collect::<Vec<_>>().join(", ");
    let more = if known.len() > 12 { format!(", … ({} in all)", known.len()) } else { String::new() };
    bail!("unknown {what} `{name}`{}; known are {shown}{more}", nearest(name, known.iter().copied()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_sorted_and_an_unknown_one_names_the_nearest() {
        assert!(KINDS.windows(2).all(|pair| pair[0].name < pair[1].name));
        let spec = TaskSpec { kind: "clasification".into(), ..TaskSpec::default() };
        let error = build(&spec).err().expect("no such kind").to_string();
        assert!(error.contains("did you mean `classification`?"), "{error}");
    }
}
