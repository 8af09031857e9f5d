//! The start of a session: who the feed is, and where it goes on.

use tracing::info;

use super::LOG;
use super::error::RelayError;
use super::relay::Memory;
use super::relay::Relay;
use super::setback::Setback;
use super::status::RelayState;
use crate::feed::identity::{Checkpoint, Epoch, FeedIdentity, FeedName, Mismatch, Side};
use crate::feed::position::Position;
use crate::publisher::Publisher;
use crate::publisher::{KeptPosition, Resume, Resumed};
use crate::source::Elected;
use crate::source::Source;

/// Where a session begins.
#[derive(Debug)]
pub(super) struct Beginning {
    pub(super) checkpoint: Checkpoint,
    /// Whether the source is told what is published.
    pub(super) acknowledges: bool,
}

/// Becomes the active relay, shuts out earlier ones, proves that source and publisher still belong
/// together, and starts the source where the publisher stands.
///
/// `memory` is what this relay knows from its earlier sessions.
pub(super) async fn establish<S: Source, P: Publisher>(
    relay: &Relay<S, P>,
    memory: &mut Memory,
) -> Result<Beginning, Setback> {
    let Relay { feed, source, router, publisher, board, .. } = relay;
    board.enter(RelayState::Standby);
    info!(target: LOG, %feed, "waiting for the election");
    let elected = source.elect().await?;
    // Remembered until the publisher has heard of it.
    memory.newly_elected |= elected.is_new;
    board.enter(RelayState::Starting);
    info!(target: LOG, %feed, database = %elected.identity.system, "elected");
    // Before anything is done at the publisher: a copied database must not disturb the feed of its original.
    check_source(feed, &elected).map_err(RelayError::from)?;
    let (topics, compacted) = (router.topics(), router.compacted_topics());
    let request = Resume::new(feed, &elected.identity, elected.checkpoint.as_ref(), &topics).compacting(&compacted);
    let request = if memory.newly_elected { request.newly_elected() } else { request };
    let resumed = publisher.resume(&request).await?;
    memory.newly_elected = false;
    let beginning = compare(feed, elected, resumed, memory.published.as_ref()).map_err(RelayError::from)?;
    let checkpoint = &beginning.checkpoint;
    // Started before it is enrolled: what the source refuses as not its own must not be stored there.
    source.start(&checkpoint.position).await?;
    // Enrolled before anything is published: records of a feed that the source doesn't know would
    // look forgotten.
    if beginning.acknowledges {
        source.acknowledge(checkpoint).await?;
    }
    info!(target: LOG, %feed, epoch = %checkpoint.identity.epoch, position = %checkpoint.position, "resumed");
    board.resumed(&checkpoint.position);
    Ok(beginning)
}

/// Whether what the source stores is its own.
fn check_source(feed: &FeedName, elected: &Elected) -> Result<(), Mismatch> {
    let Some(stored) = &elected.checkpoint else {
        return Ok(());
    };
    let FeedIdentity { epoch, publisher, .. } = stored.identity.clone();
    let found = FeedIdentity::new(feed.clone(), epoch, elected.identity.clone(), publisher);
    found.check(&stored.identity, Side::Source).map(drop)
}

/// Who the feed is now and where it goes on, if everything fits what was stored on both sides.
fn compare(
    feed: &FeedName,
    elected: Elected,
    resumed: Resumed,
    published: Option<&Checkpoint>,
) -> Result<Beginning, Mismatch> {
    let at_source = elected.checkpoint;
    let at_publisher = match &resumed.position {
        KeptPosition::At(checkpoint) => Some(&**checkpoint),
        KeptPosition::Never | KeptPosition::Ephemeral | KeptPosition::NotYet => None,
    };
    let stored = at_source.as_ref().or(at_publisher);
    let epoch = stored.map_or(Epoch::FIRST, |stored| stored.identity.epoch);
    let mut identity = FeedIdentity::new(feed.clone(), epoch, elected.identity, resumed.identity);
    if resumed.position == KeptPosition::Ephemeral {
        let position = further(Position::ORIGIN, published, &identity);
        return Ok(Beginning { checkpoint: Checkpoint::new(identity, position), acknowledges: false });
    }
    if let Some(stored) = &at_source {
        identity = identity.check(&stored.identity, Side::Source)?;
    }
    if let Some(stored) = at_publisher {
        identity = identity.check(&stored.identity, Side::Publisher)?;
    }
    let mut position = go_on(at_source.as_ref(), &resumed.position)?;
    if resumed.position == KeptPosition::Never {
        position = further(position, published, &identity);
    }
    Ok(Beginning { checkpoint: Checkpoint::new(identity, position), acknowledges: true })
}

/// Where the publisher keeps no position, this relay may know more than the source was told.
fn further(position: Position, published: Option<&Checkpoint>, identity: &FeedIdentity) -> Position {
    match published {
        Some(published) if published.identity == *identity => position.max(published.position.clone()),
        _ => position,
    }
}

/// Where the feed goes on: where the publisher stands, or the source where that keeps no position.
fn go_on(at_source: Option<&Checkpoint>, kept: &KeptPosition) -> Result<Position, Mismatch> {
    let acknowledged = at_source.map(|checkpoint| &checkpoint.position);
    match (acknowledged, kept) {
        (_, KeptPosition::Ephemeral) | (None, KeptPosition::Never | KeptPosition::NotYet) => Ok(Position::ORIGIN),
        (Some(acknowledged), KeptPosition::Never) => Ok(acknowledged.clone()),
        // Enrolled, and ended before the first part was published.
        (Some(acknowledged), KeptPosition::NotYet) if acknowledged.is_origin() => Ok(Position::ORIGIN),
        (Some(acknowledged), KeptPosition::NotYet) => {
            Err(Mismatch::Forgotten { known_by: Side::Source, position: acknowledged.clone() })
        }
        (None, KeptPosition::At(published)) => {
            Err(Mismatch::Forgotten { known_by: Side::Publisher, position: published.position.clone() })
        }
        (Some(acknowledged), KeptPosition::At(published)) if *acknowledged > published.position => {
            let (acknowledged, published) = (acknowledged.clone(), published.position.clone());
            Err(Mismatch::PublisherBehind { acknowledged, published })
        }
        (Some(_), KeptPosition::At(published)) => Ok(published.position.clone()),
    }
}
