//! Named files out of wheels, zips and gzipped tars.
//!
//! Nothing is unpacked: the wanted members are read, and written under names of our own, so that no name in an archive
//! can reach outside. Links are refused, and every size has a limit.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use flate2::read::GzDecoder;
use mtl_data::manifest::WantedFile;

use crate::check;
use crate::watch::readable;

/// The largest member that is written out.
const LARGEST_FILE: u64 = 8 << 30;
/// The largest archive within an archive, and the largest sum of joined files: these are held in memory.
const LARGEST_HELD: u64 = 1 << 30;
/// The most members that an archive may have.
const MOST_MEMBERS: usize = 1_000_000;

/// Reads the `wanted` members of `archive` and writes each into `folder` under its local name. Returns the files
/// written, in the order wanted; optional ones may be missing.
///
/// # Errors
/// If the archive cannot be read, or a member is missing, is listed twice, is a link, or is too large.
pub(crate) fn extract<'a>(
    archive: &Path,
    wanted: &'a [WantedFile],
    folder: &Path,
) -> Result<Vec<(&'a WantedFile, PathBuf)>> {
    let mut plans = Vec::new();
    for file in wanted {
        let steps: Vec<&str> = file.path.split("!/").collect();
        steps.iter().try_for_each(|step| check::inside(step))?;
        check::plain_name(file.local_name())?;
        let target = folder.join(file.local_name());
        plans.push(Plan { file, steps, target, written: false, parts: BTreeMap::new(), held: 0 });
    }
    let name = archive.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let file = File::open(archive).with_context(|| format!("cannot read {}", archive.display()))?;
    let everyone: Vec<usize> = (0..plans.len()).collect();
    walk(&name, &mut BufReader::new(file), 0, &mut plans, &everyone).with_context(|| format!("in {name}"))?;
    let mut files = Vec::new();
    for plan in plans {
        if plan.finish().with_context(|| format!("in {name}"))? {
            files.push((plan.file, plan.target));
        }
    }
    Ok(files)
}

/// How one wanted file is put together.
struct Plan<'a> {
    file: &'a WantedFile,
    /// Its path, cut where one archive lies in another.
    steps: Vec<&'a str>,
    target: PathBuf,
    written: bool,
    /// The files that a pattern has matched so far, by name.
    parts: BTreeMap<String, Vec<u8>>,
    held: u64,
}

impl Plan<'_> {
    /// Takes the member `name`, which matched the last step.
    fn take(&mut self, name: &str, body: &mut dyn Read) -> Result<()> {
        if self.file.path.contains('*') {
            let part = held(body, LARGEST_HELD - self.held)?;
            self.held += part.len() as u64;
            ensure!(self.parts.insert(name.to_owned(), part).is_none(), "it is listed twice");
            return Ok(());
        }
        ensure!(!self.written, "it is listed twice");
        let mut file = File::create(&self.target)?;
        let copied = std::io::copy(&mut body.take(LARGEST_FILE + 1), &mut file)?;
        ensure!(copied <= LARGEST_FILE, "it is larger than {}", readable(LARGEST_FILE));
        self.written = true;
        Ok(())
    }

    /// Writes what was joined, and says whether there is a file.
    fn finish(&self) -> Result<bool> {
        if self.written {
            return Ok(true);
        }
        if self.parts.is_empty() {
            ensure!(self.file.optional, "there is no `{}`", self.file.path);
            return Ok(false);
        }
        let mut file = std::io::BufWriter::new(File::create(&self.target)?);
        for part in self.parts.values() {
            file.write_all(part)?;
            if !part.ends_with(b"\n") {
                file.write_all(b"\n")?;
            }
        }
        file.flush()?;
        Ok(true)
    }
}

