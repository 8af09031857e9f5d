//! The script of a guard for PostgreSQL.

use super::maintenance;
use super::refusal;
use super::rules::{self, Committed};
use crate::outbox::dialect::Dialect;
use crate::outbox::guard::Guard;
use crate::outbox::rule::Rule;
use crate::outbox::sql::{Names, bounds, version_key as version_key_clause};

/// Writes the outbox: its table, index and sequence.
pub(crate) fn outbox(guard: &Guard) -> String {
    let Names { table, outbox, key, .. } = Names::new(guard, Dialect::Postgres);
    let name = guard.outbox_name();
    let key_type = guard.kind_of_key().sql(Dialect::Postgres);
    let sequence = guard.object(name, "sequence");
    let (primary_key, index) = (guard.named(name, "pkey"), guard.named(name, "transaction_id"));
    let (event_id, one) = (guard.declared(Rule::EventIdIsUnique), guard.declared(Rule::OnePerVersion));
    let bounds = bounds(guard, "octet_length(payload::text)", "isfinite(occurred_at)");
    format!(
        r#"-- The outbox of {table}: one row for each version of each row there, in the same transaction as the change.
-- The database assigns sequence and transaction_id: a writer's values are overwritten.
-- payload is json, not jsonb: it is published byte for byte as it was written, and its size is known without building it.
create table {outbox} (
    sequence bigint not null,
    -- a UUID of version 7: milliseconds in front, so that the index grows at one end
    event_id uuid not null default encode(
        set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
            placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6),
            52, 1), 53, 1), 'hex')::uuid,
    {key} {key_type} not null,
    version bigint not null,
    event_type text not null,
    payload json not null,
    occurred_at timestamptz not null default clock_timestamp(),
    traceparent text,
    transaction_id xid8 not null default pg_current_xact_id(),
    -- true for the event of an adopted row: it holds the effect of earlier versions, which have no event
    baseline boolean not null default false,
    constraint {primary_key} primary key (sequence),
    constraint {event_id} unique (event_id),
    constraint {one} unique ({key}, version),
{bounds}
);
-- for sources that poll: what committed since their last snapshot
create index {index} on {outbox} (transaction_id);
-- no cache: numbers handed out ahead to a session would be used out of order
create sequence {sequence} as bigint no cycle cache 1 owned by {outbox}.sequence;
"#
    )
}

/// Writes the functions, the triggers and the foreign key.
pub(crate) fn rules(guard: &Guard) -> String {
    format!("{}\n{}", triggers(guard, Committed::HasEvent), version_key(guard))
}

/// Writes the functions and the triggers.
pub(crate) fn triggers(guard: &Guard, committed: Committed) -> String {
    let Names { table, .. } = Names::new(guard, Dialect::Postgres);
    let mut script = format!(
        r#"-- The rules of {table}: the event closes the version.
--   1. A row starts at version 1 and steps by exactly 1, when the present version has its event. A final state never steps.
--   2. Its children change only between the step and the event of that version.
--   3. An event is inserted at the present version and takes its number after the step's row lock.
--   4. A commit needs the event of the present version.
-- The legal order is: step, change, append; in one statement or in several.
--
-- The functions run with the caller's rights: it needs SELECT on what they read (of the outbox: key, version, sequence)
-- and USAGE on the sequence. Names and operators are qualified, so that the caller's search_path can't replace them.
-- Plain triggers, not ENABLE ALWAYS: restores and logical replication write rows that were checked at their origin.

"#
    );
    script.push_str(&refusal::refuse_function(guard));
    script.push_str(&rules::aggregate(guard, committed));
    for children in guard.children_tables() {
        script.push_str(&rules::children(guard, children));
    }
    script.push_str(&rules::events(guard));
    script.push_str(&maintenance::immutable(guard));
    script.push_str(&maintenance::owners_functions(guard));
    script
}

/// Writes the foreign key, which comes last: adding it locks both tables and reads the aggregate's.
pub(crate) fn version_key(guard: &Guard) -> String {
    let Names { table, .. } = Names::new(guard, Dialect::Postgres);
    let clause = version_key_clause(guard, Dialect::Postgres);
    format!("-- A commit needs the event of the present version.\nalter table {table} add {clause};\n")
}

/// Writes the same key for new rows only; [`validate_version_key`] checks the others.
#[cfg(feature = "postgres")]
pub(crate) fn version_key_not_validated(guard: &Guard) -> String {
    let Names { table, .. } = Names::new(guard, Dialect::Postgres);
    format!("alter table {table} add {} not valid;\n", version_key_clause(guard, Dialect::Postgres))
}

/// Writes the check of the rows that existed before the key. Others can write meanwhile.
#[cfg(feature = "postgres")]
pub(crate) fn validate_version_key(guard: &Guard) -> String {
    let Names { table, .. } = Names::new(guard, Dialect::Postgres);
    format!("alter table {table} validate constraint {};\n", guard.declared(Rule::VersionHasEvent))
}

/// Writes the script that removes the rules. Tables and rows stay.
pub(crate) fn remove(guard: &Guard) -> String {
    let Names { table, outbox, .. } = Names::new(guard, Dialect::Postgres);
    let mut script = format!(
        "-- Removes the rules of {table}. {outbox} stays: it is the history.\nalter table {table} drop constraint if exists {};\n",
        guard.declared(Rule::VersionHasEvent)
    );
    let mut drop = |table: &str, name: &str, triggers: &[&str], functions: &[&str]| {
        for trigger in triggers {
            script.push_str(&format!("drop trigger if exists {} on {table};\n", guard.named(name, trigger)));
        }
        for function in functions {
            script.push_str(&format!("drop function if exists {};\n", guard.object(name, function)));
        }
    };
    let aggregate = ["guard_insert", "guard_update", "guard_delete", "guard_truncate"];
    drop(&table, guard.table_name(), &aggregate, &["guard_insert", "guard_update"]);
    for children in guard.children_tables() {
        let child = children.qualified(guard, Dialect::Postgres);
        drop(&child, &children.table, &aggregate, &["guard_insert", "guard_update", "guard_delete", "guard_check"]);
    }
    let triggers = ["guard_insert", "guard_immutable", "guard_truncate"];
    let functions = ["guard_insert", "guard_check", "guard_immutable", "guard_refuse", "prune", "erase"];
    drop(&outbox, guard.outbox_name(), &triggers, &functions);
    script
}
