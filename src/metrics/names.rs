//! The closed lists of what is measured. The names are stable: gates, reports and `summary.json` use them.

use serde::{Deserialize, Serialize};

macro_rules! names {
    ($(#[$meta:meta])* $type:ident { $($(#[$doc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $type { $($(#[$doc])* $variant,)* }
        impl $type {
            /// Every variant, in the order of declaration (which is its index).
            pub const ALL: &'static [$type] = &[$($type::$variant,)*];
            /// The stable name.
            pub fn name(self) -> &'static str {
                match self { $($type::$variant => $name,)* }
            }
            /// The variant of a name.
            pub fn parse(name: &str) -> Option<$type> {
                match name { $($name => Some($type::$variant),)* _ => None }
            }
        }
    };
}

names! {
    /// What is timed. Recorded in microseconds, 1 µs to 60 s at three significant digits.
    Timer {
        /// Delivery at a subscriber, from the message's intended (scheduled) time.
        Latency = "latency",
        /// Delivery at a subscriber, from the actual send.
        Service = "service",
        /// Actual send minus scheduled time, of publishes and requests: the generator's own lateness.
        Lag = "lag",
        /// Request to reply, from the request's intended time.
        Rtt = "rtt",
        /// Request to reply, from the actual send.
        RttService = "rtt_service",
        /// Publish to its acknowledgement, from the intended time.
        Ack = "ack",
        /// Publish to its acknowledgement, from the actual send.
        AckService = "ack_service",
        /// Between the sending of the first and the last of the deliveries that one read of an event stream brought.
        Bunch = "bunch",
        /// Between the answer to a long poll and the next poll: nobody listens.
        Gap = "gap",
        /// Own ping to its pong.
        Ping = "ping",
        /// Last sign of life to the peer being declared dead by the heartbeat, or as it did not answer a poll.
        Detect = "detect",
        /// Loss of a connection to ready again.
        Reconnect = "reconnect",
        /// Name lookup.
        Dns = "dns",
        /// TCP connect.
        Tcp = "tcp",
        /// TLS handshake.
        Tls = "tls",
        /// WebSocket upgrade, request to accepted response.
        Upgrade = "upgrade",
        /// Handshake by polling answered to the conversation going on over a WebSocket.
        Switch = "switch",
        /// Upgraded to ready: on_open steps and subscriptions acknowledged.
        Ready = "ready",
        /// Delivery of a recovered message, from its intended time: the time away is in it.
        Recovery = "recovery",
        /// First attempt of an opening to ready over a lower transport of the group's than it began with.
        Fallback = "fallback",
        /// The whole opening, from its intended time to ready.
        Open = "open",
        /// Start of an opening minus its scheduled time.
        OpenLag = "open_lag",
        /// Beginning of a `slow` or `stall` fault on a connection, or its `vanish`, to the target ending it.
        Evicted = "evicted",
        /// Expiry of the token of an open connection to the target closing it.
        Expired = "expired",
        /// Loss of a connection to a subscriber's hearing of its will.
        Will = "will",
        /// Confirmation that the token of an open connection is revoked to the target closing it.
        Revoked = "revoked",
        /// A deploy's start to the end of a connection that was open then, and that the deploy cut.
        Drain = "drain",
        /// A connection cut by a deploy to ready again.
        CutOff = "cut_off",
    }
}