/// Passes every member of the archive to those of the plans `these` whose step number `depth` it matches.
fn walk(name: &str, archive: &mut dyn Source, depth: usize, plans: &mut [Plan], these: &[usize]) -> Result<()> {
    members(name, archive, &mut |member, regular, body| {
        let matching = |plan: &usize| matches(plans[*plan].steps[depth], member);
        let (last, inner): (Vec<usize>, Vec<usize>) =
            these.iter().filter(|plan| matching(plan)).partition(|plan| plans[**plan].steps.len() == depth + 1);
        if last.is_empty() && inner.is_empty() {
            return Ok(());
        }
        ensure!(regular, "`{member}` is a link or something else, not a regular file");
        if inner.is_empty() && last.len() == 1 {
            return plans[last[0]].take(member, body).with_context(|| format!("`{member}`"));
        }
        let bytes = held(body, LARGEST_HELD).with_context(|| format!("`{member}`"))?;
        for plan in last {
            plans[plan].take(member, &mut bytes.as_slice()).with_context(|| format!("`{member}`"))?;
        }
        if inner.is_empty() {
            return Ok(());
        }
        walk(member, &mut Cursor::new(bytes), depth + 1, plans, &inner).with_context(|| format!("in `{member}`"))
    })
}

trait Source: Read + Seek {}
impl<T: Read + Seek> Source for T {}

/// Calls `each` with name, whether it is a regular file, and bytes of every member that is no folder.
fn members(
    name: &str,
    archive: &mut dyn Source,
    each: &mut dyn FnMut(&str, bool, &mut dyn Read) -> Result<()>,
) -> Result<()> {
    let ending = name.to_lowercase();
    if [".whl", ".zip"].iter().any(|known| ending.ends_with(known)) {
        let mut zip = zip::ZipArchive::new(archive).context("it is not a zip archive")?;
        ensure!(zip.len() <= MOST_MEMBERS, "it has {} members, more than {MOST_MEMBERS}", zip.len());
        for index in 0..zip.len() {
            let mut member = zip.by_index(index)?;
            if !member.is_dir() {
                let (name, regular) = (member.name()?.into_owned(), member.is_file() && !member.is_symlink());
                each(&name, regular, &mut member)?;
            }
        }
        return Ok(());
    }
    if [".tar.gz", ".tgz"].iter().any(|known| ending.ends_with(known)) {
        let mut tar = tar::Archive::new(GzDecoder::new(archive));
        for (index, member) in tar.entries()?.enumerate() {
            ensure!(index < MOST_MEMBERS, "it has more than {MOST_MEMBERS} members");
            let mut member = member.context("it is not a gzipped tar archive, or it is cut off")?;
            let kind = member.header().entry_type();
            if !kind.is_dir() && !kind.is_pax_global_extensions() {
                let name = String::from_utf8_lossy(&member.path_bytes()).into_owned();
                let name = name.strip_prefix("./").unwrap_or(&name);
                each(name, kind.is_file(), &mut member)?;
            }
        }
        return Ok(());
    }
    bail!("its name does not end in .whl, .zip, .tar.gz or .tgz")
}

fn held(body: &mut dyn Read, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    body.take(limit + 1).read_to_end(&mut bytes)?;
    ensure!(bytes.len() as u64 <= limit, "it is larger than {}", readable(limit));
    Ok(bytes)
}

