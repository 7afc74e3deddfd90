//! This crate stays light: no tensor library comes with it, and no system font is asked for.

use std::process::Command;

#[test]
fn no_tensor_is_depended_upon() {
    let tree = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
        .args(["tree", "--offline", "--package", "mtl-report", "--edges", "normal", "--prefix", "none"])
        // Features as they are without whoever else is built.
        .env_remove("CARGO_RESOLVER_FEATURE_UNIFICATION")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let tree = String::from_utf8_lossy(&tree.stdout).into_owned() + &String::from_utf8_lossy(&tree.stderr);
    assert!(tree.contains("mtl-eval"), "{tree}");
    assert!(!tree.contains("candle") && !tree.contains("font-kit") && !tree.contains("ab_glyph"), "{tree}");
}
