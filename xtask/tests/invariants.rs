//! The invariants of `crates/README.md` that no compiler checks: who depends on whom, who prints, who touches files and
//! the network, where `unsafe` stands, and that no file lies about unregistered.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Most lines of a source file.
const LONGEST: usize = 400;

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.canonicalize().expect("the workspace")
}

/// The Rust files below `folder`, by their path from the root, with their text.
fn sources(folder: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![root().join(folder)];
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let name = path.strip_prefix(root()).expect("below the root").to_string_lossy().replace('\\', "/");
                found.insert(name, std::fs::read_to_string(&path).expect("read"));
            }
        }
    }
    found
}

fn crates() -> Vec<String> {
    let entries = std::fs::read_dir(root().join("crates")).expect("the crates").flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| entry.path().join("Cargo.toml").exists())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    for name in ["backbone", "cli", "compare", "data", "eval", "hub", "nash", "sharing", "task", "train", "weighting"] {
        assert!(names.iter().any(|found| found == name), "{name} is not among {names:?}");
    }
    names
}

/// The sources of every crate and of `xtask`.
fn written() -> BTreeMap<String, String> {
    let crates = crates().into_iter().map(|name| format!("crates/{name}/src"));
    crates.chain(["xtask/src".to_string()]).flat_map(|folder| sources(&folder)).collect()
}

/// Those of them that are no tests: a `tests.rs` is its module's tests, in a file of their own, and so is `tests/`.
fn shipped() -> BTreeMap<String, String> {
    written().into_iter().filter(|(file, _)| !file.ends_with("/tests.rs") && !file.contains("/tests/")).collect()
}

/// Lines of code, without comments, and without the tests at the end of a file; with their numbers.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = text.find("\n#[cfg(test)]\nmod ").unwrap_or(text.len());
    let lines = text[..end].lines().enumerate();
    lines.map(|(at, line)| (at + 1, line.find("//").map_or(line, |at| &line[..at])))
}

/// Whether `word` stands in `line` as a word of its own.
fn has_word(line: &str, word: &str) -> bool {
    let letter = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(letter) && !line[at + word.len()..].starts_with(letter))
}

fn manifest(package: &str) -> toml::Table {
    let path = root().join(package).join("Cargo.toml");
    std::fs::read_to_string(path).expect("a manifest").parse().expect("TOML")
}

/// What a package needs to be built with no feature asked for: not what is optional, nor what only its tests need.
fn needed(package: &str) -> BTreeSet<String> {
    let manifest = manifest(package);
    let target = |(name, value): (&String, &toml::Value)| {
        let optional = value.get("optional").and_then(toml::Value::as_bool).unwrap_or(false);
        (!optional).then(|| name.clone())
    };
    manifest.get("dependencies").and_then(toml::Value::as_table).into_iter().flatten().filter_map(target).collect()
}

/// What `package` needs, and what those of this workspace need in turn.
fn closure(package: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![package.to_string()];
    while let Some(package) = waiting.pop() {
        for name in needed(&package) {
            if found.insert(name.clone())
                && let Some(folder) = name.strip_prefix("mtl-")
            {
                waiting.push(format!("crates/{folder}"));
            }
        }
    }
    found
}

#[test]
fn arrows_point_one_way() {
    assert!(needed("crates/nash").is_empty(), "{:?}", needed("crates/nash"));
    let tensors = ["candle", "tokenizers", "safetensors", "gemm", "half", "parquet"];
    for light in ["crates/eval", "crates/weighting"] {
        let all = closure(light);
        let heavy: Vec<&String> = all.iter().filter(|name| tensors.iter().any(|t| name.starts_with(t))).collect();
        assert!(heavy.is_empty(), "{light} needs {heavy:?}");
        // The vocabulary is light only without its tensor half.
        let asked = &manifest(light)["dependencies"]["mtl-task"];
        assert!(asked.get("features").is_none() && asked.get("default-features").is_none(), "{light}: {asked}");
    }
    let workspace: toml::Table =
        std::fs::read_to_string(root().join("Cargo.toml")).expect("read").parse().expect("TOML");
    let task = &workspace["workspace"]["dependencies"]["mtl-task"];
    assert_eq!(task["default-features"].as_bool(), Some(false));
    assert!(!closure("crates/sharing").contains("mtl-weighting"), "structure does not know rules");
    assert!(!closure("crates/weighting").contains("mtl-sharing"), "rules do not know structure");
    for name in crates() {
        let all = closure(&format!("crates/{name}"));
        assert!(!all.contains("xtask") && !all.contains(&format!("mtl-{name}")), "{name} needs {all:?}");
        let bargains = ["sharing", "weighting", "train", "compare", "export", "cli", "fuzz"].contains(&name.as_str());
        assert_eq!(all.contains("mtl-nash"), bargains, "{name}");
    }
}

