//! The live feed: server-sent events.

use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use futures::stream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::problem::{Problem, ProblemKind};
use super::shop::Shop;
use crate::bookmark::Bookmark;
use crate::catch_up::Missed;
use crate::journal::{Entry, Journal};
use tokio_util::sync::CancellationToken;

const LAST_EVENT_ID: &str = "last-event-id";
/// A client without an id begins with this number of the last events.
const RECENT_EVENTS: usize = 100;
/// A client that lost its connection comes back after this time.
const RECONNECT_INTERVAL: Duration = Duration::from_secs(1);
/// How long a client that comes back waits for a storefront that has just started, or whose broker is away.
const READING_TIMEOUT: Duration = Duration::from_secs(5);
/// A line is sent after this silence, so that neither side takes the connection for dead.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// `GET /events`: every event as this storefront read it back from the topic, each with an `id` to resume from, here or
/// at any other storefront of the topic. Nothing is lost between two connections, and nothing comes twice.
///
/// Without `Last-Event-ID` it begins with the last events. A client that reads slower than events come is disconnected
/// when it is too late; it comes back with the id that it had, and goes on there.
pub(crate) async fn events(State(shop): State<Shop>, headers: HeaderMap) -> Result<Response, Problem> {
    let permit = shop.followers.clone().try_acquire_owned().map_err(|_| {
        Problem::new(ProblemKind::Unavailable, "as many clients follow the feed as this storefront serves")
    })?;
    let after = headers.get(LAST_EVENT_ID).filter(|value| !value.is_empty()).map(|value| {
        let bookmark = value.to_str().ok().and_then(|text| text.parse::<Bookmark>().ok());
        bookmark.ok_or_else(|| Problem::invalid("Last-Event-ID", "the id of an event that this stream gave before"))
    });
    let follower = Follower::new(&shop, after.transpose()?, permit).await?;
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE_INTERVAL);
    Ok(Sse::new(sent(follower)).keep_alive(keep_alive).into_response())
}

fn sent(follower: Follower) -> impl Stream<Item = Result<Event, axum::Error>> {
    let first = stream::once(async { Ok(Event::default().retry(RECONNECT_INTERVAL).comment("the live feed")) });
    let rest = stream::unfold(follower, |mut follower| async move {
        let entry = follower.next().await?;
        let event = Event::default().id(entry.bookmark.to_string()).json_data(entry.event.to_live());
        Some((event, follower))
    });
    stream::StreamExt::chain(first, rest)
}

/// A client of the live feed.
struct Follower {
    journal: Journal,
    cursor: u64,
    /// What it has seen.
    seen: Bookmark,
    /// What it missed and the journal no longer holds, if there is such.
    missed: Option<Missed>,
    closing: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    async fn new(shop: &Shop, after: Option<Bookmark>, permit: OwnedSemaphorePermit) -> Result<Self, Problem> {
        let journal = shop.journal.clone();
        if after.is_some() && timeout(READING_TIMEOUT, journal.begun()).await.is_err() {
            return Err(Problem::new(ProblemKind::Unavailable, "the topic can't be read at present: come back later"));
        }
        let (floor, first) = journal.floor();
        // An id of another topic, or of a development broker that is gone, says nothing about this one.
        let resumed = after.filter(|bookmark| bookmark.is_of(floor.log()));
        let (cursor, seen, missed) = match resumed {
            None => (journal.recent(RECENT_EVENTS), floor, None),
            Some(seen) if seen.covers(&floor) => (first, seen, None),
            Some(seen) => {
                let (until, next) = journal.middle();
                let missed = shop.catch_up.open(&seen, &until).await;
                let missed = missed.map_err(|error| Problem::new(ProblemKind::Unavailable, error.to_string()))?;
                (next, seen, Some(missed))
            }
        };
        Ok(Self { journal, cursor, seen, missed, closing: shop.closing.clone(), _permit: permit })
    }

    /// `None` ends the connection: the storefront closes, or the client fell behind. It comes back with its last id.
    async fn next(&mut self) -> Option<Entry> {
        let closing = self.closing.clone();
        tokio::select! {
            biased;
            () = closing.cancelled() => None,
            entry = self.wait() => entry,
        }
    }

    async fn wait(&mut self) -> Option<Entry> {
        while let Some(missed) = &mut self.missed {
            match missed.next().await {
                Ok(Some(event)) => {
                    let (partition, offset) = (event.event().partition(), event.event().offset());
                    self.seen.advance(partition, offset + 1);
                    return Some(Entry { event: event.into(), bookmark: self.seen.clone() });
                }
                Ok(None) => self.missed = None,
                Err(error) => {
                    tracing::warn!(target: "storefront::live", %error, "a client can't catch up");
                    return None;
                }
            }
        }
        loop {
            let mut entry = self.journal.at(self.cursor).await.ok()?;
            self.cursor += 1;
            let (partition, offset) = (entry.event.event().partition(), entry.event.event().offset());
            if !entry.bookmark.is_of(self.seen.log()) {
                // The first event, or the first one of a topic that was made anew.
                self.seen = Bookmark::at_the_beginning_of(entry.bookmark.log());
            }
            if !self.seen.is_past(partition, offset) {
                self.seen.advance_to(&entry.bookmark);
                entry.bookmark = self.seen.clone();
                return Some(entry);
            }
        }
    }
}
