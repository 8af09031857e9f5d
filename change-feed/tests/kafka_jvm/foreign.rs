//! A producer that is no relay's, and writes what no feed does.

use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};

use crate::kafka_jvm::cluster::{PATIENCE, brokers};

/// Writes into this partition: nulls and zero lengths in every place where both can stand, bytes that are no text,
/// names that come twice.
pub(crate) fn write(topic: &str, partition: i32) {
    let producer: ThreadedProducer<DefaultProducerContext> =
        ClientConfig::new().set("bootstrap.servers", brokers()).create().expect("valid settings");
    let (none, empty): (Option<&[u8]>, Option<&[u8]>) = (None, Some(b""));
    let bytes: Option<&[u8]> = Some(b"\x00\xff\t\n-x");
    let keys_and_values = [(none, none), (none, empty), (empty, none), (empty, empty), (bytes, bytes)];
    for (key, value) in keys_and_values {
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(partition).headers(headers(bytes));
        (record.key, record.payload) = (key, value);
        producer.send(record).map_err(|(error, _)| error).expect("queued");
    }
    producer.flush(PATIENCE).expect("delivered");
}

fn headers(bytes: Option<&[u8]>) -> OwnedHeaders {
    let header = |key, value| Header { key, value };
    OwnedHeaders::new()
        .insert(header("null", None))
        .insert(header("empty", Some(&b""[..])))
        .insert(header("twice", Some(b"1")))
        .insert(header("bytes", bytes))
        .insert(header("twice", Some(b"2")))
        .insert(header("", Some(b"no name")))
}
