//! What decoding a row of PostgreSQL's log costs on one core, alone and on to JSON.
//!
//! `cargo bench -p benches --bench pgoutput`
//!
//! Times are CPU times of the thread, which other load on the machine hardly changes.
//!
//! `decode` decodes an insert and walks through its columns; `json` writes each column as JSON as well, into a buffer
//! that is used again. Rows: one of an outbox of some 400 bytes, and one of ten columns of common types. `strings` is
//! the escaping of texts of 400 bytes alone.

use std::hint::black_box;
use std::time::Duration;

use change_feed::postgres::value::{write_json, write_json_text};
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use postgres_replication::pgoutput::{Datum, Message};
use rustix::time::{ClockId, clock_gettime};

/// As many as fit into the second-level cache: a walsender's messages come from a socket's buffer.
const ROWS: usize = 1000;

/// A column's type and its text.
type Column = (u32, String);

/// `order_events` of `order-store`.
fn outbox_row(number: usize) -> Vec<Column> {
    let payload = format!(
        r#"{{"sku": "milk-{number}", "item_id": "018f0000-0000-7000-8000-{number:012}", "quantity": 2, "currency": "EUR", "unit_price_minor": 149, "note": "leave it at the door, please"}}"#
    );
    vec![
        (20, number.to_string()),
        (2950, format!("018f0000-0000-7000-8000-{number:012}")),
        (2950, format!("018f0000-0000-7000-9000-{number:012}")),
        (20, "3".to_owned()),
        (25, "item_added".to_owned()),
        (3802, payload),
        (1184, "2026-11-23 05:42:31.123456+00".to_owned()),
        (25, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
        (5069, (700_000 + number).to_string()),
    ]
}

fn ten_columns(number: usize) -> Vec<Column> {
    vec![
        (20, number.to_string()),
        (2950, format!("018f0000-0000-7000-8000-{number:012}")),
        (1043, "Jane Doe".to_owned()),
        (25, "Flat 3, 17 \"Old\" Street".to_owned()),
        (16, "t".to_owned()),
        (1700, "1234.50".to_owned()),
        (701, "0.125".to_owned()),
        (23, "-17".to_owned()),
        (1082, "2026-11-23".to_owned()),
        (1184, "2026-11-23 05:42:31.123456+00".to_owned()),
    ]
}

/// An insert as pgoutput sends it.
fn insert(columns: &[Column]) -> Vec<u8> {
    let mut message = vec![b'I', 0, 0, 0x40, 1, b'N'];
    message.extend((columns.len() as u16).to_be_bytes());
    for (_, text) in columns {
        message.push(b't');
        message.extend((text.len() as u32).to_be_bytes());
        message.extend_from_slice(text.as_bytes());
    }
    message
}

/// Walks through the columns of an insert.
fn columns(message: &[u8]) -> impl Iterator<Item = Datum<'_>> {
    match Message::decode(message) {
        Ok(Message::Insert(insert)) => insert.new.columns(),
        other => panic!("{other:?}"),
    }
}

fn write_row(types: &[u32], message: &[u8], json: &mut Vec<u8>) {
    json.push(b'[');
    for (type_oid, datum) in types.iter().zip(columns(message)) {
        match datum {
            Datum::Text(text) => write_json(*type_oid, str::from_utf8(text).expect("UTF-8"), json),
            _ => json.extend_from_slice(b"null"),
        }
        json.push(b',');
    }
    json.push(b']');
}

/// The time that the thread has spent on a CPU.
struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
    }

    fn end(&self, start: Duration) -> Duration {
        self.start() - start
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

fn pgoutput(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("pgoutput");
    for (name, row) in [("outbox", outbox_row as fn(usize) -> Vec<Column>), ("ten_columns", ten_columns)] {
        let types: Vec<u32> = row(0).iter().map(|(type_oid, _)| *type_oid).collect();
        let messages: Vec<Vec<u8>> = (0..ROWS).map(|number| insert(&row(number))).collect();
        let bytes = messages.iter().map(Vec::len).sum::<usize>() as u64;
        group.throughput(Throughput::ElementsAndBytes { elements: ROWS as u64, bytes });
        group.bench_function(BenchmarkId::new("decode", name), |bencher| {
            bencher.iter(|| {
                for datum in messages.iter().flat_map(|message| columns(message)) {
                    black_box(datum);
                }
            });
        });
        let mut json = Vec::new();
        group.bench_function(BenchmarkId::new("json", name), |bencher| {
            bencher.iter(|| {
                for message in &messages {
                    json.clear();
                    write_row(&types, message, &mut json);
                    black_box(&json);
                }
            });
        });
    }
    group.finish();
}

fn strings(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("strings");
    let texts =
        [("plain", "x".repeat(400)), ("quotes", "\"sku\": \"milk\", ".repeat(26)), ("umlauts", "Größe ".repeat(50))];
    let mut json = Vec::new();
    for (name, text) in &texts {
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(BenchmarkId::new("write_json_text", name), |bencher| {
            bencher.iter(|| {
                json.clear();
                write_json_text(black_box(text), &mut json);
                black_box(&json);
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = pgoutput, strings
}
criterion_main!(benches);
