//! The system calls, each as thin as it can be.

use libc::{c_int, epoll_event};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// `IP_LOCAL_PORT_RANGE` of linux/in.h, since Linux 6.3; not in libc.
const IP_LOCAL_PORT_RANGE: c_int = 51;

fn check(result: c_int) -> io::Result<c_int> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        value => Ok(value),
    }
}

/// `None` where it would have to wait.
fn check_len(result: isize) -> io::Result<Option<usize>> {
    if result >= 0 {
        return Ok(Some(result as usize));
    }
    match io::Error::last_os_error() {
        e if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
        e => Err(e),
    }
}

/// An epoll instance.
pub struct Epoll(OwnedFd);

impl Epoll {
    /// A new one.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers; the descriptor is new and owned from here on.
        unsafe {
            let fd = check(libc::epoll_create1(libc::EPOLL_CLOEXEC))?;
            Ok(Epoll(OwnedFd::from_raw_fd(fd)))
        }
    }

    fn control(&self, what: c_int, fd: c_int, events: c_int, token: usize) -> io::Result<()> {
        let mut event = epoll_event {
            events: events as u32,
            u64: token as u64,
        };
        // SAFETY: the pointer is to a local that outlives the call.
        check(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), what, fd, &mut event) }).map(drop)
    }

    /// Watches a descriptor.
    pub fn add(&self, fd: c_int, events: c_int, token: usize) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, events, token)
    }

    /// Watches it for something else.
    pub fn modify(&self, fd: c_int, events: c_int, token: usize) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, events, token)
    }

    /// Waits for events, for good or not at all.
    pub fn wait(&self, events: &mut [epoll_event], block: bool) -> io::Result<usize> {
        let timeout = if block { -1 } else { 0 };
        // SAFETY: the pointer is to memory that outlives the call, of the length given.
        let n = unsafe {
            libc::epoll_wait(
                self.0.as_raw_fd(),
                events.as_mut_ptr(),
                events.len() as c_int,
                timeout,
            )
        };
        match check(n) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(0),
            other => Ok(other? as usize),
        }
    }
}

/// The token of an [`Alarm`].
pub const ALARM: usize = usize::MAX;

/// Wakes an epoll loop at a moment. Set once a moment: a timeout of each wait would be set anew with each wait, which costs
/// more than the rest of it, on virtual machines above all.
pub struct Alarm {
    timer: OwnedFd,
    set_for: u64,
}

impl Alarm {
    /// One that is not set yet, under [`ALARM`].
    pub fn new(epoll: &Epoll) -> io::Result<Self> {
        // SAFETY: no pointers; the descriptor is new and owned from here on.
        let timer = unsafe {
            let fd = check(libc::timerfd_create(
                libc::CLOCK_MONOTONIC,
                libc::TFD_NONBLOCK,
            ))?;
            OwnedFd::from_raw_fd(fd)
        };
        // On an edge, so that nobody has to read it.
        epoll.add(timer.as_raw_fd(), libc::EPOLLIN | libc::EPOLLET, ALARM)?;
        Ok(Alarm { timer, set_for: 0 })
    }

    /// Sets it; true if the moment is still to come, so that it pays to wait.
    pub fn set(&mut self, at_ns: u64, now: u64) -> io::Result<bool> {
        if at_ns <= now {
            return Ok(false);
        }
        if self.set_for != at_ns {
            let time = |ns: u64| libc::timespec {
                tv_sec: (ns / 1_000_000_000) as i64,
                tv_nsec: (ns % 1_000_000_000) as i64,
            };
            let spec = libc::itimerspec {
                it_interval: time(0),
                it_value: time(at_ns),
            };
            let fd = self.timer.as_raw_fd();
            // SAFETY: the pointer is to a local that outlives the call; the old value is not asked for.
            check(unsafe {
                libc::timerfd_settime(fd, libc::TFD_TIMER_ABSTIME, &spec, std::ptr::null_mut())
            })?;
            self.set_for = at_ns;
        }
        Ok(true)
    }
}

/// Room for a wait's events.
pub fn events(n: usize) -> Vec<epoll_event> {
    vec![epoll_event { events: 0, u64: 0 }; n]
}

fn set_option<T>(fd: c_int, level: c_int, name: c_int, value: T) -> io::Result<()> {
    // SAFETY: the pointer is to a local that outlives the call, of the size given.
    let result = unsafe {
        libc::setsockopt(
            fd,
            level,
            name,
            (&raw const value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    check(result).map(drop)
}

fn address(ip: Ipv4Addr, port: u16) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from(ip).to_be(),
        },
        sin_zero: [0; 8],
    }
}

fn socket() -> io::Result<c_int> {
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: no pointers.
    let fd = check(unsafe { libc::socket(libc::AF_INET, kind, 0) })?;
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1 as c_int)?;
    Ok(fd)
}

