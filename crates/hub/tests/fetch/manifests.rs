//! The manifests that are shipped: well-formed, and honest about what has been seen.

use std::path::{Path, PathBuf};

use mtl_data::manifest::{DatasetManifest, ModelManifest, Source};

fn shipped(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
    let entries = std::fs::read_dir(&folder).expect("the folder of the manifests").flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
    paths.sort();
    assert!(!paths.is_empty());
    paths
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Packages are pinned and hashed; a manifest that nobody has seen working states no hash and no commit.
fn check(path: &Path, sources: &[Source], verified: bool) {
    let name = path.display();
    for source in sources {
        assert!(!source.files().is_empty(), "{name}: a source without files");
        let hashes = source.files().iter().map(|file| file.sha256.as_str());
        match source {
            Source::Pip { sha256, .. } | Source::Npm { sha256, .. } => {
                assert!(is_sha256(sha256) && hashes.into_iter().all(is_sha256), "{name}: a package without hashes");
            }
            Source::Hub { .. } => {
                assert!(hashes.into_iter().all(|hash| hash.is_empty() || (verified && is_sha256(hash))), "{name}");
            }
            Source::Path { folder, files } => {
                let beside = path.parent().expect("a folder").join(folder);
                let below = folder.components().all(|part| matches!(part, std::path::Component::Normal(_)));
                assert!(below, "{name}: a path of one machine is of no use to others");
                assert!(files.iter().all(|file| beside.join(&file.path).is_file()), "{name}: its files come with it");
                assert!(hashes.into_iter().all(is_sha256), "{name}: files without hashes");
            }
        }
        let mut names: Vec<&str> = source.files().iter().map(|file| file.local_name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), source.files().len(), "{name}: two files of one name");
    }
    let packaged = sources.iter().any(|source| !matches!(source, Source::Hub { .. }));
    assert!(!verified || packaged || sources.is_empty(), "{name}: verified, though nothing in it states a hash");
}

#[test]
fn models_are_described() {
    for path in shipped("models") {
        let manifest = ModelManifest::read(&path).expect("a manifest");
        check(&path, &manifest.sources, manifest.verified);
        assert_eq!(manifest.sources.is_empty(), manifest.random.is_some(), "{}", path.display());
        for source in &manifest.sources {
            let names: Vec<&str> = source.files().iter().map(|file| file.local_name()).collect();
            assert!(names.contains(&"config.json") && names.contains(&"model.safetensors"), "{}", path.display());
        }
    }
}

#[test]
fn datasets_are_described() {
    for path in shipped("datasets") {
        let manifest = DatasetManifest::read(&path).expect("a manifest");
        let name = path.display();
        check(&path, &manifest.sources, manifest.verified);
        assert_eq!(manifest.sources.is_empty(), manifest.generator.is_some(), "{name}");
        assert!(manifest.licence.len() > 2 && manifest.about.len() > 10, "{name}");
        let splits = &manifest.splits;
        for file in splits.train.iter().chain(&splits.dev).chain(&splits.test).chain(&splits.all) {
            for source in &manifest.sources {
                let found = source.files().iter().any(|wanted| wanted.local_name() == file);
                assert!(found, "{name}: no source has {file}");
            }
        }
        let split = !splits.all.is_empty() || !splits.train.is_empty();
        assert!(split || manifest.generator.is_some(), "{name}: nothing to train on");
    }
}
