//! Publishing: the files of a folder as one commit of a repository of the Hub.
//!
//! The Hub is told the files' sizes and first bytes (`preupload`), and says which of them are large. These go to its
//! storage by the protocol of git-LFS (`objects/batch`, transfer `basic`), by their SHA-256, unless it has them already.
//! One request then names all files, the small ones with their bytes (`commit`), so that a repository never holds half
//! of a folder.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::transfer::{Client, Patience};
use crate::{Hub, Watch, check};

const LFS: &str = "application/vnd.git-lfs+json";
/// Objects that the Hub takes in one batch.
const BATCH: usize = 256;
/// First bytes of a file that the Hub judges its kind by.
const SAMPLE: u64 = 512;
/// The largest file whose bytes are sent within the commit.
const LARGEST_INSIDE: u64 = 64 << 20;
/// What the Hub says where a repository is there already: a conflict, or that this token may make none; whether it may
/// write is then for the next request to tell.
const MAYBE_THERE: [u16; 4] = [401, 402, 403, 409];

/// What to publish.
#[derive(Clone, Copy, Debug)]
pub struct Push<'a> {
    /// The folder whose files are sent; hidden ones stay.
    pub folder: &'a Path,
    /// `organisation/name`, or `user/name`.
    pub repository: &'a str,
    /// Whether a repository that is made is one for everybody to read. One that is there stays as it is.
    pub public: bool,
    /// What the commit is called.
    pub message: &'a str,
}

/// What was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// Where it can be seen.
    pub url: String,
    /// The commit.
    pub commit: String,
    /// Files in it.
    pub files: usize,
    /// Files whose bytes the Hub's storage had not had.
    pub sent: usize,
}

/// A file of the folder.
struct Local {
    /// Its name in the repository.
    name: String,
    path: PathBuf,
    size: u64,
}

#[derive(Deserialize)]
struct Preupload {
    files: Vec<Judged>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Judged {
    path: String,
    upload_mode: String,
    #[serde(default)]
    should_ignore: bool,
}

#[derive(Deserialize)]
struct Batch {
    objects: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    oid: String,
    #[serde(default)]
    actions: BTreeMap<String, Action>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Action {
    href: String,
    #[serde(default)]
    header: BTreeMap<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Committed {
    #[serde(default)]
    commit_url: String,
    commit_oid: String,
}

impl Hub {
    /// Publishes what `push` says, and tells `watch` of every large file.
    ///
    /// # Errors
    /// If there is no token, the name is not one of a repository, a file cannot be read, or the Hub refuses: nothing is
    /// committed then.
    pub fn push(&self, push: &Push, patience: Patience, watch: &dyn Watch) -> Result<Pushed> {
        let Push { folder, repository, .. } = *push;
        let (owner, name) = named(repository)?;
        ensure!(
            self.token.is_some(),
            "publishing needs a token of the Hub that may write: set HF_TOKEN, or log in with the Hub's own client"
        );
        let files = files_of(folder)?;
        let client = Client::new(&self.endpoint, self.token.clone(), patience).context("HF_ENDPOINT")?;
        ensure!(client.home.keeps_secrets(), "{}: a token is shown over https alone: check HF_ENDPOINT", self.endpoint);
        let post = |path: &str, kind: &str, body: &[u8], also: &[u16]| {
            let answer = client.post(&format!("{}/{path}", self.endpoint), kind, body, also);
            answer.map_err(crate::transfer::Failure::into_error).with_context(|| format!("`{repository}`, {path}"))
        };
        let visibility = if push.public { "public" } else { "private" };
        let made = json!({ "name": name, "organization": owner, "visibility": visibility });
        post("api/repos/create", "application/json", made.to_string().as_bytes(), &MAYBE_THERE)?;
        let modes = judged(&files, |body| {
            post(&format!("api/models/{repository}/preupload/main"), "application/json", body, &[])
        })?;
        let mut lines = vec![json!({ "key": "header", "value": { "summary": push.message, "description": "" } })];
        let mut large: Vec<(&Local, String)> = Vec::new();
        for file in &files {
            let mode = modes.get(&file.name).map(|judged| (judged.should_ignore, judged.upload_mode.as_str()));
            match mode {
                // No storage takes an empty file.
                Some((false, _)) if file.size == 0 => lines.push(inside(file)?),
                Some((true, _)) => watch.note(&format!("{}: the repository ignores it", file.name)),
                Some((false, "lfs")) => large.push((file, check::sha256(&file.path)?)),
                Some((false, "regular")) => lines.push(inside(file)?),
                Some((_, other)) => {
                    bail!("`{}`: the Hub wants it sent as `{other}`, which is not known here", file.name)
                }
                None => bail!("`{}`: the Hub does not say how to send it", file.name),
            }
        }
        let mut sent = 0;
        for batch in large.chunks(BATCH) {
            sent += self.store(&client, repository, batch, watch)?;
        }
        let lfs = |(file, oid): &(&Local, String)| json!({ "key": "lfsFile", "value": { "path": file.name, "algo": "sha256", "oid": oid, "size": file.size } });
        lines.extend(large.iter().map(lfs));
        let count = lines.len() - 1;
        ensure!(count > 0, "{}: the repository ignores every file", folder.display());
        let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let (_, answer) =
            post(&format!("api/models/{repository}/commit/main"), "application/x-ndjson", body.as_bytes(), &[])?;
        let committed: Committed = parsed(&answer, "commit")?;
        let url = format!("{}/{repository}", self.endpoint);
        let url = if committed.commit_url.is_empty() { url } else { committed.commit_url };
        Ok(Pushed { url, commit: committed.commit_oid, files: count, sent })
    }

    /// Sends the files of `batch` to the storage, as far as it has not got them; returns how many.
    fn store(&self, client: &Client, repository: &str, batch: &[(&Local, String)], watch: &dyn Watch) -> Result<usize> {
        let objects: Vec<_> = batch.iter().map(|(file, oid)| json!({ "oid": oid, "size": file.size })).collect();
        let body = json!({
            "operation": "upload", "transfers": ["basic"], "objects": objects, "hash_algo": "sha256",
            "ref": { "name": "main" },
        });
        let url = format!("{}/{repository}.git/info/lfs/objects/batch", self.endpoint);
        let answer = client.post(&url, LFS, body.to_string().as_bytes(), &[]);
        let (_, answer) = answer.map_err(crate::transfer::Failure::into_error).context("the Hub's storage")?;
        let answer: Batch = parsed(&answer, "objects/batch")?;
        let mut sent = 0;
        for (file, oid) in batch {
            let context = || format!("`{}`", file.name);
            let object = answer.objects.iter().find(|object| object.oid == *oid);
            let object = object.context("the storage says nothing of it").with_context(context)?;
            if let Some(Refusal { message }) = &object.error {
                bail!("`{}`: the storage refuses it: {message}", file.name);
            }
            // What needs no action is there already.
            let Some(upload) = object.actions.get("upload") else { continue };
            let mut transfer = watch.begin(&file.name, Some(file.size));
            let headers = headers(upload);
            let put = client.put(&upload.href, &headers, &file.path);
            put.map_err(crate::transfer::Failure::into_error).with_context(context)?;
            if let Some(verify) = object.actions.get("verify") {
                let body = json!({ "oid": oid, "size": file.size }).to_string();
                let verified = client.post(&verify.href, LFS, body.as_bytes(), &[]);
                verified.map_err(crate::transfer::Failure::into_error).with_context(context)?;
            }
            transfer.done();
            sent += 1;
        }
        Ok(sent)
    }
}

fn headers(action: &Action) -> Vec<(String, String)> {
    let text = |(name, value): (&String, &serde_json::Value)| Some((name.clone(), value.as_str()?.to_owned()));
    action.header.iter().filter_map(text).collect()
}

/// Owner and name of a repository.
fn named(repository: &str) -> Result<(&str, &str)> {
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '-'])
            && part.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter))
    };
    match repository.split_once('/') {
        Some((owner, name)) if plain(owner) && plain(name) => Ok((owner, name)),
        _ => bail!("`{repository}` is not a valid name of a repository; `organisation/name` was expected"),
    }
}

