//! Ctrl-C and SIGTERM: once ends the run in order, twice ends the process.
//!
//! They are heard on a thread of their own, so that the second one works whatever the coordinator is
//! busy with. Children need no telling: they die with this process (see [`crate::fabric::parent`]). What a deploy's
//! command started does not, and is killed by its process group.

use super::deploy;
use crate::exit::Exit;
use std::io::{self, Write};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Begins to listen. The receiver gets the first signal; from the second on the process ends at once.
///
/// # Errors
/// The signals cannot be caught.
pub fn listen() -> io::Result<mpsc::UnboundedReceiver<()>> {
    let (first, interrupts) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        )
    };
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            runtime.block_on(async {
                let mut told = false;
                loop {
                    tokio::select! {
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                    }
                    if told {
                        end_at_once();
                    }
                    told = true;
                    let _ = first.send(());
                }
            });
        })?;
    Ok(interrupts)
}

#[expect(
    clippy::disallowed_methods,
    reason = "at once, whatever the coordinator is busy with; the kernel kills its children"
)]
fn end_at_once() -> ! {
    deploy::kill_running();
    // The terminal may be in the middle of a line.
    let _ = writeln!(io::stderr(), "\nsquall: interrupted twice, ending at once");
    std::process::exit(Exit::Interrupted.code().into())
}
