//! Who is active: a session-level advisory lock.
//!
//! A relay that loses the connection loses the lock, and does not read on. An older relay may still try
//! to acknowledge; the generation in `change_feed.feeds` refuses it.
//!
//! A process that is frozen keeps its connection. The server ends it after [`SILENCE_MAX`], since nothing comes over it;
//! a process that lives sends a statement every [`HEARTBEAT_INTERVAL`].

use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;
#[cfg(feature = "logical")]
use std::time::Instant;

use sqlx::Row as _;
use sqlx::postgres::PgConnection;
use tokio::sync::watch;

use super::server::Server;
use crate::feed::identity::FeedName;
use crate::source::SourceError;

/// Silence after which an elected relay loses the election.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(10);
/// Heartbeat interval of an idle leader.
pub(crate) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(2);
/// Interval at which a standby relay tries the lock.
const STANDBY_INTERVAL_MS: u64 = 250;

/// Waits until this connection holds the feed's lock, and returns the server's process that holds it.
pub(crate) async fn win(server: &Server, connection: &mut PgConnection, feed: &FeedName) -> Result<i32, SourceError> {
    let mut announced = false;
    loop {
        let query = sqlx::query("select pg_try_advisory_lock($1), pg_backend_pid()").bind(lock_key(feed));
        let answer = async {
            let row = query.fetch_one(&mut *connection).await?;
            Ok((row.try_get::<bool, _>(0)?, row.try_get::<i32, _>(1)?))
        };
        let (won, process) = server.answer(answer).await?;
        if won {
            tracing::info!(target: "change_feed::source", %feed, process, "elected");
            return Ok(process);
        }
        if !announced {
            tracing::info!(target: "change_feed::source", %feed, "another relay is active; standing by");
            announced = true;
        }
        tokio::time::sleep(Duration::from_millis(STANDBY_INTERVAL_MS)).await;
    }
}

/// Gives the lock up; a standby has it within its next interval.
pub(crate) async fn release(
    server: &Server,
    connection: &mut PgConnection,
    feed: &FeedName,
) -> Result<(), SourceError> {
    let query = sqlx::query_scalar("select pg_advisory_unlock($1)").bind(lock_key(feed));
    server.answer(query.fetch_one(connection)).await.map(|_: bool| ())
}

/// Whether this relay is elected.
#[derive(Debug)]
enum Election {
    /// It is not, or not any more; with the reason where it was lost to an error that nobody has been given yet.
    NotHeld(Option<SourceError>),
    /// It is, in this generation. A reader of the log also keeps when the lock was last proved to be held: it is sent changes
    /// without asking for them.
    Held {
        generation: i64,
        #[cfg(feature = "logical")]
        proved_at: Instant,
    },
}

/// The election of a source, as its calls and the task of its heartbeat see it.
#[derive(Debug)]
pub(crate) struct Leadership(watch::Sender<Election>);

