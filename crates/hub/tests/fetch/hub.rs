//! A server that speaks the Hub's protocol: large files lie on another origin, small ones behind a relative redirect.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use mtl_data::manifest::{ModelManifest, Source, WantedFile};
use mtl_hub::{Cache, Fetcher, Hub, Patience};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::server::{Reply, Request, Server};

pub(crate) const COMMIT: &str = "1234567890abcdef1234567890abcdef12345678";
pub(crate) const REPO: &str = "owner/model";

/// The files of a small model. The weights are what the Hub would call large.
pub(crate) fn files() -> BTreeMap<String, Vec<u8>> {
    let weights = (0..200_000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    BTreeMap::from([
        ("config.json".to_owned(), b"{\"model_type\": \"bert\"}\n".to_vec()),
        ("model.safetensors".to_owned(), weights),
    ])
}

/// The Hub, and the origin that its large files lie on.
pub(crate) struct Pair {
    pub(crate) hub: Server,
    pub(crate) cdn: Server,
}

impl Pair {
    pub(crate) fn honest() -> Self {
        Self::start(|_, reply| reply, |_, reply| reply)
    }

    /// A pair whose answers may be changed on their way out.
    pub(crate) fn start(
        at_hub: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static,
        at_cdn: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let cdn = Server::start(move |request| {
            let file = files().into_values().find(|bytes| request.path == format!("/blob/{}", sha256(bytes)));
            at_cdn(request, file.map_or(Reply::status(404), |bytes| Reply::of(&bytes)))
        });
        let elsewhere = cdn.url();
        let hub = Server::start(move |request| at_hub(request, answer(request, &elsewhere)));
        Self { hub, cdn }
    }

    /// A fetcher for this pair that is in a hurry.
    pub(crate) fn fetcher(&self, root: &Path) -> Fetcher {
        fetcher(&self.hub.url(), root)
    }
}

pub(crate) fn fetcher(endpoint: &str, root: &Path) -> Fetcher {
    let mut fetcher = Fetcher::new(Cache::under(root), Hub::at(endpoint), false);
    fetcher.patience = Patience {
        attempts: 3,
        pause: Duration::from_millis(1),
        longest_pause: Duration::from_secs(2),
        connect: Duration::from_secs(2),
        silence: Duration::from_millis(300),
        crawl: Duration::from_secs(1),
        largest: 1 << 20,
    };
    fetcher
}

fn answer(request: &Request, elsewhere: &str) -> Reply {
    let stable = format!("/api/resolve-cache/models/{REPO}/{COMMIT}/");
    if let Some(bytes) = request.path.strip_prefix(&stable).and_then(|name| files().remove(name)) {
        return Reply::of(&bytes).with("ETag", format!("\"{}\"", git_blob(&bytes))).with("X-Repo-Commit", COMMIT);
    }
    let name = ["main", COMMIT]
        .iter()
        .find_map(|revision| request.path.strip_prefix(&format!("/{REPO}/resolve/{revision}/")).map(str::to_owned));
    let Some((name, bytes)) = name.and_then(|name| Some((name.clone(), files().remove(&name)?))) else {
        return Reply::status(404).with("X-Error-Message", "Entry not found");
    };
    let reply = Reply::status(307).with("X-Repo-Commit", COMMIT);
    if name.ends_with(".safetensors") {
        return reply
            .with("Location", format!("{elsewhere}/blob/{}", sha256(&bytes)))
            .with("X-Linked-Etag", format!("\"{}\"", sha256(&bytes)))
            .with("X-Linked-Size", bytes.len());
    }
    reply.with("Location", format!("{stable}{name}"))
}

/// A manifest with one Hub source for the files of [`files`], and nothing known of them.
pub(crate) fn manifest() -> ModelManifest {
    let mut manifest: ModelManifest =
        toml::from_str("about = \"a test\"\nlicence = \"none\"\narchitecture = \"bert\"\n").expect("a manifest");
    manifest.sources = vec![hub_source(&["config.json", "model.safetensors"])];
    manifest
}

pub(crate) fn hub_source(paths: &[&str]) -> Source {
    let files = paths.iter().map(|path| WantedFile { path: (*path).to_owned(), ..WantedFile::default() }).collect();
    Source::Hub { repo: REPO.to_owned(), dataset: false, revision: String::new(), files }
}

/// Fetches the model of `manifest`.
pub(crate) fn fetch(fetcher: &Fetcher, manifest: &ModelManifest) -> Result<std::path::PathBuf, String> {
    fetcher.model("small", manifest, Path::new("models/small.toml")).map_err(|error| format!("{error:#}"))
}

/// Checks that `folder` holds exactly the right files.
pub(crate) fn assert_right(folder: &Path) {
    for (name, bytes) in files() {
        assert!(std::fs::read(folder.join(&name)).expect(&name) == bytes, "{name} is not what it was");
    }
    assert_eq!(visible(folder), files().into_keys().collect::<Vec<_>>());
}

/// Names of the files of `folder` that are not hidden, sorted; none if there is no such folder.
pub(crate) fn visible(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    names
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(crate) fn git_blob(bytes: &[u8]) -> String {
    hex(&Sha1::new().chain_update(format!("blob {}\0", bytes.len())).chain_update(bytes).finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
