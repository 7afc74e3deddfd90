//! `--device cuda` of an installed binary without the feature.

use crate::tool::refused;

#[test]
fn a_missing_device_is_answered_with_the_command_that_installs_it() {
    if cfg!(feature = "cuda") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    refused(
        folder.path(),
        &["train", "embedded", "--device", "cuda"],
        &["mtl was built without `cuda`", "cargo install --path crates/cli --features cuda", "leave --device out"],
    );
    assert!(!folder.path().join("runs").exists());
}
