//! A feed on the log of a PostgreSQL, with its topics.

use change_feed::outbox::Outbox;
use change_feed::{FeedName, KafkaPublisher, LogicalSource, Relay, Router, RowFormat};
use test_support::{Database, required};

use crate::kafka_jvm::cluster::{PATIENCE, brokers};

/// The rows of one transaction that pass whole.
const TRANSACTION_ROWS_MAX: u64 = 50;

/// What is written: rows of every kind of change, large and small transactions, and one that rolls back.
const WRITES: [(&str, u64); 9] = [
    ("insert into notes select n, 'note ' || n from generate_series(1, 20) n", 20),
    ("insert into notes values (21, null), (22, '')", 2),
    ("update notes set note = note || '!' where id <= 5", 5),
    ("update notes set id = 106 where id = 6", 2),
    ("delete from notes where id = 7", 1),
    (
        "begin; insert into order_events (order_id, version) select 'order-' || n % 9, n / 9 + 1 from generate_series(0, 129) n;
        insert into notes select n, 'split' from generate_series(1000, 1099) n; commit",
        230,
    ),
    ("begin; insert into notes values (9000, 'rolled back'); rollback", 0),
    ("insert into order_events (order_id, version, payload) values ('last', 1, '{\"price\": 12.50}')", 1),
    ("truncate notes", 1),
];

/// A database of the test's own, and the feed of it.
pub(crate) struct Feed {
    database: Database,
    name: FeedName,
}

impl Feed {
    pub(crate) async fn create(name: FeedName) -> Self {
        let database = Database::named(name.as_str(), &required("ADMIN_DATABASE_URL")).await;
        Self { database, name }
    }

    pub(crate) fn events(&self) -> String {
        format!("{}.events", self.name)
    }

    pub(crate) fn rows(&self) -> String {
        format!("{}.public.notes", self.name)
    }

    /// Writes, and publishes what was written; tells how much that was.
    pub(crate) async fn run(&self) -> u64 {
        self.database.run(TABLES).await;
        let source = LogicalSource::builder(&self.database.url(), &self.name)
            .outbox(Outbox::new("order_events", "order_id").event_type_format("order.", ".v1"))
            .tables(["public.notes"])
            .max_transaction_rows(TRANSACTION_ROWS_MAX)
            .max_run_rows(20)
            .create(true);
        let source = source.connect().await.expect("a server with what the feed needs");
        for (script, _) in WRITES {
            self.database.run(script).await;
        }
        let expected = WRITES.iter().map(|(_, changes)| changes).sum();
        let publisher = KafkaPublisher::builder(&brokers(), &self.name).create_topics(3).build();
        let router = Router::to_topic(self.events()).rows(self.name.as_str(), ["public.notes"], RowFormat::Flat);
        let relay = Relay::new(self.name.clone(), source, router, publisher.expect("valid settings"));
        let handle = relay.handle();
        let published = async move {
            handle.wait_until(|status| status.envelopes >= expected).await;
        };
        let running = tokio::time::timeout(PATIENCE, relay.run(published));
        running.await.expect("all is published in time").expect("no relay stops by itself");
        expected
    }

    /// Removes what the feed had on the server, while nobody reads it.
    pub(crate) async fn drop(self) {
        let builder = LogicalSource::builder(&self.database.url(), &self.name);
        builder.outbox(Outbox::new("order_events", "order_id")).clean_up().await.expect("the relay has ended");
    }
}

const TABLES: &str = "
create table notes (id int primary key, note text);
create table order_events (
    sequence bigint primary key generated always as identity,
    event_id uuid not null default gen_random_uuid(),
    order_id text not null,
    version bigint not null,
    event_type text not null default 'changed',
    payload json not null default '{}',
    occurred_at timestamptz not null default clock_timestamp(),
    traceparent text,
    transaction_id xid8 not null default pg_current_xact_id());
";
