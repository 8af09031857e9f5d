//! Finds an outbox in a database by its name.

use sqlx::PgConnection;

use crate::outbox::key::KeyType;
use crate::outbox::table::Outbox;

/// Finds the column beside `version` in a unique key, of a table that has the columns of an outbox.
const KEY_COLUMN: &str = "
select k.attname::text, k.atttypid::regtype::text
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_index i on i.indrelid = c.oid and i.indisunique and i.indnkeyatts = 2 and i.indpred is null
join pg_catalog.pg_attribute v on v.attrelid = c.oid and v.attname = 'version' and v.attnum = any (i.indkey)
join pg_catalog.pg_attribute k on k.attrelid = c.oid and k.attnum = any (i.indkey) and k.attnum <> v.attnum
where n.nspname = $1 and c.relname = $2 and c.relkind in ('r', 'p')
    and (select count(*) from pg_catalog.pg_attribute a where a.attrelid = c.oid and not a.attisdropped and a.attname
        in ('sequence', 'event_id', 'version', 'event_type', 'payload', 'occurred_at', 'traceparent')) = 7
order by i.indexrelid
limit 1";

impl Outbox {
    /// Finds the outbox of this name in a PostgreSQL database; `None` if no table of this name has the columns of an outbox.
    ///
    /// Its key is the column that is unique together with `version`.
    ///
    /// ```no_run
    /// # async fn example(connection: &mut sqlx::PgConnection) -> Result<(), sqlx::Error> {
    /// use change_feed::outbox::Outbox;
    ///
    /// let outbox = Outbox::find(connection, "public", "order_events").await?;
    /// assert!(outbox.is_some_and(|outbox| outbox.key_column() == "order_id"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// An error of the database or of the connection.
    pub async fn find(connection: &mut PgConnection, schema: &str, table: &str) -> Result<Option<Self>, sqlx::Error> {
        let found: Option<(String, String)> =
            sqlx::query_as(KEY_COLUMN).bind(schema).bind(table).fetch_optional(connection).await?;
        Ok(found.map(|(key, key_type)| {
            let key_type = match key_type.as_str() {
                "uuid" => KeyType::Uuid,
                "bigint" => KeyType::BigInt,
                _ => KeyType::Text,
            };
            Self::new(table, key).in_schema(schema).key_type(key_type)
        }))
    }
}
