//! The servers of `tests/servers/`, started on a port of their own, and certificates for them.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Software that nobody here wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// npm `ws`.
    Ws,
    /// Python `websockets`.
    Websockets,
}

impl Kind {
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
            Kind::Websockets => {
                let python = root.join("target/tools/bin/python");
                (python.clone(), python, "websockets_server.py")
            }
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
