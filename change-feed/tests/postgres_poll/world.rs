//! A database of a test's own, with carts and their outbox, and what tests ask of a source.

use change_feed::outbox::Outbox;
use change_feed::postgres::poll::PostgresPollSourceBuilder;
use change_feed::source::Start;
use change_feed::{Change, Changes, Content, Epoch, FeedName, Position, PostgresPollSource, Source, SourceError};
use sqlx::PgConnection;
use test_support::Database;
pub(crate) use test_support::{PATIENCE, required};
use uuid::Uuid;

/// A database of a test's own.
pub(crate) struct World(Database);

/// A version of a cart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Version {
    pub(crate) cart: Uuid,
    pub(crate) version: u64,
}

pub(crate) fn feed() -> FeedName {
    FeedName::new("carts").expect("a valid name")
}

pub(crate) fn outbox() -> Outbox {
    Outbox::new("cart_events", "cart_id")
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::on(&required("DATABASE_URL")).await
    }

    /// A new database on the server of `url`, by its role.
    pub(crate) async fn on(url: &str) -> Self {
        let database = Database::create("poll", url).await;
        database.run(TABLES).await;
        Self(database)
    }

    pub(crate) fn builder(&self) -> PostgresPollSourceBuilder {
        PostgresPollSource::builder(&self.url(), &feed()).outbox(outbox())
    }

    pub(crate) async fn source(&self) -> PostgresPollSource {
        self.builder().connect().await.expect("a server and an outbox")
    }

    /// A source that is elected and started.
    pub(crate) async fn started(&self, after: &Position) -> PostgresPollSource {
        started(self.builder(), after).await
    }

    pub(crate) async fn connection(&self) -> PgConnection {
        self.connect().await
    }

    /// New carts, without events.
    pub(crate) async fn carts(&self, count: usize) -> Vec<Uuid> {
        let mut carts = Vec::new();
        for _ in 0..count {
            let cart = Uuid::now_v7();
            let insert = sqlx::query("insert into carts (cart_id) values ($1)").bind(cart);
            insert.execute(&self.pool).await.expect("a new cart");
            carts.push(cart);
        }
        carts
    }

    /// What committed, in the order of the sequence.
    pub(crate) async fn history(&self) -> Vec<Version> {
        let rows: Vec<(Uuid, i64)> = sqlx::query_as("select cart_id, version from cart_events order by sequence")
            .fetch_all(&self.pool)
            .await
            .expect("the history");
        rows.into_iter().map(|(cart, version)| Version { cart, version: version.unsigned_abs() }).collect()
    }
}

impl std::ops::Deref for World {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.0
    }
}

/// Appends an event and tells its version. The trigger steps the cart.
pub(crate) async fn append(connection: &mut PgConnection, cart: Uuid, payload: &str) -> u64 {
    let version: i64 =
        sqlx::query_scalar("insert into cart_events (cart_id, payload) values ($1, $2::json) returning version")
            .bind(cart)
            .bind(payload)
            .fetch_one(connection)
            .await
            .expect("an event");
    version.unsigned_abs()
}

pub(crate) async fn started(builder: PostgresPollSourceBuilder, after: &Position) -> PostgresPollSource {
    let source = builder.connect().await.expect("a server and an outbox");
    source.elect().await.expect("nobody else is elected");
    source.start(&Start::after(after, Epoch::FIRST)).await.expect("a position of this database");
    source
}

pub(crate) fn version_of(change: &Change) -> Version {
    let Content::Event(event) = &change.content else { panic!("no event: {change:?}") };
    Version { cart: event.key.parse().expect("a cart's id"), version: event.version }
}

pub(crate) fn versions(changes: &[Change]) -> Vec<Version> {
    changes.iter().map(version_of).collect()
}

pub(crate) fn end(changes: &Changes) -> Position {
    changes.end.position().expect("a poller's runs are complete").clone()
}

/// The text that a relay's operator sees of an error, with its causes.
pub(crate) fn text(error: &SourceError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text.push_str(&format!(": {next}"));
        cause = next.source();
    }
    text
}

/// The carts, and an outbox of the guard's shape. Its trigger steps the cart, so that one statement is a writer; the event
/// draws its number once it has the cart's row.
const TABLES: &str = "
create table carts (cart_id uuid primary key, version bigint not null default 0);
create sequence cart_events_numbers;
create table cart_events (
    sequence bigint primary key,
    event_id uuid not null default gen_random_uuid(),
    cart_id uuid not null references carts,
    version bigint not null,
    event_type text not null default 'cart.changed.v1',
    payload json not null default '{}',
    occurred_at timestamptz not null default clock_timestamp(),
    traceparent text,
    transaction_id xid8 not null default pg_current_xact_id(),
    unique (cart_id, version));
create index cart_events_transaction_id on cart_events (transaction_id);
create function step() returns trigger language plpgsql as $$
begin
    update carts set version = version + 1 where cart_id = new.cart_id returning version into new.version;
    new.sequence := nextval('cart_events_numbers');
    return new;
end $$;
create trigger step before insert on cart_events for each row execute function step();
";
