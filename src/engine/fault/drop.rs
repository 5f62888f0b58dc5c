//! `drop`: a connection is cut from our side, and comes back by its group's policy.

use super::super::conn::{Intent, State};
use super::super::end::Cause;
use super::super::shard::Shard;
use crate::plan::How;
use crate::transport::socket;
use std::net::Shutdown;

impl Shard {
    /// Cuts a connection as if its network or its user had, for the run's fault with this number. False when it is not
    /// there to be cut.
    pub(super) fn cut(&mut self, c: usize, how: How, number: usize, now: u64) -> bool {
        if self.conns[c].state != State::Ready {
            return false;
        }
        // What has come by now came before the cut: it may be the peer's own goodbye. And a socket that is closed
        // with bytes unread ends in a reset, whatever was wanted.
        let generation = self.conns[c].generation;
        self.read(c, now, true);
        let conn = &mut self.conns[c];
        if conn.generation != generation || conn.state != State::Ready {
            return false;
        }
        // Away from here on, also while a close handshake is still under way.
        conn.intent = Intent::Cut;
        self.goes_away(c, now);
        if let How::Close(code) = how {
            self.close(c, code, Intent::Cut, now);
        } else {
            let besides = self.take_besides(c);
            if how == How::Reset {
                for stream in &besides {
                    let _ = socket::set_linger_zero(&stream.socket);
                }
            }
            if let Some(stream) = self.conns[c].stream.take() {
                // A socket that is broken already is gone all the same: nothing here can fail in a way that matters.
                match how {
                    How::Reset => drop(socket::set_linger_zero(&stream.socket)),
                    How::Vanish => self.vanish(c, stream, besides, number, now),
                    How::Fin | How::Close(_) => drop(stream.socket.shutdown(Shutdown::Write)),
                }
            }
            self.lost(c, Cause::Cut, now);
        }
        // Only now: what is found missing up to here is of before.
        self.resumes.cut(c, number);
        true
    }
}
