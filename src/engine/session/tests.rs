//! Against rustls' own buffered server on the other end of a loopback connection.

use super::*;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
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
    let key = rcgen::generate_simple_self_signed(vec!["here".into()]).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(key.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![key.cert.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap(),
        )
        .unwrap();
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