/// Whether `name` is `pattern`, in which `*` stands for any characters but `/`.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(name) = name.strip_prefix(start) else { return false };
    let reach = name.find('/').unwrap_or(name.len());
    (0..=reach).filter(|cut| name.is_char_boundary(*cut)).any(|cut| matches(rest, &name[cut..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zip_of(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in members {
            let options = zip::write::SimpleFileOptions::default();
            zip.start_file(*name, options).expect("started");
            zip.write_all(bytes).expect("written");
        }
        zip.finish().expect("finished").into_inner()
    }

    fn tar_of(members: &[(&str, &[u8], tar::EntryType)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        for (name, bytes, kind) in members {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_entry_type(*kind);
            if *kind == tar::EntryType::Symlink {
                header.set_link_name("/etc/passwd").expect("a link");
            }
            // Written as bytes, since the library would refuse the names that are tested here.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            tar.append(&header, *bytes).expect("appended");
        }
        tar.into_inner().expect("written").finish().expect("finished")
    }

    fn wanted(path: &str, name: Option<&str>) -> WantedFile {
        WantedFile { path: path.into(), name: name.map(Into::into), ..WantedFile::default() }
    }

    /// What `extract` makes of one wanted file.
    fn one(name: &str, bytes: &[u8], file: &WantedFile) -> Result<String> {
        let folder = tempfile::tempdir()?;
        let archive = folder.path().join(name);
        std::fs::write(&archive, bytes)?;
        let target = folder.path().join("out");
        std::fs::create_dir(&target)?;
        let files = extract(&archive, std::slice::from_ref(file), &target)?;
        Ok(files.first().map(|(_, path)| std::fs::read_to_string(path)).transpose()?.unwrap_or_default())
    }

    const FILE: tar::EntryType = tar::EntryType::Regular;

    #[test]
    fn members_are_found_at_the_top_within_and_by_pattern() {
        let inner = tar_of(&[("deep/a.txt", b"alpha", FILE), ("deep/b.txt", b"beta\n", FILE)]);
        let outer =
            zip_of(&[("x/inner.tar.gz", &inner), ("x/2.json", b"{2}"), ("x/1.json", b"{1}\n"), ("y.txt", b"y")]);
        let read = |path: &str| one("p-1.whl", &outer, &wanted(path, Some("out.txt"))).expect(path);
        assert_eq!(read("y.txt"), "y");
        assert_eq!(read("x/inner.tar.gz!/deep/a.txt"), "alpha");
        assert_eq!(read("x/inner.tar.gz!/deep/*.txt"), "alpha\nbeta\n");
        assert_eq!(read("x/*.json"), "{1}\n{2}\n");
        let error = format!("{:#}", one("p-1.whl", &outer, &wanted("x/3.json", None)).expect_err("missing"));
        assert!(error.contains("p-1.whl") && error.contains("x/3.json"), "{error}");
        let optional = WantedFile { optional: true, ..wanted("x/3.json", None) };
        assert_eq!(one("p-1.whl", &outer, &optional).expect("optional"), "");
    }

    #[test]
    fn links_doubles_and_paths_outside_are_refused() {
        let refused = |members: &[(&str, &[u8], tar::EntryType)], path: &str| {
            format!("{:#}", one("p.tgz", &tar_of(members), &wanted(path, Some("o"))).expect_err(path))
        };
        assert!(refused(&[("a", b"", tar::EntryType::Symlink)], "a").contains("link"));
        assert!(refused(&[("a", b"", tar::EntryType::Link)], "a").contains("link"));
        assert!(refused(&[("a", b"1", FILE), ("a", b"2", FILE)], "a").contains("twice"));
        assert!(refused(&[("../a", b"1", FILE)], "../a").contains("plain relative path"));
        assert!(refused(&[("/a", b"1", FILE)], "/a").contains("plain relative path"));
        // A member outside that nobody wants is passed over.
        let mixed = tar_of(&[("../evil", b"1", FILE), ("./a", b"good", FILE)]);
        assert_eq!(one("p.tgz", &mixed, &wanted("a", None)).expect("a"), "good");
        assert!(one("p.tgz", &mixed, &wanted("a", Some("../b"))).is_err());
    }

    #[test]
    fn damaged_archives_are_errors() {
        let whole = tar_of(&[("a", &[7; 4000], FILE)]);
        for cut in [0, 1, 10, whole.len() / 2] {
            assert!(one("p.tgz", &whole[..cut], &wanted("a", None)).is_err(), "cut at {cut}");
        }
        let whole = zip_of(&[("a", b"abc")]);
        for cut in [0, 1, 30, whole.len() - 1] {
            assert!(one("p.zip", &whole[..cut], &wanted("a", None)).is_err(), "cut at {cut}");
        }
        assert!(one("p.rar", &whole, &wanted("a", None)).is_err());
    }

    #[test]
    fn a_star_stays_within_its_folder() {
        assert!(matches("data/*/*.json", "data/a/1.json"));
        assert!(!matches("data/*/*.json", "data/a/b/1.json"));
        assert!(!matches("data/*.json", "data/a/1.json"));
        assert!(matches("*", "é"));
    }
}
