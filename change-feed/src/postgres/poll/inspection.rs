//! Whether a server can be polled.

use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use crate::feed::identity::{FeedName, SourceIdentity};
use crate::outbox::dialect::Dialect;
use crate::outbox::table::Outbox;
use crate::postgres::server::{STANDBY_REMEDY, Server, standby};
use crate::postgres::state;
use crate::source::SourceError;

/// Checks that a database can be polled, and returns its identity.
pub(super) async fn inspect(
    server: &Server,
    connection: &mut PgConnection,
    feed: &FeedName,
    outbox: &Outbox,
) -> Result<SourceIdentity, SourceError> {
    let statement = "select pg_is_in_recovery(), (select system_identifier::text from pg_control_system()),
            (select oid::text from pg_database where datname = current_database())";
    let row = server.answer(sqlx::query(statement).fetch_one(&mut *connection)).await?;
    let (in_recovery, system, database): (bool, String, String) =
        server.answer(async { Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)) }).await?;
    if in_recovery {
        // A feed that has begun meets a standby during a fail-over, which passes.
        return Err(match state::has_begun(server, connection, feed).await? {
            true => standby(),
            false => SourceError::fatal(
                "this server is a standby: its snapshots don't name the transactions that are running, so a poller loses \
                 their changes",
                STANDBY_REMEDY,
            ),
        });
    }
    check_outbox(server, connection, outbox).await?;
    let captures = format!("{}.{}", outbox.schema(), outbox.table());
    Ok(SourceIdentity::new(super::KIND, format!("{system}/{database}"), captures))
}

/// Whether the outbox has the column that marks the events of adopted aggregates.
pub(super) async fn has_baseline(
    server: &Server,
    connection: &mut PgConnection,
    outbox: &Outbox,
) -> Result<bool, SourceError> {
    let column = "select exists (select from pg_attribute
        where attrelid = to_regclass($1) and attname = 'baseline' and not attisdropped)";
    let ask = sqlx::query_scalar(column).bind(outbox.qualified(Dialect::Postgres));
    server.answer(ask.fetch_one(connection)).await
}

/// Checks that the outbox is there, and the two indexes without which every poll would read all of it.
async fn check_outbox(server: &Server, connection: &mut PgConnection, outbox: &Outbox) -> Result<(), SourceError> {
    let indexed =
        "exists (select from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
            where i.indrelid = c.oid and i.indisvalid and i.indpred is null and a.attname = ";
    let statement = format!(
        "select {indexed}'sequence'), {indexed}'transaction_id')
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = $1 and c.relname = $2 and c.relkind in ('r', 'p')"
    );
    let query = sqlx::query(sqlx::AssertSqlSafe(statement)).bind(outbox.schema()).bind(outbox.table());
    let answer = async {
        let row = query.fetch_optional(&mut *connection).await?;
        row.map(|row| Ok((row.try_get::<bool, _>(0)?, row.try_get::<bool, _>(1)?))).transpose()
    };
    let table = outbox.qualified(Dialect::Postgres);
    let Some((by_sequence, by_transaction)) = server.answer(answer).await? else {
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
