//! Against rustls' own buffered server on the other end of a loopback connection.

use super::*;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream as Blocking};
use std::thread::JoinHandle;

type Server = StreamOwned<ServerConnection, Blocking>;

/// A session, its socket, and the thread at the other end.
struct Pair<T> {
    session: Session,
    socket: TcpStream,
    server: JoinHandle<T>,
}

/// Connects to a server that does this once it has accepted.
fn pair<T: Send + 'static>(serve: impl FnOnce(Server) -> T + Send + 'static) -> Pair<T> {
    pair_with(|_, _| (), &[&TLS13, &TLS12], serve)
}

/// The same with the client's trust and the server's settings changed, and these versions.
fn pair_with<T: Send + 'static>(
    change: impl FnOnce(&mut rustls::RootCertStore, &mut ServerConfig),
    versions: &[&'static SupportedProtocolVersion],
    serve: impl FnOnce(Server) -> T + Send + 'static,
) -> Pair<T> {
    let key = rcgen::generate_simple_self_signed(vec!["here".into()]).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(key.cert.der().clone()).unwrap();
    let mut server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![key.cert.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap(),
        )
        .unwrap();
    change(&mut roots, &mut server);
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        serve(StreamOwned::new(
            ServerConnection::new(Arc::new(server)).unwrap(),
            socket,
        ))
    });
    let socket = Blocking::connect(address).unwrap();
    socket.set_nonblocking(true).unwrap();
    let name = ServerName::try_from("here").unwrap();
    Pair {
        session: Session::new(Arc::new(client), name, Wire::new()).unwrap(),
        socket: TcpStream::from_std(socket),
        server,
    }
}

impl<T> Pair<T> {
    /// Does something until it no longer would block.
    fn until<R>(
        &mut self,
        mut attempt: impl FnMut(&mut Session, &mut TcpStream) -> io::Result<R>,
    ) -> io::Result<R> {
        loop {
            match attempt(&mut self.session, &mut self.socket) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                done => return done,
            }
        }
    }

    fn shake(&mut self) -> io::Result<()> {
        self.until(|session, socket| match session.handshake(socket)? {
            true => Ok(()),
            false => Err(ErrorKind::WouldBlock.into()),
        })
    }

    fn write_all(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let n = self.until(|session, socket| session.write(socket, bytes));
            bytes = &bytes[n.unwrap()..];
        }
        self.flush();
    }

    fn flush(&mut self) {
        let flushed = self.until(|session, socket| match session.flush(socket)? {
            true => Ok(()),
            false => Err(ErrorKind::WouldBlock.into()),
        });
        flushed.unwrap();
    }

    /// Reads to the end, or to an error.
    fn read_all(&mut self) -> (Vec<u8>, io::Result<()>) {
        let mut all = Vec::new();
        let mut buffer = vec![0; WIRE];
        loop {
            match self.until(|session, socket| session.read(socket, &mut buffer)) {
                Ok(0) => return (all, Ok(())),
                Ok(n) => all.extend_from_slice(&buffer[..n]),
                Err(e) => return (all, Err(e)),
            }
        }
    }

    /// Bytes that the session holds.
    fn held(&self) -> usize {
        let Session {
            incoming,
            outgoing,
            early,
            ..
        } = &self.session;
        incoming.capacity() + outgoing.capacity() + early.capacity()
    }
}

/// Bytes that tell their place.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 31 % 251) as u8).collect()
}

