//! The relay: one future that goes from session to session.

use std::future::Future;
use std::pin::{Pin, pin};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::Fuse;
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use super::LOG;
use super::error::RelayError;
use super::options::RelayOptions;
use super::pace::Pace;
use super::pump::Pump;
use super::rejections::Rejections;
use super::retries::Retries;
use super::session::establish;
use super::setback::{Setback, chain};
use super::status::Board;
use super::status::RelayHandle;
use crate::feed::checkpoint::Checkpoint;
use crate::feed::identity::FeedName;
use crate::feed::part::End;
use crate::feed::position::Position;
use crate::feed::router::Router;
use crate::publisher::Publisher;
use crate::source::Source;

/// A session that was up for so long was a success even if there was nothing to publish: longer
/// than the watchdogs of sources and publishers, so that no failure takes that long to show.
const LASTING: Duration = Duration::from_secs(60);
/// How long the publisher may take to let go, and the source to give up the election.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(1);

/// Moves what committed from a source through a router to a publisher.
///
/// ```
/// use change_feed::memory::{MemoryBroker, MemoryPublisher};
/// use change_feed::memory::{MemoryDatabase, MemorySource};
/// use change_feed::{FeedName, Relay, Router};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let (database, broker) = (MemoryDatabase::new(), MemoryBroker::new());
/// database.commit(["order-1", "order-2"]);
///
/// let feed = FeedName::new("orders")?;
/// let source = MemorySource::new(&database, &feed);
/// let publisher = MemoryPublisher::transactional(&broker, &feed);
/// let relay = Relay::new(feed, source, Router::to_topic("orders.events"), publisher);
///
/// let shutdown = async {
///     broker.wait_for_records("orders.events", 2).await;
/// };
/// let stopped = relay.run(shutdown).await?;
/// assert_eq!(stopped.position, database.end());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Relay<S, P> {
    pub(super) feed: FeedName,
    pub(super) source: S,
    pub(super) router: Router,
    pub(super) publisher: P,
    pub(super) options: RelayOptions,
    pub(super) board: Board,
}

/// How a relay came to rest.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stopped {
    /// Everything through this position is published; the origin if the relay was stopped before it
    /// knew its position.
    pub position: Position,
    /// Whether everything that was captured is published too. What isn't stands in the source, and
    /// the next relay publishes it.
    pub drained: bool,
}

impl<S: Source, P: Publisher> Relay<S, P> {
    /// A relay of this feed.
    pub fn new(feed: FeedName, source: S, router: Router, publisher: P) -> Self {
        Self { feed, source, router, publisher, options: RelayOptions::default(), board: Board::new() }
    }

    /// With other limits and policies.
    #[must_use]
    pub fn options(self, options: RelayOptions) -> Self {
        Self { options, ..self }
    }

    /// Watches and pauses this relay, also while it runs.
    pub fn handle(&self) -> RelayHandle {
        self.board.handle()
    }

