//! The Hugging Face Hub: `hf-hub` for its URLs and the layout of its cache, our own transfer for the bytes.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, bail, ensure};
use hf_hub::api::sync::ApiBuilder;
use hf_hub::{Cache, Repo, RepoType};
use mtl_data::manifest::WantedFile;

use crate::check;
use crate::ledger::Entry;
use crate::transfer::{Client, Failure, header};
use crate::{Arrived, Fetcher};

/// Where the Hub is, and what we may show it.
#[derive(Clone)]
pub struct Hub {
    /// Its address, without a slash at the end.
    pub endpoint: String,
    /// What it knows its user by. Goes to the endpoint's own origin and nowhere else, and into no message.
    pub token: Option<String>,
    /// The cache that other tools fill (`HF_HOME/hub`); read, never written.
    pub cache: Option<PathBuf>,
    /// Why it could not be reached, once that has been tried: the next file need not wait for it again.
    unreachable: OnceLock<String>,
}

impl Hub {
    /// The Hub at `endpoint`, without a token or a cache.
    pub fn at(endpoint: &str) -> Self {
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        Self { endpoint, token: None, cache: None, unreachable: OnceLock::new() }
    }

    /// As `HF_ENDPOINT`, `HF_TOKEN` and `HF_HOME` say.
    pub fn from_environment() -> Self {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let home = set("HF_HOME").map(PathBuf::from).or_else(|| Some(std::env::home_dir()?.join(".cache/huggingface")));
        let cache = home.map(|home| home.join("hub"));
        let stored = || Cache::new(cache.clone()?).token();
        Self {
            token: set("HF_TOKEN").map(|token| token.trim().to_owned()).or_else(stored),
            cache: cache.clone(),
            ..Self::at(&set("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned()))
        }
    }
}

/// One repository of the Hub.
pub(crate) struct Repository<'a> {
    pub(crate) name: &'a str,
    pub(crate) dataset: bool,
}

impl Repository<'_> {
    fn at(&self, revision: &str) -> Repo {
        let kind = if self.dataset { RepoType::Dataset } else { RepoType::Model };
        Repo::with_revision(self.name.to_owned(), kind, revision.to_owned())
    }

    fn url(&self, hub: &Hub, revision: &str, file: &str) -> Result<String> {
        // A cache is asked for and not used; naming one keeps the crate from looking for a home folder.
        let api = ApiBuilder::from_cache(Cache::new(PathBuf::new())).with_endpoint(hub.endpoint.clone()).build()?;
        let escaped: String = file
            .bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => {
                    char::from(byte).to_string()
                }
                _ => format!("%{byte:02X}"),
            })
            .collect();
        Ok(api.repo(self.at(revision)).url(&escaped))
    }
}

/// Brings the wanted `files` of a repository into `folder`, where cut-off downloads of earlier runs may lie. Returns
/// the commit that they are of. What is `known` of them already, they have to be.
pub(crate) fn obtain(
    fetcher: &Fetcher,
    repository: &Repository,
    files: &[WantedFile],
    known: &Entry,
    folder: &Path,
) -> Result<(String, Vec<Arrived>)> {
    let hub = &fetcher.hub;
    let asked = [&known.revision, &known.asked].into_iter().find(|revision| !revision.is_empty());
    let mut revision = asked.cloned().unwrap_or_else(|| "main".to_owned());
    for (text, what) in [(repository.name, "repository"), (revision.as_str(), "revision")] {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-/".contains(letter);
        ensure!(check::inside(text).is_ok() && text.chars().all(plain), "`{text}` is not a valid name of a {what}");
    }
    let mut arrived = Vec::new();
    for file in files {
        check::inside(&file.path)?;
        check::plain_name(file.local_name())?;
        let part = folder.join(format!("{}.part", file.local_name()));
        let wanted = Wanted { file, expected: known.files.get(&file.path).map(String::as_str), part };
        if let Some((commit, sha256)) = from_cache(hub, repository, &revision, &wanted) {
            revision = commit;
            arrived.push(Arrived { file: file.clone(), at: wanted.part, sha256 });
            continue;
        }
        ensure!(!fetcher.offline, "`{}` is not on this machine, and fetching works offline", file.path);
        if let Some(why) = hub.unreachable.get() {
            bail!("{why}");
        }
        match download(fetcher, repository, &revision, &wanted) {
            Ok((commit, sha256)) => {
                // The first answer settles the revision, so that no two files are of different ones.
                revision = commit;
                arrived.push(Arrived { file: file.clone(), at: wanted.part, sha256 });
            }
            Err(Failure::Missing(_)) if file.optional => continue,
            Err(failure) => {
                if let Failure::Unreachable(why) = &failure {
                    let _ = hub.unreachable.set(why.clone());
                }
                return Err(failure.into_error()).with_context(|| format!("`{}`", file.path));
            }
        }
    }
    Ok((revision, arrived))
}

