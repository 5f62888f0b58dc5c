//! Publishes that are not acknowledged yet.
//!
//! Packet identifiers are handed out in turn, by a serial number that never repeats: so those in use lie in order, and each is
//! found without a walk.

use super::config::Version;
use super::packet::{Ack, Packet, Step};
use super::property::Properties;
use super::reason;
use crate::protocol::session::{Form, Outgoing};
use std::collections::VecDeque;

/// How many packet identifiers there are: 1 to 65,535.
const IDS: u64 = 65_535;

/// Bytes of one connection that are kept to be sent again, at most: a server that acknowledges nothing does not grow us.
const MOST_KEPT: usize = 16 * 1024 * 1024;

/// Buffers that are kept for the next publish.
const SPARES: usize = 16;

/// How far a publish is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// QoS 1: PUBACK is due.
    Once,
    /// QoS 2: PUBREC is due.
    Twice,
    /// QoS 2: PUBREL was sent, PUBCOMP is due.
    Released,
}

#[derive(Debug)]
struct Flight {
    serial: u64,
    stage: Stage,
    /// The packet as it is sent again; empty where that never happens.
    packet: Vec<u8>,
}

/// Those of one session, oldest first, and what SUBSCRIBE packets wait for.
#[derive(Debug, Default)]
pub struct Flights {
    queue: VecDeque<Flight>,
    /// So many at the end were sent on a connection of before, and not on this one.
    again: usize,
    /// Serials of SUBSCRIBE packets without an answer, and the place of what they ask for.
    asked: VecDeque<(u64, u32)>,
    next: u64,
    kept: usize,
    spare: Vec<Vec<u8>>,
}

/// The packet identifier of a serial number.
fn id_of(serial: u64) -> u16 {
    (serial % IDS) as u16 + 1
}

/// Where, in a queue ordered by serial numbers below `next`, the one of this packet identifier is.
fn find<T>(
    queue: &VecDeque<T>,
    serial_of: impl Fn(&T) -> u64,
    id: u16,
    next: u64,
) -> Option<usize> {
    let oldest = serial_of(queue.front()?);
    let last = next.checked_sub(1)?;
    let back = (u64::from(id_of(last)) + IDS - u64::from(id)) % IDS;
    let mut serial = last.checked_sub(back)?;
    while serial >= oldest {
        if let Ok(at) = queue.binary_search_by_key(&serial, &serial_of) {
            return Some(at);
        }
        serial = serial.checked_sub(IDS)?;
    }
    None
}

impl Flights {
    /// Whether a new one may follow: the other side allows so many, and those of before went out.
    pub fn has_room(&self, most: usize) -> bool {
        self.again == 0
            && self.queue.len() < most
            && self.kept < MOST_KEPT
            && self.queue.len() + self.asked.len() < IDS as usize
    }

    fn serial(&mut self) -> u64 {
        loop {
            let serial = self.next;
            // Nearly never in use: the oldest would have waited for 65,535 others.
            let id = id_of(serial);
            let used = self.place(id).is_some()
                || find(&self.asked, |(serial, _)| *serial, id, serial).is_some();
            self.next += 1;
            if !used {
                return serial;
            }
        }
    }

    fn place(&self, id: u16) -> Option<usize> {
        find(&self.queue, |flight| flight.serial, id, self.next)
    }

    /// One more, for which there has to be room: its number, which never repeats, and its packet identifier.
    pub fn take_off(&mut self, stage: Stage) -> (u64, u16) {
        let serial = self.serial();
        let packet = self.spare.pop().unwrap_or_default();
        self.queue.push_back(Flight {
            serial,
            stage,
            packet,
        });
        (serial, id_of(serial))
    }

    /// The last one is sent again as this writes it.
    pub fn keep_last(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(flight) = self.queue.back_mut() {
            write(&mut flight.packet);
            self.kept += flight.packet.len();
        }
    }

    /// The last so many never left.
    pub fn forget_last(&mut self, count: usize) {
        for _ in 0..count {
            self.land(self.queue.len().wrapping_sub(1));
        }
    }

    /// How far the one of this packet identifier is; for [`Flights::land`] and [`Flights::release`].
    pub fn stage(&self, id: u16) -> Option<(usize, Stage)> {
        let at = self.place(id)?;
        Some((at, self.queue[at].stage))
    }

