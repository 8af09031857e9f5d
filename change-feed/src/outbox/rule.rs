//! The rules that the database keeps, and their names.

use super::guard::Guard;

/// A rule of the guard. [`Guard::constraint`] gives the name that every refusal of it carries, on every database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule<'a> {
    /// A new aggregate has version 1.
    VersionStartsAtOne,
    /// The version changes only by one step upwards.
    VersionStepsByOne,
    /// The present version has its event when the next step is made, and when the transaction commits. For the commit it is
    /// a deferred foreign key; SQLite refuses the commit too, but names no constraint there.
    VersionHasEvent,
    /// A final state is never left, and neither such an aggregate nor its children change.
    IsFinal,
    /// The key of an aggregate never changes.
    KeyIsFixed,
    /// An aggregate is never deleted, replaced or truncated.
    IsNeverDeleted,
    /// The aggregate's own columns change only together with a step, or after it and before its event.
    ChangesInsideAStep,
    /// The rows of this children table change only after a step of their aggregate and before its event.
    ChildrenChangeInsideAStep(&'a str),
    /// A row of this children table belongs to an aggregate that exists.
    ChildrenHaveAggregate(&'a str),
    /// A row of this children table never disappears by REPLACE or TRUNCATE.
    ChildrenAreNeverReplaced(&'a str),
    /// An aggregate has at most the given number of rows of this children table.
    ChildrenLimit(&'a str),
    /// An event is inserted at its aggregate's present version, by the transaction that stepped it.
    AtPresentVersion,
    /// A version has one event.
    OnePerVersion,
    /// An event id is used once.
    EventIdIsUnique,
    /// The database assigns the sequence number. PostgreSQL overwrites a writer's value; SQLite refuses it.
    SequenceMovesOn,
    /// A row of the outbox is never changed or deleted, except by the owner's functions.
    IsImmutable,
    /// A payload fits into a message of the broker.
    PayloadSize,
    /// A payload is JSON. On PostgreSQL the column's type refuses others, without the name of a constraint.
    PayloadIsJson,
    /// A version is at least 1.
    VersionIsPositive,
    /// An event type has 1 to 200 characters.
    EventTypeLength,
    /// A trace context has at most 512 characters.
    TraceparentLength,
    /// A key that is text has 1 to 255 characters.
    KeyLength,
    /// The time of an event is a time: not infinity, and on SQLite no other text.
    OccurredAtIsTime,
}

impl Rule<'_> {
    /// The text of a refusal.
    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::VersionStartsAtOne => "a new row starts at version 1",
            Self::VersionStepsByOne => "the version steps up by exactly 1",
            Self::VersionHasEvent => "the present version has no event yet: append it first",
            Self::IsFinal => "the row is in its final state: neither it nor its children can change",
            Self::KeyIsFixed => "the key can't change",
            Self::IsNeverDeleted => "a row can't be deleted, replaced or inserted again",
            Self::ChangesInsideAStep | Self::ChildrenChangeInsideAStep(_) => {
                "make changes after the step of the version and before its event"
            }
            Self::ChildrenHaveAggregate(_) => "its aggregate does not exist",
            Self::ChildrenAreNeverReplaced(_) => "a row can't be replaced or truncated",
            Self::ChildrenLimit(_) => "its aggregate has reached the limit of rows",
            Self::AtPresentVersion => {
                "an event must be inserted at the present version, by the transaction that stepped it"
            }
            Self::OnePerVersion => "this version has an event already",
            Self::EventIdIsUnique => "this event id is used already",
            Self::SequenceMovesOn => "the database assigns the sequence number: leave it out",
            Self::IsImmutable => "an event can't be changed or deleted",
            Self::PayloadSize => "the payload is over the limit",
            Self::PayloadIsJson => "the payload is not JSON",
            Self::VersionIsPositive => "a version is at least 1",
            Self::EventTypeLength => "an event type has 1 to 200 characters",
            Self::TraceparentLength => "a trace context has at most 512 characters",
            Self::KeyLength => "a key has 1 to 255 characters",
            Self::OccurredAtIsTime => "occurred_at must be a time",
        }
    }
}