/// One file on its way.
struct Wanted<'a> {
    file: &'a WantedFile,
    /// Its SHA-256, if that is known.
    expected: Option<&'a str>,
    /// Where it grows.
    part: PathBuf,
}

/// Copies a file that another tool has fetched; returns the commit that it is of, and its hash. A file that is not
/// right is passed over.
fn from_cache(hub: &Hub, repository: &Repository, revision: &str, wanted: &Wanted) -> Option<(String, String)> {
    let cached = Cache::new(hub.cache.clone()?).repo(repository.at(revision));
    let direct = || Some(cached.pointer_path(revision).join(&wanted.file.path)).filter(|path| path.exists());
    let found = cached.get(&wanted.file.path).or_else(direct)?;
    let within = found.strip_prefix(cached.pointer_path("")).ok()?;
    let commit = within.components().next()?.as_os_str().to_str()?.to_owned();
    let blob = std::fs::read_link(&found).ok();
    let tag = blob.as_deref().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
    check::against_tag(&found, tag).ok()?;
    let sha256 = check::expect(&found, wanted.expected).ok()?;
    std::fs::copy(&found, &wanted.part).ok()?;
    check::expect(&wanted.part, Some(&sha256)).ok()?;
    Some((commit, sha256))
}

/// Downloads one file; returns the commit that it is of, and its hash.
fn download(
    fetcher: &Fetcher,
    repository: &Repository,
    revision: &str,
    wanted: &Wanted,
) -> Result<(String, String), Failure> {
    let Wanted { file, expected, part } = wanted;
    let hub = &fetcher.hub;
    let client = Client::new(&hub.endpoint, hub.token.clone(), fetcher.patience).context("HF_ENDPOINT")?;
    let (status, headers) = client.head(&repository.url(hub, revision, &file.path)?)?;
    let commit = header(&headers, "x-repo-commit").unwrap_or_default();
    if !check::is_hex(commit) {
        return Err(anyhow!("{} returns no X-Repo-Commit, so it is not a Hub: check HF_ENDPOINT", hub.endpoint).into());
    }
    let tag = header(&headers, "x-linked-etag").or_else(|| header(&headers, "etag")).unwrap_or_default();
    let tag = tag.trim_start_matches("W/").trim_matches('"');
    let own_length = || header(&headers, "content-length").filter(|_| status.is_success());
    let size = header(&headers, "x-linked-size").or_else(own_length).and_then(|size| size.parse().ok());
    if let Some(expected) = expected.filter(|expected| tag.len() == 64 && !expected.eq_ignore_ascii_case(tag)) {
        return Err(anyhow!("the Hub's file has the SHA-256 {tag}, not {expected} as expected").into());
    }
    // A beginning that was left by an earlier run is of use only if it is of the same bytes.
    let of = part.with_extension("of");
    if tag.is_empty() || std::fs::read_to_string(&of).ok().as_deref() != Some(tag) {
        let _ = std::fs::remove_file(part);
        std::fs::write(&of, tag)?;
    }
    let mut transfer = fetcher.watch.begin(file.local_name(), size);
    client.download(&repository.url(hub, commit, &file.path)?, part, size, &mut *transfer)?;
    let checked = check::expect(part, *expected).and_then(|sha256| check::against_tag(part, tag).map(|()| sha256));
    match checked {
        Ok(sha256) => {
            transfer.done();
            Ok((commit.to_owned(), sha256))
        }
        Err(error) => {
            // Nothing can be added to wrong bytes.
            std::fs::remove_file(part)?;
            Err(error.into())
        }
    }
}