/// The files of `folder` and below, by name; hidden ones stay.
fn files_of(folder: &Path) -> Result<Vec<Local>> {
    let mut found = Vec::new();
    let mut waiting = vec![(folder.to_path_buf(), String::new())];
    while let Some((place, before)) = waiting.pop() {
        for entry in std::fs::read_dir(&place).with_context(|| format!("cannot read {}", place.display()))? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.with_context(|| format!("{}: the name is not UTF-8", path.display()))?;
            if name.starts_with('.') {
                continue;
            }
            let seen = std::fs::symlink_metadata(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let name = format!("{before}{name}");
            if seen.is_dir() {
                waiting.push((path, format!("{name}/")));
            } else if seen.is_file() {
                found.push(Local { name, size: seen.len(), path });
            } else {
                bail!("{}: a link, a pipe or a device is not published; copy what it leads to", path.display());
            }
        }
    }
    ensure!(!found.is_empty(), "{}: there is no file to publish", folder.display());
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// How the Hub wants each of `files`, by name.
fn judged(files: &[Local], post: impl Fn(&[u8]) -> Result<(u16, Vec<u8>)>) -> Result<BTreeMap<String, Judged>> {
    let mut modes = BTreeMap::new();
    for some in files.chunks(BATCH) {
        let told = |file: &Local| {
            let mut sample = Vec::new();
            let read = File::open(&file.path).and_then(|open| open.take(SAMPLE).read_to_end(&mut sample));
            read.with_context(|| format!("cannot read {}", file.path.display()))?;
            Ok(json!({ "path": file.name, "sample": STANDARD.encode(sample), "size": file.size }))
        };
        let body = json!({ "files": some.iter().map(told).collect::<Result<Vec<_>>>()? });
        let (_, answer) = post(body.to_string().as_bytes())?;
        let answer: Preupload = parsed(&answer, "preupload")?;
        modes.extend(answer.files.into_iter().map(|judged| (judged.path.clone(), judged)));
    }
    Ok(modes)
}

/// A small file as a line of a commit.
fn inside(file: &Local) -> Result<serde_json::Value> {
    ensure!(
        file.size <= LARGEST_INSIDE,
        "`{}`: the Hub wants {} bytes of it within the commit, where at most {LARGEST_INSIDE} are sent",
        file.name,
        file.size
    );
    let bytes = std::fs::read(&file.path).with_context(|| format!("cannot read {}", file.path.display()))?;
    let content = STANDARD.encode(bytes);
    Ok(json!({ "key": "file", "value": { "content": content, "path": file.name, "encoding": "base64" } }))
}

fn parsed<T: DeserializeOwned>(answer: &[u8], what: &str) -> Result<T> {
    serde_json::from_slice(answer)
        .with_context(|| format!("the answer to {what} is not one of a Hub: check HF_ENDPOINT"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_has_an_owner_and_a_plain_name() {
        assert_eq!(named("some-org/my.model_1").expect("a name"), ("some-org", "my.model_1"));
        for bad in ["model", "a/b/c", "/b", "a/", "../b", "a/.b", "a b/c", "a/b?c", "a/-b"] {
            assert!(named(bad).is_err_and(|error| error.to_string().contains("organisation/name")), "{bad}");
        }
    }
}
