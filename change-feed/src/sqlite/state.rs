//! The state of a feed in its source's database.

use sqlx::Executor as _;
use sqlx::sqlite::SqlitePool;
use uuid::Uuid;

use super::database::classify;
use crate::feed::checkpoint::Checkpoint;
use crate::feed::identity::FeedName;
use crate::source::SourceError;

const CREATE: &str = "
create table if not exists change_feed_database (id text not null);
create table if not exists change_feed_feeds (
    feed            text primary key,
    captures        text not null,
    epoch           integer,
    -- Positions of one epoch sort as their text does.
    position        text,
    -- Every outbox row up to this sequence is published: statements that prune use it.
    published       integer,
    checkpoint      text,
    acknowledged_at text
) without rowid;
";

/// Creates the tables if they are missing, and returns the database's id.
pub(super) async fn create(pool: &SqlitePool) -> Result<String, SourceError> {
    let tables = "select count(*) from sqlite_schema where name in ('change_feed_database', 'change_feed_feeds')";
    let present: i64 = sqlx::query_scalar(tables).fetch_one(pool).await.map_err(classify)?;
    if present < 2 {
        // Not in a transaction: after some errors (a full disk, for example) SQLite rolls back by itself, which sqlx does not
        // notice, and the connection may be the application's.
        pool.execute(sqlx::raw_sql(CREATE)).await.map_err(classify)?;
    }
    let id = || sqlx::query_scalar("select id from change_feed_database").fetch_optional(pool);
    if let Some(id) = id().await.map_err(classify)? {
        return Ok(id);
    }
    let made = "insert into change_feed_database (id) select ?1 where not exists (select 1 from change_feed_database)";
    sqlx::query(made).bind(Uuid::now_v7().to_string()).execute(pool).await.map_err(classify)?;
    id().await.map_err(classify)?.ok_or_else(|| SourceError::transient("the database's id was deleted"))
}

/// Reads the stored checkpoint.
pub(super) async fn checkpoint(pool: &SqlitePool, feed: &FeedName) -> Result<Option<Checkpoint>, SourceError> {
    let asked = sqlx::query_scalar("select checkpoint from change_feed_feeds where feed = ?1").bind(feed.as_str());
    let json: Option<Option<String>> = asked.fetch_optional(pool).await.map_err(classify)?;
    json.flatten().as_deref().map(read).transpose()
}

/// Stores a checkpoint unless a later one is stored already.
pub(super) async fn store(pool: &SqlitePool, captures: &str, checkpoint: &Checkpoint) -> Result<(), SourceError> {
    let statement = "insert into change_feed_feeds as f
            (feed, captures, epoch, position, published, checkpoint, acknowledged_at)
        values (?1, ?2, ?3, ?4, ?5, ?6, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
        on conflict (feed) do update set epoch = excluded.epoch, position = excluded.position,
            published = excluded.published, checkpoint = excluded.checkpoint, acknowledged_at = excluded.acknowledged_at
        where f.position is null or (f.epoch, f.position) <= (excluded.epoch, excluded.position)";
    let json = serde_json::to_string(checkpoint).map_err(|error| SourceError::Fatal {
        what: "the checkpoint can't be written as JSON".to_owned(),
        remedy: "report this as a fault of change-feed".to_owned(),
        source: Some(Box::new(error)),
    })?;
    let stored = sqlx::query(statement)
        .bind(checkpoint.identity.feed.as_str())
        .bind(captures)
        .bind(i64::from(checkpoint.identity.epoch.get()))
        .bind(checkpoint.position.to_string())
        .bind(i64::try_from(checkpoint.position.major()).unwrap_or(i64::MAX))
        .bind(json);
    stored.execute(pool).await.map(drop).map_err(classify)
}

fn read(json: &str) -> Result<Checkpoint, SourceError> {
    serde_json::from_str(json).map_err(|error| SourceError::Fatal {
        what: "this version of change-feed can't read the checkpoint in change_feed_feeds".to_owned(),
        remedy: "run the version that wrote it, or a newer one".to_owned(),
        source: Some(Box::new(error)),
    })
}
