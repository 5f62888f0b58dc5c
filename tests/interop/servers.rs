//! The servers of `tests/servers/` and gateways, started on a port of their own, and certificates for them.

use crate::harness::squall;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Software that nobody here wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// npm `ws`.
    Ws,
    /// Python `websockets`.
    Websockets,
    /// npm `socket.io`.
    SocketIo,
    /// npm `graphql-ws`.
    Graphql,
    /// npm `rpc-websockets`.
    Rpc,
    /// Rails' Action Cable.
    ActionCable,
    /// Ours, of protocols whose servers cannot be had here: see the file.
    Dialects,
    /// npm `ws` behind Node's own cryptography: who shows a good token is let in.
    Tokens,
}

impl Kind {
    /// Those that speak the default JSON dialect.
    pub const ALL: [Kind; 2] = [Kind::Ws, Kind::Websockets];

    /// The program with its script. A server that is missing fails the test: it is never skipped.
    fn command(self) -> Command {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let servers = root.join("tests/servers");
        let (needed, program, script) = match self {
            Kind::Ws => (
                servers.join("node_modules/ws"),
                PathBuf::from("node"),
                "ws.mjs",
            ),
            Kind::SocketIo => (
                servers.join("node_modules/socket.io"),
                PathBuf::from("node"),
                "socket_io.mjs",
            ),
            Kind::Websockets => {
                let python = root.join("target/tools/bin/python");
                (python.clone(), python, "websockets_server.py")
            }
            Kind::Graphql => (
                servers.join("node_modules/graphql-ws"),
                PathBuf::from("node"),
                "graphql.mjs",
            ),
            Kind::Rpc => (
                servers.join("node_modules/rpc-websockets"),
                PathBuf::from("node"),
                "rpc.mjs",
            ),
            Kind::ActionCable => (
                PathBuf::from("/usr/bin/puma"),
                PathBuf::from("ruby"),
                "action_cable.rb",
            ),
            Kind::Dialects => (
                servers.join("node_modules/centrifuge"),
                PathBuf::from("node"),
                "dialects.mjs",
            ),
            Kind::Tokens => (
                servers.join("node_modules/ws"),
                PathBuf::from("node"),
                "tokens.mjs",
            ),
        };
        assert!(
            needed.exists(),
            "{} is missing: run `ci/test` once, it installs the servers",
            needed.display()
        );
        let mut command = Command::new(program);
        command.arg(servers.join(script));
        command
    }
}

/// A running server; ends with the test.
pub struct Server {
    child: Child,
    pub port: u16,
}

