//! The running session: capture, publish and acknowledge at the same time.

use std::future::Future;
use std::pin::{Pin, pin};

use futures::FutureExt as _;
use futures::future::{Fuse, FusedFuture as _};
use tokio::task::consume_budget;
use tokio::time::sleep;
use tracing::{debug, info, trace, warn};

use super::LOG;
use super::error::RelayError;
use super::options::OnRejected;
use super::queue::{FormedPart, Queue};
use super::relay::Memory;
use super::relay::Relay;
use super::session::Beginning;
use super::setback::{Setback, chain};
use super::status::RelayState;
use crate::feed::checkpoint::Checkpoint;
use crate::feed::identity::FeedIdentity;
use crate::feed::part::{Changes, End, Part};
use crate::feed::position::Position;
use crate::feed::router::NoRoute;
use crate::publisher::Rejection;
use crate::publisher::{PublishError, Publisher};
use crate::source::{Source, SourceError};

/// Moves parts until a shutdown or a setback.
pub(super) struct Pump<'a, S, P> {
    relay: &'a Relay<S, P>,
    identity: &'a FeedIdentity,
    memory: &'a mut Memory,
    queue: Queue,
    /// The bytes of the part that is being published.
    publishing_bytes: usize,
    /// The last part that went to the publisher continues: it may hold a transaction open.
    open: bool,
    /// Published and not yet acknowledged.
    due: Option<Position>,
    /// What is acknowledged next; `None` while that is under way, and where nothing ever is.
    checkpoint: Option<Checkpoint>,
    stopping: bool,
    /// Why the relay ends once what was captured before is published.
    ending: Option<RelayError>,
    resting: bool,
}

/// What happened first.
enum Happened {
    Shutdown,
    OutOfTime,
    Published(FormedPart, Result<(), PublishError>),
    Acknowledged(Checkpoint, Result<(), SourceError>),
    Captured(Result<Changes, SourceError>),
    PauseChanged,
}

impl<'a, S: Source, P: Publisher> Pump<'a, S, P> {
    pub(super) fn new(relay: &'a Relay<S, P>, beginning: &'a Beginning, memory: &'a mut Memory) -> Self {
        let checkpoint = &beginning.checkpoint;
        let mut queue = Queue::new(&relay.options);
        queue.limit_joins(memory.pace.envelopes());
        relay.board.enter(RelayState::Running);
        Self {
            relay,
            identity: &checkpoint.identity,
            memory,
            queue,
            publishing_bytes: 0,
            open: false,
            due: None,
            checkpoint: beginning.acknowledges.then(|| checkpoint.clone()),
            stopping: false,
            ending: None,
            resting: false,
        }
    }

