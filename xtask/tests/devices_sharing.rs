//! The crate of sharing strategies, read for what devices lack.
//!
//! What CUDA and Metal lack, as far as the sources show it: Metal casts nothing to or from f64, and its `Tensor::copy`
//! shares memory with what it copies. Both have one way round, `blocks/values.rs`, and values that are drawn in f64 are
//! made on the host, where `BuildContext` casts them before it uploads them.
//!
//! It reads statements, no types: it does not see a cast to a type that a variable holds, what other crates do, or a
//! tensor of a saved state that meets a parameter without having been moved to it.

use std::path::{Path, PathBuf};

/// The Rust files below `folder`.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => sources(&path, found),
            false if path.extension().is_some_and(|extension| extension == "rs") => found.push(path),
            false => {}
        }
    }
}

/// What is wrong with a statement on a device, if anything.
fn wrong(statement: &str) -> Option<&'static str> {
    let host = statement.contains("Device::Cpu");
    if statement.contains(".copy()") {
        return Some("`Tensor::copy` shares memory on Metal: `values::copied`");
    }
    if statement.contains("to_dtype(DType::F64)") && !host {
        return Some("a cast to f64 that may be on a device: `values::on_host`");
    }
    let made = ["from_vec(", "from_slice(", "Tensor::new("].iter().any(|call| statement.contains(call));
    if made && statement.contains("context.device()") {
        return Some("values made on a device: make them on the host, `BuildContext` uploads them");
    }
    None
}

#[test]
fn no_statement_needs_what_a_device_lacks() {
    let (root, mut files) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/sharing/src"), Vec::new());
    sources(&root, &mut files);
    assert!(files.len() > 40, "{} files", files.len());
    let mut found = Vec::new();
    for file in files.iter().filter(|file| !file.ends_with("blocks/values.rs")) {
        let text = std::fs::read_to_string(file).expect("readable");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join(" ");
        for statement in lines.split([';', '{', '}']) {
            if let Some(why) = wrong(statement) {
                found.push(format!("{}: {why}: {}", file.display(), statement.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_faults_are_recognised() {
    for statement in [
        "let x = param.tensor().detach().copy()?",
        "x.to_dtype(DType::F64)?.to_vec1()",
        "Tensor::from_vec(v, 3, &context.device())?",
    ] {
        assert!(wrong(statement).is_some(), "{statement}");
    }
    for statement in ["x.to_device(&Device::Cpu)?.to_dtype(DType::F64)?", "Tensor::from_vec(v, 3, &Device::Cpu)?"] {
        assert!(wrong(statement).is_none(), "{statement}");
    }
}
