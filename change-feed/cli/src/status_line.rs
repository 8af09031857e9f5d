//! A line on a terminal with the state of the feed, once a second.

use std::io::Write as _;
use std::time::{Duration, Instant};

use change_feed::relay::{RelayHandle, RelayState, RelayStatus};

const INTERVAL: Duration = Duration::from_secs(1);
/// Returns to the start of the line and clears it.
const CLEAR: &str = "\r\x1b[2K";

/// Writes the line until the future is dropped.
pub(crate) async fn show(feed: String, handle: RelayHandle) {
    let mut tick = tokio::time::interval(INTERVAL);
    let mut before = (Instant::now(), handle.status().envelopes);
    loop {
        tick.tick().await;
        let status = handle.status();
        let now = (Instant::now(), status.envelopes);
        let seconds = (now.0 - before.0).as_secs_f64();
        let rate = (now.1 - before.1) as f64 / seconds.max(0.001);
        before = now;
        // A terminal that is gone shows nothing.
        let _ = write!(std::io::stderr().lock(), "{CLEAR}{}", line(&feed, &status, rate));
        let _ = std::io::stderr().flush();
    }
}

fn line(feed: &str, status: &RelayStatus, rate: f64) -> String {
    let state = match &status.state {
        RelayState::Standby => "standing by".to_owned(),
        RelayState::Starting => "starting".to_owned(),
        RelayState::Running => "running".to_owned(),
        RelayState::Paused => "paused".to_owned(),
        RelayState::Retrying { attempt, since } => format!("retrying ({attempt}, since {})", since.format("%H:%M:%S")),
        _ => "stopped".to_owned(),
    };
    let pending_kib = status.pending_bytes / 1024;
    let RelayStatus { envelopes, withheld, position, .. } = status;
    let withheld = if *withheld > 0 { format!(" · {withheld} withheld") } else { String::new() };
    format!(
        "{feed}: {state} · {envelopes} published · {rate:.0}/s · {pending_kib} KiB pending{withheld} · at {position}"
    )
}
