//! The trigger functions of each table.
//!
//! The cost of a usual write shaped them: one `add_item` runs three of these functions and one deferred key. PostgreSQL
//! parses and plans a WHEN clause anew in every statement, which costs more than a call, so the conditions are inside. It
//! sets up each expression of PL/pgSQL anew in every transaction, so a function that accepts evaluates one look-up and one
//! condition; only a function that refuses finds out which rule was broken. No function locks the row: the step did.

use super::refusal::{raise, refusing_trigger};
use crate::outbox::dialect::{Dialect, identifier, literal};
use crate::outbox::guard::{Children, Guard};
use crate::outbox::rule::Rule;
use crate::outbox::sql::Names;

/// `=` under any search path.
const EQUALS: &str = "operator(pg_catalog.=)";

/// What is known of a row that another transaction wrote.
#[derive(Clone, Copy)]
pub(crate) enum Committed {
    /// Its version has its event.
    HasEvent,
    /// Nothing: the row may be older than the guard.
    #[cfg(feature = "postgres")]
    MayBeOlder,
}

/// Writes the rules of the aggregate's table.
pub(super) fn aggregate(guard: &Guard, committed: Committed) -> String {
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
            "-- A step. A row that another transaction committed has the event of its version: the foreign key ensures that.\n    \
             -- It can be missing only if this transaction wrote the row itself.",
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

/// Writes the rules of a children table.
pub(super) fn children(guard: &Guard, children: &Children) -> String {
    let names = Names::new(guard, Dialect::Postgres);
    let Names { table, outbox, key, version, .. } = &names;
    let child = children.qualified(guard, Dialect::Postgres);
    let child_key = identifier(&children.key);
    let key_type = guard.kind_of_key().sql(Dialect::Postgres);
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
    // Open: this transaction stepped the version and has not appended its event.
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
    // A transaction that adds a row has locked the aggregate's, so no other adds one between the count and the commit.
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
        r#"-- {child}: changes only between the step and the event, of both aggregates if a row moves.
-- Called for refusals, and where the step was made inside a savepoint (its row then has another transaction id). The row's
-- lock, which the stepping transaction has already, ensures that the version is not closed meanwhile.
create or replace function {check}(guarded_key {key_type}) returns void language plpgsql set search_path = pg_catalog, pg_temp as $guard$
declare
    present_version bigint;
begin
    if guarded_key is null then
        return;
    end if;
{refuse_final}    -- checked twice: a refusal should not wait for a lock
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

/// Writes the rules of inserts into the outbox.
pub(super) fn events(guard: &Guard) -> String {
    let Names { table, outbox, key, version, .. } = Names::new(guard, Dialect::Postgres);
    let name = guard.outbox_name();
    let key_type = guard.kind_of_key().sql(Dialect::Postgres);
    let (insert, check) = (guard.object(name, "guard_insert"), guard.object(name, "guard_check"));
    let trigger = guard.named(name, "guard_insert");
    let sequence = literal(&guard.object(name, "sequence"));
    let at_present = raise(guard, Rule::AtPresentVersion, name);
    let one = raise(guard, Rule::OnePerVersion, name);
    format!(
        r#"-- {outbox}: an event closes the present version, once.
-- Called for refusals, and where the step was made inside a savepoint; see above.
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
    -- the number is drawn once the row of {table} is found, so under the lock of its step
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
