//! The start of a session: who the feed is, and where it goes on.

use tracing::info;

use super::LOG;
use super::error::RelayError;
use super::relay::Memory;
use super::relay::Relay;
use super::setback::Setback;
use super::status::RelayState;
use crate::feed::checkpoint::Checkpoint;
use crate::feed::identity::{Epoch, FeedIdentity, FeedName};
use crate::feed::mismatch::{Mismatch, Side};
use crate::feed::position::Position;
use crate::publisher::Publisher;
use crate::publisher::{KeptPosition, Resume, Resumed};
use crate::source::{Elected, Source, Start};

/// Where a session begins.
#[derive(Debug)]
pub(super) struct Beginning {
    pub(super) checkpoint: Checkpoint,
    /// Whether the source is told what is published.
    pub(super) acknowledges: bool,
    /// Whether a baseline of every key comes before the changes.
    pub(super) wants_baseline: bool,
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
    let request = elected.wanted_epoch.map_or(request, |epoch| request.rejoining(epoch));
    let resumed = publisher.resume(&request).await?;
    memory.newly_elected = false;
    let beginning = compare(feed, elected, resumed, memory.published.as_ref()).map_err(RelayError::from)?;
    let checkpoint = &beginning.checkpoint;
    let start = Start::after(&checkpoint.position, checkpoint.identity.epoch);
    let start = if beginning.wants_baseline { start.with_baseline() } else { start };
    // Started before it is enrolled: what the source refuses as not its own must not be stored there.
    source.start(&start).await?;
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
    let (epoch, publisher) = (epoch_of(elected), stored.identity.publisher.clone());
    let found = FeedIdentity::new(feed.clone(), epoch, elected.identity.clone(), publisher);
    found.check_while(elected.wanted_epoch, &stored.identity, Side::Source).map(drop)
}

/// The epoch of this start: that of a recorded rejoin, or else that of what the source stores.
fn epoch_of(elected: &Elected) -> Epoch {
    let stored = elected.checkpoint.as_ref().map(|checkpoint| checkpoint.identity.epoch);
    elected.wanted_epoch.max(stored).unwrap_or(Epoch::FIRST)
}

/// Who the feed is now and where it goes on, if everything fits what was stored on both sides.
///
/// The two sides can't store at once. Of a crash between them this is the whole rule:
///
/// - Normally both are in one epoch, and a publisher that keeps its position decides; the source lags.
/// - While a rejoin is recorded at the source, its epoch is the higher one until the publisher has stored the first
///   part of it: the source's position decides. From then on both are in one epoch, and the rule above holds. A
///   baseline is wanted all the while: the position tells the source how much of it is published.
/// - A higher epoch at the publisher, or at the source without a recorded rejoin, is a mismatch.
fn compare(
    feed: &FeedName,
    elected: Elected,
    resumed: Resumed,
    published: Option<&Checkpoint>,
) -> Result<Beginning, Mismatch> {
    let epoch = epoch_of(&elected);
    let Elected { identity, checkpoint: at_source, wanted_epoch, .. } = elected;
    let rejoin = wanted_epoch.filter(|rejoin| *rejoin == epoch);
    let mut identity = FeedIdentity::new(feed.clone(), epoch, identity, resumed.identity);
    if resumed.position == KeptPosition::Ephemeral {
        // Everything is published again, to readers that know nothing: no baseline is needed.
        let position = further(Position::ORIGIN, published, &identity);
        let checkpoint = Checkpoint::new(identity, position);
        return Ok(Beginning { checkpoint, acknowledges: false, wants_baseline: false });
    }
    if let Some(stored) = &at_source {
        identity = identity.check_while(rejoin, &stored.identity, Side::Source)?;
    }
    if let KeptPosition::At(stored) = &resumed.position {
        if at_source.is_none() && rejoin.is_none() {
            return Err(Mismatch::Forgotten { known_by: Side::Publisher, position: stored.position.clone() });
        }
        identity = identity.check_while(rejoin, &stored.identity, Side::Publisher)?;
    }
    let mut position = go_on(epoch, rejoin.is_some(), at_source.as_ref(), &resumed.position)?;
    if resumed.position == KeptPosition::Never {
        position = further(position, published, &identity);
    }
    let checkpoint = Checkpoint::new(identity, position);
    Ok(Beginning { checkpoint, acknowledges: true, wants_baseline: rejoin.is_some() })
}

/// Where the publisher keeps no position, this relay may know more than the source was told.
fn further(position: Position, published: Option<&Checkpoint>, identity: &FeedIdentity) -> Position {
    match published {
        Some(published) if published.identity == *identity => position.max(published.position.clone()),
        _ => position,
    }
}

/// Where the feed goes on: where the publisher stands, or the source where that keeps no position of this epoch.
fn go_on(
    epoch: Epoch,
    is_rejoining: bool,
    at_source: Option<&Checkpoint>,
    kept: &KeptPosition,
) -> Result<Position, Mismatch> {
    let acknowledged = at_source.map_or(Position::ORIGIN, |checkpoint| checkpoint.position.clone());
    let published = match kept {
        KeptPosition::At(published) if published.identity.epoch == epoch => &published.position,
        // Enrolled, and ended before the first part was published.
        KeptPosition::NotYet if !is_rejoining && !acknowledged.is_origin() => {
            return Err(Mismatch::Forgotten { known_by: Side::Source, position: acknowledged });
        }
        KeptPosition::Never | KeptPosition::NotYet | KeptPosition::Ephemeral | KeptPosition::At(_) => {
            return Ok(acknowledged);
        }
    };
    // Positions of different epochs can't be compared.
    let is_comparable = at_source.is_some_and(|checkpoint| checkpoint.identity.epoch == epoch);
    if is_comparable && acknowledged > *published {
        return Err(Mismatch::PublisherBehind { acknowledged, published: published.clone() });
    }
    Ok(published.clone())
}
