//! How much memory this process can still have: the least of what the machine has free, what a control group leaves it,
//! and its own limits.
//!
//! Linux tells all of this in files, so that nothing has to be asked of the C library. Other systems tell nothing here:
//! memory is then unknown, and nothing is refused.

use std::fmt;
use std::path::Path;

use serde::Serialize;

/// What bounds the memory of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bound {
    /// What the machine has free, swap included.
    Machine,
    /// The limit of a control group, of a container or a job.
    ControlGroup,
    /// `ulimit -v`, of the address space.
    AddressSpace,
    /// `ulimit -d`, of the data.
    Data,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Machine => "the machine's free memory",
            Self::ControlGroup => "the limit of its control group",
            Self::AddressSpace => "its limit of address space, `ulimit -v`",
            Self::Data => "its limit of data, `ulimit -d`",
        })
    }
}

/// Memory that a process can still have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Available {
    /// Bytes, beyond those that it holds.
    pub bytes: u64,
    /// What bounds it.
    pub bound: Bound,
}

/// Environment variable that, set to anything but `0`, keeps memory unknown, so that nothing is refused for want of it.
const IGNORED: &str = "MTL_IGNORE_MEMORY";

/// What this process can still have; `None` where the system does not tell, or `MTL_IGNORE_MEMORY` says not to ask.
pub fn available() -> Option<Available> {
    match std::env::var_os(IGNORED).is_some_and(|value| value != "0" && !value.is_empty()) {
        true => None,
        false => available_in(Path::new("/")),
    }
}

/// Resident memory of this process in bytes, now and at its peak; `None` where the system does not tell.
pub fn resident() -> Option<(u64, u64)> {
    let status = read(Path::new("/"), "proc/self/status")?;
    Some((field(&status, "VmRSS:")?, field(&status, "VmHWM:")?))
}

/// As [`available`], by the files below `root`.
fn available_in(root: &Path) -> Option<Available> {
    let limits = read(root, "proc/self/limits");
    let status = read(root, "proc/self/status").unwrap_or_default();
    let own = |name: &str, used: &str, bound| {
        let limit = soft_limit(limits.as_deref()?, name)?;
        Some(Available { bytes: limit.saturating_sub(field(&status, used)?), bound })
    };
    let machine = read(root, "proc/meminfo").and_then(|memory| {
        let bytes = field(&memory, "MemAvailable:")? + field(&memory, "SwapFree:").unwrap_or(0);
        Some(Available { bytes, bound: Bound::Machine })
    });
    let group = control_group(root).map(|bytes| Available { bytes, bound: Bound::ControlGroup });
    let bounds = [
        machine,
        group,
        own("Max address space", "VmSize:", Bound::AddressSpace),
        own("Max data size", "VmData:", Bound::Data),
    ];
    bounds.into_iter().flatten().min_by_key(|available| available.bytes)
}

/// The least that the control groups of this process leave it, of version 2 or 1.
fn control_group(root: &Path) -> Option<u64> {
    let groups = read(root, "proc/self/cgroup")?;
    let left = groups.lines().flat_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            return Vec::new();
        };
        let files = match controllers {
            "" => ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            }
            _ => return Vec::new(),
        };
        let (mount, limit, usage, cache) = files;
        // A limit of a group holds for all below it. In a container the path may be the host's, and only its end is there.
        let mut within = path.trim_start_matches('/');
        let mut left = Vec::new();
        loop {
            let folder = root.join(mount).join(within);
            left.extend(left_in(&folder, limit, usage, cache));
            if within.is_empty() {
                return left;
            }
            within = within.rsplit_once('/').map_or("", |(parent, _)| parent);
        }
    });
    left.min()
}

