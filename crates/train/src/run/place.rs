//! A run folder is a run's own: what somebody else put there is never overwritten.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};

use super::stored::RECIPE;
use crate::recipe::Recipe;
use crate::registries::Registries;
use crate::trained_on::TASKS;

/// What a run writes into its folder.
const WRITTEN: &[&str] = &[
    RECIPE,
    TASKS,
    "data.json",
    "fingerprints.json",
    "encoder",
    "metrics.jsonl",
    "checkpoints",
    "report.json",
    "report.md",
];

/// Refuses a folder that holds something of the name of what a run writes, and no run. What a recipe there names is
/// looked up in `registries`.
///
/// # Errors
/// Names the file, and what to do.
pub(super) fn refuse_others(out: &Path, registries: &Arc<Registries>) -> Result<()> {
    let is_there = |name: &&&str| out.join(name).symlink_metadata().is_ok();
    // A run takes the lock before it writes anything, then writes its recipe first.
    let is_a_runs = match out.join(RECIPE).exists() {
        true => out.join(TASKS).exists() || out.join(".lock").exists() && is_resolved(out, registries),
        false => out.join(".lock").exists(),
    };
    if is_a_runs {
        return Ok(());
    }
    let Some(name) = WRITTEN.iter().find(is_there) else { return Ok(()) };
    bail!(
        "{}: holds `{name}`, which is not of a run, and a run writes one of its own there; choose another --out, such as {}",
        out.display(),
        out.join("run").display()
    )
}

/// Whether the recipe in `out` has every default written out, as a run does it and hardly anybody else.
fn is_resolved(out: &Path, registries: &Arc<Registries>) -> bool {
    let Ok(text) = std::fs::read_to_string(out.join(RECIPE)) else { return false };
    let recipe = Recipe::parse_resolved(registries, RECIPE, &text);
    recipe.and_then(|recipe| recipe.to_toml()).is_ok_and(|resolved| resolved == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse_others(out: &Path) -> Result<()> {
        super::refuse_others(out, &Arc::default())
    }

    #[test]
    fn what_is_not_of_a_run_is_not_written_over() {
        let place = tempfile::tempdir().expect("a folder");
        let out = place.path();
        refuse_others(&out.join("none")).expect("nothing there");
        std::fs::write(out.join("log.txt"), "").expect("written");
        refuse_others(out).expect("nothing that a run writes");
        for name in WRITTEN {
            std::fs::write(out.join(name), "mine").expect("written");
            let error = refuse_others(out).expect_err("somebody's own").to_string();
            assert!(error.contains(&format!("`{name}`")) && error.contains("--out"), "{error}");
            std::fs::remove_file(out.join(name)).expect("removed");
        }
        // A run that was begun, wherever it was killed.
        let own = "tasks = [\"a\"]\ncheckpoint = \"b\"\n";
        let recipe = Recipe::parse(&Arc::default(), "own", own, &[]).expect("a recipe").0.to_toml().expect("TOML");
        for (name, text) in [(".lock", "7"), (RECIPE, &recipe), (TASKS, ""), ("encoder", ""), ("metrics.jsonl", "")] {
            std::fs::write(out.join(name), text).expect("written");
            refuse_others(out).expect(name);
        }
        // A lock that a refused run left does not make a recipe a run's.
        std::fs::remove_file(out.join(TASKS)).expect("removed");
        std::fs::write(out.join(RECIPE), own).expect("written");
        assert!(refuse_others(out).is_err());
    }
}
