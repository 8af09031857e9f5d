//! Refusals: an exception that carries the name of a rule.

use crate::outbox::dialect::literal;
use crate::outbox::guard::Guard;
use crate::outbox::rule::Rule;

/// Writes a refusal as a statement of PL/pgSQL.
pub(super) fn raise(guard: &Guard, rule: Rule<'_>, table: &str) -> String {
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
        literal(&format!("{table}: {}", rule.message())),
    )
}

/// Writes the function of triggers that always refuse. Its arguments are the constraint and the message.
pub(super) fn refuse_function(guard: &Guard) -> String {
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

/// Writes a trigger that always refuses.
pub(super) fn refusing_trigger(
    guard: &Guard,
    name: &str,
    event: &str,
    table: &str,
    each: &str,
    rule: Rule<'_>,
) -> String {
    format!(
        "create or replace trigger {name} before {event} on {table}\n    for each {each} execute function {}({}, {});\n",
        guard.object(guard.outbox_name(), "guard_refuse"),
        literal(&guard.constraint(rule)),
        literal(rule.message()),
    )
}
