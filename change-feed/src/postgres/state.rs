//! The state of a feed in its source's database: table `change_feed.feeds`.

use sqlx::postgres::PgConnection;
use sqlx::{Executor as _, Row as _};

use crate::feed::checkpoint::Checkpoint;
use crate::feed::identity::FeedName;
use crate::source::SourceError;

use super::server::{Server, fatal};
use super::sqlstate;

/// Makes the table's schema. Needs CREATE on the database even where the schema exists: run only where it is missing.
const CREATE_SCHEMA: &str = "create schema if not exists change_feed;\n";

/// Makes the table. A source runs it when the table is missing; an owner can run it in advance.
const CREATE_TABLE: &str = r#"create table if not exists change_feed.feeds (
    feed            text primary key,
    captures        text not null,
    -- Counts the elections: a relay that lost the election can't acknowledge any more.
    generation      bigint not null,
    epoch           bigint,
    -- Positions of one epoch sort as their text does.
    position        text collate "C",
    -- Every outbox row that this snapshot sees is published, for queries that prune. Only a poller knows it.
    published       pg_snapshot,
    checkpoint      text,
    acknowledged_at timestamptz
);
"#;

/// Two feeds that start for the first time at once would both create the schema, and one would fail.
const CREATE_LOCK: i64 = 0x6368_616e_6765_2d66;

/// Creates the schema and the table where they are missing; the error of a role that may not holds the script.
pub(crate) async fn create(server: &Server, connection: &mut PgConnection) -> Result<(), SourceError> {
    let exist = "select exists (select from pg_catalog.pg_namespace where nspname = 'change_feed'),
        exists (select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
            where n.nspname = 'change_feed' and c.relname = 'feeds')";
    let (schema_exists, table_exists) = server.answer(sqlx::query_as(exist).fetch_one(&mut *connection)).await?;
    if table_exists {
        return Ok(());
    }
    let create_schema = if schema_exists { "" } else { CREATE_SCHEMA };
    let script = format!("begin; select pg_advisory_xact_lock({CREATE_LOCK}); {create_schema}{CREATE_TABLE} commit;");
    let made =
        server.answer(async { Ok(connection.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(script))).await) }).await?;
    match made {
        Ok(_) => Ok(()),
        Err(error) if sqlstate::is_privilege_missing(&error) => Err(fatal(
            "the feed's role may not create the table change_feed.feeds, which keeps the feed's position",
            format!(
                "let an owner run:\n{CREATE_SCHEMA}{CREATE_TABLE}grant usage on schema change_feed to ROLE;\n\
                 grant select, insert, update on change_feed.feeds to ROLE;"
            ),
            error,
        )),
        Err(other) => server.answer(async { Err(other) }).await,
    }
}

/// Begins a new generation of the feed: every older relay's acknowledgements are refused from here on.
pub(crate) async fn begin_generation(
    server: &Server,
    connection: &mut PgConnection,
    feed: &FeedName,
    captures: &str,
) -> Result<(i64, Option<Checkpoint>), SourceError> {
    let statement = "insert into change_feed.feeds as f (feed, captures, generation) values ($1, $2, 1)
        on conflict (feed) do update set generation = f.generation + 1
        returning generation, checkpoint";
    let row =
        server.answer(sqlx::query(statement).bind(feed.as_str()).bind(captures).fetch_one(&mut *connection)).await?;
    let generation = server.answer(async { row.try_get(0) }).await?;
    let json: Option<String> = server.answer(async { row.try_get(1) }).await?;
    Ok((generation, json.as_deref().map(read).transpose()?))
}

/// Reads the stored checkpoint.
pub(crate) async fn checkpoint(
    server: &Server,
    connection: &mut PgConnection,
    feed: &FeedName,
) -> Result<Option<Checkpoint>, SourceError> {
    let statement = "select checkpoint from change_feed.feeds where feed = $1";
    let json: Option<Option<String>> =
        server.answer(sqlx::query_scalar(statement).bind(feed.as_str()).fetch_optional(&mut *connection)).await?;
    json.flatten().as_deref().map(read).transpose()
}