    /// Runs until a setback, or until a shutdown is done.
    pub(super) async fn run<F>(mut self, mut shutdown: Pin<&mut Fuse<F>>) -> Result<(), Setback>
    where
        F: Future<Output = ()>,
    {
        let (relay, identity) = (self.relay, self.identity);
        let mut paused = relay.board.pause();
        let mut capturing = pin!(Fuse::terminated());
        let mut publishing = pin!(Fuse::terminated());
        let mut acknowledging = pin!(Fuse::terminated());
        let mut time = pin!(Fuse::terminated());
        loop {
            self.rest(*paused.borrow_and_update() && publishing.is_terminated());
            if capturing.is_terminated() && self.has_room() {
                capturing.set(relay.source.next().fuse());
            }
            if publishing.is_terminated()
                && let Some(part) = self.next_part()
            {
                publishing.set(publish(&relay.publisher, identity, part).fuse());
            }
            if let Some(checkpoint) = self.next_checkpoint() {
                acknowledging.set(acknowledge(&relay.source, checkpoint).fuse());
            }
            if self.stopping && publishing.is_terminated() && acknowledging.is_terminated() {
                return self.end();
            }
            // Completions first, since they make room. Capture last, since it may always be ready.
            let happened = tokio::select! {
                biased;
                () = shutdown.as_mut() => Happened::Shutdown,
                () = time.as_mut() => Happened::OutOfTime,
                (part, result) = publishing.as_mut() => Happened::Published(part, result),
                (checkpoint, result) = acknowledging.as_mut() => Happened::Acknowledged(checkpoint, result),
                _ = paused.changed() => Happened::PauseChanged,
                result = capturing.as_mut() => Happened::Captured(result),
            };
            let taken = match happened {
                Happened::Shutdown => {
                    self.stop();
                    // Dropping a call to `next` loses nothing, by its contract.
                    capturing.set(Fuse::terminated());
                    time.set(sleep(relay.options.shutdown_timeout).fuse());
                    Ok(())
                }
                Happened::OutOfTime => {
                    warn!(target: LOG, feed = %relay.feed, "the time for the shutdown is over");
                    return self.end();
                }
                Happened::Published(part, result) => self.published(&part, result),
                Happened::Acknowledged(checkpoint, result) => self.acknowledged(checkpoint, result),
                Happened::PauseChanged => Ok(()),
                Happened::Captured(result) => match self.captured(result) {
                    // The source can't go on. What it gave before is right, and is published first.
                    Err(Setback::Stop(error)) if !self.stopping => {
                        self.ending = Some(error);
                        self.stop();
                        time.set(sleep(relay.options.shutdown_timeout).fuse());
                        Ok(())
                    }
                    captured => captured,
                },
            };
            match taken {
                Ok(()) => {}
                Err(setback) if self.stopping => return give_up(relay, setback).and(self.end()),
                Err(setback) => return Err(setback),
            }
            // A source and a publisher that are always ready must not starve other tasks.
            consume_budget().await;
        }
    }

    /// The end of a relay that has nothing left to publish.
    fn end(&mut self) -> Result<(), Setback> {
        self.ending.take().map_or(Ok(()), |error| Err(Setback::Stop(error)))
    }

    /// While a transaction is open at the publisher there is no rest: it would block readers there.
    fn rest(&mut self, wanted: bool) {
        let resting = wanted && !self.open;
        if resting != self.resting {
            self.resting = resting;
            let state = if resting { RelayState::Paused } else { RelayState::Running };
            info!(target: LOG, feed = %self.relay.feed, ?state, "paused or resumed by its handle");
            self.relay.board.enter(state);
        }
    }

    fn pending_bytes(&self) -> usize {
        self.queue.size_bytes() + self.publishing_bytes
    }

    fn has_room(&self) -> bool {
        !self.stopping && !self.resting && self.pending_bytes() < self.relay.options.max_pending_bytes.max(1)
    }

    fn next_part(&mut self) -> Option<FormedPart> {
        if self.resting {
            return None;
        }
        let part = self.queue.pop()?;
        self.publishing_bytes = part.size_bytes;
        self.open = part.end == End::Continues;
        let (envelopes, size_bytes) = (part.envelopes.len(), part.size_bytes);
        trace!(target: LOG, feed = %self.relay.feed, envelopes, size_bytes, end = ?part.end, "publishing");
        Some(part)
    }

    /// The newest position alone: acknowledging it acknowledges all before it.
    fn next_checkpoint(&mut self) -> Option<Checkpoint> {
        let due = &mut self.due;
        let mut checkpoint = self.checkpoint.take_if(|_| due.is_some())?;
        checkpoint.position = due.take()?;
        Some(checkpoint)
    }

    fn stop(&mut self) {
        self.stopping = true;
        self.queue.drop_incomplete();
        info!(target: LOG, feed = %self.relay.feed, pending_bytes = self.pending_bytes(), "shutting down");
    }

    fn captured(&mut self, result: Result<Changes, SourceError>) -> Result<(), Setback> {
        let Changes { changes, end } = result?;
        #[cfg(feature = "failpoints")]
        fail::fail_point!("decoded");
        trace!(target: LOG, feed = %self.relay.feed, changes = changes.len(), ?end, "captured");
        let (router, feed, rejections) = (&self.relay.router, self.identity, &self.memory.rejections);
        let route = |change| router.route(change, feed).map(|envelope| rejections.apply(envelope));
        let routed: Result<Vec<_>, NoRoute> = changes.into_iter().map(route).collect();
        let envelopes = routed.map_err(RelayError::from)?;
        self.memory.captured.note(&end);
        self.queue.push(envelopes, end);
        self.relay.board.pending(self.pending_bytes());
        Ok(())
    }

