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
    let socket = Socket::new(
        Domain::for_address(target),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    choose_ports_evenly(&socket);
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