#[test]
fn bytes_go_both_ways_in_pieces_of_every_size_and_leave_nothing_behind() {
    let mut pair = pair(|mut server| {
        // Everything comes back, so that both sides have queues; the read half goes first.
        let mut heard = vec![0; 3 << 20];
        server.read_exact(&mut heard).unwrap();
        let mut rest = heard.as_slice();
        for size in (1..=17_000).step_by(611).cycle() {
            let (now, later) = rest.split_at(size.min(rest.len()));
            server.write_all(now).unwrap();
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        server.conn.send_close_notify();
        server.flush().unwrap();
        heard
    });
    pair.shake().unwrap();
    let sent = pattern(3 << 20);
    let mut rest = sent.as_slice();
    for size in (1..=70_000).step_by(1_733).cycle() {
        let (now, later) = rest.split_at(size.min(rest.len()));
        pair.write_all(now);
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    let (heard, end) = pair.read_all();
    end.unwrap();
    assert!(heard == sent, "{} bytes came back", heard.len());
    assert_eq!(pair.held(), 0);
    assert!(pair.server.join().unwrap() == sent);
}

#[test]
fn what_comes_right_behind_the_handshake_is_kept() {
    let mut pair = pair(|mut server| {
        server.write_all(&pattern(60_000)).unwrap();
        server.conn.send_close_notify();
        server.flush().unwrap();
        // Open until the client goes, which it does when it has seen the end.
        let _ = server.sock.read(&mut [0]);
    });
    pair.shake().unwrap();
    let (heard, end) = pair.read_all();
    end.unwrap();
    assert!(heard == pattern(60_000), "{} bytes", heard.len());
    drop((pair.session, pair.socket));
    pair.server.join().unwrap();
}

#[test]
fn new_keys_are_taken_and_answered() {
    let mut pair = pair(|mut server| {
        for _ in 0..3 {
            server.write_all(b"before").unwrap();
            server.conn.refresh_traffic_keys().unwrap();
            server.write_all(b"after").unwrap();
            // Asked for its own new keys, the client encrypts this with them.
            let mut heard = [0; 4];
            server.read_exact(&mut heard).unwrap();
            assert_eq!(&heard, b"pong");
        }
    });
    pair.shake().unwrap();
    for _ in 0..3 {
        let mut heard = Vec::new();
        let mut buffer = vec![0; WIRE];
        while heard.len() < b"beforeafter".len() {
            let n = pair.until(|session, socket| session.read(socket, &mut buffer));
            heard.extend_from_slice(&buffer[..n.unwrap()]);
        }
        assert_eq!(heard, b"beforeafter");
        pair.write_all(b"pong");
    }
    pair.server.join().unwrap();
}

#[test]
fn good_bytes_come_before_the_error_behind_them() {
    let mut pair = pair(|mut server| {
        server.write_all(b"good").unwrap();
        // A record of application data that no key made.
        let mut bad = vec![0x17, 3, 3, 0, 64];
        bad.extend([0xaa; 64]);
        server.sock.write_all(&bad).unwrap();
        // The alert says what the client thinks of it.
        let mut buffer = [0; 16];
        server.read(&mut buffer).unwrap_err().to_string()
    });
    pair.shake().unwrap();
    let (heard, end) = pair.read_all();
    assert_eq!(heard, b"good");
    assert_eq!(end.unwrap_err().kind(), ErrorKind::InvalidData);
    let told = pair.server.join().unwrap();
    assert!(told.contains("BadRecordMac"), "{told}");
}

#[test]
fn a_peer_that_speaks_no_tls_is_told_apart_from_one_that_goes() {
    let mut nonsense = pair(|mut server| {
        server
            .sock
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .unwrap();
        // Open until the client goes.
        let _ = server.sock.read_to_end(&mut Vec::new());
    });
    let error = nonsense.shake().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    drop((nonsense.session, nonsense.socket));
    nonsense.server.join().unwrap();

    let mut gone = pair(|server| {
        let _ = server.sock.shutdown(std::net::Shutdown::Write);
        let _ = (&server.sock).read_to_end(&mut Vec::new());
    });
    let error = gone.shake().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    drop((gone.session, gone.socket));
    gone.server.join().unwrap();
}

#[test]
fn a_socket_that_takes_no_more_blocks_the_writer_and_loses_nothing() {
    let (go, wait) = std::sync::mpsc::channel::<usize>();
    let mut pair = pair(move |mut server| {
        // The handshake is done by the first byte; then nothing is read until the client is stuck.
        let mut first = [0];
        server.read_exact(&mut first).unwrap();
        let mut heard = vec![0; wait.recv().unwrap()];
        heard[0] = first[0];
        server.read_exact(&mut heard[1..]).unwrap();
        heard
    });
    pair.shake().unwrap();
    let sent = pattern(16 << 20);
    let mut taken = 0;
    let stuck = loop {
        match pair.session.write(&mut pair.socket, &sent[taken..]) {
            Ok(n) => taken += n,
            Err(e) => break e,
        }
    };
    assert_eq!(stuck.kind(), ErrorKind::WouldBlock);
    assert!(taken < sent.len(), "loopback swallowed 16 MiB");
    // What was encrypted and did not leave is at most a record.
    assert!(pair.session.outgoing.len() < WIRE);
    go.send(taken).unwrap();
    pair.flush();
    assert!(pair.server.join().unwrap() == sent[..taken]);
}

/// rustls puts everything up to Finished into one record: it is refused with messages behind it still to be read.
#[test]
fn a_certificate_that_is_not_trusted_fails_and_the_peer_is_told() {
    for versions in [&[&TLS13], &[&TLS12]] {
        let distrust = |roots: &mut rustls::RootCertStore, _: &mut ServerConfig| {
            let other = rcgen::generate_simple_self_signed(vec!["here".into()]).unwrap();
            *roots = rustls::RootCertStore::empty();
            roots.add(other.cert.der().clone()).unwrap();
        };
        let mut pair = pair_with(distrust, versions, |mut server| {
            server.read(&mut [0; 9]).unwrap_err().to_string()
        });
        let error = pair.shake().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
        assert!(error.to_string().contains("certificate"), "{error}");
        // Whoever asks again hears the same, and nothing falls over.
        let (none, end) = pair.read_all();
        assert!(none.is_empty());
        assert_eq!(end.unwrap_err().kind(), ErrorKind::InvalidData);
        let wrote = pair.session.write(&mut pair.socket, b"more");
        assert_eq!(wrote.unwrap_err().kind(), ErrorKind::InvalidData);
        let told = pair.server.join().unwrap();
        assert!(told.contains("alert"), "{told}");
    }
}

#[test]
fn the_version_before_works_too() {
    let mut pair = pair_with(
        |_, _| (),
        &[&TLS12],
        |mut server| {
            let mut heard = [0; 5];
            server.read_exact(&mut heard).unwrap();
            server.write_all(&heard).unwrap();
            server.conn.send_close_notify();
            server.flush().unwrap();
        },
    );
    pair.shake().unwrap();
    pair.write_all(b"older");
    let (all, end) = pair.read_all();
    end.unwrap();
    assert_eq!(all, b"older");
    pair.server.join().unwrap();
}

/// A ticket in many small records, of which a part has come: rustls keeps places in it while we write.
#[test]
fn writing_does_not_disturb_a_message_that_is_half_here() {
    let (half_sent, half) = std::sync::mpsc::channel();
    let (wrote, written) = std::sync::mpsc::channel::<()>();
    let small = |_: &mut rustls::RootCertStore, server: &mut ServerConfig| {
        server.max_fragment_size = Some(32);
    };
    let mut pair = pair_with(small, &[&TLS13], move |server| {
        let (mut tls, mut socket) = server.into_parts();
        while tls.is_handshaking() {
            while tls.wants_write() {
                tls.write_tls(&mut socket).unwrap();
            }
            if tls.is_handshaking() && tls.read_tls(&mut socket).unwrap() > 0 {
                tls.process_new_packets().unwrap();
            }
        }
        let mut tickets = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut tickets).unwrap();
        }
        // Two records of 32 bytes and a bit: the first ticket is longer than that.
        assert!(tickets.len() > 150, "{}", tickets.len());
        let (now, later) = tickets.split_at(70);
        socket.write_all(now).unwrap();
        half_sent.send(()).unwrap();
        written.recv().unwrap();
        socket.write_all(later).unwrap();
        let mut server = StreamOwned::new(tls, socket);
        let mut heard = vec![0; 40_000];
        server.read_exact(&mut heard).unwrap();
        server.write_all(b"heard").unwrap();
        server.conn.send_close_notify();
        server.flush().unwrap();
        heard
    });
    pair.shake().unwrap();
    half.recv().unwrap();
    let mut buffer = vec![0; WIRE];
    // Whatever has come is taken in; loopback has it at once, but nobody promises that.
    while pair.session.incoming.is_empty() {
        let read = pair.session.read(&mut pair.socket, &mut buffer);
        assert_eq!(read.unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    pair.write_all(&pattern(40_000));
    wrote.send(()).unwrap();
    let (all, end) = pair.read_all();
    end.unwrap();
    assert_eq!(all, b"heard");
    assert_eq!(pair.held(), 0);
    assert_eq!(pair.server.join().unwrap(), pattern(40_000));
}

/// A part of a handshake message, and then something that cannot follow it.
#[test]
fn hostile_beginnings_are_errors() {
    // A handshake record with the first five bytes of a ServerHello of 80.
    const PART: &[u8] = b"\x16\x03\x03\x00\x05\x02\x00\x00\x50\x03";
    let long = [&b"\x16\x03\x03\x40\x00\x02\x00\xff\xff"[..], &[0; 16_380]].concat();
    let more = [&b"\x16\x03\x03\x40\x00"[..], &[0; 16_384]].concat();
    let endless = [&long[..], &more, &more, &more, &more].concat();
    let behind: [(&[u8], ErrorKind); 5] = [
        (b"\x15\x03\x03\x00\x02\x02\x28", ErrorKind::InvalidData),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ErrorKind::InvalidData),
        (b"\x17\x03\x03\x00\x01\x00", ErrorKind::InvalidData),
        (b"", ErrorKind::UnexpectedEof),
        (&endless, ErrorKind::InvalidData),
    ];
    for (then, kind) in behind {
        let then = then.to_vec();
        let mut pair = pair(move |server| {
            let (_, mut socket) = server.into_parts();
            let _ = socket.read(&mut [0; 4096]);
            if then.len() < 100 {
                socket.write_all(PART).unwrap();
            }
            // Whoever has heard enough ends the connection.
            let _ = socket.write_all(&then);
            let _ = socket.shutdown(std::net::Shutdown::Write);
        });
        let error = pair.shake().unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        let wrote = pair.session.write(&mut pair.socket, b"x");
        assert!(wrote.is_err());
        drop(pair.socket);
        pair.server.join().unwrap();
    }
}
