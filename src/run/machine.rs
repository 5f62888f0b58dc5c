//! What this machine allows, read in one place; the plan is compiled against it.

use crate::plan::Machine;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
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
    let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    Machine {
        cores: std::thread::available_parallelism().map_or(1, |n| n.get() as u32),
        descriptors: raise_descriptor_limit(),
        file_max: number(&file("/proc/sys/fs/file-max")).unwrap_or(0),
        port_range: range(&file("/proc/sys/net/ipv4/ip_local_port_range")).unwrap_or((0, 0)),
        memory_available: memory(&file("/proc/meminfo")).unwrap_or(0),
        somaxconn: number(&file("/proc/sys/net/core/somaxconn")).unwrap_or(0),
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
    fn this_machine_can_be_read() {
        let machine = read();
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