    /// It is done: its number.
    pub fn land(&mut self, at: usize) -> Option<u64> {
        if at >= self.queue.len().saturating_sub(self.again) {
            self.again = self.again.saturating_sub(1);
        }
        let flight = self.queue.remove(at)?;
        self.recycle(flight.packet);
        Some(flight.serial)
    }

    /// Its receipt was heard of: what is left of it is a PUBREL.
    pub fn release(&mut self, at: usize) {
        if let Some(flight) = self.queue.get_mut(at) {
            flight.stage = Stage::Released;
            let packet = std::mem::take(&mut flight.packet);
            self.recycle(packet);
        }
    }

    fn recycle(&mut self, mut packet: Vec<u8>) {
        self.kept = self.kept.saturating_sub(packet.len());
        if packet.capacity() > 0 && self.spare.len() < SPARES {
            packet.clear();
            self.spare.push(packet);
        }
    }

    /// Nobody waits for anything any more.
    pub fn clear(&mut self) {
        self.queue.clear();
        self.again = 0;
        self.kept = 0;
    }

    /// The session goes on on another connection: all are to be sent again.
    pub fn send_again(&mut self) {
        self.again = self.queue.len();
    }

    /// Appends those that are to be sent again, in order, as long as fewer than `most` wait for an answer.
    pub fn pump(&mut self, most: usize, version: Version, out: &mut Outgoing) {
        while self.again > 0 && self.queue.len() - self.again < most {
            let flight = &self.queue[self.queue.len() - self.again];
            self.again -= 1;
            match flight.stage {
                Stage::Once | Stage::Twice => out.buffer().extend_from_slice(&flight.packet),
                Stage::Released => {
                    let release = Packet::Ack(Ack {
                        step: Step::Release,
                        id: id_of(flight.serial),
                        reason: reason::SUCCESS,
                        properties: Properties::default(),
                    });
                    release.encode(version, out.buffer());
                }
            }
            out.seal(Form::Binary);
        }
    }

    /// A SUBSCRIBE for a place: its packet identifier; `None` when all are in use.
    pub fn ask(&mut self, place: u32) -> Option<u16> {
        if self.queue.len() + self.asked.len() >= IDS as usize {
            return None;
        }
        let serial = self.serial();
        self.asked.push_back((serial, place));
        Some(id_of(serial))
    }

    /// It is answered: the place that was asked for.
    pub fn answered(&mut self, id: u16) -> Option<u32> {
        let at = find(&self.asked, |(serial, _)| *serial, id, self.next)?;
        self.asked.remove(at).map(|(_, place)| place)
    }

    /// The SUBSCRIBE packets of a connection that is gone are answered by nobody. True if there were any.
    pub fn forget_asked(&mut self) -> bool {
        let some = !self.asked.is_empty();
        self.asked = VecDeque::new();
        some
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_handed_out_in_turn_and_never_twice() {
        let mut flights = Flights::default();
        let (first, stuck) = flights.take_off(Stage::Once);
        assert_eq!((first, stuck), (0, 1));
        assert_eq!(flights.ask(7), Some(2));
        // Round once, with two in use all the time.
        for _ in 0..70_000 {
            let (serial, id) = flights.take_off(Stage::Once);
            assert!(id > 2 || serial == 0, "{id} is in use");
            let (at, _) = flights.stage(id).unwrap();
            assert_eq!(flights.land(at), Some(serial));
        }
        assert_eq!(flights.stage(stuck), Some((0, Stage::Once)));
        assert_eq!(flights.answered(2), Some(7));
        assert_eq!(flights.answered(2), None);
        assert_eq!(flights.land(0), Some(0));
        assert!(flights.queue.is_empty() && flights.stage(stuck).is_none());
    }

    #[test]
    fn all_identifiers_can_be_in_use() {
        let mut flights = Flights::default();
        for _ in 0..IDS {
            assert!(flights.has_room(usize::MAX));
            flights.take_off(Stage::Once);
        }
        assert!(!flights.has_room(usize::MAX));
        assert_eq!(flights.ask(0), None);
        // In an order that is as bad as can be.
        for id in (1..=65_535).rev() {
            let (at, _) = flights.stage(id).unwrap();
            assert_eq!(flights.land(at), Some(u64::from(id) - 1));
        }
        assert!(flights.has_room(1));
    }
}