/// What the group at `folder` leaves; file pages that nobody used lately are given up when memory is short.
fn left_in(folder: &Path, limit: &str, usage: &str, cache: &str) -> Option<u64> {
    // Version 2 says `max` where there is no limit; version 1 a number that no machine has.
    let limit: u64 = read(folder, limit)?.trim().parse().ok().filter(|limit| *limit < 1 << 60)?;
    let used: u64 = read(folder, usage)?.trim().parse().ok()?;
    let statistics = read(folder, "memory.stat").unwrap_or_default();
    let idle = statistics.lines().find_map(|line| line.strip_prefix(cache)?.trim().parse().ok()).unwrap_or(0);
    Some(limit.saturating_sub(used.saturating_sub(idle)))
}

fn read(folder: &Path, name: &str) -> Option<String> {
    std::fs::read_to_string(folder.join(name)).ok()
}

/// The value of `name` in a file of lines like `VmRSS:   1024 kB`, in bytes.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// The soft limit called `name`, in bytes; `None` if it is unlimited.
fn soft_limit(limits: &str, name: &str) -> Option<u64> {
    limits.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine by its files.
    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, text).expect("written");
        }
        root
    }

    const MEMORY: (&str, &str) =
        ("proc/meminfo", "MemTotal: 9000 kB\nMemAvailable:    4000 kB\nSwapTotal: 0 kB\nSwapFree:  96 kB\n");
    const STATUS: (&str, &str) =
        ("proc/self/status", "Name:\tx\nVmSize:\t  500 kB\nVmData:\t 300 kB\nVmRSS:\t 200 kB\n");

    fn limits(space: &str, data: &str) -> String {
        format!(
            "Limit                     Soft Limit           Hard Limit           Units\n\
             Max data size             {data}            unlimited            bytes\n\
             Max address space         {space}            unlimited            bytes\n"
        )
    }

    #[test]
    fn the_tightest_bound_counts() {
        let unlimited = limits("unlimited", "unlimited");
        let root = machine(&[MEMORY, STATUS, ("proc/self/limits", &unlimited)]);
        let found = |root: &tempfile::TempDir| available_in(root.path()).map(|found| (found.bytes, found.bound));
        assert_eq!(found(&root), Some((4096 * 1024, Bound::Machine)));

        let space = limits("1048576", "unlimited");
        let root = machine(&[MEMORY, STATUS, ("proc/self/limits", &space)]);
        assert_eq!(found(&root), Some((524 * 1024, Bound::AddressSpace)));

        let data = limits("1048576", "409600");
        let root = machine(&[MEMORY, STATUS, ("proc/self/limits", &data)]);
        assert_eq!(found(&root), Some((100 * 1024, Bound::Data)));

        assert_eq!(found(&machine(&[])), None, "a system without such files tells nothing");
    }

    #[test]
    fn control_groups_of_both_versions_count_with_those_above_them() {
        let second = machine(&[
            MEMORY,
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/b/memory.max", "max\n"),
            ("sys/fs/cgroup/a/b/memory.current", "10\n"),
            ("sys/fs/cgroup/a/memory.max", "100000\n"),
            ("sys/fs/cgroup/a/memory.current", "60000\n"),
            ("sys/fs/cgroup/a/memory.stat", "anon 10\ninactive_file 20000\nactive_file 7\n"),
        ]);
        let found = available_in(second.path()).expect("known");
        assert_eq!((found.bytes, found.bound), (60_000, Bound::ControlGroup));

        // In a container the path is the host's; the mount is the container's own.
        let first = machine(&[
            MEMORY,
            ("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/docker/77\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "90000\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "30000\n"),
            ("sys/fs/cgroup/memory/memory.stat", "cache 5\ntotal_inactive_file 0\n"),
        ]);
        assert_eq!(available_in(first.path()).map(|found| found.bytes), Some(60_000));
        let unlimited = machine(&[
            MEMORY,
            ("proc/self/cgroup", "4:memory:/\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "30000\n"),
        ]);
        assert_eq!(available_in(unlimited.path()).map(|found| found.bound), Some(Bound::Machine));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_knows_its_own() {
        let (now, peak) = resident().expect("told");
        assert!(now > 1 << 20 && peak >= now, "{now} {peak}");
        assert!(available().expect("told").bytes > 0);
    }
}
