//! What a run costs this machine: memory and CPU of its own processes, and the kernel's memory for its sockets.
//!
//! Read from `/proc` by the coordinator, so that it takes no time from a shard's loop. What cannot be read is 0.

use super::progress::Progress;
use crate::metrics::Totals;
use crate::plan::Plan;
use crate::report::CostSample;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::iter;
use std::path::PathBuf;
use std::process;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// Processes whose memory is looked at in a second, on the average: a look walks the page tables of one, about
/// 0.3 ms for 20 MiB, and 120 processes at once would be noticed.
const LOOKS: usize = 16;

/// Watches on behalf of another, and keeps accounts of the cost. They are kept on a thread of their own: on a machine
/// that is busy a look may take seconds, in which the coordinator must listen to its shards.
pub struct Meter<'a, P> {
    watcher: &'a mut P,
    asks: mpsc::Sender<Ask>,
    accounts: Option<JoinHandle<Vec<CostSample>>>,
    processes: usize,
    seconds: usize,
    /// Whoever else looks once a second.
    also: Option<UnboundedSender<Duration>>,
}

/// Processes that others may join: a node that is restarted is another one. Those that ended stay, as what they used
/// has been used.
#[derive(Debug, Clone, Default)]
pub struct Processes {
    pids: Arc<Mutex<Vec<u32>>>,
    /// Where the one that serves now is named: it is read again at each look.
    file: Option<PathBuf>,
}

impl Processes {
    /// One more; each counts once.
    pub fn add(&self, pid: u32) {
        let mut all = self.pids.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.contains(&pid) {
            all.push(pid);
        }
    }

    /// Whoever is named in this file joins, also later: a service that is restarted is another process.
    pub fn follow(&mut self, file: PathBuf) {
        self.file = Some(file);
    }

    fn all(&self) -> Vec<u32> {
        let named = self.file.as_ref().map(fs::read_to_string);
        let named = named.and_then(|text| text.ok()?.trim().parse::<u32>().ok());
        if let Some(pid) = named.filter(|pid| *pid > 0) {
            self.add(pid);
        }
        let all = self.pids.lock().unwrap_or_else(PoisonError::into_inner);
        all.clone()
    }
}

/// What the accounts are told.
enum Ask {
    Placed { shard: u32, pid: u32 },
    Look { at: Duration, open: u64 },
}

struct Accounts {
    shards: BTreeMap<u32, u32>,
    gateway: Processes,
    before: Kernel,
    ticks: f64,
    /// A page, in bytes.
    page: u64,
    /// CPU seconds of each process when it was last seen: one that ended has not given them back.
    used: HashMap<u32, f64>,
}

/// The kernel's memory as far as connections take it, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Kernel {
    slab: u64,
    tables: u64,
    buffers: u64,
}

impl<'a, P: Progress> Meter<'a, P> {
    /// Begins the accounts, before anything connects; `gateway` are the processes of the embedded gateway, or the
    /// target's own where it is named.
    pub fn new(watcher: &'a mut P, gateway: Processes) -> Self {
        let (asks, asked) = mpsc::channel();
        let processes = gateway.all().len() + 1;
        let page = page_size();
        let accounts = Accounts {
            shards: BTreeMap::new(),
            gateway,
            before: kernel(page),
            ticks: ticks_per_second(),
            page,
            used: HashMap::new(),
        };
        let thread = thread::Builder::new().name("cost".into());
        Meter {
            watcher,
            asks,
            // Without a thread there are no accounts, which is no reason not to run.
            accounts: thread.spawn(move || accounts.keep(&asked)).ok(),
            processes,
            seconds: 0,
            also: None,
        }
    }

    /// Whoever else is to be told each second how long the run has lasted.
    pub fn also(&mut self, asks: Option<UnboundedSender<Duration>>) {
        self.also = asks;
    }

    /// The accounts: one sample for each look, in order.
    pub fn samples(self) -> Vec<CostSample> {
        let Meter { asks, accounts, .. } = self;
        // The end of the questions is the end of the accounts.
        drop(asks);
        let samples = accounts.and_then(|thread| thread.join().ok());
        samples.unwrap_or_default()
    }
}

