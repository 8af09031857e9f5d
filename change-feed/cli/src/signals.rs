//! When somebody wants the program to end.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// 128 and the number of SIGINT, as shells tell it.
const INTERRUPTED: i32 = 130;

/// A token that the first Ctrl-C or SIGTERM cancels. The second one ends the program at once: nothing is lost by it.
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