#[test]
fn the_network_belongs_to_hub() {
    let clients = ["ureq", "hf-hub", "reqwest", "hyper", "tokio"];
    for name in crates().into_iter().filter(|name| name != "hub") {
        let asked = needed(&format!("crates/{name}"));
        assert!(clients.iter().all(|client| !asked.contains(*client)), "{name} needs {asked:?}");
        // Whoever needs `hub` can be made to fetch: the command line alone, and what feeds it with damaged files.
        let fetches = closure(&format!("crates/{name}")).contains("mtl-hub");
        assert_eq!(fetches, ["cli", "fuzz"].contains(&name.as_str()), "{name}");
    }
    for (file, text) in shipped().iter().filter(|(file, _)| !file.starts_with("crates/hub/src/")) {
        for (line, code) in code(text) {
            for word in ["ureq", "hf_hub", "TcpStream", "UdpSocket"] {
                assert!(!has_word(code, word), "{file}:{line}: `{word}` outside of hub");
            }
            assert!(!code.contains("std::net"), "{file}:{line}: `std::net` outside of hub");
        }
    }
}

#[test]
fn few_crates_touch_files() {
    let may = ["data", "train", "export", "hub", "compare", "cli", "fuzz"].map(|name| format!("crates/{name}/src/"));
    let checkpoint = "crates/backbone/src/checkpoint";
    for (file, text) in shipped().iter().filter(|(file, _)| file.starts_with("crates/")) {
        if file.starts_with(checkpoint) || may.iter().any(|folder| file.starts_with(folder)) {
            continue;
        }
        for (line, code) in code(text) {
            for word in ["std::fs", "File::open", "File::create", "OpenOptions"] {
                assert!(!code.contains(word), "{file}:{line}: {code}");
            }
        }
    }
}

#[test]
fn nothing_is_looked_for_where_it_was_built() {
    for (file, text) in shipped() {
        for (line, code) in code(&text) {
            // `$CARGO_MANIFEST_DIR` names the folder of what is taken into the binary when it is built.
            let taken_in = code.contains("include_dir!(");
            assert!(taken_in || !code.contains("CARGO_MANIFEST_DIR"), "{file}:{line}: {code}");
        }
    }
}

#[test]
fn unsafe_stands_in_the_kernel_and_the_allocator_alone() {
    let stands = |file: &str| file.starts_with("crates/backbone/src/kernel/") || file == "crates/cli/src/allocator.rs";
    for (file, text) in shipped().iter().filter(|(file, _)| !stands(file)) {
        for (line, code) in code(text) {
            // The lint that denies it is called `unsafe_code`; the kernel's door may allow it.
            assert!(!has_word(code, "unsafe"), "{file}:{line}: {code}");
            let allowed = has_word(code, "unsafe_code") && file != "crates/backbone/src/lib.rs";
            assert!(!allowed, "{file}:{line}: {code}");
        }
    }
}

/// One file of the command line writes to the standard streams, so that what a closed stream does is decided once.
#[test]
fn libraries_do_not_print() {
    for (file, text) in shipped().iter().filter(|(file, _)| file.starts_with("crates/")) {
        for (line, code) in code(text).filter(|_| file != "crates/cli/src/output.rs") {
            for word in ["println!", "print!", "eprintln!", "eprint!", "dbg!", "stdout()", "stderr()"] {
                // To ask what a stream is, is not to write to it.
                let asked = code.contains("stderr().is_terminal()");
                assert!(asked || !code.contains(word), "{file}:{line}: {code}");
            }
        }
    }
}

#[test]
fn no_file_is_long() {
    let all =
        written().into_iter().chain(crates().into_iter().flat_map(|name| sources(&format!("crates/{name}/tests"))));
    for (file, text) in all.chain(sources("xtask/tests")) {
        let lines = text.lines().count();
        assert!(lines <= LONGEST, "{file} has {lines} lines");
    }
}