impl<P: Progress> Progress for Meter<'_, P> {
    fn placed(&mut self, shard: u32, pid: u32) {
        self.processes += 1;
        let _ = self.asks.send(Ask::Placed { shard, pid });
        self.watcher.placed(shard, pid);
    }

    fn second(&mut self, plan: &Plan, elapsed: Duration, totals: &Totals) {
        self.watcher.second(plan, elapsed, totals);
        if let Some(also) = &self.also {
            let _ = also.send(elapsed);
        }
        if self.seconds.is_multiple_of(self.processes.div_ceil(LOOKS)) {
            let last = totals.timeline().last();
            let open = last.map_or(0, |second| second.open.iter().sum());
            let _ = self.asks.send(Ask::Look { at: elapsed, open });
        }
        self.seconds += 1;
    }

    fn note(&mut self, text: &str) {
        self.watcher.note(text);
    }
}

impl Accounts {
    fn keep(mut self, asked: &mpsc::Receiver<Ask>) -> Vec<CostSample> {
        let mut samples = Vec::new();
        while let Ok(ask) = asked.recv() {
            // Of looks that one before them held up only the last is still worth its while: what a process takes is
            // read now, and belongs to now.
            let mut wanted = None;
            for ask in iter::once(ask).chain(asked.try_iter()) {
                match ask {
                    Ask::Placed { shard, pid } => drop(self.shards.insert(shard, pid)),
                    Ask::Look { at, open } => wanted = Some((at, open)),
                }
            }
            if let Some((at, open)) = wanted {
                samples.push(self.look(at, open));
            }
        }
        samples
    }

    fn look(&mut self, at: Duration, open: u64) -> CostSample {
        let (ticks, used) = (self.ticks, &mut self.used);
        let mut all = |of: &mut dyn Iterator<Item = u32>| {
            of.fold((0, 0.0), |(memory, cpu), pid| {
                let last = used.entry(pid).or_default();
                *last = last.max(cpu_seconds(pid, ticks));
                (memory + pss(pid), cpu + *last)
            })
        };
        let (shards_memory, shards_cpu) = all(&mut self.shards.values().copied());
        let (gateway_memory, gateway_cpu) = all(&mut self.gateway.all().into_iter());
        let (coordinator_memory, coordinator_cpu) = all(&mut [process::id()].into_iter());
        CostSample {
            at: at.as_secs_f64(),
            open,
            shards_memory,
            gateway_memory,
            coordinator_memory,
            kernel_memory: kernel(self.page).beyond(&self.before),
            shards_cpu,
            gateway_cpu,
            coordinator_cpu,
        }
    }
}

