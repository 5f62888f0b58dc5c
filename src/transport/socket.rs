//! TCP sockets: dialled without waiting, from a chosen address, ended as wanted.

use mio::net::TcpStream;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// `IP_LOCAL_PORT_RANGE` of linux/in.h, since Linux 6.3; not in libc yet.
const IP_LOCAL_PORT_RANGE: libc::c_int = 51;

/// 1024 to 65535, as (upper << 16 | lower).
static PORTS: u32 = 0xffff << 16 | 1024;

/// Why a socket failed, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SocketFailure {
    /// Nobody listens.
    Refused,
    /// Host or network unreachable.
    Unreachable,
    /// Connection reset, or written to after it was.
    Reset,
    /// The kernel gave up waiting.
    Timeout,
    /// No local port or address left.
    NoPort,
    /// No descriptor left.
    NoDescriptor,
    /// Anything else.
    Os,
}

/// Starts a connection; it is there, or has failed, when the stream becomes writable ([`connected`]).
///
/// With a source the port is chosen at connect, per destination, so that one source has all of its ports for each target.
///
/// # Errors
/// What the kernel says at once: no descriptor, no port, unreachable, sometimes refused; see [`classify`].
pub fn connect(target: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    connect_with(target, source, None)
}

/// The same, with a receive buffer of so many bytes from the first byte on: set later, what the peer was told of the old
/// one would stand.
///
/// # Errors
/// As of [`connect`].
pub fn connect_with(
    target: SocketAddr,
    source: Option<IpAddr>,
    receive_buffer: Option<u32>,
) -> io::Result<TcpStream> {
    let socket = Socket::new(
        Domain::for_address(target),
        // In the type, as a system call of its own for each connection would show.
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    socket.set_tcp_nodelay(true)?;
    choose_ports_evenly(&socket);
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes as usize)?;
    }
    if let Some(source) = source {
        // Not on every kernel; without it a source has one port for all targets together, which may well do.
        let _ = nix::sys::socket::setsockopt(
            &socket,
            nix::sys::socket::sockopt::IpBindAddressNoPort,
            &true,
        );
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    match socket.connect(&target.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}

/// How a connection that was started stands: `Ok(false)` is not yet.
///
/// # Errors
/// Why it failed; see [`classify`].
pub fn connected(stream: &TcpStream) -> io::Result<bool> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes closing the stream send RST instead of FIN, and drop what is not sent yet.
///
/// # Errors
/// Of the socket option; none is known on an open socket.
pub fn set_linger_zero(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).set_linger(Some(Duration::ZERO))
}

/// What the peer's kernel has taken of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outgoing {
    /// Bytes that it acknowledged since the stream began.
    pub acknowledged: u64,
    /// Whether there are more that it has not.
    pub waiting: bool,
}

/// How far a stream's bytes came; `None` where the kernel does not say (before Linux 4.1).
pub fn outgoing(stream: &TcpStream) -> Option<Outgoing> {
    // Of `struct tcp_info` in linux/tcp.h, which only ever grows: tcpi_unacked (segments), tcpi_bytes_acked and
    // tcpi_notsent_bytes. libc's own is shorter.
    const UNACKED: usize = 24;
    const BYTES_ACKED: usize = 120;
    const NOTSENT: usize = 144;
    let mut info = [0u8; NOTSENT + 4];
    let mut length = info.len() as libc::socklen_t;
    // SAFETY: a plain getsockopt on a descriptor that is open for the whole call, with a pointer to as many bytes as
    // it is told of; it fills them, or fewer and says so.
    let answer = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if answer != 0 || (length as usize) < info.len() {
        return None;
    }
    let word = |at: usize| Some(u32::from_ne_bytes(info.get(at..at + 4)?.try_into().ok()?));
    let acknowledged = info.get(BYTES_ACKED..BYTES_ACKED + 8)?.try_into().ok()?;
    Some(Outgoing {
        acknowledged: u64::from_ne_bytes(acknowledged),
        waiting: word(UNACKED)? > 0 || word(NOTSENT)? > 0,
    })
}

