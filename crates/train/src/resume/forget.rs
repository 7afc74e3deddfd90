//! Removing all checkpoints of a run that begins anew.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;

use mtl_backbone::checkpoint::TEMPORARY_PREFIX;

use super::LAST;
use super::folder::remove;

/// Removes what runs save in `folder`, and `folder` if nothing else is in it; nobody else may be writing there. The one
/// that a run goes on from goes first, so that a kill leaves none without what belongs to it.
///
/// # Errors
/// If the disk refuses.
pub(crate) fn forget(folder: &Path) -> io::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    let entries: Vec<_> = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
    // Of several generations the older ones first: a kill leaves the newest.
    let generations = [format!("{LAST}.previous"), LAST.to_string(), format!(".{LAST}.new")];
    for name in &generations {
        remove(&folder.join(name), &mut || Ok(()))?;
    }
    for entry in entries.iter().filter(|entry| !generations.iter().any(|name| OsStr::new(name) == *entry)) {
        let (Some(name), path) = (entry.to_str(), folder.join(entry)) else { continue };
        if !is_a_runs(name) {
            continue;
        }
        if path.is_dir() { remove(&path, &mut || Ok(()))? } else { fs::remove_file(&path)? }
    }
    if fs::read_dir(folder)?.next().is_none() { fs::remove_dir(folder) } else { Ok(()) }
}

/// Whether a run gives that name to a checkpoint, or to a file beside them.
fn is_a_runs(name: &str) -> bool {
    if name.starts_with(TEMPORARY_PREFIX) {
        return true;
    }
    let number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(task) = name.strip_prefix("each-").and_then(|rest| rest.strip_suffix(".safetensors")) {
        return number(task);
    }
    let written = name.strip_prefix('.').and_then(|rest| rest.strip_suffix(".new"));
    let older = || [".previous", ".damaged"].iter().find_map(|suffix| name.strip_suffix(suffix));
    let name = written.or_else(older).unwrap_or(name);
    let numbered = |kind: &str| name.strip_prefix(kind).is_some_and(number);
    matches!(name, "last" | "best" | "each") || numbered("step-") || numbered("each-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_go_and_what_no_run_wrote_stays() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = place.path().join("checkpoints");
        let runs = ["last", "last.previous", ".last.new", "best", ".best.new", "last.damaged", "each", "step-40"];
        let snapshots = ["each-0", ".each-1.new", "each-2.previous"];
        for name in runs.iter().chain(&snapshots).chain(&["mine", "step-x", "each-y"]) {
            fs::create_dir_all(folder.join(name)).expect("made");
            fs::write(folder.join(name).join("manifest.json"), "{}").expect("written");
        }
        for file in ["each-0.safetensors", ".writing-7-0", "notes.txt", "each-x.safetensors"] {
            fs::write(folder.join(file), "").expect("written");
        }
        forget(&folder).expect("removed");
        let mut left: Vec<String> = fs::read_dir(&folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
            .collect();
        left.sort();
        assert_eq!(left, ["each-x.safetensors", "each-y", "mine", "notes.txt", "step-x"]);
        fs::remove_dir_all(&folder).expect("removed");
        fs::create_dir_all(folder.join("best")).expect("made");
        forget(&folder).expect("removed");
        assert!(!folder.exists(), "an empty folder goes too");
        forget(&folder).expect("nothing to do");
    }
}