names! {
    /// What is counted.
    Counter {
        /// Connections started (TCP connect begun), reconnects included.
        Attempts = "attempts",
        /// Connections that became ready, reconnects included.
        Opened = "opened",
        /// Connections that became ready again after a loss.
        Reconnected = "reconnected",
        /// Reconnected with the answer that all they missed follows.
        Resumed = "resumed",
        /// Reconnected with the answer that what they missed is gone.
        StateLost = "state_lost",
        /// Connections that gave up reconnecting, or were still away when the run ended.
        GaveUp = "gave_up",
        /// Lost connections that a rule for their close code kept from coming back.
        Stopped = "stopped",
        /// Reconnected on another node of the target than before, as it tells them.
        Moved = "moved",
        /// Reconnected on the same node of the target as before.
        Stayed = "stayed",
        /// Connections that opened by polling: the target answered their handshake.
        Polled = "polled",
        /// Of these, those that went on over a WebSocket.
        Upgraded = "upgraded",
        /// Of these, those that stayed on polling as the target offers no WebSocket.
        StuckUnoffered = "stuck_unoffered",
        /// The same, as their upgrade was answered with something else.
        StuckRefused = "stuck_refused",
        /// The same, as their upgrade or its probe was not answered in time.
        StuckTimeout = "stuck_timeout",
        /// The same, as the connection of their upgrade failed or was lost.
        StuckFailed = "stuck_failed",
        /// Polls, posts and upgrades whose answer was that the target knows no such session.
        UnknownSession = "unknown_session",
        /// Tokens renewed: the target accepted the new one, by a message or by letting the connection in again.
        Renewed = "renewed",
        /// Renewals that the target did not accept in time, or whose connection was lost meanwhile or not let in again.
        RenewalFailed = "renewal_failed",
        /// Tokens that expired while their connection was open.
        Expiries = "expiries",
        /// Of these, connections that the target never closed for it: they were open to their end, or to the run's.
        Outlived = "outlived",
        /// Times that a connection went on to its group's next transport.
        StepsDown = "steps_down",
        /// Of these, because the target's answer was not what the transport needs, or it hung up.
        DownRefused = "down_refused",
        /// Of these, because there was no connection.
        DownUnreachable = "down_unreachable",
        /// Of these, because it was not ready in time.
        DownTimeout = "down_timeout",
        /// Of these, because its event stream said nothing.
        DownSilent = "down_silent",
        /// Times that a connection tried a higher transport than it was ready over last.
        Climbs = "climbs",
        /// Of these, those that were ready over a higher one then.
        Climbed = "climbed",
        /// Connections of groups with several transports that became ready over WebSocket, reconnects included.
        OverWebsocket = "over_websocket",
        /// The same over server-sent events.
        OverSse = "over_sse",
        /// The same over long polling.
        OverLongPoll = "over_long_poll",
        /// Connections of such groups, each once when the run ends, that were ready over WebSocket last.
        EndedWebsocket = "ended_websocket",
        /// The same over server-sent events.
        EndedSse = "ended_sse",
        /// The same over long polling.
        EndedLongPoll = "ended_long_poll",
        /// The same, that were never ready, or went down and were not since.
        EndedNowhere = "ended_nowhere",
        /// Tokens of open connections that a `revoke` fault has had revoked, and that was confirmed.
        Revocations = "revocations",
        /// Revocations that were not confirmed: refused, too late, or their connection ended otherwise before.
        RevocationFailed = "revocation_failed",
        /// Of those revoked, connections that the target never closed for it: they were open to their end, or to the run's.
        Unrevoked = "unrevoked",
        /// Connections replaced because their lifetime was over.
        Churned = "churned",
        /// Connections cut on purpose by a fault.
        Cut = "cut",
        /// Times that a `slow` or `stall` fault took hold of a connection, or that it vanished: those that the target ended
        /// meanwhile are timed as evicted.
        Afflicted = "afflicted",
        /// Connections open when a deploy began.
        Old = "old",
        /// Of these, those that ended during the deploy, and not by us.
        Severed = "severed",
        /// Of these, those that are ready again.
        Returned = "returned",
        /// Connections opened after a deploy began that ended during it, and not by us.
        CutAgain = "cut_again",
        /// Publishes due by the schedule.
        Offered = "offered",
        /// Publishes written.
        Sent = "sent",
        /// Publishes due while the connection could not take them (not ready, or its queue full).
        Dropped = "dropped",
        /// Publishes due that the end of the run or an interruption cut off.
        Cancelled = "cancelled",
        /// Publishes that the target acknowledged.
        Acked = "acked",
        /// Publishes that the target refused, in answer to them.
        Rejected = "rejected",
        /// Publishes that were to be acknowledged and never were: the connection was lost, or the run over.
        Unacked = "unacked",
        /// Deliveries that were refused by us: NACK.
        Nacked = "nacked",
        /// Messages that the target had kept from before the subscription, as it says itself.
        Retained = "retained",
        /// Connections with a will that were lost or ended without a goodbye.
        WillsOwed = "wills_owed",
        /// Their wills, as subscribers hear them.
        Wills = "wills",
        /// Messages written to a broker again, as it was lost, or refused them, before it had confirmed them.
        Resent = "resent",
        /// Messages that a broker confirmed and returned, as no queue took them.
        Unroutable = "unroutable",
        /// Stamped messages received by subscribers, duplicates included.
        Received = "received",
        /// Distinct stamped messages received: received − duplicated − indeterminate.
        Unique = "unique",
        /// Messages that subscribers should have received: unique + lost + missed.
        Expected = "expected",
        /// Expected, never received, while connected.
        Lost = "lost",
        /// Published while the subscriber was away and never received.
        Missed = "missed",
        /// Of the distinct ones: sent before the subscriber was ready again, and received after, by resuming.
        Recovered = "recovered",
        /// Received again.
        Duplicated = "duplicated",
        /// Deliveries of which the target says that it sends them again.
        Redelivered = "redelivered",
        /// Received after a later one of the same stream.
        Reordered = "reordered",
        /// Received too late or too early to tell whether new or again.
        Indeterminate = "indeterminate",
        /// Published while a subscriber was joining and not received: owed to it or not, nobody can tell; not in expected.
        Unaccounted = "unaccounted",
        /// Received without a subscription to its topic, or of a stream that nobody publishes.
        Misrouted = "misrouted",
        /// Received messages that carry no stamp.
        Unstamped = "unstamped",
        /// Requests due by the schedule.
        RequestsOffered = "requests_offered",
        /// Requests written.
        Requests = "requests",
        /// Requests due while the connection could not take them.
        RequestsDropped = "requests_dropped",
        /// Requests due that the end of the run cut off.
        RequestsCancelled = "requests_cancelled",
        /// Replies in time.
        Replies = "replies",
        /// Requests without a reply in time, or whose connection was lost.
        RequestTimeouts = "request_timeouts",
        /// Messages of the service's error type.
        Errors = "errors",
        /// Gaps in the service's own per-topic sequence numbers, in messages.
        ServiceGaps = "service_gaps",
        /// Pings sent.
        PingsSent = "pings_sent",
        /// Pings of the target answered.
        PingsAnswered = "pings_answered",
        /// Messages over the accepted size.
        Oversized = "oversized",
        /// Payload bytes sent, frames included.
        BytesSent = "bytes_sent",
        /// Payload bytes received, frames included.
        BytesReceived = "bytes_received",
        /// Of those that became ready, connections that agreed on permessage-deflate.
        Compressed = "compressed",
        /// Bytes of messages sent that were made smaller, as they were queued.
        DeflatedSent = "deflated_sent",
        /// Bytes of the same messages before.
        InflatedSent = "inflated_sent",
        /// Bytes of messages received that the target had made smaller, as they came.
        DeflatedReceived = "deflated_received",
        /// Bytes of the same messages after.
        InflatedReceived = "inflated_received",
        /// Values that did not fit a histogram's range.
        OutOfRange = "out_of_range",
    }
}