/// Listens; accepted sockets take after this one in TCP_NODELAY.
pub fn listen(at: SocketAddrV4) -> io::Result<c_int> {
    let fd = socket()?;
    set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1 as c_int)?;
    let address = address(*at.ip(), at.port());
    let size = size_of_val(&address) as libc::socklen_t;
    // SAFETY: the pointer is to a local that outlives the calls, of the size given.
    unsafe {
        check(libc::bind(fd, (&raw const address).cast(), size))?;
        // The kernel caps it at net.core.somaxconn.
        check(libc::listen(fd, c_int::MAX))?;
    }
    Ok(fd)
}

/// The next connection that waits to be accepted.
pub fn accept(listener: c_int) -> io::Result<Option<c_int>> {
    let (none, flags) = (
        std::ptr::null_mut(),
        libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
    );
    // SAFETY: the peer's address is not asked for.
    let fd = unsafe { libc::accept4(listener, none, std::ptr::null_mut(), flags) };
    Ok(check_len(fd as isize)?.map(|fd| fd as c_int))
}

/// Starts to connect; it is writable when it is there or has failed.
///
/// Any port of the range is taken at once: by default the kernel tries those of one parity first, and searches long for each
/// further one.
pub fn connect(to: SocketAddrV4, source: Option<Ipv4Addr>) -> io::Result<c_int> {
    let fd = socket()?;
    // Older kernels refuse this, and are merely slower.
    let _ = set_option(
        fd,
        libc::IPPROTO_IP,
        IP_LOCAL_PORT_RANGE,
        0xffff_u32 << 16 | 1024,
    );
    if let Some(source) = source {
        set_option(
            fd,
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            1 as c_int,
        )?;
        let address = address(source, 0);
        // SAFETY: the pointer is to a local that outlives the call, of the size given.
        check(unsafe {
            libc::bind(
                fd,
                (&raw const address).cast(),
                size_of_val(&address) as u32,
            )
        })?;
    }
    let address = address(*to.ip(), to.port());
    // SAFETY: as above.
    let result = unsafe {
        libc::connect(
            fd,
            (&raw const address).cast(),
            size_of_val(&address) as u32,
        )
    };
    match check(result) {
        Err(e) if e.raw_os_error() != Some(libc::EINPROGRESS) => Err(e),
        _ => Ok(fd),
    }
}

/// Reads what there is; 0 at the end, `None` where nothing is there yet.
pub fn receive(fd: c_int, into: &mut [u8]) -> io::Result<Option<usize>> {
    // SAFETY: the pointer is to a buffer of the length given.
    check_len(unsafe { libc::recv(fd, into.as_mut_ptr().cast(), into.len(), 0) })
}

/// Writes what the socket takes, which may be nothing.
pub fn send(fd: c_int, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the pointer is to a buffer of the length given.
    let n = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) };
    Ok(check_len(n)?.unwrap_or(0))
}

/// Closes a descriptor.
pub fn close(fd: c_int) {
    // SAFETY: whoever calls this owns the descriptor and forgets it.
    unsafe { libc::close(fd) };
}

/// CLOCK_MONOTONIC, nanoseconds.
pub fn now_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a local that outlives the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// CPU time of this process so far, seconds: in user mode and in the kernel.
pub fn cpu_seconds() -> (f64, f64) {
    // SAFETY: all zeros is a valid rusage, and the pointer is to a local that outlives the call.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    (seconds(usage.ru_utime), seconds(usage.ru_stime))
}

/// Memory of this process, its share of what it shares included (Pss), bytes.
pub fn pss_bytes() -> io::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup")?;
    let pss = text.lines().find_map(|line| {
        let kib = line.strip_prefix("Pss:")?.trim().strip_suffix("kB")?;
        kib.trim().parse::<u64>().ok()
    });
    Ok(pss.unwrap_or(0) * 1024)
}

/// Raises the limit of open descriptors as far as this process may.
pub fn raise_descriptor_limit() {
    // SAFETY: the pointer is to a local that outlives the calls.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}

/// A descriptor that becomes readable on SIGTERM or SIGINT, which no longer end the process.
pub fn termination() -> io::Result<c_int> {
    // SAFETY: the set is a local that is initialised before it is used.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGTERM);
        libc::sigaddset(&mut set, libc::SIGINT);
        check(libc::sigprocmask(
            libc::SIG_BLOCK,
            &set,
            std::ptr::null_mut(),
        ))?;
        check(libc::signalfd(-1, &set, libc::SFD_CLOEXEC))
    }
}

/// Makes a child that gets SIGTERM when this process ends; `None` in the child. Only before any thread is started.
pub fn fork() -> io::Result<Option<c_int>> {
    // SAFETY: there is one thread, so the child may do whatever the parent could.
    match check(unsafe { libc::fork() })? {
        0 => {
            // SAFETY: no pointers.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) };
            Ok(None)
        }
        child => Ok(Some(child)),
    }
}

/// Asks a child to end and waits until it has.
pub fn end_child(child: c_int) {
    // SAFETY: no pointers but null.
    unsafe {
        libc::kill(child, libc::SIGTERM);
        libc::waitpid(child, std::ptr::null_mut(), 0);
    }
}
