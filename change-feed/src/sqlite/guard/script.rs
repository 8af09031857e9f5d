//! The script of a guard for SQLite.
//!
//! SQLite has one writer at a time, so no locks are needed. REPLACE removes rows without calling their triggers, so triggers
//! look for a conflicting row before an insert. There are no roles: a program that can write can also drop a trigger.

use crate::outbox::dialect::{Dialect, identifier, literal};
use crate::outbox::guard::{Children, Guard, VersionKey};
use crate::outbox::rule::Rule;
use crate::outbox::sql::{Names, bounds, version_key as version_key_clause};

/// Writes the outbox's table.
pub(crate) fn outbox(guard: &Guard) -> String {
    let Names { table, outbox, key, .. } = Names::new(guard, Dialect::Sqlite);
    let key_type = guard.kind_of_key().sql(Dialect::Sqlite);
    let (event_id, one) = (guard.declared(Rule::EventIdIsUnique), guard.declared(Rule::OnePerVersion));
    let json = guard.declared(Rule::PayloadIsJson);
    let bounds = bounds(guard, "length(cast(payload as blob))", "julianday(occurred_at) is not null");
    let milliseconds = "printf('%012x', cast((julianday('now') - 2440587.5) * 86400000 as integer))";
    format!(
        r#"-- The outbox of {table}: one row for each version of each row there, in the same transaction as the change.
-- The database assigns sequence. Every program that writes here needs PRAGMA foreign_keys = ON.
create table {outbox} (
    sequence integer primary key autoincrement,
    -- a UUID of version 7: milliseconds in front, so that the index grows at one end
    event_id text not null default (
        substr({milliseconds}, 1, 8) || '-' || substr({milliseconds}, 9, 4)
        || '-7' || substr(lower(hex(randomblob(2))), 2)
        || '-' || substr('89ab', 1 + (random() & 3), 1) || substr(lower(hex(randomblob(2))), 2)
        || '-' || lower(hex(randomblob(6)))),
    -- the reference keeps REPLACE from removing a row of {table}
    {key} {key_type} not null references {table} ({key}),
    version integer not null,
    event_type text not null,
    payload text not null,
    occurred_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    traceparent text,
    -- true for the event of an adopted row: it holds the effect of earlier versions, which have no event
    baseline integer not null default false,
    constraint {event_id} unique (event_id),
    constraint {one} unique ({key}, version),
    constraint {json} check (json_valid(payload)),
{bounds}
) strict;
"#
    )
}

/// Writes the triggers, and the key from a version to its event if the aggregate's table does not have it.
pub(crate) fn rules(guard: &Guard) -> String {
    let Names { table, .. } = Names::new(guard, Dialect::Sqlite);
    let mut script = format!(
        r#"-- The rules of {table}: the event closes the version.
--   1. A row starts at version 1 and steps by exactly 1, when the present version has its event. A final state never steps.
--   2. Its children change only between the step and the event of that version.
--   3. An event is inserted at the present version and takes the next sequence number.
--   4. A commit needs the event of the present version (PRAGMA foreign_keys = ON).
-- The legal order is: step, change, append. A refusal's text begins with the name of the rule.

"#
    );
    script.push_str(&aggregate(guard));
    for children in guard.children_tables() {
        script.push_str(&children_rules(guard, children));
    }
    script.push_str(&events(guard));
    if guard.version_key() == VersionKey::Generated {
        script.push_str(&open_versions(guard));
    }
    script
}

/// Writes a refusal under a condition, as a statement of a trigger.
fn refuse(guard: &Guard, rule: Rule<'_>, table: &str, condition: &str) -> String {
    let text = literal(&format!("{}: {table}: {}", guard.constraint(rule), rule.message()));
    format!("    select raise(abort, {text})\n     where {condition};\n")
}

/// Writes a trigger made of refusals.
fn trigger(name: &str, event: &str, table: &str, statements: &[String]) -> String {
    format!("create trigger {name} {event} on {table} begin\n{}end;\n", statements.concat())
}

