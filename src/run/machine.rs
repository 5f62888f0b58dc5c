//! What this machine allows, read in one place; the plan is compiled against it.

use crate::plan::Machine;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Raises the soft limit of open descriptors to the hard one, for this process and its children, and
/// returns the limit that now holds; 0 when there is no telling.
pub fn raise_descriptor_limit() -> u64 {
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, hard)) if soft < hard => match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
            Ok(()) => hard,
            Err(_) => soft,
        },
        Ok((soft, _)) => soft,
        Err(_) => 0,
    }
}

/// Reads the machine's limits, having raised what a process may raise by itself. What cannot be read
/// is 0, which is held against nobody.
pub fn read() -> Machine {
    let groups = cgroups(&file("/proc/self/cgroup"));
    let in_group = memory_of(Path::new("/sys/fs/cgroup"), &groups);
    let of_machine = memory(&file("/proc/meminfo"));
    let in_groups = tasks_of(Path::new("/sys/fs/cgroup"), &groups);
    let root = nix::unistd::geteuid().is_root();
    Machine {
        cores: std::thread::available_parallelism().map_or(1, |n| n.get() as u32),
        descriptors: raise_descriptor_limit(),
        file_max: number(&file("/proc/sys/fs/file-max")).unwrap_or(0),
        port_range: range(&file("/proc/sys/net/ipv4/ip_local_port_range")).unwrap_or((0, 0)),
        memory_available: least([of_machine, in_group]),
        somaxconn: number(&file("/proc/sys/net/core/somaxconn")).unwrap_or(0),
        // The limit of a user's own processes does not hold for root.
        processes: least([in_groups, if root { None } else { own_tasks() }]),
        watches: number(&file("/proc/sys/fs/epoll/max_user_watches")).unwrap_or(0),
        tracked: tracked(
            &file("/proc/sys/net/netfilter/nf_conntrack_max"),
            &file("/proc/sys/net/netfilter/nf_conntrack_count"),
        ),
        root,
    }
}

fn file(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// The least of what is known. Nothing left is 1, as 0 means unknown.
fn least(known: [Option<u64>; 2]) -> u64 {
    let known = known.into_iter().flatten();
    known.min().map_or(0, |least| least.max(1))
}

/// The control groups this process is in, of `/proc/self/cgroup`: (controllers, path). The unified hierarchy names no
/// controllers.
fn cgroups(text: &str) -> Vec<(String, String)> {
    let parts = text.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        Some((controllers.to_owned(), path.to_owned()))
    });
    parts.collect()
}

/// Folders of a controller's groups, the process's own and all above it: each may have a limit. In a container the path
/// may be the host's, of which only the root is there to be seen.
fn folders(mounted: &Path, groups: &[(String, String)], controller: &str) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for (controllers, path) in groups {
        let base = match controllers.as_str() {
            "" => mounted.to_owned(),
            some if some.split(',').any(|c| c == controller) => mounted.join(controller),
            _ => continue,
        };
        for above in Path::new(path.trim_start_matches('/')).ancestors() {
            folders.push(base.join(above));
        }
    }
    folders
}

/// What the groups leave of a resource: the least of each limit less its use.
fn left(
    folders: &[PathBuf],
    names: &[(&str, &str)],
    given_back: impl Fn(&Path) -> u64,
) -> Option<u64> {
    let mut least = None;
    for folder in folders {
        for (limit, used) in names {
            // "max" is no number, and no limit.
            let Some(limit) = number::<u64>(&file(folder.join(limit))) else {
                continue;
            };
            let used: u64 = number(&file(folder.join(used))).unwrap_or(0);
            let left = limit.saturating_sub(used.saturating_sub(given_back(folder)));
            least = Some(least.map_or(left, |least: u64| least.min(left)));
        }
    }
    least
}

