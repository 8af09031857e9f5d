//! How tables that have rows come under the guard: each row gets an event that tells of it as it is.

/// The event that an adopted row's present version gets.
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
    /// Rows in one batch unless told otherwise: a batch holds the locks of its rows until it commits.
    const BATCH_ROWS: u32 = 500;

    /// A baseline of this event type. Its payload is the aggregate's row as a JSON object of its columns.
    pub fn new(event_type: impl Into<String>) -> Self {
        Self { event_type: event_type.into(), payload_sql: None, batch_rows: Self::BATCH_ROWS }
    }

    /// Another payload: an SQL expression over the aggregate's row `a` that gives JSON, in the database's own dialect. It is
    /// evaluated under the lock of the row, after which nothing that belongs to the row changes without an event.
    ///
    /// The expression becomes part of a statement: never make one of a user's input.
    #[must_use]
    pub fn payload_sql(mut self, expression: impl Into<String>) -> Self {
        self.payload_sql = Some(expression.into());
        self
    }

    /// How many rows a transaction adopts: 500 unless given. On SQLite all are adopted in one.
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
