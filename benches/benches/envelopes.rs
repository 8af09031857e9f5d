//! What it costs to route a change, and to write the envelope that it becomes.
//!
//! `cargo bench -p benches --bench envelopes`
//!
//! An event of an outbox as a CloudEvent, and a row of the same size as flat JSON, which is written when the row is routed.
//! `headers` is what a publisher asks for of each envelope.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use change_feed::feed::{Cell, Column, Row, RowChange, Table};
use change_feed::{
    Change, Envelope, Epoch, EventId, EventRecord, FeedIdentity, FeedName, Position, PublisherIdentity, Router,
    RowFormat, SourceIdentity, TransactionPlace,
};
use chrono::{DateTime, Utc};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use uuid::Uuid;

const CHANGES: u64 = 1_000;
const PAYLOAD: &str =
    r#"{"order_id":"018f3a5e-7c1b-7d20-9a51-3f6f1c2b4d5e","sku":"milk-1l","quantity":2,"note":"xxxxxxxxxxxx"}"#;

const INT8: u32 = 20;
const TEXT: u32 = 25;
const TIMESTAMPTZ: u32 = 1184;
const UUID: u32 = 2950;
const JSON: u32 = 114;

fn place(number: u64) -> (Position, TransactionPlace) {
    let index = u32::try_from(number % 10).expect("a digit");
    let id = 1_000 + number / 10;
    let place = if index == 9 { TransactionPlace::last(id, 10) } else { TransactionPlace::new(id, index) };
    (Position::new('l', 0x1_6b37_4d84 + number, u64::from(index)), place)
}

fn events() -> Vec<Change> {
    let (outbox, event_type) = (Arc::from("public.order_events"), Arc::from("order.item_added.v1"));
    let event = |number: u64| {
        let (position, place) = place(number);
        let event = EventRecord::new(
            Arc::clone(&outbox),
            EventId::new(Uuid::from_u128(u128::from(number) << 64 | 7)),
            Arc::from(Uuid::from_u128(u128::from(number % 100)).to_string()),
            number,
            Arc::clone(&event_type),
            Bytes::from_static(PAYLOAD.as_bytes()),
            now(number),
        );
        Change::event(position, event).in_transaction(place)
    };
    (0..CHANGES).map(event).collect()
}

fn rows() -> Vec<Change> {
    let columns = [
        Column::key("sequence", INT8),
        Column::new("event_id", UUID),
        Column::new("order_id", UUID),
        Column::new("event_type", TEXT),
        Column::new("payload", JSON),
        Column::new("occurred_at", TIMESTAMPTZ),
    ];
    let table = Arc::new(Table::new("public", "order_events", columns));
    let row = |number: u64| {
        let (position, place) = place(number);
        let (sequence, id) = (number.to_string(), Uuid::from_u128(u128::from(number) << 64 | 7).to_string());
        let texts = [&sequence, &id, &id, "order.item_added.v1", PAYLOAD, "2026-11-23 08:51:12.000001+00"];
        let row = Row::from_cells(texts.map(Cell::Text)).expect("a small row");
        Change::row(position, RowChange::insert(Arc::clone(&table), row, now(number))).in_transaction(place)
    };
    (0..CHANGES).map(row).collect()
}

fn now(number: u64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(1_795_424_306_000_001 + number.cast_signed()).expect("a time")
}

fn feed() -> FeedIdentity {
    let (source, publisher) = (SourceIdentity::new("", "", ""), PublisherIdentity::new("", ""));
    FeedIdentity::new(FeedName::new("orders").expect("a valid name"), Epoch::FIRST, source, publisher)
}

fn route(router: &Router, changes: Vec<Change>) -> Vec<Envelope> {
    let feed = feed();
    changes.into_iter().map(|change| router.route(change, &feed).expect("a route")).collect()
}

fn envelopes(criterion: &mut Criterion) {
    let router = Router::to_topic("orders.events").rows("store", ["public.order_events"], RowFormat::Flat);
    let forms = [("cloud_event", events()), ("flat_row", rows())];
    let mut group = criterion.benchmark_group("router");
    group.throughput(Throughput::Elements(CHANGES));
    for (name, changes) in &forms {
        group.bench_function(BenchmarkId::new("route", name), |bencher| {
            bencher.iter_batched(|| changes.clone(), |changes| route(&router, changes), BatchSize::SmallInput);
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("envelope");
    group.throughput(Throughput::Elements(CHANGES));
    for (name, changes) in forms {
        let envelopes = route(&router, changes);
        group.bench_function(BenchmarkId::new("headers", name), |bencher| {
            bencher.iter(|| {
                for envelope in &envelopes {
                    envelope.visit_headers(&mut |name, value| {
                        black_box((name, value));
                    });
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, envelopes);
criterion_main!(benches);
