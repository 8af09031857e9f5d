//! The baseline event of rows that are adopted.

/// The event that an adopted row gets at its present version. It holds the state of the row.
///
/// Its outbox row is marked (`baseline`), and so is its record (header `feed_baseline`): consumers take it instead of the
/// versions that have no event.
///
/// ```
/// use change_feed::outbox::Baseline;
///
/// let baseline = Baseline::new("invoice.adopted.v1").payload_sql(
///     "json_build_object('invoice_id', a.invoice_id,
///          'lines', (select json_agg(l) from invoice_lines l where l.invoice_id = a.invoice_id))",
/// );
/// ```
#[derive(Debug, Clone)]
pub struct Baseline {
    event_type: String,
    payload_sql: Option<String>,
    batch_rows: u32,
}

impl Baseline {
    /// The default number of rows in a batch. A batch locks its rows until it commits.
    const BATCH_ROWS: u32 = 500;

    /// Creates a baseline of this event type. Its payload is the aggregate's row as a JSON object of its columns.
    pub fn new(event_type: impl Into<String>) -> Self {
        Self { event_type: event_type.into(), payload_sql: None, batch_rows: Self::BATCH_ROWS }
    }

    /// Sets another payload: an SQL expression over the aggregate's row `a` that gives JSON, in the database's own dialect. It
    /// is evaluated under the lock of the row; afterwards neither the row nor its children change without an event.
    ///
    /// The expression becomes part of a statement: never build it from a user's input.
    #[must_use]
    pub fn payload_sql(mut self, expression: impl Into<String>) -> Self {
        self.payload_sql = Some(expression.into());
        self
    }

    /// Sets the number of rows that a transaction adopts, 500 by default. SQLite adopts all in one transaction.
    #[must_use]
    pub fn batch_rows(mut self, rows: u32) -> Self {
        self.batch_rows = rows.max(1);
        self
    }

    pub(crate) fn event_type(&self) -> &str {
        &self.event_type
    }

    pub(crate) fn payload(&self) -> Option<&str> {
        self.payload_sql.as_deref()
    }

    #[cfg(feature = "postgres")]
    pub(crate) fn batch(&self) -> i64 {
        i64::from(self.batch_rows)
    }
}