/// The receive buffer in effect, bytes: what was asked for within the kernel's limits, and doubled for its own needs.
///
/// # Errors
/// Of the socket option; none is known on an open socket.
pub fn receive_buffer(stream: &TcpStream) -> io::Result<usize> {
    SockRef::from(stream).recv_buffer_size()
}

/// Bytes that the kernel has accepted and nobody has read; 0 where it does not say.
pub fn unread(stream: &TcpStream) -> usize {
    let mut bytes: libc::c_int = 0;
    // SAFETY: a plain ioctl on a descriptor that is open for the whole call, with a pointer to the integer it writes.
    let asked = unsafe { libc::ioctl(stream.as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
    if asked == 0 {
        usize::try_from(bytes).unwrap_or(0)
    } else {
        0
    }
}

/// An I/O error by kind.
pub fn classify(error: &io::Error) -> SocketFailure {
    use SocketFailure::*;
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => Refused,
        Some(libc::EHOSTUNREACH | libc::ENETUNREACH | libc::EHOSTDOWN | libc::ENETDOWN) => {
            Unreachable
        }
        Some(libc::ECONNRESET | libc::EPIPE | libc::ECONNABORTED) => Reset,
        Some(libc::ETIMEDOUT) => Timeout,
        Some(libc::EADDRNOTAVAIL | libc::EADDRINUSE) => NoPort,
        Some(libc::EMFILE | libc::ENFILE) => NoDescriptor,
        Some(_) => Os,
        // Errors made by Rust code, such as a TLS stream's.
        None => match error.kind() {
            io::ErrorKind::ConnectionRefused => Refused,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Unreachable,
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted => Reset,
            io::ErrorKind::TimedOut => Timeout,
            io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse => NoPort,
            _ => Os,
        },
    }
}

/// By default the kernel tries ports of one parity first, and once those are taken (14,116 connections from one address to
/// one target) searches long for each further one. A socket with a range of its own takes any port of it at once. The system's
/// `ip_local_port_range` still bounds the choice. Older kernels refuse the option and are merely slower.
fn choose_ports_evenly(socket: &Socket) {
    // SAFETY: a plain setsockopt on a descriptor that is open for the whole call, with a pointer to a value of the size given.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            IP_LOCAL_PORT_RANGE,
            (&raw const PORTS).cast(),
            size_of::<u32>() as libc::socklen_t,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};

    /// Waits for the stream with an epoll of its own.
    fn wait(stream: &mut TcpStream) -> io::Result<()> {
        let mut poll = mio::Poll::new()?;
        poll.registry()
            .register(stream, mio::Token(0), mio::Interest::WRITABLE)?;
        let mut events = mio::Events::with_capacity(4);
        while !connected(stream)? {
            poll.poll(&mut events, Some(Duration::from_secs(10)))?;
            assert!(!events.is_empty(), "neither connected nor failed in 10 s");
        }
        poll.registry().deregister(stream)
    }

    fn listen() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[test]
    fn dials_without_delay_from_where_it_should() {
        let (listener, address) = listen();
        for source in [None, Some(IpAddr::from([127, 0, 0, 7]))] {
            let mut stream = connect(address, source).unwrap();
            wait(&mut stream).unwrap();
            let (_accepted, peer) = listener.accept().unwrap();
            assert_eq!(peer, stream.local_addr().unwrap());
            assert_eq!(peer.ip(), source.unwrap_or(Ipv4Addr::LOCALHOST.into()));
            assert!(stream.nodelay().unwrap());
        }
    }

    #[test]
    fn dials_over_ipv6() {
        // A machine may well have no IPv6; then the dial must say so, and not in another way.
        let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else {
            let error = connect((Ipv6Addr::LOCALHOST, 9).into(), None).unwrap_err();
            assert!(matches!(
                classify(&error),
                SocketFailure::NoPort | SocketFailure::Unreachable | SocketFailure::Os
            ));
            return;
        };
        let source = Some(IpAddr::from(Ipv6Addr::LOCALHOST));
        let mut stream = connect(listener.local_addr().unwrap(), source).unwrap();
        wait(&mut stream).unwrap();
    }

    #[test]
    fn sources_that_are_not_ours() {
        let (_listener, address) = listen();
        // TEST-NET-1 (RFC 5737) is nobody's.
        let error = connect(address, Some(IpAddr::from([192, 0, 2, 1]))).unwrap_err();
        assert_eq!(classify(&error), SocketFailure::NoPort);
    }

    #[test]
    fn refused() {
        let (listener, address) = listen();
        drop(listener);
        let result = connect(address, None).and_then(|mut stream| wait(&mut stream));
        assert_eq!(
            result.map_err(|error| classify(&error)),
            Err(SocketFailure::Refused)
        );
    }

    #[test]
    fn zero_linger_resets() {
        for reset in [true, false] {
            let (listener, address) = listen();
            let mut stream = connect(address, None).unwrap();
            wait(&mut stream).unwrap();
            let (mut accepted, _) = listener.accept().unwrap();
            if reset {
                set_linger_zero(&stream).unwrap();
            }
            drop(stream);
            let read = accepted.read(&mut [0; 1]).map_err(|error| classify(&error));
            assert_eq!(
                read,
                if reset {
                    Err(SocketFailure::Reset)
                } else {
                    Ok(0)
                }
            );
        }
    }

    #[test]
    fn errors_by_kind() {
        use SocketFailure::*;
        let table = [
            (libc::ECONNREFUSED, Refused),
            (libc::ENETUNREACH, Unreachable),
            (libc::EHOSTUNREACH, Unreachable),
            (libc::ECONNRESET, Reset),
            (libc::EPIPE, Reset),
            (libc::ETIMEDOUT, Timeout),
            (libc::EADDRNOTAVAIL, NoPort),
            (libc::EADDRINUSE, NoPort),
            (libc::EMFILE, NoDescriptor),
            (libc::ENFILE, NoDescriptor),
            (libc::EACCES, Os),
            (libc::EINVAL, Os),
        ];
        for (code, expected) in table {
            assert_eq!(classify(&io::Error::from_raw_os_error(code)), expected);
        }
        assert_eq!(classify(&io::ErrorKind::TimedOut.into()), Timeout);
        assert_eq!(classify(&io::ErrorKind::BrokenPipe.into()), Reset);
        assert_eq!(classify(&io::Error::other("x")), Os);
    }

    /// A peer that reads nothing fills both kernels; then nothing more is acknowledged, until it reads.
    #[test]
    fn outgoing_bytes_wait_for_a_peer_that_does_not_read() {
        use std::io::Write;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut stream = connect(listener.local_addr().unwrap(), None).unwrap();
        wait(&mut stream).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        stream.write_all(b"12345").unwrap();
        peer.read_exact(&mut [0; 5]).unwrap();
        let settled = |wanted: bool| loop {
            let outgoing = outgoing(&stream).unwrap();
            if outgoing.waiting == wanted {
                return outgoing.acknowledged;
            }
            std::thread::yield_now();
        };
        let before = settled(false);
        // The SYN counts on some kernels.
        assert!((5..=6).contains(&before), "{before}");
        let mut written = 0;
        while let Ok(count) = (&stream).write(&[0; 65_536]) {
            written += count;
        }
        let blocked = outgoing(&stream).unwrap();
        assert!(blocked.waiting);
        let mut left = written;
        let mut room = vec![0; 1 << 20];
        while left > 0 {
            left -= peer.read(&mut room).unwrap();
        }
        assert_eq!(settled(false), before + written as u64);
        assert!(blocked.acknowledged < before + written as u64);
    }
}
