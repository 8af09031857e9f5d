//! Ends the storefront on Ctrl-C or SIGTERM.

use tokio_util::sync::CancellationToken;

use crate::console::say;

/// A token that is cancelled by the first Ctrl-C or SIGTERM. The second one ends the program at once.
pub(crate) fn closing_on_signals() -> std::io::Result<CancellationToken> {
    let closing = CancellationToken::new();
    let mut signals = Signals::new()?;
    let token = closing.clone();
    tokio::spawn(async move {
        signals.next().await;
        say("\nclosing: finishing the requests under way");
        token.cancel();
        signals.next().await;
        std::process::exit(130);
    });
    Ok(closing)
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        // Without a handler, Ctrl-C ends the program anyway.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}
