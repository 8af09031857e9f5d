//! Whatever doesn't belong together fails closed: nothing is published, nothing acknowledged, the
//! reason and the remedy are said.

use std::sync::Mutex;

use async_trait::async_trait;
use change_feed::judge::Delivery;
use change_feed::memory::MemoryBroker;
use change_feed::memory::MemoryDatabase;
use change_feed::publisher::{KeptPosition, Resume, Resumed};
use change_feed::source::{Elected, Start};
use change_feed::{
    Changes, Checkpoint, Epoch, FeedIdentity, FeedName, Mismatch, Part, Position, PublishError, Publisher, RelayError,
    Side, Source, SourceError,
};

use crate::relay::scripted::{Script, Scripted};
use crate::relay::world::{TOPIC, World};

/// A source or publisher that remembers something else than it should.
pub(crate) struct Altered<T, A> {
    inner: T,
    alter: Mutex<A>,
}

impl<T, A> Altered<T, A> {
    pub(crate) fn new(inner: T, alter: A) -> Self {
        Self { inner, alter: Mutex::new(alter) }
    }
}

#[async_trait]
impl<S: Source, A: FnMut(&mut Elected) + Send> Source for Altered<S, A> {
    async fn elect(&self) -> Result<Elected, SourceError> {
        let mut elected = self.inner.elect().await?;
        self.alter.lock().expect("no test panics with it")(&mut elected);
        Ok(elected)
    }

    async fn start(&self, start: &Start<'_>) -> Result<(), SourceError> {
        self.inner.start(start).await
    }

    async fn next(&self) -> Result<Changes, SourceError> {
        self.inner.next().await
    }

    async fn acknowledge(&self, checkpoint: &Checkpoint) -> Result<(), SourceError> {
        self.inner.acknowledge(checkpoint).await
    }
}

#[async_trait]
impl<P: Publisher, A: FnMut(&mut Resumed) + Send> Publisher for Altered<P, A> {
    async fn publish(&self, part: &Part<'_>) -> Result<(), PublishError> {
        self.inner.publish(part).await
    }

    async fn resume(&self, request: &Resume<'_>) -> Result<Resumed, PublishError> {
        let mut resumed = self.inner.resume(request).await?;
        self.alter.lock().expect("no test panics with it")(&mut resumed);
        Ok(resumed)
    }
}

/// A feed that has published something, and has more to publish.
async fn begun() -> World {
    let world = World::loaded();
    world.finish(Delivery::ExactlyOnce).await;
    world.database.commit(["a"]);
    world
}

/// Runs a relay that must fail closed, and returns why.
async fn closed<S: Source, P: Publisher>(world: &World, source: S, publisher: P) -> Mismatch {
    let script = Script::new();
    let published = world.published_keys();
    let acknowledged = world.database.checkpoint(&world.feed);
    let relay = world.relay(Scripted::new(source, &script), Scripted::new(publisher, &script));
    let ended = world.run(relay).await;
    let Err(RelayError::Closed { reason, remedy }) = ended else { panic!("{ended:?}") };
    assert!(!remedy.is_empty());
    assert_eq!(world.published_keys(), published);
    assert_eq!(world.database.checkpoint(&world.feed), acknowledged);
    for call in ["publish", "acknowledge", "next"] {
        assert_eq!(script.count(call), 0, "{call}");
    }
    *reason
}

async fn alters_of_the_source(alter: fn(&mut FeedIdentity)) -> Mismatch {
    let world = begun().await;
    let alter = move |elected: &mut Elected| alter(&mut elected.checkpoint.as_mut().expect("enrolled").identity);
    let reason = closed(&world, Altered::new(world.source(), alter), world.transactional()).await;
    world.finish(Delivery::ExactlyOnce).await;
    world.assert_clean(Delivery::ExactlyOnce, "put back");
    reason
}

