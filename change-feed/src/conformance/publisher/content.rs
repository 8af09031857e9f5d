//! What arrives is what was given.

use bytes::Bytes;

use super::driver::{Batch, Driver, named};
use super::harness::{PublisherHarness, SeenRecord};
use crate::conformance::rule::{Fault, broken, must};
use crate::feed::change::{Content, Mark};
use crate::feed::envelope::Envelope;
use crate::feed::transaction::TransactionPlace;

pub(super) async fn content_unchanged(harness: &dyn PublisherHarness) -> Result<(), Fault> {
    let driver = Driver::open(harness).await?;
    let resumed = driver.resumed().await?;
    let batch = driver.completed(unusual(&driver));
    driver.publish(&resumed, &batch).await?;
    compare(&driver, &batch, |_| true).await
}

pub(super) async fn withheld_stub_passes(harness: &dyn PublisherHarness) -> Result<(), Fault> {
    let driver = Driver::open(harness).await?;
    let resumed = driver.resumed().await?;
    let mut envelopes = driver.envelopes(["a", "b", "a"]);
    envelopes[1] = envelopes[1].clone().withheld("the payload has 2 MB and the broker takes 1");
    let batch = driver.completed(envelopes);
    driver.publish(&resumed, &batch).await?;
    compare(&driver, &batch, |envelope| envelope.withheld_reason().is_some()).await
}

pub(super) async fn tombstone_is_null(harness: &dyn PublisherHarness) -> Result<(), Fault> {
    let driver = Driver::open(harness).await?;
    let resumed = driver.resumed().await?;
    let rows = vec![
        driver.row("a", Some("milk"))?,
        driver.row("b", Some("the picture of a cow"))?.withheld("the row has 2 MB and the broker takes 1"),
        driver.row("a", None)?,
        driver.row("c", None)?,
        driver.row("a", Some(""))?,
    ];
    let batch = driver.completed(rows);
    driver.publish(&resumed, &batch).await?;
    compare(&driver, &batch, |_| true).await
}

/// Events of every form that a feed publishes.
fn unusual(driver: &Driver) -> Vec<Envelope> {
    let payload = |text: &str| Bytes::from(text.to_owned());
    let large = format!(r#"{{"text":"{}"}}"#, "a large payload ".repeat(4_000));
    vec![
        driver.envelope("plain", payload(r#"{"sku":"milk","quantity":2}"#)),
        driver.envelope("a key with spaces, \"quotes\", / and \\", payload("{}")),
        driver.envelope("Schlüssel ✓", payload(r#"{"größe":"½ m²","price":12.50,"none":null,"list":[1,2.0,3e1]}"#)),
        driver.envelope("escapes", payload(r#"{"line":"a\nb","quote":"\"","unicode":"\u00e9","nul":"\u0000"}"#)),
        driver.envelope("large", payload(&large)),
        traced(driver),
        driver.envelope("first", payload("{}")).in_transaction(Some(TransactionPlace::new(731, 0))),
        driver.envelope("last", payload("{}")).in_transaction(Some(TransactionPlace::last(731, 2))),
        driver.envelope("in MySQL", payload("{}")).in_transaction(Some(TransactionPlace::new("3e11fa47:23", 0))),
        driver.envelope("snapshot", payload("{}")).marked(Mark::Snapshot),
        driver.envelope("baseline", payload("{}")).marked(Mark::Baseline),
        driver.envelope("replayed", payload("{}")).marked(Mark::Replay),
    ]
}

fn traced(driver: &Driver) -> Envelope {
    let mut change = driver.change("traced", Bytes::from_static(b"{}"));
    if let Content::Event(event) = change.content {
        let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        change.content = Content::Event(event.with_traceparent(traceparent));
    }
    driver.routed(change)
}

/// Compares the records of the envelopes that are of interest, where there is one.
async fn compare(driver: &Driver, batch: &Batch, of_interest: impl Fn(&Envelope) -> bool) -> Result<(), Fault> {
    let records = driver.records_with(&batch.envelopes).await?;
    for envelope in batch.envelopes.iter().filter(|envelope| of_interest(envelope)) {
        match records.iter().find(|record| record.is_of(envelope)) {
            Some(record) => same(envelope, record)?,
            None => return broken(format!("{} is not there", named(envelope))),
        }
    }
    Ok(())
}

fn same(envelope: &Envelope, record: &SeenRecord) -> Result<(), Fault> {
    must(record.key == envelope.key().as_bytes(), || format!("{} has another key", named(envelope)))?;
    let (given, found) = (envelope.value(), record.payload.as_deref());
    must(given.is_none() || found.is_some(), || format!("the payload of {} is null", named(envelope)))?;
    must(given.is_some() || found.is_none(), || {
        let length = found.unwrap_or_default().len();
        format!("{} is a tombstone, and its payload has {length} bytes instead of being null", named(envelope))
    })?;
    must(given == found, || format!("{} has another payload", named(envelope)))?;
    for (name, value) in envelope.headers() {
        must(record.header(name) == Some(value.as_bytes()), || {
            let found = record.header(name).map(String::from_utf8_lossy);
            format!("{} should have the header {name}: {value:?}, and has {found:?}", named(envelope))
        })?;
    }
    let ours = |name: &str| name.starts_with("ce_") || name.starts_with("feed");
    for (name, _) in record.headers.iter().filter(|(name, _)| ours(name)) {
        let given = envelope.headers().iter().any(|(header, _)| header == name);
        must(given, || format!("{} was given no header {name}", named(envelope)))?;
        let count = record.headers.iter().filter(|(header, _)| header == name).count();
        must(count == 1, || format!("{} has {count} headers {name}", named(envelope)))?;
    }
    Ok(())
}
