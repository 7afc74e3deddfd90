//! Archives from the Python and npm package registries, fetched by the clients that people have set up for them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};

use crate::check;
use crate::leftovers::Held;
use crate::watch::Watch;

/// A kind of registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Registry {
    /// Python packages.
    Pip,
    /// npm packages.
    Npm,
}

/// One package.
pub(crate) struct Package<'a> {
    pub(crate) registry: Registry,
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
    /// Hex SHA-256 of its archive; empty if it has not been seen.
    pub(crate) sha256: &'a str,
}

/// The archives fetched by this process: several datasets come out of one package.
#[derive(Default)]
pub(crate) struct Packages {
    got: Mutex<BTreeMap<String, (Held, PathBuf)>>,
}

impl Packages {
    /// The archive of `package`, downloaded at most once; it lives as long as `self`.
    pub(crate) fn archive(&self, package: &Package, watch: &dyn Watch) -> Result<PathBuf> {
        let Package { registry, name, version, sha256 } = *package;
        // Neither may be taken for an option, a URL or a path by the client.
        let plain = |text: &str, more: &[char]| {
            text.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '@')
                && text
                    .chars()
                    .all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter) || more.contains(&letter))
        };
        ensure!(plain(name, &['@', '/']), "`{name}` is not a valid package name");
        ensure!(plain(version, &['+', '!']), "`{version}` is not an exact version");
        let mut got = self.got.lock().unwrap_or_else(PoisonError::into_inner);
        let key = format!("{registry:?} {name} {version}");
        if let Some((_, path)) = got.get(&key) {
            return Ok(path.clone());
        }
        let folder = Held::new_in(&std::env::temp_dir())?;
        let mut transfer = watch.begin(&format!("{name} {version}"), None);
        match registry {
            Registry::Pip => pip(name, version, sha256, folder.path())?,
            Registry::Npm => npm(name, version, folder.path())?,
        }
        let path = only_archive(folder.path())?;
        let wanted = (!sha256.is_empty()).then_some(sha256);
        check::expect(&path, wanted).with_context(|| format!("the archive of {name} {version}"))?;
        transfer.done();
        got.insert(key, (folder, path.clone()));
        Ok(path)
    }
}

/// `pip download`. A source package runs its own set-up script while pip looks at it, so pip is told the archive's hash
/// and checks that first.
fn pip(name: &str, version: &str, sha256: &str, folder: &Path) -> Result<()> {
    let hash = if sha256.is_empty() { String::new() } else { format!(" --hash=sha256:{sha256}") };
    let list = folder.join("requirements.txt");
    std::fs::write(&list, format!("{name}=={version}{hash}\n"))?;
    let clients: [&[&str]; 4] = [&["python3", "-m", "pip"], &["python", "-m", "pip"], &["pip3"], &["pip"]];
    for client in clients {
        let mut command = Command::new(client[0]);
        command.args(&client[1..]).args(["download", "--no-deps", "--no-input", "--disable-pip-version-check"]);
        command.args(["--quiet", "--retries", "2", "--dest", ".", "--requirement", "requirements.txt"]);
        if run(command, folder, "No module named pip")? {
            return Ok(std::fs::remove_file(list)?);
        }
    }
    bail!("neither `python3 -m pip` nor `pip` is installed here")
}

/// `npm pack`, which runs no script of the package.
fn npm(name: &str, version: &str, folder: &Path) -> Result<()> {
    let mut command = Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" });
    command.args(["pack", "--ignore-scripts", "--loglevel=error", &format!("{name}@{version}")]);
    ensure!(run(command, folder, "\0")?, "`npm` is not installed here");
    Ok(())
}

/// Runs a client in `folder`; false if it is not installed, which it may say by `absent`.
fn run(mut command: Command, folder: &Path, absent: &str) -> Result<bool> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = match command.current_dir(folder).stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).with_context(|| format!("cannot run `{name}`")),
    };
    if output.status.success() {
        return Ok(true);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains(absent) {
        return Ok(false);
    }
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(4)..].join("; ");
    bail!("`{name}` ended with {}: {last}", output.status)
}

fn only_archive(folder: &Path) -> Result<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // Hidden is what marks the folder as this process's.
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        if !hidden && entry.file_type()?.is_file() {
            found.push(entry.path());
        }
    }
    match found.as_slice() {
        [one] => Ok(one.clone()),
        _ => bail!("the client left {} files where one archive was expected", found.len()),
    }
}
