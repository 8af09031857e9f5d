//! Every call that a relay makes, on either side, fails once in every way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use change_feed::judge::Delivery;
use change_feed::memory::MemoryPublisher;
use change_feed::publisher::{Resume, Resumed};
use change_feed::{Part, PublishError, Publisher, RelayError, RelayOptions, RelayState};

use crate::relay::scripted::{Fault, Script, Scripted};
use crate::relay::world::{World, quick, settle, within};

/// Runs a relay whose call number `call` fails; if that ends the relay, another one finishes.
/// Returns whether the relay made so many calls, and how it ended.
async fn run_with_fault(delivery: Delivery, call: usize, fault: Fault) -> (bool, Option<RelayError>) {
    let world = World::loaded();
    let script = Script::failing_at(call, fault);
    let source = Scripted::new(world.source(), &script);
    let publisher = Scripted::new(world.publisher(delivery), &script);
    // Small parts, so that there are many calls.
    let options = RelayOptions { max_part_envelopes: 4, ..quick() };
    let ended = world.run(world.relay(source, publisher).options(options)).await;
    let circumstances = format!("{delivery:?}, {fault:?} at call {call} of {:?}", script.calls());
    if delivery == Delivery::ExactlyOnce {
        world.assert_not_torn(&circumstances);
    }
    let error = ended.err();
    if error.is_some() {
        world.finish(delivery).await;
    }
    world.assert_clean(delivery, &circumstances);
    (script.calls().len() > call, error)
}

/// Every call in turn, as long as there are calls.
async fn at_every_call(delivery: Delivery, fault: Fault) -> Vec<Option<RelayError>> {
    let mut ends = Vec::new();
    for call in 0.. {
        let (made, error) = run_with_fault(delivery, call, fault).await;
        if !made {
            break;
        }
        ends.push(error);
    }
    assert!(ends.len() > 15, "only {} calls", ends.len());
    ends
}

/// The last call gives up the election, and can't fail.
fn assert_none_ended(ends: &[Option<RelayError>]) {
    for (call, end) in ends.iter().enumerate() {
        assert!(end.is_none(), "call {call}: {end:?}");
    }
}

#[tokio::test]
async fn a_side_that_is_away_at_any_call_costs_nothing() {
    for delivery in [Delivery::ExactlyOnce, Delivery::AtLeastOnce] {
        assert_none_ended(&at_every_call(delivery, Fault::Away).await);
    }
}

#[tokio::test]
async fn a_lost_answer_to_any_call_costs_nothing() {
    for delivery in [Delivery::ExactlyOnce, Delivery::AtLeastOnce] {
        assert_none_ended(&at_every_call(delivery, Fault::AnswerLost).await);
    }
}

#[tokio::test]
async fn a_rejection_at_any_call_becomes_a_stub_in_its_place() {
    for delivery in [Delivery::ExactlyOnce, Delivery::AtLeastOnce] {
        assert_none_ended(&at_every_call(delivery, Fault::Rejects).await);
    }
}

#[tokio::test]
async fn what_ends_the_relay_at_any_call_loses_nothing() {
    for fault in [Fault::Fenced, Fault::Closed, Fault::Fatal] {
        for delivery in [Delivery::ExactlyOnce, Delivery::AtLeastOnce] {
            let ends = at_every_call(delivery, fault).await;
            let expected = |end: &RelayError| match fault {
                Fault::Fenced => matches!(end, RelayError::Fenced),
                Fault::Closed => matches!(end, RelayError::Closed { .. }),
                _ => matches!(end, RelayError::Fatal { .. }),
            };
            let ended: Vec<_> = ends.iter().flatten().collect();
            assert!(ended.iter().all(|end| expected(end)), "{fault:?}: {ended:?}");
            assert!(ended.len() > 5, "{fault:?}: {ended:?}");
        }
    }
}

/// Fails after every so many envelopes, as a web server does that fails now and then.
struct Brittle {
    inner: MemoryPublisher,
    given: AtomicUsize,
    since_failure: AtomicUsize,
}