async fn alters_of_the_publisher(alter: fn(&mut FeedIdentity)) -> Mismatch {
    let world = begun().await;
    let alter = move |resumed: &mut Resumed| {
        let KeptPosition::At(kept) = &mut resumed.position else { panic!("{resumed:?}") };
        alter(&mut kept.identity);
    };
    let reason = closed(&world, world.source(), Altered::new(world.transactional(), alter)).await;
    world.finish(Delivery::ExactlyOnce).await;
    world.assert_clean(Delivery::ExactlyOnce, "put back");
    reason
}

#[tokio::test]
async fn each_part_of_the_stored_identity_that_differs_closes_the_feed() {
    type Alter = fn(&mut FeedIdentity);
    let alterations: [(&str, Alter); 7] = [
        ("feed name", |i| i.feed = FeedName::new("other").expect("a valid name")),
        ("epoch", |i| i.epoch = Epoch::new(2)),
        ("kind of source", |i| i.source.kind.push('x')),
        ("database", |i| i.source.system.push('x')),
        ("captured table", |i| i.source.captures.push('x')),
        ("kind of publisher", |i| i.publisher.kind.push('x')),
        ("cluster", |i| i.publisher.cluster.push('x')),
    ];
    for (part, alter) in alterations {
        for (side, reason) in
            [(Side::Source, alters_of_the_source(alter).await), (Side::Publisher, alters_of_the_publisher(alter).await)]
        {
            let Mismatch::Differs { what, kept_by, .. } = &reason else { panic!("{part}: {reason:?}") };
            assert_eq!(*what, part);
            // Epochs that differ: the source's is taken as the present one.
            let expected = if part == "epoch" { Side::Publisher } else { side };
            assert_eq!(*kept_by, expected, "{reason}");
        }
    }
}

#[tokio::test]
async fn a_source_that_is_not_the_stored_one_disturbs_nobody_at_the_publisher() {
    let world = begun().await;
    let script = Script::new();
    let alter = |elected: &mut Elected| elected.identity.system.push('x');
    let source = Altered::new(world.source(), alter);
    let relay = world.relay(source, Scripted::new(world.transactional(), &script));
    let ended = world.run(relay).await;
    assert!(matches!(ended, Err(RelayError::Closed { .. })), "{ended:?}");
    assert_eq!(script.calls(), ["let go"]);
}

#[tokio::test]
async fn a_topic_with_more_partitions_closes_the_feed() {
    let world = begun().await;
    world.broker.add_partitions(TOPIC, 1);
    let reason = closed(&world, world.source(), world.transactional()).await;
    assert!(matches!(reason, Mismatch::Repartitioned { stored: 12, found: 13, .. }), "{reason:?}");
}

#[tokio::test]
async fn a_topic_that_was_created_again_closes_the_feed() {
    let world = begun().await;
    world.broker.create_topic(TOPIC, MemoryBroker::DEFAULT_PARTITIONS);
    let reason = closed(&world, world.source(), world.transactional()).await;
    assert!(matches!(reason, Mismatch::TopicRecreated { .. }), "{reason:?}");
}

#[tokio::test]
async fn another_broker_closes_the_feed() {
    let world = begun().await;
    let other = World { broker: MemoryBroker::new(), ..world };
    let reason = closed(&other, other.source(), other.transactional()).await;
    assert!(matches!(reason, Mismatch::Differs { what: "cluster", .. }), "{reason:?}");
}

#[tokio::test]
async fn another_database_closes_the_feed() {
    let world = begun().await;
    let other = World { database: MemoryDatabase::new(), ..world };
    other.load();
    let reason = closed(&other, other.source(), other.transactional()).await;
    assert!(matches!(reason, Mismatch::Forgotten { known_by: Side::Publisher, .. }), "{reason:?}");
}

#[tokio::test]
async fn a_publisher_that_forgot_the_feed_closes_it() {
    let world = begun().await;
    world.broker.forget_checkpoint(&world.feed);
    let reason = closed(&world, world.source(), world.transactional()).await;
    let acknowledged = world.database.checkpoint(&world.feed).expect("enrolled").position;
    assert_eq!(reason, Mismatch::Forgotten { known_by: Side::Source, position: acknowledged });
}

