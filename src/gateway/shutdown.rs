//! When a gateway that is a process of its own shall end.

use std::io::Read;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// Completes when the process is asked to end: on SIGTERM, on SIGINT, or, with `exit_with_stdin`,
/// when standard input reaches its end.
///
/// With `exit_with_stdin` SIGINT is ignored: the process then belongs to a coordinator that gets the
/// terminal's Ctrl-C too and decides; should it die, its end of the pipe closes. What standard input
/// says is read and forgotten. Signals are caught from this call on, not from the first poll.
///
/// # Errors
/// When the signals cannot be caught.
pub fn shutdown_signal(
    exit_with_stdin: bool,
) -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut stdin = exit_with_stdin.then(stdin_end);
    Ok(async move {
        let ended = async {
            match &mut stdin {
                Some(end) => drop(end.await),
                None => std::future::pending().await,
            }
        };
        let interrupted = async {
            if exit_with_stdin {
                std::future::pending::<()>().await;
            }
            interrupt.recv().await;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            () = interrupted => {}
            () = ended => {}
        }
    })
}

/// Resolves (with an error, as the sender is dropped) at the end of standard input. A thread of its
/// own, as a blocking read on the runtime's pool would keep the runtime from ending.
fn stdin_end() -> oneshot::Receiver<()> {
    let (held, end) = oneshot::channel();
    std::thread::spawn(move || {
        let _held = held;
        let mut waste = [0; 4096];
        let mut stdin = std::io::stdin().lock();
        loop {
            match stdin.read(&mut waste) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
    });
    end
}
