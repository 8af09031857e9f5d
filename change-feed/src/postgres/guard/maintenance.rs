//! The outbox's immutability, and the owner's functions that pass it.

use super::refusal::{raise, refusing_trigger};
use crate::outbox::dialect::{Dialect, literal};
use crate::outbox::guard::Guard;
use crate::outbox::rule::Rule;
use crate::outbox::sql::Names;

/// The custom setting that lets the owner's functions change the outbox.
const MAINTENANCE: &str = "change_feed.maintenance";

/// Writes the trigger that keeps the outbox's rows.
pub(super) fn immutable(guard: &Guard) -> String {
    let Names { outbox, .. } = Names::new(guard, Dialect::Postgres);
    let name = guard.outbox_name();
    let (function, trigger) = (guard.object(name, "guard_immutable"), guard.named(name, "guard_immutable"));
    let raise = raise(guard, Rule::IsImmutable, name);
    let outbox_literal = literal(&outbox);
    let truncate = refusing_trigger(
        guard,
        &guard.named(name, "guard_truncate"),
        "truncate",
        &outbox,
        "statement",
        Rule::IsImmutable,
    );
    format!(
        r#"-- {outbox}: only the functions below change or delete a row. They make a setting, which any session could make, and run
-- as the table's owner, which other sessions can't.
create or replace function {function}() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $guard$
begin
    if current_setting('{MAINTENANCE}', true) = {outbox_literal}
        and pg_has_role(current_user, (select relowner from pg_class where oid = tg_relid), 'usage') then
        return case when tg_op = 'DELETE' then old else new end;
    end if;
    {raise}
end $guard$;
create or replace trigger {trigger} before update or delete on {outbox}
    for each row execute function {function}();
{truncate}
"#
    )
}

/// Writes the functions for pruning and erasure.
pub(super) fn owners_functions(guard: &Guard) -> String {
    let Names { outbox, key, .. } = Names::new(guard, Dialect::Postgres);
    let name = guard.outbox_name();
    let key_type = guard.kind_of_key().sql(Dialect::Postgres);
    let (prune, erase) = (guard.object(name, "prune"), guard.object(name, "erase"));
    let outbox_literal = literal(&outbox);
    format!(
        r#"-- Functions for the owner. Others may call them only if they are granted.
-- Pruning keeps the latest event of each key, all events from the given sequence number on, and all that are not visible
-- in the given snapshot: sequence numbers commit out of order, so that a number alone does not tell what is published.
-- Take a snapshot (SELECT pg_current_snapshot()), wait until every feed has passed it, and give the number of the event
-- that the slowest feed acknowledged last. Returns the number of deleted events; call it until it returns 0.
create or replace function {prune}(published pg_snapshot, below_sequence bigint, at_most bigint default 10000)
    returns bigint language plpgsql security definer set search_path = pg_catalog, pg_temp as $guard$
declare
    pruned bigint;
begin
    perform set_config('{MAINTENANCE}', {outbox_literal}, true);
    delete from {outbox} where sequence in (
        select e.sequence from {outbox} e
         where e.sequence < below_sequence
           and pg_visible_in_snapshot(e.transaction_id, published)
           and exists (select from {outbox} later where later.{key} = e.{key} and later.version = e.version + 1)
         order by e.sequence limit at_most);
    get diagnostics pruned = row_count;
    perform set_config('{MAINTENANCE}', '', true);
    return pruned;
end $guard$;
revoke all on function {prune}(pg_snapshot, bigint, bigint) from public;

-- Erases a person's data: payloads are replaced, versions stay. Returns the number of scrubbed events. Records in Kafka
-- are not touched.
create or replace function {erase}(erased_key {key_type}, scrubbed json default '{{"erased":true}}')
    returns bigint language plpgsql security definer set search_path = pg_catalog, pg_temp as $guard$
declare
    erased bigint;
begin
    perform set_config('{MAINTENANCE}', {outbox_literal}, true);
    update {outbox} set payload = scrubbed where {key} = erased_key;
    get diagnostics erased = row_count;
    perform set_config('{MAINTENANCE}', '', true);
    return erased;
end $guard$;
revoke all on function {erase}({key_type}, json) from public;
"#
    )
}
