//! Who polls: a session-level advisory lock on the connection that reads.
//!
//! Whoever loses the connection loses the lock and can't read on: there is nothing to be told. What an
//! older relay may still try is to acknowledge; the generation in `change_feed.feeds` refuses it.
//!
//! A process that is frozen keeps its connection. The server ends it after [`SILENCE_MAX`], since nothing comes over it;
//! a process that lives says something every [`SIGN_OF_LIFE_INTERVAL`].

use std::time::Duration;

use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::server::Server;
use crate::outbox::{Dialect, Outbox};
use crate::{FeedName, SourceError, SourceIdentity};

/// An elected relay that is silent for so long loses the election.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(10);
/// An elected relay that has nothing to ask gives a sign of life so often.
pub(super) const SIGN_OF_LIFE_INTERVAL: Duration = Duration::from_secs(2);
/// A standby relay asks so often whether the lock is free.
const STANDBY_INTERVAL_MS: u64 = 250;

/// Waits until this connection holds the feed's lock, and tells the server's process that holds it.
pub(super) async fn win(server: &Server, connection: &mut PgConnection, feed: &FeedName) -> Result<i32, SourceError> {
    let mut announced = false;
    loop {
        let ask = sqlx::query("select pg_try_advisory_lock($1), pg_backend_pid()").bind(lock_key(feed));
        let asked = async {
            let row = ask.fetch_one(&mut *connection).await?;
            Ok((row.try_get::<bool, _>(0)?, row.try_get::<i32, _>(1)?))
        };
        let (won, process) = server.answer(asked).await?;
        if won {
            tracing::info!(target: "change_feed::source", %feed, process, "elected");
            return Ok(process);
        }
        if !announced {
            tracing::info!(target: "change_feed::source", %feed, "another relay is active; standing by");
            announced = true;
        }
        tokio::time::sleep(Duration::from_millis(STANDBY_INTERVAL_MS)).await;
    }
}

/// Gives the lock up; a standby has it within its next interval.
pub(super) async fn release(
    server: &Server,
    connection: &mut PgConnection,
    feed: &FeedName,
) -> Result<(), SourceError> {
    let ask = sqlx::query_scalar("select pg_advisory_unlock($1)").bind(lock_key(feed));
    server.answer(ask.fetch_one(connection)).await.map(|_: bool| ())
}

/// The key of a feed's lock: FNV-1a, 64 bits, over a prefix of ours and the feed's name.
fn lock_key(feed: &FeedName) -> i64 {
    let bytes = b"change-feed:".iter().copied().chain(feed.as_str().bytes());
    let hash = bytes
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    i64::from_ne_bytes(hash.to_ne_bytes())
}

/// Which database this is, once it is clear that it can be polled.
pub(super) async fn inspect(
    server: &Server,
    connection: &mut PgConnection,
    outbox: &Outbox,
) -> Result<SourceIdentity, SourceError> {
    let asked = "select pg_is_in_recovery(), (select system_identifier::text from pg_control_system()),
            (select oid::text from pg_database where datname = current_database())";
    let row = server.answer(sqlx::query(asked).fetch_one(&mut *connection)).await?;
    let (in_recovery, system, database): (bool, String, String) =
        server.answer(async { Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)) }).await?;
    if in_recovery {
        return Err(SourceError::fatal(
            "this server is a standby: its snapshots don't name the transactions that are running, so a poller loses their changes",
            "give the feed the address of the primary (target_session_attrs=read-write finds it)",
        ));
    }
    check_outbox(server, connection, outbox).await?;
    let captures = format!("{}.{}", outbox.schema(), outbox.table());
    Ok(SourceIdentity::new("postgres-poll", format!("{system}/{database}"), captures))
}

/// The outbox is there, and the two indexes without which every poll would read all of it.
async fn check_outbox(server: &Server, connection: &mut PgConnection, outbox: &Outbox) -> Result<(), SourceError> {
    let indexed =
        "exists (select from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
            where i.indrelid = c.oid and i.indisvalid and i.indpred is null and a.attname = ";
    let asked = format!(
        "select {indexed}'sequence'), {indexed}'transaction_id')
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = $1 and c.relname = $2 and c.relkind in ('r', 'p')"
    );
    let ask = sqlx::query(sqlx::AssertSqlSafe(asked)).bind(outbox.schema()).bind(outbox.table());
    let asked = async {
        let row = ask.fetch_optional(&mut *connection).await?;
        row.map(|row| Ok((row.try_get::<bool, _>(0)?, row.try_get::<bool, _>(1)?))).transpose()
    };
    let table = outbox.qualified(Dialect::Postgres);
    let Some((by_sequence, by_transaction)) = server.answer(asked).await? else {
        return Err(SourceError::fatal(
            format!("there is no outbox {table} in this database"),
            "install it (see change_feed::outbox::Guard), or name the right database and table",
        ));
    };
    for (present, column) in [(by_sequence, "sequence"), (by_transaction, "transaction_id")] {
        if !present {
            return Err(SourceError::fatal(
                format!("{table} has no index on {column}: every poll would read the whole table"),
                format!("let the tables' owner run: create index concurrently on {table} ({column})"),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_of_a_feed_is_the_same_in_every_version() {
        let orders = FeedName::new("orders").expect("a valid name");
        let other = FeedName::new("orders2").expect("a valid name");
        assert_eq!(lock_key(&orders), lock_key(&orders));
        assert_ne!(lock_key(&orders), lock_key(&other));
    }
}
