//! What goes out of a connection: queued messages, and what tungstenite says by itself. It is gathered on
//! the bench and written at once; what the socket does not take waits with the connection.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::super::bench::Bench;
use super::super::client::Next;
use super::super::socket::Socket;
use super::super::tongue::Tongue;
use super::{Connection, End, Phase, WRITE_BUFFER};
use crate::protocol::Outgoing;

/// Messages written in one poll, at most.
const WRITES: usize = 64;
impl<S: Socket> Connection<S> {
    /// Writes what is queued. True when there is more and the socket would take it.
    pub(super) fn write(
        &mut self,
        context: &mut Context<'_>,
        bench: &mut Bench,
    ) -> Result<bool, End> {
        // What reading made tungstenite say comes first, and whatever waited longer.
        self.flush(context, bench)?;
        self.send(context, bench)?;
        let mut written = 0;
        let mut more = false;
        while self.phase == Phase::Open && !self.blocked && !more {
            match self.client.next(Instant::now) {
                next @ (Next::Write(_) | Next::Say(_)) => {
                    written += 1;
                    bench.messages_out += 1;
                    more = written >= WRITES;
                    match (next, self.tongue()) {
                        (Next::Write(frame), Some(tongue)) => {
                            if let Some(close) = tongue.tell(&frame, &mut bench.words) {
                                self.client.close(close);
                            }
                            bench.put_words();
                        }
                        (Next::Write(frame) | Next::Say(frame), _) => {
                            bench.output.extend_from_slice(frame.bytes());
                        }
                        _ => {}
                    }
                    if bench.output.len() >= WRITE_BUFFER {
                        self.send(context, bench)?;
                    }
                }
                Next::Wait(until) => {
                    self.timer.times().message = Some(until);
                    break;
                }
                Next::Close(close) => {
                    self.in_own_words(bench, |tongue, out| tongue.farewell(close.code, out));
                    self.close(close, context, bench)?;
                }
                Next::Nothing => break,
            }
        }
        // Closing must not wait for a slow reader to read what it will never get.
        if self.blocked
            && self.phase == Phase::Open
            && let Some(close) = self.client.closing_at_once()
        {
            self.close(close, context, bench)?;
        }
        self.flush(context, bench)?;
        self.send(context, bench)?;
        if self.phase == Phase::Over && !self.blocked {
            return Err(End::Done);
        }
        if self.phase == (Phase::Broken { shut: false }) && !self.blocked {
            self.phase = Phase::Broken { shut: true };
        }
        if self.phase == (Phase::Broken { shut: true })
            && let Poll::Ready(Err(_)) = Pin::new(&mut self.socket).poll_shutdown(context)
        {
            return Err(End::Done);
        }
        Ok(more)
    }

    /// Has the tongue say something that nobody asked for. A client that is not reading what it is owed already is not told.
    pub(super) fn in_own_words(
        &mut self,
        bench: &mut Bench,
        say: impl FnOnce(&mut Tongue, &mut Outgoing),
    ) {
        if self.blocked {
            return;
        }
        let Some(tongue) = self.tongue() else {
            return;
        };
        say(tongue, &mut bench.words);
        bench.put_words();
    }

    /// Hands a control message to the WebSocket layer.
    pub(super) fn put(
        &mut self,
        message: Message,
        context: &mut Context<'_>,
        bench: &mut Bench,
    ) -> Result<(), End> {
        let (websocket, mut io) = self.parts(context, bench);
        let result = websocket.write(&mut io, message);
        self.settle(result)
    }

    /// Has the WebSocket layer say what it has to say by itself: pongs, and the answer to a Close.
    pub(super) fn flush(
        &mut self,
        context: &mut Context<'_>,
        bench: &mut Bench,
    ) -> Result<(), End> {
        if let Phase::Over | Phase::Gone | Phase::Broken { .. } = self.phase {
            return Ok(());
        }
        let (websocket, mut io) = self.parts(context, bench);
        let result = websocket.flush(&mut io);
        self.settle(result)
    }

    fn settle(&mut self, result: Result<(), Error>) -> Result<(), End> {
        match result {
            Ok(()) => Ok(()),
            Err(Error::ConnectionClosed) => {
                self.phase = Phase::Over;
                Ok(())
            }
            Err(_) => Err(End::Done),
        }
    }

    /// Writes what waits, oldest first, as far as the socket takes it.
    fn send(&mut self, context: &mut Context<'_>, bench: &mut Bench) -> Result<(), End> {
        if !self.blocked && bench.output.is_empty() {
            return Ok(());
        }
        if let Some(press) = self.rare.as_mut().and_then(|rare| rare.press.as_mut()) {
            press.smaller(&mut bench.output);
        }
        let waiting = !self.unsent.is_empty();
        if waiting {
            self.unsent.append(&mut bench.output);
        }
        let mut sent = 0;
        let all = if waiting { &self.unsent } else { &bench.output };
        while sent < all.len() {
            match Pin::new(&mut self.socket).poll_write(context, &all[sent..]) {
                Poll::Ready(Ok(0) | Err(_)) => return Err(End::Done),
                Poll::Ready(Ok(count)) => sent += count,
                Poll::Pending => break,
            }
        }
        let flushed = match Pin::new(&mut self.socket).poll_flush(context) {
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(_)) => return Err(End::Done),
            Poll::Pending => false,
        };
        self.blocked = sent < all.len() || !flushed;
        if sent == all.len() {
            self.unsent = Vec::new();
        } else if waiting {
            self.unsent.drain(..sent);
        } else {
            self.unsent = all[sent..].to_vec();
        }
        bench.output.clear();
        Ok(())
    }
}
