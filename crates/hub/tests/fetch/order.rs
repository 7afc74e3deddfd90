//! Sources are tried in order, and folders and packages are sources too (packages: see `packages`).

use std::path::Path;

use mtl_data::manifest::{Source, WantedFile};

use crate::hub::{Pair, assert_right, fetch, fetcher, files, hub_source, manifest, sha256, visible};
use crate::server::Reply;

/// A folder with the files of a model.
fn copy() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, bytes) in files() {
        std::fs::write(folder.path().join(name), bytes).expect("written");
    }
    folder
}

fn path_source(folder: &Path) -> Source {
    let files = files().into_keys().map(|path| WantedFile { path, ..WantedFile::default() }).collect();
    Source::Path { folder: folder.to_owned(), files }
}

#[test]
fn the_next_source_is_tried_and_all_attempts_are_listed() {
    let (pair, root) =
        (Pair::start(|_, _| Reply::status(404), |_, reply| reply), tempfile::tempdir().expect("a folder"));
    let copy = copy();
    let mut manifest = manifest();
    manifest.sources.push(path_source(copy.path()));
    let folder = fetch(&pair.fetcher(root.path()), &manifest).expect("the folder is here");
    assert_eq!(folder, copy.path(), "a folder of this machine is read in place");
    assert_right(&folder);

    manifest.sources[1] = path_source(Path::new("nowhere"));
    let pip = "kind = \"pip\"\npackage = \"--index-url\"\nversion = \"1\"\nfiles = []\n";
    manifest.sources.push(toml::from_str(pip).expect("a source"));
    let error = fetch(&pair.fetcher(root.path()), &manifest).expect_err("nothing works");
    for part in [
        "`small`",
        "models/small.toml",
        "hub owner/model: ",
        "404",
        "path nowhere: ",
        "no folder",
        "not a valid package name",
    ] {
        assert!(error.contains(part), "no `{part}` in: {error}");
    }
}

#[test]
fn a_source_that_breaks_off_leaves_nothing_of_itself() {
    // The first file arrives, the second does not: neither is installed.
    let broken = Pair::start(|_, reply| reply, |_, _| Reply::status(403));
    let root = tempfile::tempdir().expect("a folder");
    let error = fetch(&broken.fetcher(root.path()), &manifest()).expect_err("half is not enough");
    assert!(error.contains("403"), "{error}");
    assert!(visible(&root.path().join("models/small")).is_empty());
}

#[test]
fn files_that_a_source_does_without_may_be_missing() {
    let (pair, root) = (Pair::honest(), tempfile::tempdir().expect("a folder"));
    let mut manifest = manifest();
    let mut paths = vec!["config.json", "model.safetensors"];
    paths.push("vocab.txt");
    manifest.sources = vec![hub_source(&paths)];
    let error = fetch(&pair.fetcher(root.path()), &manifest).expect_err("there is no vocab.txt");
    assert!(error.contains("vocab.txt"), "{error}");
    if let Source::Hub { files, .. } = &mut manifest.sources[0] {
        files[2].optional = true;
    }
    assert_right(&fetch(&pair.fetcher(root.path()), &manifest).expect("it is optional now"));
    let asked = pair.hub.seen().len();
    fetch(&pair.fetcher(root.path()), &manifest).expect("present");
    assert_eq!(pair.hub.seen().len(), asked);
}

#[test]
fn folders_are_read_in_place_and_checked() {
    let (root, copy) = (tempfile::tempdir().expect("a folder"), copy());
    let mut manifest = manifest();
    manifest.sources = vec![path_source(copy.path())];
    let mut offline = fetcher("http://127.0.0.1:9", root.path());
    offline.offline = true;
    let with = |change: &dyn Fn(&mut WantedFile)| {
        let mut manifest = manifest.clone();
        if let Source::Path { files, .. } = &mut manifest.sources[0] {
            change(&mut files[0]);
        }
        fetch(&offline, &manifest)
    };
    let right = sha256(&files()["config.json"]);
    with(&|file| file.sha256 = right.clone()).expect("the hash is right");
    assert!(with(&|file| file.sha256 = right.replace('a', "b")).expect_err("another hash").contains("config.json"));
    assert!(with(&|file| file.path = "../config.json".to_owned()).expect_err("outside").contains("plain relative"));
    assert!(with(&|file| file.name = Some("renamed".to_owned())).expect_err("renamed").contains("in place"));
    std::fs::write(copy.path().join("config.json"), "version https://git-lfs.github.com/spec/v1\n").expect("written");
    assert!(with(&|_| ()).expect_err("a pointer").contains("git-LFS"));
    manifest.sources.clear();
    assert_eq!(fetch(&offline, &manifest).expect("beside its manifest"), Path::new("models"));
}

#[test]
fn names_that_leave_the_cache_are_refused() {
    let (pair, root) = (Pair::honest(), tempfile::tempdir().expect("a folder"));
    let fetcher = pair.fetcher(root.path());
    for name in ["", "..", "a/b", "/etc", ".hidden", "a\\b"] {
        assert!(fetcher.model(name, &manifest(), Path::new("x.toml")).is_err(), "{name:?}");
    }
    for (from, to) in [("../x", None), ("a/../../x", None), ("config.json", Some("../x")), ("config.json", Some("a/b"))]
    {
        let mut manifest = manifest();
        if let Source::Hub { files, .. } = &mut manifest.sources[0] {
            files[0] = WantedFile { path: from.to_owned(), name: to.map(str::to_owned), ..WantedFile::default() };
        }
        assert!(fetch(&fetcher, &manifest).is_err(), "{from} as {to:?}");
    }
    assert_eq!(pair.hub.seen().len(), 0);
}
