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

/// What the wall clock shows at a moment of CLOCK_MONOTONIC, milliseconds since 1970, never too few: for what others compare with
/// theirs. (Held up between its two looks it says more: what is due by the wall is then due too soon, and nobody looks quicker.)
pub fn wall_ms_at(at: u64) -> u64 {
    let ahead = at as i64 - monotonic_ns() as i64;
    let then = read(Clock::CLOCK_REALTIME).saturating_add_signed(ahead);
    then.div_ceil(1_000_000)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_of_a_moment_is_never_said_too_low() {
        for ahead_us in [-70_300_i64, -900, 0, 100, 900, 1_999, 50_950] {
            let (wall, now) = (read(Clock::CLOCK_REALTIME), monotonic_ns());
            let ahead = ahead_us * 1_000;
            let told = wall_ms_at(now.saturating_add_signed(ahead)) * 1_000_000;
            assert!(told >= wall.saturating_add_signed(ahead), "{ahead_us}");
        }
    }
}
