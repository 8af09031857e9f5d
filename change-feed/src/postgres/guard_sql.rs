//! The scripts for PostgreSQL.
//!
//! What the hot path costs shaped it: one `add_item` runs three of these functions and one deferred key. A WHEN clause is
//! parsed and planned anew by every statement, which costs more than a call, so the conditions are inside; an expression
//! of PL/pgSQL is set up anew by every transaction, so that each function has one look-up and one condition on its way to
//! yes, and finds out only on its way to no which rule was broken. No function takes a lock on the row: the step has it.

use crate::outbox::dialect::{Dialect, identifier, literal};
use crate::outbox::guard::{Children, Guard};
use crate::outbox::key::KeyType;
use crate::outbox::rule::Rule;
use crate::outbox::sql::{Names, bounds, message, version_key as version_key_clause};

/// The custom setting by which the owner's functions pass the outbox's immutability.
const MAINTENANCE: &str = "change_feed.maintenance";

/// `=` whoever set the search path.
const EQUALS: &str = "operator(pg_catalog.=)";

pub(crate) fn sql_type(key: KeyType) -> &'static str {
    match key {
        KeyType::Uuid => "uuid",
        KeyType::Text => "text",
        KeyType::BigInt => "bigint",
    }
}

/// `create table` and what goes with it.
pub(crate) fn outbox(guard: &Guard) -> String {
    let Names { table, outbox, key, .. } = Names::new(guard, Dialect::Postgres);
    let name = guard.outbox_name();
    let key_type = sql_type(guard.kind_of_key());
    let sequence = guard.object(name, "sequence");
    let (primary_key, index) = (guard.named(name, "pkey"), guard.named(name, "transaction_id"));
    let (event_id, one) = (guard.declared(Rule::EventIdIsUnique), guard.declared(Rule::OnePerVersion));
    let bounds = bounds(guard, "octet_length(payload::text)", "isfinite(occurred_at)");
    format!(
        r#"-- The outbox of {table}: one row for each version of each row there, in the same transaction as the change.
-- sequence and transaction_id are the database's to fill in: what a writer says there is overwritten.
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

/// What may be taken for granted of a row that another transaction wrote.
#[derive(Clone, Copy)]
pub(crate) enum Committed {
    /// Its version has its event.
    HasEvent,
    /// Nothing: it may be older than the guard.
    #[cfg(feature = "postgres")]
    MayBeOlder,
}

/// Functions and triggers.
pub(crate) fn rules(guard: &Guard, committed: Committed) -> String {
    let Names { table, .. } = Names::new(guard, Dialect::Postgres);
    let mut script = format!(
        r#"-- The rules of {table}: the event closes the version.
--   1. A row starts at version 1 and steps by exactly 1, when the present version has its event. A final state never steps.
--   2. What belongs to it changes only between the step and the event of that version.
--   3. An event stands at the present version and takes its number after the step's row lock.
--   4. A commit needs the event of the present version.
-- The legal order is: step, change, append; in one statement or in several.
--
-- The functions run with the caller's rights: it needs SELECT on what they read (of the outbox: key, version, sequence)
-- and USAGE on the sequence. Names and operators are qualified, so that no search_path of the caller's means others.
-- Plain triggers, not ENABLE ALWAYS: restores and logical replication write rows that were judged where they came from.

"#
    );
    script.push_str(&refuse(guard));
    script.push_str(&aggregate(guard, committed));
    for children in guard.children_tables() {
        script.push_str(&children_rules(guard, children));
    }
    script.push_str(&events(guard));
    script.push_str(&immutable(guard));
    script.push_str(&owners_functions(guard));
    script
}

/// The foreign key, last: to add it takes a lock on both tables and reads the aggregate's.
pub(crate) fn version_key(guard: &Guard) -> String {
    let Names { table, .. } = Names::new(guard, Dialect::Postgres);
    let clause = version_key_clause(guard, Dialect::Postgres);
    format!("-- A commit needs the event of the present version.\nalter table {table} add {clause};\n")
}

/// The same key for rows that are not there yet; those that are, are looked at by [`validate_version_key`].
#[cfg(feature = "postgres")]
pub(crate) fn version_key_not_validated(guard: &Guard) -> String {
    let Names { table, .. } = Names::new(guard, Dialect::Postgres);
    format!("alter table {table} add {} not valid;\n", version_key_clause(guard, Dialect::Postgres))
}

/// Reads the aggregate's table while others write it.
#[cfg(feature = "postgres")]
pub(crate) fn validate_version_key(guard: &Guard) -> String {
    let Names { table, .. } = Names::new(guard, Dialect::Postgres);
    format!("alter table {table} validate constraint {};\n", guard.declared(Rule::VersionHasEvent))
}

/// A refusal, as a statement of PL/pgSQL.
fn raise(guard: &Guard, rule: Rule<'_>, table: &str) -> String {
    let code = match rule {
        Rule::OnePerVersion => "unique_violation",
        Rule::ChildrenHaveAggregate(_) => "foreign_key_violation",
        _ => "check_violation",
    };
    format!(
        "raise exception using errcode = '{code}', constraint = {}, table = {}, schema = {},\n            message = {};",
        literal(&guard.constraint(rule)),
        literal(table),
        literal(guard.schema_name()),
        literal(&format!("{table}: {}", message(rule))),
    )
}

/// What is refused whatever the row says, and to each role: the trigger's arguments are the constraint and the message.
fn refuse(guard: &Guard) -> String {
    let function = guard.object(guard.outbox_name(), "guard_refuse");
    format!(
        r#"create or replace function {function}() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $guard$
begin
    raise exception using errcode = 'check_violation', constraint = tg_argv[0], table = tg_table_name, schema = tg_table_schema,
        message = tg_table_name || ': ' || tg_argv[1];
end $guard$;

"#
    )
}

/// A trigger that refuses.
fn refusing_trigger(guard: &Guard, name: &str, event: &str, table: &str, each: &str, rule: Rule<'_>) -> String {
    format!(
        "create or replace trigger {name} before {event} on {table}\n    for each {each} execute function {}({}, {});\n",
        guard.object(guard.outbox_name(), "guard_refuse"),
        literal(&guard.constraint(rule)),
        literal(message(rule)),
    )
}

fn aggregate(guard: &Guard, committed: Committed) -> String {
    let names = Names::new(guard, Dialect::Postgres);
    let Names { table, outbox, key, version, .. } = &names;
    let name = guard.table_name();
    let (insert, update) = (guard.object(name, "guard_insert"), guard.object(name, "guard_update"));
    let not_final =
        names.is_final("old", EQUALS).map(|is| format!("({is}) is not true\n        and ")).unwrap_or_default();
    let refuse_final = names.is_final("old", EQUALS).map(|is| {
        let raise = raise(guard, Rule::IsFinal, name);
        format!("    if {is} then\n        {raise}\n    end if;\n")
    });
    let refuse_final = refuse_final.unwrap_or_default();
    let starts = raise(guard, Rule::VersionStartsAtOne, name);
    let key_is_fixed = raise(guard, Rule::KeyIsFixed, name);
    let steps = raise(guard, Rule::VersionStepsByOne, name);
    let has_event = raise(guard, Rule::VersionHasEvent, name);
    let inside = raise(guard, Rule::ChangesInsideAStep, name);
    let has_old_event = format!(
        "exists (select from {outbox} e where e.{key} {EQUALS} old.{key} and e.version {EQUALS} old.{version})"
    );
    let (why_a_step_may_pass, may_step) = match committed {
        Committed::HasEvent => (
            "-- A step. Rows of other transactions were committed, so their version has its event: the key below sees to that.\n    \
             -- Only where this transaction wrote the row itself may it be missing.",
            "pg_catalog.age(old.xmin) operator(pg_catalog.>) 0",
        ),
        #[cfg(feature = "postgres")]
        Committed::MayBeOlder => ("-- A step. The row may be older than the rules.", has_old_event.as_str()),
    };
    let triggers = [
        format!(
            "create or replace trigger {} before insert on {table}\n    for each row execute function {insert}();\n",
            guard.named(name, "guard_insert")
        ),
        format!(
            "create or replace trigger {} before update on {table}\n    for each row execute function {update}();\n",
            guard.named(name, "guard_update")
        ),
        refusing_trigger(guard, &guard.named(name, "guard_delete"), "delete", table, "row", Rule::IsNeverDeleted),
        refusing_trigger(
            guard,
            &guard.named(name, "guard_truncate"),
            "truncate",
            table,
            "statement",
            Rule::IsNeverDeleted,
        ),
    ]
    .concat();
    format!(
        r#"-- {table}: starts at 1, steps by 1, never leaves a final state, keeps its key, is never deleted.
create or replace function {insert}() returns trigger language plpgsql as $guard$
begin
    if new.{version} {EQUALS} 1 then
        return new;
    end if;
    {starts}
end $guard$;

create or replace function {update}() returns trigger language plpgsql as $guard$
begin
    {why_a_step_may_pass}
    if {not_final}new.{version} {EQUALS} (old.{version} operator(pg_catalog.+) 1)
        and new.{key} {EQUALS} old.{key}
        and {may_step} then
        return new;
    end if;
{refuse_final}    if (new.{key} {EQUALS} old.{key}) is not true then
        {key_is_fixed}
    end if;
    if new.{version} {EQUALS} (old.{version} operator(pg_catalog.+) 1) then
        if not {has_old_event} then
            {has_event}
        end if;
        return new;
    end if;
    if (new.{version} {EQUALS} old.{version}) is not true then
        {steps}
    end if;
    -- other columns: inside a step
    if {has_old_event} then
        {inside}
    end if;
    return new;
end $guard$;

{triggers}
"#
    )
}

fn children_rules(guard: &Guard, children: &Children) -> String {
    let names = Names::new(guard, Dialect::Postgres);
    let Names { table, outbox, key, version, .. } = &names;
    let child = children.qualified(guard, Dialect::Postgres);
    let child_key = identifier(&children.key);
    let key_type = sql_type(guard.kind_of_key());
    let name = children.table.as_str();
    let check = guard.object(name, "guard_check");
    let not_final =
        names.is_final("o", EQUALS).map(|is| format!("\n        and ({is}) is not true")).unwrap_or_default();
    let refuse_final = names.is_final("o", EQUALS).map(|is| {
        let raise = raise(guard, Rule::IsFinal, guard.table_name());
        format!("    if exists (select from {table} o where o.{key} = guarded_key and ({is})) then\n        {raise}\n    end if;\n")
    });
    let refuse_final = refuse_final.unwrap_or_default();
    let missing = raise(guard, Rule::ChildrenHaveAggregate(name), name);
    let inside = raise(guard, Rule::ChildrenChangeInsideAStep(name), name);
    // Open: the version was stepped by this transaction, whose event is not there yet.
    let open = |row: &str, also: &str| {
        format!(
            "perform from {table} o\n      where o.{key} {EQUALS} {row}.{child_key}{not_final}\n        \
             and o.xmin {EQUALS} pg_catalog.pg_current_xact_id()::pg_catalog.xid\n        \
             and (select e.version from {outbox} e where e.{key} {EQUALS} o.{key} and e.version {EQUALS} o.{version}) is null{also};"
        )
    };
    let function = |operation: &str, open: String, otherwise: &str, row: &str| {
        let function = guard.object(name, &format!("guard_{operation}"));
        let trigger = guard.named(name, &format!("guard_{operation}"));
        format!(
            r#"create or replace function {function}() returns trigger language plpgsql as $guard$
begin
    {open}
    if found then
        return {row};
    end if;
{otherwise}    return {row};
end $guard$;
create or replace trigger {trigger} before {operation} on {child}
    for each row execute function {function}();

"#
        )
    };
    // Whoever adds a row holds the aggregate's, so nobody else adds one between the count and the commit.
    let count = format!("(select pg_catalog.count(*) from {child} c where c.{child_key} {EQUALS} new.{child_key})");
    let room = |limit| format!("\n        and {count} operator(pg_catalog.<) {limit}");
    let full = |limit, also: &str| {
        let raise = raise(guard, Rule::ChildrenLimit(name), name);
        format!("    if {also}{count} operator(pg_catalog.>=) {limit} then\n        {raise}\n    end if;\n")
    };
    let has_room = children.limit.map(room).unwrap_or_default();
    let added = children.limit.map(|limit| full(limit, "")).unwrap_or_default();
    let moved = format!("(old.{child_key} {EQUALS} new.{child_key}) is not true and ");
    let moved = children.limit.map(|limit| full(limit, &moved)).unwrap_or_default();
    let one = format!("    perform {check}(new.{child_key});\n{added}");
    let insert = function("insert", open("new", &has_room), &one, "new");
    let unmoved = format!("\n        and old.{child_key} {EQUALS} new.{child_key}");
    let both = format!("    perform {check}(old.{child_key});\n    perform {check}(new.{child_key});\n{moved}");
    let update = function("update", open("new", &unmoved), &both, "new");
    let delete = function("delete", open("old", ""), &format!("    perform {check}(old.{child_key});\n"), "old");
    let truncate = refusing_trigger(
        guard,
        &guard.named(name, "guard_truncate"),
        "truncate",
        &child,
        "statement",
        Rule::ChildrenAreNeverReplaced(name),
    );
    format!(
        r#"-- {child}: changes only between the step and the event, on both sides where a row moves.
-- The way to no, and to yes where the step was made inside a savepoint (its row then bears another transaction id): the
-- row's lock, which whoever stepped has already, makes sure that the version is not closed meanwhile.
create or replace function {check}(guarded_key {key_type}) returns void language plpgsql set search_path = pg_catalog, pg_temp as $guard$
declare
    present_version bigint;
begin
    if guarded_key is null then
        return;
    end if;
{refuse_final}    -- two looks: a refusal should not wait for a lock
    if exists (select from {table} o join {outbox} e on e.{key} = o.{key} and e.version = o.{version} where o.{key} = guarded_key) then
        {inside}
    end if;
    select o.{version} into present_version from {table} o where o.{key} = guarded_key for no key update;
    if not found then
        {missing}
    end if;
    if exists (select from {outbox} e where e.{key} = guarded_key and e.version = present_version) then
        {inside}
    end if;
end $guard$;

{insert}{update}{delete}{truncate}
"#
    )
}

fn events(guard: &Guard) -> String {
    let Names { table, outbox, key, version, .. } = Names::new(guard, Dialect::Postgres);
    let name = guard.outbox_name();
    let key_type = sql_type(guard.kind_of_key());
    let (insert, check) = (guard.object(name, "guard_insert"), guard.object(name, "guard_check"));
    let trigger = guard.named(name, "guard_insert");
    let sequence = literal(&guard.object(name, "sequence"));
    let at_present = raise(guard, Rule::AtPresentVersion, name);
    let one = raise(guard, Rule::OnePerVersion, name);
    format!(
        r#"-- {outbox}: an event closes the present version, once.
-- The way to no, and to yes where the step was made inside a savepoint; see above.
create or replace function {check}(guarded_key {key_type}, guarded_version bigint) returns void language plpgsql set search_path = pg_catalog, pg_temp as $guard$
begin
    if exists (select from {outbox} e where e.{key} = guarded_key and e.version = guarded_version) then
        {one}
    end if;
    if not exists (select from {table} o where o.{key} = guarded_key and o.{version} = guarded_version) then
        {at_present}
    end if;
    perform from {table} o where o.{key} = guarded_key and o.{version} = guarded_version for no key update;
    if not found then
        {at_present}
    end if;
    if exists (select from {outbox} e where e.{key} = guarded_key and e.version = guarded_version) then
        {one}
    end if;
end $guard$;

create or replace function {insert}() returns trigger language plpgsql as $guard$
begin
    -- the number is drawn when the row of {table} is found, so under the lock that its step took
    select pg_catalog.nextval({sequence}), pg_catalog.pg_current_xact_id() into new.sequence, new.transaction_id
      from {table} o
     where o.{key} {EQUALS} new.{key} and o.{version} {EQUALS} new.version
       and o.xmin {EQUALS} pg_catalog.pg_current_xact_id()::pg_catalog.xid;
    if found then
        return new;
    end if;
    perform {check}(new.{key}, new.version);
    new.sequence := pg_catalog.nextval({sequence});
    new.transaction_id := pg_catalog.pg_current_xact_id();
    return new;
end $guard$;
create or replace trigger {trigger} before insert on {outbox}
    for each row execute function {insert}();

"#
    )
}

fn immutable(guard: &Guard) -> String {
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
        r#"-- {outbox}: no row changes or goes, but by the functions below. Those say so in a setting, which any session could
-- say too, and run as the table's owner, which not any session can be.
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

/// Pruning and erasure.
fn owners_functions(guard: &Guard) -> String {
    let Names { outbox, key, .. } = Names::new(guard, Dialect::Postgres);
    let name = guard.outbox_name();
    let key_type = sql_type(guard.kind_of_key());
    let (prune, erase) = (guard.object(name, "prune"), guard.object(name, "erase"));
    let outbox_literal = literal(&outbox);
    format!(
        r#"-- What the owner may do with the outbox. Nobody else may call these unless granted.
-- Pruning spares the latest event of each key, all from the sequence number given upwards, and all that is not visible
-- in the snapshot given: sequence numbers commit out of order, so that a number alone does not say what is published.
-- Take a snapshot (SELECT pg_current_snapshot()), wait until every feed has passed it, and give the number of the event
-- that the slowest feed acknowledged last. Answers how many went; call again until it answers 0.
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

-- Erasure of a person's data: the payloads go, the versions stay. Answers how many were scrubbed. What is in Kafka already
-- is not touched.
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

/// The rules go, tables and rows stay.
pub(crate) fn remove(guard: &Guard) -> String {
    let Names { table, outbox, .. } = Names::new(guard, Dialect::Postgres);
    let mut script = format!(
        "-- Takes the rules of {table} away. {outbox} stays: it is the history.\nalter table {table} drop constraint if exists {};\n",
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