impl Leadership {
    /// Not elected.
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(Election::NotHeld(None)))
    }

    /// The generation that is held, or why none is.
    pub(crate) fn generation(&self) -> Result<i64, SourceError> {
        if let Election::Held { generation, .. } = *self.0.borrow() {
            return Ok(generation);
        }
        let mut reason = None;
        self.0.send_if_modified(|election| {
            if let Election::NotHeld(why) = election {
                reason = why.take();
            }
            false
        });
        Err(reason.unwrap_or_else(not_elected))
    }

    /// Whether this generation is held.
    pub(crate) fn holds(&self, generation: i64) -> bool {
        matches!(*self.0.borrow(), Election::Held { generation: held, .. } if held == generation)
    }

    /// Waits until this generation is not held any more.
    #[cfg(feature = "logical")]
    pub(crate) async fn ended(&self, generation: i64) {
        let is_over =
            |election: &Election| !matches!(election, Election::Held { generation: held, .. } if *held == generation);
        let mut changes = self.0.subscribe();
        // The sender lives as long as this, so there is no error.
        let _ended: Result<(), _> = changes.wait_for(is_over).await.map(drop);
    }

    /// The election was won.
    pub(crate) fn won(&self, generation: i64) {
        self.0.send_replace(Election::Held {
            generation,
            #[cfg(feature = "logical")]
            proved_at: Instant::now(),
        });
    }

    /// The lock of this generation was certainly held at this time.
    #[cfg(feature = "logical")]
    pub(crate) fn prove(&self, generation: i64, at: Instant) {
        self.0.send_if_modified(|election| match election {
            Election::Held { generation: held, proved_at } if *held == generation => {
                *proved_at = at;
                true
            }
            _ => false,
        });
    }

    /// Whether the last proof is so old that another relay may have been elected: a process that was frozen wakes up with
    /// changes that another one has given meanwhile.
    #[cfg(feature = "logical")]
    pub(crate) fn needs_proof(&self) -> bool {
        !matches!(*self.0.borrow(), Election::Held { proved_at, .. } if proved_at.elapsed() <= SILENCE_MAX / 2)
    }

    /// Gives the election up by choice.
    pub(crate) fn release(&self) {
        self.0.send_replace(Election::NotHeld(None));
    }

    /// Gives up the election of this generation, unless it has been won again meanwhile. The next call is given the reason.
    pub(crate) fn lose(&self, generation: i64, why: Option<SourceError>, feed: &FeedName) {
        let error = why.as_ref().map(ToString::to_string);
        let cause = why.as_ref().and_then(std::error::Error::source).map(ToString::to_string);
        let lost = self.0.send_if_modified(|election| {
            let is_lost = matches!(election, Election::Held { generation: held, .. } if *held == generation);
            if is_lost {
                *election = Election::NotHeld(why);
            }
            is_lost
        });
        if lost {
            tracing::warn!(target: "change_feed::source", %feed, error, cause, "the election was lost");
        }
    }
}

/// This relay is not elected.
pub(crate) fn not_elected() -> SourceError {
    SourceError::transient("this relay is not elected")
}

/// Sends heartbeats over the session of an election until one fails or the source is gone. They are numbered from 1.
pub(crate) async fn keep_alive<S, F>(source: Weak<S>, heartbeat: impl Fn(Arc<S>, u32) -> F)
where
    F: Future<Output = Result<(), SourceError>>,
{
    for number in 1.. {
        tokio::time::sleep(HEARTBEAT_INTERVAL).await;
        let Some(source) = source.upgrade() else {
            return;
        };
        if heartbeat(source, number).await.is_err() {
            return;
        }
    }
}

/// The key of a feed's lock: FNV-1a, 64 bits, over a prefix of ours and the feed's name.
fn lock_key(feed: &FeedName) -> i64 {
    let bytes = b"change-feed:".iter().copied().chain(feed.as_str().bytes());
    let hash = bytes
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    i64::from_ne_bytes(hash.to_ne_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_election_that_is_lost_says_why_once_and_only_in_its_generation() {
        let (leadership, feed) = (Leadership::new(), FeedName::new("orders").expect("a valid name"));
        leadership.won(1);
        leadership.won(2);
        leadership.lose(1, Some(SourceError::transient("too late")), &feed);
        assert_eq!(leadership.generation().ok(), Some(2));
        leadership.lose(2, Some(SourceError::fatal("gone", "look")), &feed);
        assert!(!leadership.holds(2));
        assert!(matches!(leadership.generation(), Err(SourceError::Fatal { .. })));
        assert!(matches!(leadership.generation(), Err(SourceError::Transient(_))));
    }

    #[test]
    fn the_lock_of_a_feed_is_the_same_in_every_version() {
        let orders = FeedName::new("orders").expect("a valid name");
        let other = FeedName::new("orders2").expect("a valid name");
        assert_eq!(lock_key(&orders), lock_key(&orders));
        assert_ne!(lock_key(&orders), lock_key(&other));
    }
}
