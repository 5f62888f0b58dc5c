//! When a gateway that is a process of its own shall end, and in what manner.

use std::io::{BufRead, Read};

use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// Bytes of a line on standard input; what is longer is no order.
const LINE: u64 = 64 * 1024;

/// In what manner a gateway ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Goodbye {
    /// As configured: over the window, to the deadline, with the misbehaviour there is.
    Drain,
    /// Whoever is still there is closed at once: a run is over, and all have said goodbye.
    Hurry,
}

impl From<()> for Goodbye {
    fn from((): ()) -> Self {
        Goodbye::Drain
    }
}

/// Completes when the process is asked to end: on SIGTERM, on SIGINT, or, with `orders`,
/// when standard input reaches its end, which is an end in a hurry.
///
/// With `orders` SIGINT is ignored: the process then belongs to a coordinator that gets the
/// terminal's Ctrl-C too and decides; should it die, its end of the pipe closes. Each line that standard input
/// says is handed to `orders`. Signals are caught from this call on, not from the first poll.
///
/// # Errors
/// When the signals cannot be caught.
pub fn shutdown_signal(
    orders: Option<impl FnMut(String) + Send + 'static>,
) -> std::io::Result<impl Future<Output = Goodbye> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let coordinated = orders.is_some();
    let mut stdin = orders.map(stdin_end);
    Ok(async move {
        let ended = async {
            match &mut stdin {
                Some(end) => drop(end.await),
                None => std::future::pending().await,
            }
        };
        let interrupted = async {
            if coordinated {
                std::future::pending::<()>().await;
            }
            interrupt.recv().await;
        };
        tokio::select! {
            _ = terminate.recv() => Goodbye::Drain,
            () = interrupted => Goodbye::Drain,
            () = ended => Goodbye::Hurry,
        }
    })
}

/// Resolves (with an error, as the sender is dropped) at the end of standard input. A thread of its
/// own, as a blocking read on the runtime's pool would keep the runtime from ending.
fn stdin_end(mut orders: impl FnMut(String) + Send + 'static) -> oneshot::Receiver<()> {
    let (held, end) = oneshot::channel();
    std::thread::spawn(move || {
        let _held = held;
        let mut stdin = std::io::stdin().lock();
        loop {
            let mut line = String::new();
            match stdin.by_ref().take(LINE).read_line(&mut line) {
                Ok(0) => break,
                Ok(_) => orders(line),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                // Bytes that are no text: no order.
                Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {}
                Err(_) => break,
            }
        }
    });
    end
}