fn aggregate(guard: &Guard) -> String {
    let names = Names::new(guard, Dialect::Sqlite);
    let Names { table, outbox, key, version, .. } = &names;
    let name = guard.table_name();
    let no = |rule, condition: String| refuse(guard, rule, name, &condition);
    let mut on_update = Vec::new();
    if let Some(is_final) = names.is_final("old", "=") {
        on_update.push(no(Rule::IsFinal, is_final));
    }
    on_update.extend([
        no(Rule::KeyIsFixed, format!("new.{key} is not old.{key}")),
        no(
            Rule::VersionStepsByOne,
            format!("new.{version} is not old.{version} and new.{version} is not old.{version} + 1"),
        ),
        no(
            Rule::VersionHasEvent,
            format!(
                "new.{version} is old.{version} + 1\n       and not exists (select 1 from {outbox} e where e.{key} = old.{key} and e.version = old.{version})"
            ),
        ),
        no(
            Rule::ChangesInsideAStep,
            format!(
                "new.{version} is old.{version}\n       and exists (select 1 from {outbox} e where e.{key} = old.{key} and e.version = old.{version})"
            ),
        ),
    ]);
    let starts = [no(Rule::VersionStartsAtOne, format!("new.{version} is not 1"))];
    // After the insert, so that ON CONFLICT DO NOTHING and DO UPDATE work: they don't call this trigger.
    let again = [no(Rule::IsNeverDeleted, format!("exists (select 1 from {outbox} e where e.{key} = new.{key})"))];
    let never = [no(Rule::IsNeverDeleted, "true".to_owned())];
    [
        format!("-- {table}: starts at 1, steps by 1, never leaves a final state, keeps its key, is never deleted.\n"),
        trigger(&guard.named(name, "guard_insert"), "before insert", table, &starts),
        trigger(&guard.named(name, "guard_insert_again"), "after insert", table, &again),
        trigger(&guard.named(name, "guard_update"), "before update", table, &on_update),
        trigger(&guard.named(name, "guard_delete"), "before delete", table, &never),
        "\n".to_owned(),
    ]
    .concat()
}

fn children_rules(guard: &Guard, children: &Children) -> String {
    let names = Names::new(guard, Dialect::Sqlite);
    let Names { table, outbox, key, version, .. } = &names;
    let name = children.table.as_str();
    let child = identifier(name);
    let child_key = identifier(&children.key);
    let side = |row: &str| {
        let mut refusals = Vec::new();
        if let Some(is_final) = names.is_final("a", "=") {
            let condition =
                format!("exists (select 1 from {table} a where a.{key} = {row}.{child_key} and ({is_final}))");
            refusals.push(refuse(guard, Rule::IsFinal, guard.table_name(), &condition));
        }
        refusals.push(refuse(
            guard,
            Rule::ChildrenHaveAggregate(name),
            name,
            &format!(
                "{row}.{child_key} is not null and not exists (select 1 from {table} a where a.{key} = {row}.{child_key})"
            ),
        ));
        refusals.push(refuse(
            guard,
            Rule::ChildrenChangeInsideAStep(name),
            name,
            &format!(
                "exists (select 1 from {table} a join {outbox} e on e.{key} = a.{key} and e.version = a.{version}\n       where a.{key} = {row}.{child_key})"
            ),
        ));
        refusals
    };
    let replaced = children.own_keys.iter().map(|columns| {
        let same = columns.iter().map(|column| same_as_new(column)).collect::<Vec<_>>().join(" and ");
        let condition =
            format!("exists (select 1 from {child} c where {same} and c.{child_key} is not new.{child_key})");
        refuse(guard, Rule::ChildrenAreNeverReplaced(name), name, &condition)
    });
    let replaced = replaced.collect::<Vec<_>>();
    let full = |also: &str| {
        let condition =
            |limit| format!("{also}(select count(*) from {child} c where c.{child_key} = new.{child_key}) >= {limit}");
        let refusal = |limit| refuse(guard, Rule::ChildrenLimit(name), name, &condition(limit));
        children.limit.map(refusal).into_iter().collect::<Vec<_>>()
    };
    // An update that keeps the aggregate replaces no other row; one that moves is checked on both sides.
    let insert = [side("new"), full(""), replaced.clone()].concat();
    let update = [side("old"), side("new"), full(&format!("new.{child_key} is not old.{child_key} and "))].concat();
    [
        format!("-- {child}: changes only between the step and the event, of both aggregates if a row moves.\n"),
        trigger(&guard.named(name, "guard_insert"), "before insert", &child, &insert),
        trigger(&guard.named(name, "guard_update"), "before update", &child, &update),
        replaced_by_update(guard, children, &child, &child_key),
        trigger(&guard.named(name, "guard_delete"), "before delete", &child, &side("old")),
        "\n".to_owned(),
    ]
    .concat()
}

fn same_as_new(column: &str) -> String {
    let column = identifier(column);
    format!("c.{column} = new.{column}")
}

/// Writes the trigger against UPDATE OR REPLACE: a row that takes another's own key removes the other.
fn replaced_by_update(guard: &Guard, children: &Children, child: &str, child_key: &str) -> String {
    let name = children.table.as_str();
    let refusals = children.own_keys.iter().map(|columns| {
        let same = columns.iter().map(|column| same_as_new(column)).collect::<Vec<_>>().join(" and ");
        let kept = columns.iter().map(|column| format!("new.{0} is old.{0}", identifier(column)));
        let kept = kept.collect::<Vec<_>>().join(" and ");
        let condition = format!(
            "not ({kept})\n       and exists (select 1 from {child} c where {same} and c.{child_key} is not new.{child_key})"
        );
        refuse(guard, Rule::ChildrenAreNeverReplaced(name), name, &condition)
    });
    let refusals = refusals.collect::<Vec<_>>();
    if refusals.is_empty() {
        return String::new();
    }
    trigger(&guard.named(name, "guard_replace"), "before update", child, &refusals)
}

