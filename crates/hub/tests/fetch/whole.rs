//! What a fetch does when all is well, and what it does not do the second time.

use crate::hub::{COMMIT, Pair, assert_right, fetch, fetcher, files, git_blob, manifest, sha256};

#[test]
fn a_model_arrives_and_is_fetched_once() {
    let (pair, root) = (Pair::honest(), tempfile::tempdir().expect("a folder"));
    let folder = fetch(&pair.fetcher(root.path()), &manifest()).expect("fetched");
    assert_eq!(folder, root.path().join("models/small"));
    assert_right(&folder);
    assert!(!folder.join(".partial").exists());

    let ledger = std::fs::read_to_string(root.path().join("models/fetch.lock")).expect("a ledger");
    for (_, bytes) in files() {
        assert!(ledger.contains(&sha256(&bytes)), "{ledger}");
    }
    assert!(ledger.contains(COMMIT), "{ledger}");

    let asked = pair.hub.seen().len() + pair.cdn.seen().len();
    fetch(&pair.fetcher(root.path()), &manifest()).expect("present");
    assert_eq!(pair.hub.seen().len() + pair.cdn.seen().len(), asked, "nothing is asked for what is here");
}

#[test]
fn offline_opens_no_socket() {
    let (pair, root) = (Pair::honest(), tempfile::tempdir().expect("a folder"));
    let mut offline = pair.fetcher(root.path());
    offline.offline = true;
    let error = fetch(&offline, &manifest()).expect_err("nothing is here");
    assert!(error.contains("offline") && error.contains("config.json"), "{error}");
    assert_eq!(pair.hub.seen().len() + pair.cdn.seen().len(), 0);

    fetch(&pair.fetcher(root.path()), &manifest()).expect("fetched");
    let asked = pair.hub.seen().len();
    assert_right(&fetch(&offline, &manifest()).expect("present"));
    assert_eq!(pair.hub.seen().len(), asked);
}

#[test]
fn the_token_goes_to_its_own_origin_alone() {
    const TOKEN: &str = "hf_canary";
    let (pair, root) = (Pair::honest(), tempfile::tempdir().expect("a folder"));
    let mut fetcher = pair.fetcher(root.path());
    fetcher.hub.token = Some(TOKEN.to_owned());
    let folder = fetch(&fetcher, &manifest()).expect("fetched");
    let bearer = Some(format!("Bearer {TOKEN}"));
    assert!(pair.hub.seen().iter().all(|(request, _)| request.token == bearer));
    assert_eq!(pair.cdn.seen().len(), 1);
    assert!(pair.cdn.seen().iter().all(|(request, _)| request.token.is_none()));
    for entry in walk(folder.parent().expect("a root")) {
        let text = String::from_utf8_lossy(&std::fs::read(&entry).expect("readable")).into_owned();
        assert!(!text.contains(TOKEN), "the token is in {}", entry.display());
    }

    let refusing = Pair::start(|_, _| crate::server::Reply::status(401), |_, reply| reply);
    let root = tempfile::tempdir().expect("a folder");
    let mut fetcher = refusing.fetcher(root.path());
    let error = fetch(&fetcher, &manifest()).expect_err("401");
    assert!(error.contains("401") && error.contains("set HF_TOKEN"), "{error}");
    fetcher.hub.token = Some(TOKEN.to_owned());
    let error = fetch(&fetcher, &manifest()).expect_err("401");
    assert!(error.contains("HF_TOKEN") && !error.contains(TOKEN), "{error}");
}

#[test]
fn what_other_tools_have_fetched_is_used() {
    let (root, cache) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let repository = cache.path().join("models--owner--model");
    let snapshot = repository.join("snapshots").join(COMMIT);
    for folder in [snapshot.clone(), repository.join("blobs"), repository.join("refs")] {
        std::fs::create_dir_all(folder).expect("made");
    }
    std::fs::write(repository.join("refs/main"), COMMIT).expect("written");
    for (name, bytes) in files() {
        let tag = if name.ends_with(".json") { git_blob(&bytes) } else { sha256(&bytes) };
        std::fs::write(repository.join("blobs").join(&tag), &bytes).expect("written");
        #[cfg(unix)]
        std::os::unix::fs::symlink(format!("../../blobs/{tag}"), snapshot.join(&name)).expect("linked");
        #[cfg(not(unix))]
        std::fs::write(snapshot.join(&name), &bytes).expect("written");
    }
    let mut offline = fetcher("http://127.0.0.1:9", root.path());
    offline.offline = true;
    offline.hub.cache = Some(cache.path().to_owned());
    assert_right(&fetch(&offline, &manifest()).expect("found in the cache"));

    // A damaged blob is passed over.
    let root = tempfile::tempdir().expect("a folder");
    let blob = repository.join("blobs").join(sha256(&files()["model.safetensors"]));
    std::fs::write(blob, b"damaged").expect("written");
    let mut offline = fetcher("http://127.0.0.1:9", root.path());
    offline.offline = true;
    offline.hub.cache = Some(cache.path().to_owned());
    #[cfg(unix)]
    fetch(&offline, &manifest()).expect_err("the blob's name is its hash");
}

#[test]
fn processes_that_want_the_same_model_download_it_once() {
    // The children are this test again, told where to fetch from.
    if let Ok(told) = std::env::var("MTL_TEST_FETCH") {
        let (endpoint, root) = told.split_once(' ').expect("an endpoint and a folder");
        let mut fetcher = fetcher(endpoint, root.as_ref());
        fetcher.patience.silence = std::time::Duration::from_secs(20);
        assert_right(&fetch(&fetcher, &manifest()).expect("fetched"));
        return;
    }
    let (pair, root) = (Pair::honest(), tempfile::tempdir().expect("a folder"));
    let told = format!("{} {}", pair.hub.url(), root.path().display());
    let name = "whole::processes_that_want_the_same_model_download_it_once";
    let children: Vec<_> = (0..8)
        .map(|_| {
            let mut child = std::process::Command::new(std::env::current_exe().expect("this test"));
            child.args(["--exact", name]).env("MTL_TEST_FETCH", &told).stdout(std::process::Stdio::null());
            child.spawn().expect("started")
        })
        .collect();
    for mut child in children {
        assert!(child.wait().expect("ended").success());
    }
    assert_eq!(pair.cdn.gets(), 1, "the large file is downloaded once");
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("readable").flatten() {
        if entry.path().is_dir() { found.extend(walk(&entry.path())) } else { found.push(entry.path()) }
    }
    found
}
