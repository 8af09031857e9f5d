//! A rejoin that is recorded at the source: a new epoch with a baseline of every key, whatever ends the relay meanwhile.

use change_feed::judge::Delivery;
use change_feed::source::Elected;
use change_feed::{Epoch, Mark, Mismatch, Position, RelayError, Source};

use crate::relay::identity::Altered;
use crate::relay::scripted::{Fault, Script, Scripted};
use crate::relay::world::{TOPIC, World};

const SECOND: Epoch = Epoch::new(2);

/// A feed that has published everything, whose rejoin is recorded, and that has more to publish.
async fn rejoining(delivery: Delivery) -> World {
    let world = World::loaded();
    world.finish(delivery).await;
    assert_eq!(world.database.rejoin(&world.feed), Some(SECOND));
    world.database.commit(["a", "e"]);
    world.database.add_chunk(["s"]);
    world.database.commit(["a"]);
    world
}

/// The keys that have a baseline, as a reader sees them.
fn baselines(world: &World) -> Vec<String> {
    let records = world.broker.records(TOPIC);
    let baselines = records.iter().filter(|record| record.envelope.mark() == Mark::Baseline);
    baselines.map(|record| record.envelope.key().to_owned()).collect()
}

async fn assert_rejoined(world: &World, delivery: Delivery, circumstances: &str) {
    world.assert_clean(delivery, circumstances);
    let stored = world.database.checkpoint(&world.feed).expect("acknowledged");
    assert_eq!((stored.identity.epoch, &stored.position), (SECOND, &world.database.end()), "{circumstances}");
    let elected = world.source().elect().await.expect("nobody else is");
    assert_eq!(elected.wanted_epoch, None, "{circumstances}");
    let mut keys = baselines(world);
    if delivery == Delivery::ExactlyOnce {
        assert_eq!(world.broker.checkpoint(&world.feed), Some(stored), "{circumstances}");
    } else {
        keys.sort_unstable();
        keys.dedup();
    }
    assert_eq!(keys, ["a", "b", "c", "d"], "{circumstances}");
}

#[tokio::test]
async fn a_rejoin_publishes_a_baseline_of_every_key_and_then_the_changes() {
    let world = rejoining(Delivery::ExactlyOnce).await;
    let before = world.broker.records(TOPIC).len();
    world.finish(Delivery::ExactlyOnce).await;
    assert_rejoined(&world, Delivery::ExactlyOnce, "a rejoin").await;
    let records = world.broker.records(TOPIC);
    let marks: Vec<_> = records[before..].iter().map(|record| record.envelope.mark()).collect();
    let changes = [Mark::Change, Mark::Change, Mark::Snapshot, Mark::Change];
    assert_eq!(marks, [&[Mark::Baseline; 4][..], &changes].concat());
    assert!(records[..before].iter().all(|record| record.envelope.epoch() == Epoch::FIRST));
    assert!(records[before..].iter().all(|record| record.envelope.epoch() == SECOND));
}

/// Every call in turn is the first of which nothing is done: between any two of them the relay dies.
#[tokio::test]
async fn a_relay_that_dies_at_any_call_of_a_rejoin_is_followed_by_one_that_resumes_it() {
    for delivery in [Delivery::ExactlyOnce, Delivery::AtLeastOnce] {
        let mut deaths = 0;
        for call in 0.. {
            let world = rejoining(delivery).await;
            let script = Script::failing_at(call, Fault::Fatal);
            let (source, publisher) = (world.source(), world.publisher(delivery));
            let relay = world.relay(Scripted::new(source, &script), Scripted::new(publisher, &script));
            let ended = world.run(relay).await;
            if script.calls().len() <= call {
                break;
            }
            deaths += usize::from(ended.is_err());
            world.finish(delivery).await;
            let circumstances = format!("{delivery:?}, died at call {call} of {:?}", script.calls());
            assert_rejoined(&world, delivery, &circumstances).await;
        }
        assert!(deaths > 10, "only {deaths} deaths");
    }
}

/// Why a relay of this world fails closed, without having published anything.
async fn closed(world: &World, source: impl Source) -> Mismatch {
    let published = world.published_keys();
    let ended = world.run(world.relay(source, world.transactional())).await;
    assert_eq!(world.published_keys(), published);
    match ended {
        Err(RelayError::Closed { reason, .. }) => *reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_rejoin_goes_on_from_the_position_of_a_source_that_is_still_in_the_epoch_before() {
    let world = rejoining(Delivery::ExactlyOnce).await;
    let before = Altered::new(world.source(), |elected: &mut Elected| {
        if let Some(checkpoint) = &mut elected.checkpoint {
            checkpoint.identity.epoch = Epoch::FIRST;
            checkpoint.identity.source.system = "what was restored".to_owned();
        }
    });
    world.run(world.relay(before, world.transactional())).await.expect("it rejoins");
    assert_rejoined(&world, Delivery::ExactlyOnce, "in two steps").await;
}

#[tokio::test]
async fn a_higher_epoch_at_the_source_without_a_recorded_rejoin_closes_the_feed() {
    let world = rejoining(Delivery::ExactlyOnce).await;
    let forgetful = Altered::new(world.source(), |elected: &mut Elected| elected.wanted_epoch = None);
    let reason = closed(&world, forgetful).await;
    assert!(matches!(reason, Mismatch::Differs { what: "epoch", .. }), "{reason:?}");
}

#[tokio::test]
async fn a_higher_epoch_at_the_publisher_closes_the_feed_also_while_a_rejoin_is_recorded() {
    let world = rejoining(Delivery::ExactlyOnce).await;
    world.finish(Delivery::ExactlyOnce).await;
    let left_behind = Altered::new(world.source(), |elected: &mut Elected| {
        elected.checkpoint.as_mut().expect("acknowledged").identity.epoch = Epoch::FIRST;
        elected.wanted_epoch = Some(Epoch::FIRST);
    });
    let reason = closed(&world, left_behind).await;
    assert!(matches!(reason, Mismatch::Differs { what: "epoch", .. }), "{reason:?}");
}

#[tokio::test]
async fn a_copy_of_the_database_cannot_take_over_a_rejoin_that_its_original_has_begun() {
    let world = rejoining(Delivery::ExactlyOnce).await;
    world.finish(Delivery::ExactlyOnce).await;
    let copy = Altered::new(world.source(), |elected: &mut Elected| {
        elected.identity.system = "a copy".to_owned();
        elected.checkpoint.as_mut().expect("acknowledged").identity.source.system = "a copy".to_owned();
        elected.wanted_epoch = Some(SECOND);
    });
    let reason = closed(&world, copy).await;
    assert!(matches!(reason, Mismatch::Differs { what: "database", .. }), "{reason:?}");
}

#[tokio::test]
async fn a_feed_that_acknowledged_nothing_has_nothing_to_rejoin() {
    let world = World::loaded();
    assert_eq!(world.database.rejoin(&world.feed), None);
    assert_eq!(world.database.checkpoint(&world.feed).map(|stored| stored.position), None::<Position>);
}
