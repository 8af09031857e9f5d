//! The wire form of events, byte for byte: a contract with readers that are already deployed. A later change may
//! only add headers; then these files change in the same commit.
use std::fmt::Write as _;

use bytes::Bytes;
use change_feed::{
    Envelope, Epoch, EventId, EventRecord, FeedIdentity, FeedName, Mark, Position, PublisherIdentity, SourceIdentity,
    TransactionPlace,
};
use chrono::DateTime;
use uuid::Uuid;

#[test]
fn an_event_with_all_that_its_writer_and_its_source_can_tell() {
    let event = event().with_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let envelope = envelope(event).in_transaction(Some(TransactionPlace::last(771, 3)));
    assert_eq!(shown(&envelope), include_str!("../golden/cloudevents/event.txt"));
}

#[test]
fn an_event_in_the_midst_of_its_transaction() {
    let envelope = envelope(event()).in_transaction(Some(TransactionPlace::new(771, 1)));
    assert_eq!(shown(&envelope), include_str!("../golden/cloudevents/event_in_transaction.txt"));
}

#[test]
fn an_event_of_which_the_least_is_known() {
    assert_eq!(shown(&envelope(event())), include_str!("../golden/cloudevents/event_minimal.txt"));
}

#[test]
fn a_stub_in_the_place_of_a_withheld_event() {
    let event = event().with_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let envelope = envelope(event).in_transaction(Some(TransactionPlace::last(771, 1)));
    let stub = envelope.withheld("the record has 4001 bytes and the topic takes 4000 (max.message.bytes)");
    assert_eq!(shown(&stub), include_str!("../golden/cloudevents/withheld.txt"));
}

#[test]
fn an_event_that_is_published_again_on_an_operators_order() {
    assert_eq!(shown(&envelope(event()).marked(Mark::Replay)), include_str!("../golden/cloudevents/replay.txt"));
}

#[test]
fn an_event_as_a_snapshot_read_it() {
    assert_eq!(shown(&envelope(event()).marked(Mark::Snapshot)), include_str!("../golden/cloudevents/snapshot.txt"));
}

#[test]
fn a_state_at_the_beginning_of_an_epoch() {
    let id = EventId::new(Uuid::from_u128(0x0190_a1b2_7c3d_7e4f_8a5b_ffff_ffff_ffff));
    let baseline = envelope(event_with(id)).marked(Mark::Baseline);
    assert_eq!(shown(&baseline), include_str!("../golden/cloudevents/baseline.txt"));
}

fn event() -> EventRecord {
    event_with(EventId::new(Uuid::from_u128(0x0190_a1b2_7c3d_7e4f_8a5b_6c7d_8e9f_0a1b)))
}

fn event_with(id: EventId) -> EventRecord {
    EventRecord::new(
        "public.order_events".into(),
        id,
        "0190a1b2-0000-7000-8000-000000000001".into(),
        4,
        "order.item_added.v1".into(),
        Bytes::from_static(br#"{"sku":"milk","quantity":2}"#),
        DateTime::from_timestamp(1_795_000_000, 123_456_789).expect("in range"),
    )
}

fn envelope(event: EventRecord) -> Envelope {
    let position = Position::new('p', 42, 7);
    let (source, publisher) = (SourceIdentity::new("", "", ""), PublisherIdentity::new("", ""));
    let feed = FeedIdentity::new(FeedName::new("orders").expect("a valid name"), Epoch::new(2), source, publisher);
    Envelope::cloud_event("orders.events".into(), "/change-feed/orders".into(), event, position, &feed)
}

/// Topic and key, the headers in their order, an empty line, the value.
fn shown(envelope: &Envelope) -> String {
    let mut text = format!("topic {}\nkey {}\n", envelope.topic(), envelope.key());
    for (name, value) in envelope.headers() {
        writeln!(text, "{name}: {value}").expect("a String takes all");
    }
    let value = std::str::from_utf8(envelope.data()).expect("JSON is UTF-8");
    writeln!(text, "\n{value}").expect("a String takes all");
    text
}