    fn published(&mut self, part: &FormedPart, result: Result<(), PublishError>) -> Result<(), Setback> {
        match result {
            Ok(()) => {}
            Err(PublishError::Rejected(rejections)) => return Err(self.reject(part, rejections)),
            Err(error) => {
                self.memory.pace.failed(part.envelopes.len());
                return Err(error.into());
            }
        }
        self.publishing_bytes = 0;
        let (envelopes, position) = (part.envelopes.len(), part.end.position());
        let withheld = self.memory.rejections.published(&part.envelopes, position.is_some());
        let board = &self.relay.board;
        board.published(envelopes, withheld, position, self.pending_bytes());
        if let Some(position) = position {
            debug!(target: LOG, feed = %self.relay.feed, envelopes, %position, "published");
            self.memory.published_through(position);
            self.queue.limit_joins(self.memory.pace.envelopes());
            self.due = Some(position.clone());
        } else {
            debug!(target: LOG, feed = %self.relay.feed, envelopes, "published, to be continued");
        }
        Ok(())
    }

    fn acknowledged(&mut self, checkpoint: Checkpoint, result: Result<(), SourceError>) -> Result<(), Setback> {
        result?;
        trace!(target: LOG, feed = %self.relay.feed, position = %checkpoint.position, "acknowledged");
        self.checkpoint = Some(checkpoint);
        Ok(())
    }

    fn reject(&mut self, part: &FormedPart, rejections: Vec<Rejection>) -> Setback {
        if rejections.is_empty() {
            return PublishError::Rejected(rejections).into();
        }
        let options = &self.relay.options;
        for Rejection { index, reason } in rejections {
            let Some(envelope) = part.envelopes.get(index) else {
                return PublishError::Rejected(Vec::new()).into();
            };
            let (event_id, position) = (envelope.event_id(), envelope.position().clone());
            let withheld = envelope.withheld_reason().is_some();
            if withheld || options.on_rejected == OnRejected::Stop {
                return Setback::Stop(RelayError::Rejected { event_id, position, reason, withheld });
            }
            if self.memory.rejections.len() >= options.max_rejected_envelopes {
                let what = format!(
                    "the publisher rejected more than {} envelopes that belong together, the last one because {reason}: \
                     look for what is wrong with all of them, or raise max_rejected_envelopes",
                    options.max_rejected_envelopes
                );
                return Setback::Stop(RelayError::Fatal { what, source: None });
            }
            let event_id = event_id.map(tracing::field::display);
            warn!(target: LOG, feed = %self.relay.feed, event_id, %position, reason, "rejected: its data is withheld");
            self.memory.rejections.remember(envelope, reason);
        }
        Setback::Rewind
    }
}

/// During a shutdown nothing is tried again: what was not published comes at the next start.
fn give_up<S, P>(relay: &Relay<S, P>, setback: Setback) -> Result<(), Setback> {
    match setback {
        Setback::Stop(_) => Err(setback),
        Setback::Rewind => Ok(()),
        Setback::Again { side, cause } => {
            warn!(target: LOG, feed = %relay.feed, side, cause = chain(&*cause), "not tried again in a shutdown");
            Ok(())
        }
    }
}

async fn publish<P: Publisher>(
    publisher: &P,
    identity: &FeedIdentity,
    part: FormedPart,
) -> (FormedPart, Result<(), PublishError>) {
    let result = publisher.publish(&Part::new(identity, &part.envelopes, &part.end)).await;
    (part, result)
}

async fn acknowledge<S: Source>(source: &S, checkpoint: Checkpoint) -> (Checkpoint, Result<(), SourceError>) {
    #[cfg(feature = "failpoints")]
    fail::fail_point!("before_acknowledge");
    let result = source.acknowledge(&checkpoint).await;
    (checkpoint, result)
}