impl Kernel {
    fn beyond(&self, before: &Kernel) -> u64 {
        self.slab.saturating_sub(before.slab)
            + self.tables.saturating_sub(before.tables)
            + self.buffers.saturating_sub(before.buffers)
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Memory of a process in bytes, what it shares counted in proportion; of another user's process, all that is resident.
fn pss(pid: u32) -> u64 {
    match kib(&read(&format!("/proc/{pid}/smaps_rollup")), "Pss:") {
        0 => kib(&read(&format!("/proc/{pid}/status")), "VmRSS:"),
        bytes => bytes,
    }
}

/// CPU seconds a process has used.
fn cpu_seconds(pid: u32, ticks: f64) -> f64 {
    used_ticks(&read(&format!("/proc/{pid}/stat"))) as f64 / ticks
}

fn kernel(page: u64) -> Kernel {
    let meminfo = read("/proc/meminfo");
    let sockets =
        ["/proc/net/sockstat", "/proc/net/sockstat6"].map(|path| buffer_pages(&read(path)));
    Kernel {
        slab: kib(&meminfo, "Slab:"),
        tables: kib(&meminfo, "PageTables:") + kib(&meminfo, "KernelStack:"),
        buffers: sockets.iter().sum::<u64>() * page,
    }
}

/// The value of a line in kB, in bytes.
fn kib(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let number = line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    number.unwrap_or(0) * 1024
}

/// User and system time of `/proc/PID/stat`, in ticks. The name before them may hold anything, blanks too.
fn used_ticks(stat: &str) -> u64 {
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    // State is field 3, so times 14 and 15 are 11 and 12 after it.
    let times = rest.split_ascii_whitespace().skip(11).take(2);
    times.filter_map(|time| time.parse::<u64>().ok()).sum()
}

/// Pages that TCP's buffers take, of `/proc/net/sockstat`.
fn buffer_pages(sockstat: &str) -> u64 {
    let tcp = sockstat.lines().find_map(|line| line.strip_prefix("TCP:"));
    let mut words = tcp.unwrap_or("").split_ascii_whitespace();
    words.find(|word| *word == "mem");
    words
        .next()
        .and_then(|pages| pages.parse().ok())
        .unwrap_or(0)
}

fn ticks_per_second() -> f64 {
    match nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK) {
        Ok(Some(ticks)) if ticks > 0 => ticks as f64,
        _ => 100.0,
    }
}

fn page_size() -> u64 {
    match nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE) {
        Ok(Some(bytes)) if bytes > 0 => bytes.cast_unsigned(),
        _ => 4096,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_understood() {
        let rollup = "55d0-7ffc ---p 00000000 00:00 0    [rollup]\nRss:      12348 kB\nPss:       7776 kB\nPss_Dirty: 1 kB\n";
        assert_eq!(kib(rollup, "Pss:"), 7776 * 1024);
        let stat = "77 (a ) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14";
        assert_eq!(used_ticks(stat), 11 + 12);
        let sockstat =
            "sockets: used 9\nTCP: inuse 5 orphan 0 tw 1 alloc 7 mem 42\nUDP: inuse 1 mem 3\n";
        assert_eq!(buffer_pages(sockstat), 42);
        for nothing in ["", "Pss:", "Pss: x kB", "TCP:", "TCP: mem", "1 (x)"] {
            assert_eq!(kib(nothing, "Pss:"), 0);
            assert_eq!(used_ticks(nothing), 0);
            assert_eq!(buffer_pages(nothing), 0);
        }
    }

    #[test]
    fn this_process_has_a_cost() {
        let pid = process::id();
        assert!(pss(pid) > 100 * 1024);
        let before = cpu_seconds(pid, ticks_per_second());
        // Until a tick has passed on this thread's account.
        while cpu_seconds(pid, ticks_per_second()) <= before {}
        assert!(kernel(page_size()).slab > 0);
    }

    #[test]
    fn cpu_of_a_process_that_ended_is_not_forgotten() {
        let gone = 1 << 30;
        let mut accounts = accounts();
        accounts.shards = BTreeMap::from([(0, gone), (1, process::id())]);
        accounts.used.insert(gone, 12.5);
        let sample = accounts.look(Duration::ZERO, 0);
        let own = cpu_seconds(process::id(), accounts.ticks);
        assert!(sample.shards_cpu >= 12.5 && sample.shards_cpu <= 12.5 + own);
        assert!(sample.coordinator_cpu <= own);
    }

    fn accounts() -> Accounts {
        Accounts {
            shards: BTreeMap::new(),
            gateway: Processes::default(),
            before: Kernel::default(),
            ticks: 100.0,
            page: 4096,
            used: HashMap::new(),
        }
    }

    #[test]
    fn who_is_named_in_a_file_later_joins() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("pid");
        let mut processes = Processes::default();
        processes.add(7);
        processes.follow(file.clone());
        assert_eq!(processes.all(), [7], "it is not there yet");
        for (text, all) in [
            ("8\n", vec![7, 8]),
            ("x", vec![7, 8]),
            ("0", vec![7, 8]),
            ("8", vec![7, 8]),
            (" 9 ", vec![7, 8, 9]),
        ] {
            std::fs::write(&file, text).expect("written");
            assert_eq!(processes.all(), all, "{text}");
        }
    }

    #[test]
    fn looks_that_were_held_up_are_one() {
        let accounts = accounts();
        let (asks, asked) = mpsc::channel();
        for (second, open) in [(1, 10), (2, 20), (3, 30)] {
            let at = Duration::from_secs(second);
            asks.send(Ask::Look { at, open }).expect("open");
        }
        let (shard, pid) = (0, process::id());
        asks.send(Ask::Placed { shard, pid }).expect("open");
        drop(asks);
        let samples = accounts.keep(&asked);
        let looks: Vec<_> = samples.iter().map(|s| (s.at, s.open)).collect();
        assert_eq!(looks, [(3.0, 30)]);
        assert!(samples[0].shards_memory > 0);
    }

    #[test]
    fn only_what_came_since_the_beginning_counts() {
        let kernel = |slab, tables, buffers| Kernel {
            slab,
            tables,
            buffers,
        };
        let before = kernel(100, 50, 7);
        assert_eq!(kernel(300, 60, 9).beyond(&before), 212);
        assert_eq!(kernel(10, 60, 7).beyond(&before), 10);
    }
}
