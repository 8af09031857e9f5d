//! The signals that end the program.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The exit code that shells give a program that SIGINT ended: 128 and the signal's number.
const INTERRUPTED: i32 = 130;

/// Returns a token that the first Ctrl-C or SIGTERM cancels. The second one ends the program at once, as a crash would: the
/// next run goes on from the last acknowledged position.
pub(crate) fn ending() -> std::io::Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let ending = CancellationToken::new();
    let token = ending.clone();
    tokio::spawn(async move {
        for first in [true, false] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if first {
                tracing::info!("draining");
                token.cancel();
            }
        }
        std::process::exit(INTERRUPTED);
    });
    Ok(ending)
}