/// Bytes that control groups leave; files that are only cached count as free, as they do in `MemAvailable`.
fn memory_of(mounted: &Path, groups: &[(String, String)]) -> Option<u64> {
    let names = [
        ("memory.max", "memory.current"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    ];
    let cached = |folder: &Path| {
        let stat = file(folder.join("memory.stat"));
        let total = |key: &str| {
            stat.lines()
                .find_map(|line| number(line.strip_prefix(key)?))
        };
        // The first version's own line is of this group alone; its total is of all below it too.
        total("total_inactive_file ")
            .or_else(|| total("inactive_file "))
            .unwrap_or(0)
    };
    left(&folders(mounted, groups, "memory"), &names, cached)
}

/// Processes and threads that control groups leave.
fn tasks_of(mounted: &Path, groups: &[(String, String)]) -> Option<u64> {
    let names = [("pids.max", "pids.current")];
    left(&folders(mounted, groups, "pids"), &names, |_| 0)
}

/// Processes and threads this user may still start.
fn own_tasks() -> Option<u64> {
    let (limit, _) = getrlimit(Resource::RLIMIT_NPROC).ok()?;
    if limit == RLIM_INFINITY {
        return None;
    }
    let own = nix::unistd::getuid().as_raw();
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let threads = processes.filter_map(|process| {
        number::<u32>(process.file_name().to_str()?)?;
        let owner = process.metadata().ok()?.uid();
        (owner == own).then_some(())?;
        Some(std::fs::read_dir(process.path().join("task")).ok()?.count() as u64)
    });
    Some(limit.saturating_sub(threads.sum()))
}

/// Connections the firewall has room for. One that is loaded, but keeps track of none, has no rule that asks for it.
fn tracked(most: &str, now: &str) -> u64 {
    match number::<u64>(now) {
        Some(1..) => number(most).unwrap_or(0),
        _ => 0,
    }
}

fn number<T: FromStr>(text: &str) -> Option<T> {
    text.trim().parse().ok()
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (low, high) = text.trim().split_once(char::is_whitespace)?;
    Some((number(low)?, number(high)?))
}

/// `MemAvailable` in bytes.
fn memory(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    number::<u64>(line.trim().strip_suffix("kB")?).map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_understood() {
        assert_eq!(
            number::<u64>("9223372036854775807\n"),
            Some(9_223_372_036_854_775_807)
        );
        assert_eq!(range("32768\t60999\n"), Some((32768, 60999)));
        assert_eq!(
            memory("MemTotal: 9 kB\nMemAvailable:   24217052 kB\n"),
            Some(24_217_052 * 1024)
        );
        for bad in ["", "x", "1"] {
            assert_eq!(range(bad), None);
            assert_eq!(memory(bad), None);
        }
    }

    #[test]
    fn control_groups_limit_what_there_is() {
        let text = "9:name=systemd:/\n4:cpu,memory:/a/b\n8:pids:/p\n0::/u/v\nx\n";
        let groups = cgroups(text);
        assert_eq!(groups.len(), 4);
        let root = tempfile::tempdir().expect("a folder");
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("has one")).expect("made");
            std::fs::write(path, text).expect("written");
        };
        assert_eq!(memory_of(root.path(), &groups), None);
        assert_eq!(tasks_of(root.path(), &groups), None);
        // No limit of its own; the one above has.
        write("u/v/memory.max", "max\n");
        write("u/memory.max", "1000\n");
        write("u/memory.current", "700\n");
        write("u/memory.stat", "anon 5\ninactive_file 200\n");
        assert_eq!(memory_of(root.path(), &groups), Some(500));
        write("memory/a/memory.limit_in_bytes", "900\n");
        write("memory/a/memory.usage_in_bytes", "800\n");
        write(
            "memory/a/memory.stat",
            "inactive_file 1\ntotal_inactive_file 50\n",
        );
        assert_eq!(memory_of(root.path(), &groups), Some(150));
        write("memory/memory.limit_in_bytes", "100\n");
        write("memory/memory.usage_in_bytes", "300\n");
        assert_eq!(memory_of(root.path(), &groups), Some(0));
        assert_eq!(least([Some(0), None]), 1);
        assert_eq!(least([Some(7), Some(5)]), 5);
        assert_eq!(least([None, None]), 0);
        write("pids/p/pids.max", "40\n");
        write("pids/p/pids.current", "30\n");
        write("u/v/pids.max", "max\n");
        assert_eq!(tasks_of(root.path(), &groups), Some(10));
    }

    #[test]
    fn a_firewall_that_tracks_nothing_limits_nothing() {
        assert_eq!(tracked("262144\n", "17\n"), 262_144);
        assert_eq!(tracked("262144\n", "0\n"), 0);
        assert_eq!(tracked("", ""), 0);
    }

    #[test]
    fn own_tasks_are_counted() {
        let Some(left) = own_tasks() else {
            let (limit, _) = getrlimit(Resource::RLIMIT_NPROC).expect("readable");
            return assert_eq!(limit, RLIM_INFINITY);
        };
        let (limit, _) = getrlimit(Resource::RLIMIT_NPROC).expect("readable");
        assert!(left < limit, "this thread is one");
    }

    #[test]
    fn this_machine_can_be_read() {
        let machine = read();
        assert!(machine.watches > 0);
        assert!(machine.cores >= 1);
        assert!(machine.descriptors >= 256);
        assert!(machine.port_range.0 < machine.port_range.1);
        assert_eq!(
            raise_descriptor_limit(),
            machine.descriptors,
            "raised once, raised for good"
        );
    }
}
