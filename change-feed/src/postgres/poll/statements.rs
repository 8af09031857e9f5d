//! The statements that read an outbox.

use crate::outbox::dialect::Dialect;
use crate::outbox::table::Outbox;

/// What a poll asks first, and all that an idle poll asks: no table is touched.
///
/// The process id betrays a connection pooler that changes the server session under the feed, and with it the session's
/// lock. The end of the log is read after the statement took its snapshot: the commits that the
/// snapshot sees stand before it.
pub(super) const SNAPSHOT: &str =
    "select pg_current_snapshot()::text, pg_backend_pid(), (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint";

/// How far the log is on the disk.
pub(super) const FLUSHED: &str = "select (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint";

/// Takes the log to the disk: a commit waits for everything before it. The message is empty, and nobody reads it.
pub(super) const FLUSH: &str = "select (pg_logical_emit_message(true, 'change-feed', '') - '0/0'::pg_lsn)::bigint";

/// The statements for one outbox.
///
/// None of them depends on when it runs: they name the transactions whose rows they want, those have all ended, and a row
/// of an outbox never changes. So a window is read with as many statements as it takes, and no
/// transaction of ours stays open meanwhile.
#[derive(Debug)]
pub(super) struct Statements {
    /// A whole window, if it has at most `$3` rows: their number (`$3 + 1` if there are more), then the first rows, up to `$4`
    /// bytes of payload, or nulls.
    pub(super) window: String,
    /// A page of a window that has more: at most `$5` rows of what `$3` sees and `$4` doesn't, with a sequence in
    /// `($1, $2]`: their number, then the first of them, up to `$6` bytes of payload.
    pub(super) page: String,
    /// Of the first `$3` rows of the transactions `$1..=$2`: the lowest sequence, the last of those transactions, and
    /// how many rows.
    pub(super) lowest: String,
    /// The highest transaction below `$1` that `$2` sees and that has a row.
    pub(super) highest_transaction: String,
    /// The next row after sequence `$1`, of whatever transaction.
    pub(super) following: String,
    /// The highest sequence.
    pub(super) highest_sequence: String,
    /// For the transactions `$1`: how many rows, and how many of them through sequence `$2`.
    pub(super) tallies: String,
    /// The event at sequence `$1`.
    pub(super) event_at: String,
    /// Whether a visible row names a transaction that has not begun: it was copied from another server.
    pub(super) foreign: String,
}

impl Statements {
    /// The statements for this outbox. One that the guard did not make may lack the column `baseline`.
    pub(super) fn new(outbox: &Outbox, has_baseline: bool) -> Self {
        let table = outbox.qualified(Dialect::Postgres);
        let key = outbox.quoted_key_column();
        // The columns keep their types until after the sort; then only the rows that are sent become text.
        let stored = format!(
            "o.sequence, o.event_id, o.{key} as key, o.version, o.event_type, o.payload, o.occurred_at, \
             o.traceparent, o.transaction_id, {} as baseline",
            if has_baseline { "o.baseline" } else { "false" }
        );
        // A time that no `DateTime` can hold, `infinity` before all, must not reach the driver.
        let sent = "w.sequence, w.event_id, w.key::text, w.version::bigint, w.event_type::text, w.payload::text, \
             case when w.occurred_at >= '0001-01-01T00:00:00Z' and w.occurred_at < '10000-01-01T00:00:00Z' \
             then w.occurred_at end, w.traceparent::text, w.transaction_id::text, w.baseline";
        Self {
            // `offset 0` and `materialized` keep the planner from turning the join around, and from walking the
            // primary key for the order's sake: each range is one look-up in the index.
            window: format!(
                "with w as materialized (
                    select {stored} from unnest($1::text[]::xid8[], $2::text[]::xid8[]) as range (low, high)
                    cross join lateral (
                        select * from {table} r
                        where r.transaction_id >= range.low and r.transaction_id <= range.high offset 0
                    ) o limit $3 + 1
                ),
                total as materialized (select count(*) as rows from w)
                select total.rows, {sent} from total left join {first} w on true order by w.sequence",
                first = first_bytes("w where (select rows from total) <= $3", "$4"),
            ),
            page: format!(
                "with w as materialized (
                    select {stored} from {table} o
                    where o.sequence > $1 and o.sequence <= $2
                        and pg_visible_in_snapshot(o.transaction_id, (select $3::text::pg_snapshot))
                        and not pg_visible_in_snapshot(o.transaction_id, (select $4::text::pg_snapshot))
                    order by o.sequence limit $5
                )
                select (select count(*) from w), {sent} from {first} w order by w.sequence",
                first = first_bytes("w", "$6"),
            ),
            // PostgreSQL 14 has no max(xid8).
            lowest: format!(
                "select min(f.sequence), max(f.transaction_id::text::numeric)::text, count(*) from (
                    select o.sequence, o.transaction_id from {table} o
                    where o.transaction_id >= $1::text::xid8 and o.transaction_id <= $2::text::xid8
                    order by o.transaction_id, o.sequence limit $3
                ) f"
            ),
            highest_transaction: format!(
                "select o.transaction_id::text from {table} o where o.transaction_id < $1::text::xid8
                    and pg_visible_in_snapshot(o.transaction_id, (select $2::text::pg_snapshot))
                order by o.transaction_id desc limit 1"
            ),
            following: format!("select min(sequence) from {table} where sequence > $1"),
            highest_sequence: format!("select max(sequence) from {table}"),
            tallies: format!(
                "select o.transaction_id::text, count(*), count(*) filter (where o.sequence <= $2)
                from {table} o where o.transaction_id = any ($1::text[]::xid8[]) group by o.transaction_id"
            ),
            event_at: format!("select event_id from {table} where sequence = $1"),
            foreign: format!(
                "select exists (select from {table} where transaction_id >= pg_snapshot_xmax(pg_current_snapshot()))"
            ),
        }
    }
}

/// The rows of `rows` in the order of their sequence, through the one that takes their payloads to a number of bytes.
///
/// What the server sends has to be read before it answers again, so the limit must hold there. The stored size, which costs
/// nothing to read, bounds how many payloads are decompressed for the size of their text.
fn first_bytes(rows: &str, bytes: &str) -> String {
    let before = "over (order by sequence rows between unbounded preceding and 1 preceding), 0)";
    format!(
        "(select * from (
            select *, coalesce(sum(octet_length(payload::text)) {before} as text_before from (
                select *, coalesce(sum(pg_column_size(payload)) {before} as stored_before from {rows}
            ) as sized where stored_before < {bytes}
        ) as measured where text_before < {bytes})"
    )
}
