//! Every command of docs/tutorial.md, as it stands there.

use std::process::Command;

use crate::init::folder;

const TUTORIAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/tutorial.md");

/// The fenced blocks of the tutorial: the word behind the fence, and the text.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut open = false;
    for line in text.lines() {
        match line.strip_prefix("```") {
            Some(kind) if !open => {
                found.push((kind.into(), String::new()));
                open = true;
            }
            Some(_) => open = false,
            None if open => {
                if let Some((_, text)) = found.last_mut() {
                    text.push_str(line);
                    text.push('\n');
                }
            }
            None => {}
        }
    }
    found
}

/// The default encoder stands for a tiny one here, so that no network is needed: what it answers is not compared.
#[test]
fn the_first_hour_is_as_it_is_written() {
    let folder = folder();
    let here = folder.path();
    let text = std::fs::read_to_string(TUTORIAL).expect("the tutorial");
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_mtl")).parent().expect("a folder");
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap_or_default());
    let (mut commands, mut said) = (0, String::new());
    for (kind, block) in blocks(&text) {
        if kind == "text" {
            for line in block.lines().filter(|line| !line.starts_with("hardware\t")) {
                assert!(said.lines().any(|found| found == line), "`{line}` is missing in\n{said}");
            }
            continue;
        }
        assert_eq!(kind, "sh");
        // The tiny encoder reads sixteen tokens, and few steps say as much as many.
        let command = match block.trim() {
            train if train.starts_with("mtl train") => {
                format!("{train} --set train.max_tokens=16 --set train.steps=4 --set train.batch=2")
            }
            check if check.starts_with("mtl data check") => format!("{check} --set train.max_tokens=16"),
            other => other.to_string(),
        };
        let ended = Command::new("sh")
            .args(["-c", &command])
            .current_dir(here)
            .env("PATH", &path)
            .env("HF_HUB_OFFLINE", "1")
            .env("MTL_CACHE", here.join("cache"))
            .output()
            .expect("started");
        said = String::from_utf8(ended.stdout).expect("UTF-8");
        assert!(ended.status.success(), "{command}: {}", String::from_utf8_lossy(&ended.stderr));
        commands += 1;
    }
    assert!(commands >= 7, "{commands} commands");
    assert!(here.join("runs/recipe/report.md").exists() && here.join("runs/longer/report.md").exists());
}