names! {
    /// Why an opening failed or a connection was lost, other than by a close code.
    Failure {
        /// Name not found.
        Dns = "dns",
        /// Connection refused.
        Refused = "refused",
        /// Host or network unreachable.
        Unreachable = "unreachable",
        /// A step of opening took too long, or this machine did not get to it before the run was over.
        Timeout = "timeout",
        /// No local port or address left.
        NoPort = "no_port",
        /// No descriptor left.
        NoDescriptor = "no_descriptor",
        /// Certificate or TLS protocol.
        Tls = "tls",
        /// The upgrade was answered with another status than 101 (counted by number too).
        Status = "status",
        /// The upgrade was answered by a redirect (counted by its status too), which is not followed.
        Redirect = "redirect",
        /// The proxy was not there, or did not give way to the target.
        Proxy = "proxy",
        /// The answer to the upgrade was not valid HTTP or lacked what RFC 6455 demands.
        Handshake = "handshake",
        /// Sec-WebSocket-Accept did not match.
        AcceptKey = "accept_key",
        /// A subprotocol was picked that was not offered, or none of those demanded.
        Subprotocol = "subprotocol",
        /// The answer to the upgrade accepted an extension that was not offered, or not in this way.
        Extension = "extension",
        /// The upgrade response was larger than accepted.
        HeaderTooLarge = "header_too_large",
        /// An `on_open` step's expectation or a subscription was not met in time, a header to be captured was not in the
        /// answer, or the target closed before.
        Step = "step",
        /// The protocol's greeting, or a subscription, was refused by the target.
        Denied = "denied",
        /// Connection reset (RST).
        Reset = "reset",
        /// The peer ended the TCP connection (FIN) without a Close frame.
        Eof = "eof",
        /// The peer broke the WebSocket protocol.
        Protocol = "protocol",
        /// A message was larger than accepted.
        TooLarge = "too_large",
        /// A message would have been larger than accepted once inflated.
        Bomb = "bomb",
        /// A message that was to be inflated could not be.
        Deflate = "deflate",
        /// The heartbeat declared the peer dead, or it did not answer a poll in time.
        Dead = "dead",
        /// The peer did not finish the close handshake in time.
        CloseTimeout = "close_timeout",
        /// Any other error of the operating system.
        Os = "os",
    }
}

impl Counter {
    /// Whether it counts bytes.
    pub fn is_bytes(self) -> bool {
        matches!(
            self,
            Counter::BytesSent
                | Counter::BytesReceived
                | Counter::DeflatedSent
                | Counter::InflatedSent
                | Counter::DeflatedReceived
                | Counter::InflatedReceived
        )
    }
}