fn events(guard: &Guard) -> String {
    let Names { table, outbox, key, version, .. } = Names::new(guard, Dialect::Sqlite);
    let name = guard.outbox_name();
    let no = |rule, condition: String| refuse(guard, rule, name, &condition);
    let before = [
        no(
            Rule::OnePerVersion,
            format!("exists (select 1 from {outbox} e where e.{key} = new.{key} and e.version = new.version)"),
        ),
        no(
            Rule::AtPresentVersion,
            format!("not exists (select 1 from {table} a where a.{key} = new.{key} and a.{version} = new.version)"),
        ),
        no(Rule::EventIdIsUnique, format!("exists (select 1 from {outbox} e where e.event_id = new.event_id)")),
        // A key that is not given reads as -1 before the insert.
        no(Rule::SequenceMovesOn, "new.sequence > 0".to_owned()),
    ];
    let after = [no(
        Rule::SequenceMovesOn,
        format!("new.sequence < 1 or exists (select 1 from {outbox} e where e.sequence > new.sequence)"),
    )];
    let never = [no(Rule::IsImmutable, "true".to_owned())];
    [
        format!("-- {outbox}: an event closes the present version, once. No row is changed or deleted.\n"),
        trigger(&guard.named(name, "guard_insert"), "before insert", &outbox, &before),
        trigger(&guard.named(name, "guard_sequence"), "after insert", &outbox, &after),
        trigger(&guard.named(name, "guard_immutable_update"), "before update", &outbox, &never),
        trigger(&guard.named(name, "guard_immutable_delete"), "before delete", &outbox, &never),
        "\n".to_owned(),
    ]
    .concat()
}

/// Writes the key from a version to its event for a table that exists, which SQLite can't alter. A table of its own holds
/// the open versions, with a foreign key that is deferred to the commit. It is empty between transactions.
fn open_versions(guard: &Guard) -> String {
    let Names { table, outbox, key, version, .. } = Names::new(guard, Dialect::Sqlite);
    let key_type = guard.kind_of_key().sql(Dialect::Sqlite);
    let name = guard.table_name();
    let open = guard.named(name, "open_versions");
    let clause = version_key_clause(guard, Dialect::Sqlite);
    let clause = if version == "version" {
        clause
    } else {
        clause.replacen(&format!("({key}, {version})"), &format!("({key}, version)"), 1)
    };
    let has_event = |condition: String| refuse(guard, Rule::VersionHasEvent, name, &condition);
    let opens =
        |row: &str| vec![format!("    insert into {open} ({key}, version) values ({row}.{key}, {row}.{version});\n")];
    let steps = format!("after update on {table} when new.{version} is not old.{version}");
    let made_up = has_event(format!(
        "not exists (select 1 from {table} a where a.{key} = new.{key} and a.{version} = new.version)"
    ));
    let unpaid = has_event(format!(
        "not exists (select 1 from {outbox} e where e.{key} = old.{key} and e.version = old.version)"
    ));
    let closes = vec![format!("    delete from {open} where {key} = new.{key} and version = new.version;\n")];
    [
        "-- A commit needs the event of the present version. A row is here from the step to the event.\n".to_owned(),
        format!("create table {open} (\n    {key} {key_type} not null,\n    version integer not null,\n    primary key ({key}, version),\n    {clause}\n) strict, without rowid;\n"),
        trigger(&guard.named(name, "guard_opens"), "after insert", &table, &opens("new")),
        format!("create trigger {} {steps} begin\n{}end;\n", guard.named(name, "guard_steps"), opens("new").concat()),
        trigger(&guard.named(guard.outbox_name(), "guard_closes"), "after insert", &outbox, &closes),
        trigger(&guard.named(name, "guard_open_insert"), "before insert", &open, &[made_up]),
        trigger(&guard.named(name, "guard_open_update"), "before update", &open, &[has_event("true".to_owned())]),
        trigger(&guard.named(name, "guard_open_delete"), "before delete", &open, &[unpaid]),
    ]
    .concat()
}

/// Writes the script that removes the rules. Tables and rows stay.
pub(crate) fn remove(guard: &Guard) -> String {
    let Names { table, outbox, .. } = Names::new(guard, Dialect::Sqlite);
    let mut script = format!("-- Removes the rules of {table}. {outbox} stays: it is the history.\n");
    let mut drop = |table: &str, triggers: &[&str]| {
        for trigger in triggers {
            script.push_str(&format!("drop trigger if exists {};\n", guard.named(table, trigger)));
        }
    };
    let name = guard.table_name();
    drop(name, &["guard_insert", "guard_insert_again", "guard_update", "guard_delete", "guard_opens", "guard_steps"]);
    for children in guard.children_tables() {
        drop(&children.table, &["guard_insert", "guard_update", "guard_replace", "guard_delete"]);
    }
    drop(
        guard.outbox_name(),
        &["guard_insert", "guard_sequence", "guard_immutable_update", "guard_immutable_delete", "guard_closes"],
    );
    if guard.version_key() == VersionKey::Generated {
        script.push_str(&format!("drop table if exists {};\n", guard.named(name, "open_versions")));
    }
    script
}
