//! Waiting for what must happen.

use std::time::{Duration, Instant};

/// Longer than anything that happens at all takes on a loaded machine. No test asserts a time: this bounds a failure.
pub const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// One look counts at most this long: the machine may have been asleep, and this process with it.
const LOOK_MAX: Duration = Duration::from_secs(5);

/// Looks again and again until there is something. If nothing ever comes, fails with what the last look said and with
/// what `report` says.
pub async fn eventually<T>(
    what: &str,
    mut look: impl AsyncFnMut() -> Result<T, String>,
    report: impl FnOnce() -> String,
) -> T {
    let mut waited = Duration::ZERO;
    loop {
        let start = Instant::now();
        match look().await {
            Ok(found) => return found,
            Err(last) if waited > PATIENCE => panic!("not within {PATIENCE:?}: {what}: {last}\n{}", report()),
            Err(_) => tokio::time::sleep(POLL_INTERVAL).await,
        }
        waited += start.elapsed().min(LOOK_MAX);
    }
}

/// Looks again and again until it holds.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let look = async || if holds().await { Ok(()) } else { Err("it does not hold".to_owned()) };
    eventually(what, look, String::new).await;
}