#[tokio::test]
async fn a_source_that_forgot_the_feed_closes_it() {
    let world = begun().await;
    let source = Altered::new(world.source(), |elected: &mut Elected| elected.checkpoint = None);
    // Whether the publisher compares or leaves it to the relay.
    let reason = closed(&world, source, world.transactional()).await;
    assert!(matches!(reason, Mismatch::Forgotten { known_by: Side::Publisher, .. }), "{reason:?}");
    let kept = world.broker.checkpoint(&world.feed).expect("kept");
    let source = Altered::new(world.source(), |elected: &mut Elected| elected.checkpoint = None);
    let alter = move |resumed: &mut Resumed| resumed.position = KeptPosition::At(Box::new(kept.clone()));
    world.broker.forget_checkpoint(&world.feed);
    let reason = closed(&world, source, Altered::new(world.transactional(), alter)).await;
    assert!(matches!(reason, Mismatch::Forgotten { known_by: Side::Publisher, .. }), "{reason:?}");
}

#[tokio::test]
async fn a_publisher_that_has_less_than_was_acknowledged_closes_the_feed() {
    let world = begun().await;
    let alter = |resumed: &mut Resumed| {
        let KeptPosition::At(kept) = &mut resumed.position else { panic!("{resumed:?}") };
        kept.position = Position::new('m', 1, 0);
    };
    let reason = closed(&world, world.source(), Altered::new(world.transactional(), alter)).await;
    assert!(matches!(reason, Mismatch::PublisherBehind { .. }), "{reason:?}");
}

#[tokio::test]
async fn a_source_that_ends_before_what_was_published_closes_the_feed() {
    let world = begun().await;
    let alter = |resumed: &mut Resumed| {
        let KeptPosition::At(kept) = &mut resumed.position else { panic!("{resumed:?}") };
        kept.position = Position::new('m', 1000, 0);
    };
    let reason = closed(&world, world.source(), Altered::new(world.transactional(), alter)).await;
    assert!(matches!(reason, Mismatch::SourceBehind { .. }), "{reason:?}");
}

#[tokio::test]
async fn a_source_that_no_longer_has_what_follows_closes_the_feed() {
    let world = begun().await;
    world.database.forget_through(&world.database.end());
    let reason = closed(&world, world.source(), world.transactional()).await;
    assert!(matches!(reason, Mismatch::SourceGone { .. }), "{reason:?}");
}

#[tokio::test]
async fn a_feed_that_was_enrolled_and_published_nothing_goes_on() {
    let world = World::loaded();
    let script = Script::new();
    script.fail("next", crate::relay::scripted::Fault::Fatal);
    let relay = world.relay(Scripted::new(world.source(), &script), world.transactional());
    world.run(relay).await.expect_err("ended after its enrolment");
    assert_eq!(world.database.checkpoint(&world.feed).expect("enrolled").position, Position::ORIGIN);
    assert_eq!(world.broker.checkpoint(&world.feed), None);
    world.finish(Delivery::ExactlyOnce).await;
    world.assert_clean(Delivery::ExactlyOnce, "after an enrolment");
}

#[tokio::test]
async fn a_publisher_that_is_ahead_of_what_was_acknowledged_decides() {
    let world = World::loaded();
    let script = Script::new();
    let relay = world.relay(Scripted::new(world.source(), &script), world.transactional());
    let handle = relay.handle();
    {
        let mut run = std::pin::pin!(relay.run(std::future::pending()));
        let enrolled = async {
            handle.wait_until(|status| status.state == change_feed::RelayState::Running).await;
            script.fail("acknowledge", crate::relay::scripted::Fault::Hangs);
            handle.wait_until(|status| status.position >= world.database.end()).await;
        };
        tokio::select! {
            ended = &mut run => panic!("{ended:?}"),
            () = enrolled => {}
        }
    }
    assert!(world.database.checkpoint(&world.feed).expect("enrolled").position < world.database.end());
    world.finish(Delivery::ExactlyOnce).await;
    assert_eq!(world.database.checkpoint(&world.feed).expect("told").position, world.database.end());
    world.assert_clean(Delivery::ExactlyOnce, "the publisher was ahead");
}