impl Guard {
    /// Returns the name that a refusal by this rule carries, the same on every database.
    ///
    /// PostgreSQL reports it as the constraint's name; SQLite begins the error's text with it.
    ///
    /// ```
    /// use change_feed::outbox::{Guard, Rule};
    ///
    /// let guard = Guard::new("invoices").children("invoice_lines", "invoice_id").outbox("invoice_events");
    /// assert_eq!(guard.constraint(Rule::IsFinal), "invoices_is_final");
    /// assert_eq!(guard.constraint(Rule::ChildrenChangeInsideAStep("invoice_lines")), "invoice_lines_changes_inside_a_step");
    /// assert_eq!(guard.constraint(Rule::AtPresentVersion), "invoice_events_at_present_version");
    /// ```
    pub fn constraint(&self, rule: Rule<'_>) -> String {
        let (table, rest) = match rule {
            Rule::VersionStartsAtOne => (self.table_name(), "version_starts_at_one"),
            Rule::VersionStepsByOne => (self.table_name(), "version_steps_by_one"),
            Rule::VersionHasEvent => (self.table_name(), "version_has_event"),
            Rule::IsFinal => (self.table_name(), "is_final"),
            Rule::KeyIsFixed => (self.table_name(), "key_is_fixed"),
            Rule::IsNeverDeleted => (self.table_name(), "is_never_deleted"),
            Rule::ChangesInsideAStep => (self.table_name(), "changes_inside_a_step"),
            Rule::ChildrenChangeInsideAStep(children) => (children, "changes_inside_a_step"),
            Rule::ChildrenHaveAggregate(children) => (children, "has_aggregate"),
            Rule::ChildrenAreNeverReplaced(children) => (children, "is_never_replaced"),
            Rule::ChildrenLimit(children) => (children, "limit"),
            Rule::AtPresentVersion => (self.outbox_name(), "at_present_version"),
            Rule::OnePerVersion => (self.outbox_name(), "one_per_version"),
            Rule::EventIdIsUnique => (self.outbox_name(), "event_id_is_unique"),
            Rule::SequenceMovesOn => (self.outbox_name(), "sequence_moves_on"),
            Rule::IsImmutable => (self.outbox_name(), "is_immutable"),
            Rule::PayloadSize => (self.outbox_name(), "payload_size"),
            Rule::PayloadIsJson => (self.outbox_name(), "payload_is_json"),
            Rule::VersionIsPositive => (self.outbox_name(), "version_is_positive"),
            Rule::EventTypeLength => (self.outbox_name(), "event_type_length"),
            Rule::TraceparentLength => (self.outbox_name(), "traceparent_length"),
            Rule::KeyLength => (self.outbox_name(), "key_length"),
            Rule::OccurredAtIsTime => (self.outbox_name(), "occurred_at_is_time"),
        };
        self.name_of(table, rest)
    }

    /// The name of something that the guard makes for a table.
    pub(crate) fn name_of(&self, table: &str, rest: &str) -> String {
        shortened(format!("{}{table}_{rest}", self.prefix()))
    }
}

/// PostgreSQL cuts a name after 63 bytes, and two that were cut alike collide: past it a hash of the whole takes the
/// place of the tail, the same on every database and every day.
fn shortened(name: String) -> String {
    const NAME_LIMIT_BYTES: usize = 63;
    const HASH_BYTES: usize = 9;
    if name.len() <= NAME_LIMIT_BYTES {
        return name;
    }
    // FNV-1a: short, and fixed for ever (names are a contract; the standard library's hasher is free to change).
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let mut end = NAME_LIMIT_BYTES - HASH_BYTES;
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}_{hash:08x}", &name[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_shortened_and_stays_distinct() {
        let table = "a".repeat(60);
        let guard = Guard::new(&table);
        let final_state = guard.constraint(Rule::IsFinal);
        let key = guard.constraint(Rule::KeyIsFixed);
        assert_eq!((final_state.len(), key.len()), (63, 63));
        assert_ne!(final_state, key);
    }

    #[test]
    fn a_prefix_stands_before_every_name() {
        let guard = Guard::new("invoices").name_prefix("billing_");
        assert_eq!(guard.constraint(Rule::KeyIsFixed), "billing_invoices_key_is_fixed");
    }
}
