//! Files come out of packages, by the clients that people use, from registries of this process.
//!
//! Both clients are told by their environment where packages lie. A test cannot change its own, so each is run once more
//! as a child with another one.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mtl_data::manifest::DatasetManifest;
use mtl_hub::Fetcher;

use crate::hub::{fetcher, sha256, visible};
use crate::server::{Reply, Server};

const CORPUS: &[u8] = b"id\ttext\n1\thello\n";

/// What the children are told: the hash of the archive.
const TOLD: &str = "MTL_TEST_PACKAGE";

#[test]
fn files_come_out_of_python_packages() {
    if let Ok(archive) = std::env::var(TOLD) {
        return fetches_checks_and_remembers("pip", "mtl-test-data", "mtl_test_data/corpus.tsv", &archive);
    }
    if !installed(Command::new("python3").args(["-m", "pip"])) {
        println!("skipped: there is no pip here");
        return;
    }
    let about = "mtl_test_data-1.0.0.dist-info";
    let members: [(String, &[u8]); 4] = [
        ("mtl_test_data/corpus.tsv".to_owned(), CORPUS),
        (format!("{about}/METADATA"), b"Metadata-Version: 2.1\nName: mtl-test-data\nVersion: 1.0.0\n"),
        (
            format!("{about}/WHEEL"),
            b"Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        ),
        (format!("{about}/RECORD"), b""),
    ];
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in members {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).expect("started");
        zip.write_all(bytes).expect("written");
    }
    let wheel = zip.finish().expect("finished").into_inner();
    let index = tempfile::tempdir().expect("a folder");
    std::fs::write(index.path().join("mtl_test_data-1.0.0-py3-none-any.whl"), &wheel).expect("written");
    again("packages::files_come_out_of_python_packages", &wheel, |child| {
        child.env("PIP_NO_INDEX", "1").env("PIP_FIND_LINKS", index.path());
    });
}

#[test]
fn files_come_out_of_npm_packages() {
    if let Ok(archive) = std::env::var(TOLD) {
        return fetches_checks_and_remembers("npm", "mtl-test-data", "package/corpus.tsv", &archive);
    }
    if !installed(&mut Command::new("npm")) {
        println!("skipped: there is no npm here");
        return;
    }
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    let package = br#"{"name": "mtl-test-data", "version": "1.0.0"}"#;
    for (name, bytes) in [("package/package.json", package.as_slice()), ("package/corpus.tsv", CORPUS)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, bytes).expect("appended");
    }
    let archive = tar.into_inner().expect("written").finish().expect("finished");
    let served = archive.clone();
    let registry = Server::start(move |request| {
        if request.path.ends_with(".tgz") {
            return Reply::of(&served);
        }
        let host = request.host.as_deref().unwrap_or_default();
        let about = format!(
            r#"{{"name": "mtl-test-data", "dist-tags": {{"latest": "1.0.0"}}, "versions": {{"1.0.0": {{
            "name": "mtl-test-data", "version": "1.0.0", "dist": {{"tarball": "http://{host}/data-1.0.0.tgz"}}}}}}}}"#
        );
        Reply::of(about.as_bytes()).with("Content-Type", "application/json")
    });
    let cache = tempfile::tempdir().expect("a folder");
    again("packages::files_come_out_of_npm_packages", &archive, |child| {
        child.env("npm_config_registry", registry.url()).env("npm_config_cache", cache.path());
        child.env("npm_config_noproxy", "127.0.0.1");
    });
}

/// Fetches a dataset from a package whose archive has the hash `archive`, rightly and wrongly.
fn fetches_checks_and_remembers(kind: &str, package: &str, path: &str, archive: &str) {
    let manifest = |archive: &str, file: &str| -> DatasetManifest {
        let text = format!(
            "about = \"a test\"\nlicence = \"none\"\n[task]\nkind = \"classification\"\n[[source]]\nkind = \"{kind}\"\n\
             package = \"{package}\"\nversion = \"1.0.0\"\nsha256 = \"{archive}\"\n\
             files = [{{ path = \"{path}\", sha256 = \"{file}\" }}]\n"
        );
        toml::from_str(&text).expect("a manifest")
    };
    let (right, wrong) = (sha256(CORPUS), "0".repeat(64));
    let root = tempfile::tempdir().expect("a folder");
    let mut fetcher = fetcher("http://127.0.0.1:9", root.path());
    fetcher.offline = true;
    let error = fetch(&fetcher, &manifest(archive, &right)).expect_err("offline");
    assert!(error.contains("offline, no package client is started"), "{error}");

    fetcher.offline = false;
    let error = fetch(&fetcher, &manifest(archive, &wrong)).expect_err("another file");
    assert!(error.contains("corpus.tsv") && error.contains("as expected"), "{error}");
    let folder = fetch(&fetcher, &manifest(archive, &right)).expect("fetched");
    assert_eq!(std::fs::read(folder.join("corpus.tsv")).expect("read"), CORPUS);
    assert_eq!(visible(&folder), ["corpus.tsv"]);
    fetcher.offline = true;
    assert_eq!(fetch(&fetcher, &manifest(archive, &right)).expect("present"), folder);

    let other = tempfile::tempdir().expect("a folder");
    let fetcher = crate::hub::fetcher("http://127.0.0.1:9", other.path());
    let error = fetch(&fetcher, &manifest(&wrong, &right)).expect_err("another archive");
    assert!(error.contains(package) && error.to_lowercase().contains("hash") || error.contains("SHA-256"), "{error}");
}

fn fetch(fetcher: &Fetcher, manifest: &DatasetManifest) -> Result<PathBuf, String> {
    fetcher.dataset("corpus", manifest, Path::new("datasets/corpus.toml")).map_err(|error| format!("{error:#}"))
}

fn installed(client: &mut Command) -> bool {
    let status = client.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Runs the test `name` again, with the hash of `archive` and an environment of its own.
fn again(name: &str, archive: &[u8], environment: impl Fn(&mut Command)) {
    let mut child = Command::new(std::env::current_exe().expect("this test"));
    child.args(["--exact", name, "--nocapture"]).env(TOLD, sha256(archive));
    environment(&mut child);
    let output = child.output().expect("started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