    /// Runs until `shutdown` completes, or something happens that no retry can mend.
    ///
    /// At a shutdown nothing more is captured; what has been captured of whole transactions is
    /// published and acknowledged, for at most
    /// [`shutdown_timeout`](RelayOptions::shutdown_timeout). If the publisher or the source fails
    /// meanwhile, the relay stops there: nothing is lost, the next one publishes it, and
    /// [`Stopped::drained`] is false.
    ///
    /// Dropping the future stops the relay at once and loses nothing.
    ///
    /// On a runtime of several threads give it a task of its own (`tokio::spawn(relay.run(shutdown))`): a worker thread
    /// waits for the relay's sockets itself, where the thread of `block_on` is woken by another one for each
    /// message. A backlog was read 1.7 times faster so.
    ///
    /// Kafka's client frees on its threads what the relay allocates on another. glibc's allocator spends a third of the
    /// CPU time on that, and a heap for each thread; jemalloc with one heap (`narenas:1`), in the place of `malloc` itself
    /// (`tikv-jemallocator` with `unprefixed_malloc_on_supported_platforms`, as the `change-feed` command has it), is up to
    /// a fifth faster into Kafka. Who stays with glibc saves a third of the memory with `MALLOC_ARENA_MAX=1`.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<Stopped, RelayError> {
        let ended = self.run_sessions(shutdown).await;
        // Best effort, and the publisher first: once the election is given up, the next relay resumes its publisher.
        if timeout(RELEASE_TIMEOUT, self.publisher.release()).await.is_err() {
            warn!(target: LOG, feed = %self.feed, "the publisher did not let go in time");
        }
        // A source that can't be told loses its election by its silence.
        if timeout(RELEASE_TIMEOUT, self.source.release()).await.is_err() {
            warn!(target: LOG, feed = %self.feed, "the election could not be given up in time");
        }
        ended
    }

    async fn run_sessions(&self, shutdown: impl Future<Output = ()>) -> Result<Stopped, RelayError> {
        let mut shutdown = pin!(shutdown.fuse());
        let mut memory = Memory::new(&self.options);
        loop {
            let Err(setback) = self.session(shutdown.as_mut(), &mut memory).await else {
                return Ok(self.stopped(&memory));
            };
            memory.rejections.rewind();
            memory.captured.rewind();
            match setback {
                Setback::Rewind => {}
                Setback::Again { side, cause } => {
                    let delay = self.set_back(&mut memory, side, chain(&*cause));
                    tokio::select! {
                        biased;
                        () = shutdown.as_mut() => return Ok(self.stopped(&memory)),
                        () = sleep(delay) => {}
                    }
                }
                Setback::Stop(reason) => {
                    let text = chain(&reason);
                    error!(target: LOG, feed = %self.feed, reason = text, "the relay ends");
                    self.board.failed(text);
                    return Err(reason);
                }
            }
        }
    }

    /// Ends without a setback when there was a shutdown.
    async fn session<F: Future<Output = ()>>(
        &self,
        mut shutdown: Pin<&mut Fuse<F>>,
        memory: &mut Memory,
    ) -> Result<(), Setback> {
        let beginning = tokio::select! {
            biased;
            () = shutdown.as_mut() => return Ok(()),
            beginning = establish(self, memory) => beginning?,
        };
        memory.published = Some(beginning.checkpoint.clone());
        let began = Instant::now();
        let left = Pump::new(self, &beginning, memory).run(shutdown).await;
        if began.elapsed() > LASTING {
            memory.retries.succeeded();
        }
        left
    }

    fn set_back(&self, memory: &mut Memory, side: &'static str, cause: String) -> Duration {
        let retry = memory.retries.failed();
        let (attempt, delay_ms) = (retry.attempt, retry.delay.as_millis());
        warn!(target: LOG, feed = %self.feed, side, attempt, delay_ms, cause, "trying again");
        self.board.retrying(retry, cause);
        retry.delay
    }

    fn stopped(&self, memory: &Memory) -> Stopped {
        let position = self.board.position();
        let drained = memory.captured.all_within(&position);
        let feed = &self.feed;
        if drained {
            info!(target: LOG, %feed, %position, "stopped");
        } else {
            warn!(target: LOG, %feed, %position, "stopped; what was captured after this position comes at the next start");
        }
        Stopped { position, drained }
    }
}

/// What the relay remembers from session to session.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) retries: Retries,
    pub(super) pace: Pace,
    pub(super) rejections: Rejections,
    pub(super) captured: Captured,
    /// Through which checkpoint this relay has published.
    pub(super) published: Option<Checkpoint>,
    /// Whether an election was won that the publisher has not heard of.
    pub(super) newly_elected: bool,
}

impl Memory {
    /// A complete end was reached: whatever failed before is over.
    pub(super) fn published_through(&mut self, position: &Position) {
        self.retries.succeeded();
        self.pace.succeeded();
        if let Some(published) = &mut self.published {
            published.position = position.clone();
        }
    }

    fn new(options: &RelayOptions) -> Self {
        Self {
            retries: Retries::new(options),
            pace: Pace::new(options.max_part_envelopes.max(1)),
            rejections: Rejections::default(),
            captured: Captured::default(),
            published: None,
            newly_elected: false,
        }
    }
}

/// How far the last session that captured anything has captured.
///
/// A session that begins captures again what the one before had captured and not published, and a source may divide it into
/// other runs with other positions: the two can't be compared.
#[derive(Debug, Default)]
pub(super) struct Captured {
    through: Option<Position>,
    /// The last run was a piece of a transaction.
    continues: bool,
    /// All this is of an earlier session.
    outdated: bool,
}

impl Captured {
    pub(super) fn note(&mut self, end: &End) {
        if std::mem::take(&mut self.outdated) {
            self.through = None;
        }
        match end {
            End::Continues => self.continues = true,
            End::Complete(position) => {
                self.continues = false;
                self.through = Some(position.clone());
            }
        }
    }

    fn rewind(&mut self) {
        self.outdated = true;
    }

    fn all_within(&self, published: &Position) -> bool {
        !self.continues && self.through.as_ref().is_none_or(|through| through <= published)
    }
}