/// What a member needs it declares; the recipe alone knows names, for its defaults.
#[test]
fn the_trainer_asks_nobody_for_a_name() {
    let registry = mtl_task::Registry::<mtl_weighting::Rule>::default();
    let kinds = mtl_task::Registry::<mtl_task::Kind>::default();
    let rules = registry.iter().flat_map(|rule| rule.aliases.iter().copied().chain([rule.name]));
    let names: Vec<&str> =
        rules.chain(mtl_sharing::STRATEGIES.iter().map(|entry| entry.name)).chain(kinds.names()).collect();
    assert!(names.contains(&"nash") && names.contains(&"hard") && names.contains(&"tagging"));
    for (file, text) in shipped().into_iter().filter(|(file, _)| file.starts_with("crates/train/src/")) {
        // Schedules and optimizers are members of tables of their own, and a rule may be called like one.
        if ["recipe", "schedule", "optim"].iter().any(|part| file.starts_with(&format!("crates/train/src/{part}"))) {
            continue;
        }
        for (line, code) in code(&text) {
            for name in &names {
                assert!(!code.contains(&format!("\"{name}\"")), "{file}:{line}: the name of a member: {code}");
            }
        }
    }
}

#[test]
fn randomness_has_one_source() {
    for (file, text) in shipped().iter().filter(|(file, _)| *file != "crates/task/src/rng.rs") {
        for (line, code) in code(text) {
            for word in
                ["rand", "rand_chacha", "thread_rng", "set_seed", "rand_like", "randn", "randn_like", "RandomState"]
            {
                assert!(!has_word(code, word), "{file}:{line}: {code}");
            }
        }
    }
}

/// A file that no `mod` names is not compiled, and nobody notices.
#[test]
fn every_file_is_a_module() {
    let all = written();
    for file in all.keys() {
        let path = Path::new(file);
        let (folder, stem) = (path.parent().expect("a folder"), path.file_stem().expect("a name").to_string_lossy());
        if ["lib", "main"].contains(&&*stem) && folder.ends_with("src") {
            continue;
        }
        let (folder, stem) = match &*stem {
            "mod" => (folder.parent().expect("a folder"), folder.file_name().expect("a name").to_string_lossy()),
            _ => (folder, stem),
        };
        let parents = ["mod.rs", "lib.rs", "main.rs"].map(|name| folder.join(name));
        let named = parents.into_iter().chain([folder.with_extension("rs")]).any(|parent| {
            let parent = parent.to_string_lossy().replace('\\', "/");
            all.get(&parent).is_some_and(|text| {
                // A macro may write the `mod` of a line of its list.
                let listed = text.contains("pub mod $module;") && text.contains(&format!("\n    {stem},"));
                listed || text.contains(&format!("mod {stem};"))
            })
        });
        assert!(named, "{file}: no `mod {stem};` names it");
    }
}

/// A member is known by what it defines; the table has to name its file.
#[test]
fn every_member_is_in_its_registry() {
    let tables = [
        ("crates/weighting/src/rules", "crates/weighting/src/rules/mod.rs", ": Rule = Rule {"),
        ("crates/sharing/src/strategies", "crates/sharing/src/strategies/mod.rs", "pub const STRATEGY: Strategy"),
        ("crates/task/src/kinds", "crates/task/src/kinds/mod.rs", ": Kind = Kind {"),
        ("crates/data/src/reader", "crates/data/src/reader/mod.rs", ": Reader ="),
        ("crates/data/src/generator", "crates/data/src/generator/mod.rs", ": GeneratorKind = GeneratorKind {"),
        ("crates/data/src/samplers", "crates/data/src/samplers/mod.rs", ": SamplerKind = SamplerKind {"),
        ("crates/train/src/optim", "crates/train/src/optim/registry.rs", ": OptimizerKind = OptimizerKind {"),
        ("crates/backbone/src", "crates/backbone/src/registry.rs", "const ARCHITECTURE: Architecture"),
        ("crates/eval/src", "crates/eval/src/registry.rs", "impl Metric for "),
        ("crates/cli/src/commands", "crates/cli/src/commands/mod.rs", "#[derive(Debug, Args)]\npub struct "),
        ("xtask/src/commands", "xtask/src/commands/mod.rs", "#[derive(Debug, Args)]\npub(crate) struct "),
    ];
    for (folder, table, mark) in tables {
        let files = sources(folder);
        let registry = std::fs::read_to_string(root().join(table)).expect("the table");
        let mut members = 0;
        for (file, text) in &files {
            let stem = Path::new(file).file_stem().expect("a name").to_string_lossy();
            let name = if stem == "mod" { Path::new(file).parent().and_then(Path::file_name) } else { None };
            let name = name.map_or(stem, |name| name.to_string_lossy());
            // Deeper files are parts of a member.
            let inner = file[folder.len() + 1..].trim_end_matches("/mod.rs").contains('/');
            if inner || *file == table || !text.contains(mark) {
                continue;
            }
            members += 1;
            let entered = [format!("{name}::"), format!("\n    {name},")].iter().any(|line| registry.contains(line));
            assert!(entered, "{file} is not entered in {table}");
        }
        assert!(members > 0, "no member in {folder} is known by `{mark}`");
    }
}