#[async_trait]
impl Publisher for Brittle {
    async fn publish(&self, part: &Part<'_>) -> Result<(), PublishError> {
        // Long enough for the source to give everything that it has.
        settle().await;
        let envelopes = part.envelopes().len();
        self.given.fetch_add(envelopes, Ordering::Relaxed);
        if self.since_failure.fetch_add(envelopes, Ordering::Relaxed) + envelopes > 20 {
            self.since_failure.store(0, Ordering::Relaxed);
            return Err(PublishError::transient("brittle"));
        }
        self.inner.publish(part).await
    }

    async fn resume(&self, request: &Resume<'_>) -> Result<Resumed, PublishError> {
        self.inner.resume(request).await
    }
}

#[tokio::test]
async fn a_publisher_that_fails_now_and_then_is_given_less_at_a_time() {
    let world = World::new();
    for _ in 0..300 {
        world.database.commit(["a"]);
    }
    let (inner, given) = (world.transactional(), AtomicUsize::new(0));
    let publisher = Arc::new(Brittle { inner, given, since_failure: AtomicUsize::new(0) });
    world.run(world.relay(world.source(), Arc::clone(&publisher))).await.expect("it comes through");
    world.assert_clean(Delivery::ExactlyOnce, "brittle");
    // Parts of all that is pending would have given 15,000.
    let given = publisher.given.load(Ordering::Relaxed);
    assert!(given < 1500, "{given} envelopes given to publish 300");
}

#[tokio::test]
async fn a_relay_comes_back_by_itself_however_often_it_failed() {
    let world = World::loaded();
    let script = Script::new();
    script.fail("publish", Fault::Away);
    let publisher = Scripted::new(world.transactional(), &script);
    let relay = world.relay(world.source(), publisher);
    let handle = relay.handle();
    let watched = async {
        let away = handle
            .wait_until(|status| matches!(status.state, RelayState::Retrying { attempt, .. } if attempt >= 5))
            .await;
        assert_eq!(away.last_error.as_deref(), Some("scripted"));
        assert_eq!(away.envelopes, 0);
        script.heal();
        let back = handle.wait_until(|status| status.position >= world.database.end()).await;
        assert_eq!(back.state, RelayState::Running);
        // The next failure is the first of a new series.
        script.fail("publish", Fault::Away);
        world.database.commit(["a"]);
        handle.wait_until(|status| matches!(status.state, RelayState::Retrying { attempt: 1, .. })).await;
        script.heal();
        handle.wait_until(|status| status.position >= world.database.end()).await;
    };
    within(relay.run(watched)).await.expect("it comes back");
    assert_eq!(handle.status().state, RelayState::Stopped);
    world.assert_clean(Delivery::ExactlyOnce, "after retries");
}

#[tokio::test]
async fn what_was_captured_before_the_source_cannot_go_on_is_published_first() {
    for (fault, publisher_answers) in [(Fault::Fatal, true), (Fault::Closed, true), (Fault::Fatal, false)] {
        let world = World::new();
        (0..5).for_each(|_| drop(world.database.commit(["a"])));
        let script = Script::new();
        script.close("publish");
        let (source, publisher) = (world.source(), world.transactional());
        let relay = world.relay(Scripted::new(source, &script), Scripted::new(publisher, &script));
        let ends = async {
            settle().await;
            script.fail("next", fault);
            // Wakes the call that waits; the one after it fails.
            world.database.commit(["a"]);
            settle().await;
            if !publisher_answers {
                script.fail("publish", Fault::Away);
            }
            script.open();
        };
        let (ended, ()) = within(async { tokio::join!(relay.run(std::future::pending()), ends) }).await;
        let error = ended.expect_err("the source can't go on");
        assert!(matches!(error, RelayError::Fatal { .. } | RelayError::Closed { .. }), "{error:?}");
        // A publisher that is away is not waited for: the next start begins where this one ended.
        assert_eq!(world.published_keys().len() == 6, publisher_answers, "{fault:?}");
    }
}
