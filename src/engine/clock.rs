//! The shard's clock: monotonic nanoseconds from the run's start, and the timer that wakes its loop.

use mio::{Interest, Registry, Token, unix::SourceFd};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::{ClockId as Clock, clock_gettime};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

fn read(clock: Clock) -> u64 {
    clock_gettime(clock).map_or(0, |t| {
        t.tv_sec() as u64 * 1_000_000_000 + t.tv_nsec() as u64
    })
}

/// CLOCK_MONOTONIC in nanoseconds: one clock for every process of a machine.
pub fn monotonic_ns() -> u64 {
    read(Clock::CLOCK_MONOTONIC)
}

/// The wall clock, milliseconds since 1970: for what others compare with theirs, never for measuring.
pub fn wall_ms() -> u64 {
    read(Clock::CLOCK_REALTIME).div_ceil(1_000_000)
}

/// CPU time this process has used, nanoseconds.
pub fn cpu_ns() -> u64 {
    read(Clock::CLOCK_PROCESS_CPUTIME_ID)
}

/// Wakes an epoll loop at a moment, to a few tens of microseconds. Tokio's timers round to
/// milliseconds, which in a load generator would be reported as latency.
pub struct Alarm {
    timer: TimerFd,
    armed: Option<u64>,
}

impl Alarm {
    /// An unarmed alarm, registered under `token`.
    pub fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let timer = TimerFd::new(
            ClockId::CLOCK_MONOTONIC,
            TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC,
        )?;
        registry.register(
            &mut SourceFd(&timer.as_fd().as_raw_fd()),
            token,
            Interest::READABLE,
        )?;
        Ok(Alarm { timer, armed: None })
    }

    /// Arms it for a moment on [`monotonic_ns`]'s scale; a moment that is past fires at once.
    pub fn arm(&mut self, at: u64) -> io::Result<()> {
        if self.armed == Some(at) {
            return Ok(());
        }
        let spec = TimeSpec::new((at / 1_000_000_000) as i64, (at % 1_000_000_000) as i64);
        self.timer.set(
            Expiration::OneShot(spec),
            TimerSetTimeFlags::TFD_TIMER_ABSTIME,
        )?;
        self.armed = Some(at);
        Ok(())
    }

    /// To be called when it fired, so that the same moment can be armed again.
    pub fn fired(&mut self) {
        self.armed = None;
    }
}
