//! The parts of a script that are alike on every database: names and clauses.

use super::dialect::{Dialect, identifier, literal};
use super::guard::{Children, Guard};
use super::key::KeyType;
use super::rule::Rule;
use super::table::qualified;

/// The names of a guard, quoted for statements.
pub(crate) struct Names {
    pub(crate) table: String,
    pub(crate) outbox: String,
    pub(crate) key: String,
    pub(crate) version: String,
    pub(crate) final_states: Vec<(String, String)>,
}

impl Names {
    pub(crate) fn new(guard: &Guard, dialect: Dialect) -> Self {
        let final_states = guard.final_states().iter();
        Self {
            table: qualified(dialect, guard.schema_name(), guard.table_name()),
            outbox: qualified(dialect, guard.schema_name(), guard.outbox_name()),
            key: identifier(guard.key_column()),
            version: identifier(guard.version_column()),
            final_states: final_states.map(|(column, value)| (identifier(column), literal(value))).collect(),
        }
    }

    /// Writes the condition "this row is in a final state"; `None` if the guard has no such state.
    pub(crate) fn is_final(&self, row: &str, equals: &str) -> Option<String> {
        let states = self.final_states.iter().map(|(column, value)| format!("{row}.{column} {equals} {value}"));
        let condition = states.collect::<Vec<_>>().join(" or ");
        (!condition.is_empty()).then_some(condition)
    }
}

impl Guard {
    /// Writes the clause that a `create table` of the aggregate needs to have the key from a version to its event from the
    /// start.
    ///
    /// ```
    /// use change_feed::outbox::Guard;
    ///
    /// assert_eq!(
    ///     Guard::new("invoices").key("invoice_id").outbox("invoice_events").version_key_clause(),
    ///     "constraint invoices_version_has_event foreign key (invoice_id, version)\n    \
    ///      references invoice_events (invoice_id, version) deferrable initially deferred"
    /// );
    /// ```
    pub fn version_key_clause(&self) -> String {
        version_key(self, Dialect::Sqlite)
    }

    /// Writes the name of an object that the guard makes for a table.
    pub(crate) fn named(&self, table: &str, rest: &str) -> String {
        identifier(&self.name_of(table, rest))
    }

    /// Writes the qualified name of a function or a sequence.
    pub(crate) fn object(&self, table: &str, rest: &str) -> String {
        qualified(Dialect::Postgres, self.schema_name(), &self.name_of(table, rest))
    }

    /// Writes the name of a constraint.
    pub(crate) fn declared(&self, rule: Rule<'_>) -> String {
        identifier(&self.constraint(rule))
    }
}

impl Children {
    pub(crate) fn qualified(&self, guard: &Guard, dialect: Dialect) -> String {
        qualified(dialect, guard.schema_name(), &self.table)
    }
}

/// Writes the bounds of an outbox's columns, one CHECK each, as lines of its `create table`.
pub(crate) fn bounds(guard: &Guard, payload_bytes: &str, is_time: &str) -> String {
    let key = identifier(guard.key_column());
    let mut checks = vec![
        (Rule::VersionIsPositive, "version > 0".to_owned()),
        (Rule::EventTypeLength, "length(event_type) between 1 and 200".to_owned()),
        (Rule::TraceparentLength, "length(traceparent) <= 512".to_owned()),
        (Rule::OccurredAtIsTime, is_time.to_owned()),
        (Rule::PayloadSize, format!("{payload_bytes} <= {}", guard.payload_limit())),
    ];
    if guard.kind_of_key() == KeyType::Text {
        checks.push((Rule::KeyLength, format!("length({key}) between 1 and 255")));
    }
    let lines = checks.iter().map(|(rule, check)| format!("    constraint {} check ({check})", guard.declared(*rule)));
    lines.collect::<Vec<_>>().join(",\n")
}

/// Writes the clause of the foreign key from a version to its event.
pub(crate) fn version_key(guard: &Guard, dialect: Dialect) -> String {
    let Names { outbox, key, version, .. } = Names::new(guard, dialect);
    let name = guard.declared(Rule::VersionHasEvent);
    format!(
        "constraint {name} foreign key ({key}, {version})\n    references {outbox} ({key}, version) deferrable initially deferred"
    )
}