impl Server {
    pub fn start(kind: Kind, arguments: &[&str]) -> Server {
        let mut child = kind
            .command()
            .args(arguments)
            // Its end is the server's end, whatever becomes of this process.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{kind:?} does not start ({e}): run `ci/test` once"));
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let port = line.trim().parse();
        let port = port.unwrap_or_else(|_| panic!("{kind:?} printed no port but {line:?}"));
        Server { child, port }
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).expect("running");
    }

    /// Ends it without a word to its clients.
    pub fn kill(mut self) -> u16 {
        self.child.kill().expect("running");
        self.child.wait().expect("waited");
        self.port
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that is started anew on its port whenever it ends, as a service manager does it. The process id of the one that
/// serves is in `pid` in its folder.
pub struct Supervised {
    pub port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Supervised {
    pub fn start(kind: Kind, folder: &Path) -> Supervised {
        let port = lasting_port();
        let stop = Arc::new(AtomicBool::new(false));
        let (ready, first) = channel();
        let (over, folder) = (stop.clone(), folder.to_owned());
        let thread = std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let mut server = Server::start(kind, &["--port", &port.to_string()]);
                // Whoever reads it reads all of it.
                std::fs::write(folder.join("new"), server.child.id().to_string()).expect("new");
                std::fs::rename(folder.join("new"), folder.join("pid")).expect("pid");
                let _ = ready.send(());
                while !over.load(Ordering::Relaxed)
                    && server.child.try_wait().expect("ours").is_none()
                {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        });
        first
            .recv_timeout(Duration::from_secs(60))
            .expect("a server");
        Supervised {
            port,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A port that is free, and below those that the system gives to whoever asks for any: so that nobody gets it while the server
/// is away.
fn lasting_port() -> u16 {
    let first = 20_000 + (std::process::id() % 10_000) as u16;
    (first..32_000)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}

/// A child that is asked to end with the test.
pub struct Ends(pub Child);

impl Ends {
    pub fn end(&self, signal: Signal) {
        let _ = kill(Pid::from_raw(self.0.id().cast_signed()), signal);
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.end(Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

/// A server on a port of its own, started once that is known, and the port. `answers` says whether it takes work there.
pub fn on_free_port(
    program: &str,
    arguments: impl Fn(&mut Command, u16),
    answers: impl Fn(u16) -> bool,
) -> (Ends, u16) {
    on_free_port_within(Duration::from_secs(20), program, arguments, answers)
}

/// The same for one that takes longer to start than most.
pub fn on_free_port_within(
    patience: Duration,
    program: &str,
    arguments: impl Fn(&mut Command, u16),
    answers: impl Fn(u16) -> bool,
) -> (Ends, u16) {
    for _ in 0..10 {
        // Free a moment ago; whoever took it since makes this one end at once, and another is tried.
        let port = free_port();
        // It knows no parent: ten minutes are its end, whatever becomes of this process (waiting for a turn takes some).
        let mut command = Command::new("timeout");
        command.args(["600", program]);
        arguments(&mut command, port);
        let path = std::env::var("PATH").unwrap_or_default();
        let server = command
            // Where Debian has servers, and not everybody's path leads.
            .env("PATH", format!("{path}:/usr/sbin"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("`timeout` is there");
        let mut server = Ends(server);
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            let status = server.0.try_wait().expect("ours");
            let missing = status.is_some_and(|status| status.code() == Some(127));
            assert!(
                !missing,
                "{program} is missing: run `ci/test` once, it installs it"
            );
            if status.is_some() {
                break;
            }
            if answers(port) {
                return (server, port);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    panic!("{program} does not start");
}

/// nginx by this configuration, before this gateway, and its port; it answers `/healthz`, or has the gateway do so.
/// FOLDER, PORT and GATEWAY stand for what they say.
pub fn nginx(folder: &Path, config: &str, gateway: SocketAddr) -> (Ends, u16) {
    let configured = |command: &mut Command, port: u16| {
        let config = config
            .replace("FOLDER", folder.to_str().expect("UTF-8"))
            .replace("PORT", &port.to_string())
            .replace("GATEWAY", &gateway.to_string());
        let file = folder.join("nginx.conf");
        std::fs::write(&file, config).expect("written");
        command.arg("-p").arg(folder);
        command.arg("-e").arg(folder.join("error.log"));
        command.arg("-c").arg(file);
    };
    on_free_port("nginx", configured, is_healthy)
}

/// Whether `/healthz` is answered by 200 there.
fn is_healthy(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    let mut answer = String::new();
    stream
        .write_all(b"GET /healthz HTTP/1.0\r\n\r\n")
        .and_then(|()| stream.read_to_string(&mut answer))
        .is_ok_and(|_| answer.starts_with("HTTP/1.1 200 "))
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let free = TcpListener::bind("127.0.0.1:0").expect("bound");
    free.local_addr().expect("an address").port()
}

/// A gateway by hand, and where it listens.
pub fn gateway(arguments: &[&str]) -> (Ends, SocketAddr) {
    let mut child = squall()
        .arg("gateway")
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("squall starts");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("piped");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    let address = line
        .trim()
        .strip_prefix("listening on ws://")
        .and_then(|a| a.parse().ok());
    let address = address.unwrap_or_else(|| panic!("no gateway but {line:?}"));
    (Ends(child), address)
}

/// Writes `ca.pem`, and `cert.pem` with `key.pem` for 127.0.0.1 signed by it, and another authority's `other.pem`.
pub fn certificates(folder: &Path) {
    let write = |name: &str, text: String| std::fs::write(folder.join(name), text).expect(name);
    let ours = authority();
    write("ca.pem", ours.pem());
    write("other.pem", authority().pem());
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["127.0.0.1".to_string()]).expect("a name");
    let certificate = params.signed_by(&key, &ours).expect("signed");
    write("cert.pem", certificate.pem());
    write("key.pem", key.serialize_pem());
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed")
}