/// Stores a checkpoint unless a later one is stored, and the snapshot that is `published` with it where there is one.
/// `false` if another relay was elected since `generation`.
pub(crate) async fn store(
    server: &Server,
    connection: &mut PgConnection,
    generation: i64,
    checkpoint: &Checkpoint,
    published: Option<String>,
) -> Result<bool, SourceError> {
    let statement = r#"update change_feed.feeds f set
            epoch = new.epoch, position = new.position, published = new.published, checkpoint = new.checkpoint,
            acknowledged_at = now()
        from (select $3::bigint as epoch, $4::text collate "C" as position, $5::text::pg_snapshot as published,
            $6::text as checkpoint) new
        where f.feed = $1 and f.generation = $2
            and (f.position is null or (f.epoch, f.position) <= (new.epoch, new.position))"#;
    let json = serde_json::to_string(checkpoint).map_err(|error| SourceError::Fatal {
        what: "the checkpoint can't be written as JSON".to_owned(),
        remedy: "report this as a fault of change-feed".to_owned(),
        source: Some(Box::new(error)),
    })?;
    let feed = checkpoint.identity.feed.as_str();
    let stored = sqlx::query(statement)
        .bind(feed)
        .bind(generation)
        .bind(i64::from(checkpoint.identity.epoch.get()))
        .bind(checkpoint.position.to_string())
        .bind(published)
        .bind(json);
    if server.answer(connection.execute(stored)).await?.rows_affected() > 0 {
        return Ok(true);
    }
    let still = sqlx::query_scalar("select exists (select from change_feed.feeds where feed = $1 and generation = $2)");
    server.answer(still.bind(feed).bind(generation).fetch_one(connection)).await
}

/// Reads what the feed captures, as its relays have recorded it; `None` of a feed that has not begun.
#[cfg(feature = "logical")]
pub(crate) async fn captures(
    server: &Server,
    connection: &mut PgConnection,
    feed: &FeedName,
) -> Result<Option<String>, SourceError> {
    let query = sqlx::query_scalar("select captures from change_feed.feeds where feed = $1").bind(feed.as_str());
    server.answer(query.fetch_optional(connection)).await
}

/// Whether a feed of this name has begun here.
pub(crate) async fn has_begun(
    server: &Server,
    connection: &mut PgConnection,
    feed: &FeedName,
) -> Result<bool, SourceError> {
    let exists = sqlx::query_scalar("select to_regclass('change_feed.feeds') is not null");
    let exists: bool = server.answer(exists.fetch_one(&mut *connection)).await?;
    if !exists {
        return Ok(false);
    }
    let begun = sqlx::query_scalar("select exists (select from change_feed.feeds where feed = $1)").bind(feed.as_str());
    server.answer(begun.fetch_one(connection)).await
}

/// Records what the feed captures more exactly than `before`.
#[cfg(feature = "logical")]
pub(crate) async fn specify(
    server: &Server,
    connection: &mut PgConnection,
    feed: &FeedName,
    before: &str,
    captures: &str,
) -> Result<(), SourceError> {
    let write = sqlx::query("update change_feed.feeds set captures = $3 where feed = $1 and captures = $2")
        .bind(feed.as_str())
        .bind(before)
        .bind(captures);
    server.answer(write.execute(connection)).await.map(drop)
}

/// Forgets the feed.
#[cfg(feature = "logical")]
pub(crate) async fn forget(server: &Server, connection: &mut PgConnection, feed: &FeedName) -> Result<(), SourceError> {
    let exists = sqlx::query_scalar("select to_regclass('change_feed.feeds') is not null");
    if server.answer(exists.fetch_one(&mut *connection)).await? {
        let forget = sqlx::query("delete from change_feed.feeds where feed = $1").bind(feed.as_str());
        server.answer(forget.execute(connection)).await?;
    }
    Ok(())
}

fn read(json: &str) -> Result<Checkpoint, SourceError> {
    serde_json::from_str(json).map_err(|error| SourceError::Fatal {
        what: "this version of change-feed can't read the checkpoint in change_feed.feeds".to_owned(),
        remedy: "run the version that wrote it, or a newer one".to_owned(),
        source: Some(Box::new(error)),
    })
}
