//! Whether a file is what it should be: its bytes' hashes, and what it turns out to be when it is something else.

use std::fs::File;
use std::io::Read;
use std::path::{Component, Path};

use anyhow::{Context, Result, bail, ensure};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::watch::readable;

/// Hex SHA-256 of the file's bytes.
pub(crate) fn sha256(path: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    feed(path, |bytes| hash.update(bytes))?;
    Ok(hex(&hash.finalize()))
}

/// Hex name that git gives the file's bytes: SHA-1 of `"blob" length 0 bytes`. The Hub's tag of a small file.
pub(crate) fn git_blob(path: &Path) -> Result<String> {
    let length = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
    let mut hash = Sha1::new();
    hash.update(format!("blob {length}\0").as_bytes());
    feed(path, |bytes| hash.update(bytes))?;
    Ok(hex(&hash.finalize()))
}

/// Checks `path` against `tag`, the Hub's name for its bytes: SHA-256 of a large file, git's of a small one. Other
/// tags say nothing that could be checked.
pub(crate) fn against_tag(path: &Path, tag: &str) -> Result<()> {
    let found = match tag.len() {
        _ if !is_hex(tag) => return Ok(()),
        64 => sha256(path)?,
        40 => git_blob(path)?,
        _ => return Ok(()),
    };
    ensure!(found.eq_ignore_ascii_case(tag), "its bytes hash to {found}, its server said {tag}");
    Ok(())
}

/// The SHA-256 of `path`, which has to be `wanted` if that is known.
///
/// # Errors
/// If it is another: says what the file looks like, since a page of a login wall is the usual culprit.
pub(crate) fn expect(path: &Path, wanted: Option<&str>) -> Result<String> {
    let found = sha256(path)?;
    match wanted {
        Some(wanted) if !wanted.eq_ignore_ascii_case(&found) => {
            disguised(path)?;
            let size = readable(std::fs::metadata(path)?.len());
            bail!("its SHA-256 is {found} ({size}), not {wanted} as expected: another version, or damaged")
        }
        Some(_) => Ok(found),
        None => {
            disguised(path)?;
            Ok(found)
        }
    }
}

/// Refuses what servers send in place of a file: a page for people, or git's note of where the file really is.
pub(crate) fn disguised(path: &Path) -> Result<()> {
    let mut start = [0_u8; 512];
    let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut length = 0;
    while length < start.len() {
        match file.read(&mut start[length..])? {
            0 => break,
            read => length += read,
        }
    }
    let start = String::from_utf8_lossy(&start[..length]).trim_start().to_lowercase();
    if start.starts_with("version https://git-lfs.github.com/spec/") {
        bail!("it is a git-LFS pointer, not the file: `git lfs pull` in the repository it was copied from fetches it");
    }
    let page = path.extension().is_some_and(|ending| ending == "html");
    if !page && (start.starts_with("<!doctype html") || start.starts_with("<html")) {
        bail!("it is an HTML page, not the file: check HF_ENDPOINT, the proxy, or whether a login is asked for");
    }
    Ok(())
}

/// Refuses paths that could leave the folder they are joined to.
pub(crate) fn inside(path: &str) -> Result<()> {
    let plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    let odd = path.contains(['\\', '\0', ':']) || path.contains("//") || path.ends_with('/') || path.starts_with("./");
    ensure!(
        plain && !odd && !path.is_empty(),
        "`{path}` is not a plain relative path (no `..`, `\\`, `:`, leading `/`)"
    );
    Ok(())
}

/// Refuses names that are more than one plain part of a path.
pub(crate) fn plain_name(name: &str) -> Result<()> {
    inside(name)?;
    ensure!(!name.contains('/') && !name.starts_with('.'), "`{name}` is not a plain file name");
    Ok(())
}

/// Whether `text` is made of hexadecimal digits.
pub(crate) fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn feed(path: &Path, mut take: impl FnMut(&[u8])) -> Result<()> {
    let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut buffer = vec![0_u8; 1 << 18];
    loop {
        match file.read(&mut buffer).with_context(|| format!("cannot read {}", path.display()))? {
            0 => return Ok(()),
            read => take(&buffer[..read]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_usual_tools() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("hello");
        std::fs::write(&path, "hello\n").expect("written");
        // printf 'hello\n' | sha256sum; printf 'hello\n' | git hash-object --stdin
        let sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        let blob = "ce013625030ba8dba906f756967f9e9ca394464a";
        assert_eq!(super::sha256(&path).expect("hash"), sha256);
        assert_eq!(git_blob(&path).expect("hash"), blob);
        against_tag(&path, sha256).expect("the SHA-256 is a tag");
        against_tag(&path, blob).expect("git's name is a tag");
        against_tag(&path, "W/opaque").expect("nothing to check");
        assert!(against_tag(&path, &blob.replace('c', "d")).is_err());
    }

    #[test]
    fn paths_that_leave_their_folder_are_refused() {
        for bad in ["", "/etc/passwd", "..", "a/../b", "a//b", "a/", "./a", "a\\b", "C:x", "a\0b", "a/./../b"] {
            assert!(inside(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "a/b.txt", "a b", "..a/b..", "1_Pooling/config.json"] {
            assert!(inside(good).is_ok(), "{good:?}");
        }
        for bad in ["a/b", ".hidden", "..", ""] {
            assert!(plain_name(bad).is_err(), "{bad:?}");
        }
    }
}
