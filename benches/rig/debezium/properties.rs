//! The settings of worker and connector that made them fastest.

use std::path::Path;

use super::Mode;
use crate::dataset::TABLE;
use crate::kafka::Kafka;
use crate::postgres::Postgres;

/// The names and values of settings.
pub(super) type Properties = Vec<(String, String)>;

fn properties<const N: usize>(pairs: [(&str, &str); N]) -> Properties {
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

/// Returns the settings of the worker; the names of its topics begin with `name`.
pub(super) fn worker(mode: Mode, name: &str, kafka: &Kafka, plugins: &Path, scratch: &Path, port: u16) -> Properties {
    let (listener, plugins) = (format!("http://127.0.0.1:{port}"), plugins.display().to_string());
    let mut all = properties([
        ("bootstrap.servers", &kafka.brokers),
        ("listeners", &listener),
        ("plugin.path", &plugins),
        // The default looks into every class of every jar, for many seconds.
        ("plugin.discovery", "service_load"),
        ("key.converter", "org.apache.kafka.connect.json.JsonConverter"),
        ("key.converter.schemas.enable", "false"),
        ("value.converter", "org.apache.kafka.connect.json.JsonConverter"),
        ("value.converter.schemas.enable", "false"),
        ("producer.compression.type", "lz4"),
        ("producer.batch.size", "524288"),
        ("producer.linger.ms", "10"),
    ]);
    let [group, configurations, offsets, statuses] =
        ["group", "configurations", "offsets", "statuses"].map(|what| format!("{name}-{what}"));
    all.extend(match mode {
        Mode::AtLeastOnce | Mode::Router => {
            properties([("offset.storage.file.filename", &scratch.join(&offsets).display().to_string())])
        }
        Mode::ExactlyOnce => properties([
            ("group.id", &group),
            ("exactly.once.source.support", "enabled"),
            ("config.storage.topic", &configurations),
            ("config.storage.replication.factor", "-1"),
            ("offset.storage.topic", &offsets),
            ("offset.storage.replication.factor", "-1"),
            ("offset.storage.partitions", "1"),
            ("status.storage.topic", &statuses),
            ("status.storage.replication.factor", "-1"),
            ("status.storage.partitions", "1"),
        ]),
    });
    all
}

/// Returns the settings of the connector, which reads the slot and the publication of this name.
pub(super) fn connector(mode: Mode, name: &str, postgres: &Postgres, database: &str) -> Properties {
    let port = postgres.port.to_string();
    let mut all = properties([
        ("name", name),
        ("connector.class", "io.debezium.connector.postgresql.PostgresConnector"),
        ("tasks.max", "1"),
        ("database.hostname", &postgres.host),
        ("database.port", &port),
        ("database.user", postgres.role()),
        ("database.password", postgres.password()),
        ("database.dbname", database),
        ("topic.prefix", name),
        ("plugin.name", "pgoutput"),
        ("slot.name", name),
        ("publication.name", name),
        ("publication.autocreate.mode", "disabled"),
        ("table.include.list", TABLE),
        ("snapshot.mode", "no_data"),
        // The rig marks the end of a backlog with a message.
        ("message.prefix.exclude.list", "rig"),
        ("max.batch.size", "16384"),
        ("max.queue.size", "65536"),
        ("poll.interval.ms", "10"),
    ]);
    match mode {
        Mode::AtLeastOnce => {}
        Mode::ExactlyOnce => {
            all.extend(properties([("exactly.once.support", "required"), ("transaction.boundary", "poll")]));
        }
        Mode::Router => all.extend(properties([
            ("transforms", "outbox"),
            ("transforms.outbox.type", "io.debezium.transforms.outbox.EventRouter"),
            ("transforms.outbox.table.field.event.id", "event_id"),
            ("transforms.outbox.table.field.event.key", "order_id"),
            ("transforms.outbox.table.field.event.type", "event_type"),
            ("transforms.outbox.table.field.event.payload", "payload"),
            ("transforms.outbox.route.by.field", "event_type"),
            ("transforms.outbox.route.topic.replacement", &mode.topic(name)),
        ])),
    }
    all
}

/// Writes a `.properties` file. No value here needs an escape.
pub(super) fn text(properties: &Properties) -> String {
    properties.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
}

/// Writes the JSON of a connector's configuration.
pub(super) fn json(properties: &Properties) -> String {
    let object: serde_json::Map<_, _> =
        properties.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    serde_json::Value::Object(object).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_lines_or_an_object() {
        let properties = properties([("a.b", "1"), ("c", "x\"y")]);
        assert_eq!(text(&properties), "a.b=1\nc=x\"y\n");
        assert_eq!(json(&properties), r#"{"a.b":"1","c":"x\"y"}"#);
    }
}
