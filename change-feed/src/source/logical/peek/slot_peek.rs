//! A replication slot drained by SQL.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use postgres_protocol::escape::escape_literal;
use postgres_protocol::message::backend::{COPY_DATA_TAG, Message};

use super::copy::CopyReader;
use crate::source::logical::Lsn;
use crate::source::logical::replication::{
    ConnectOptions, Purpose, ReplicationError, ServerError, Session, StartOptions, VALUE_SETTINGS, XLogData,
};

const DECODE_LIMIT_MS: u64 = 300_000;

/// A replication slot drained by SQL.
///
/// - **Order**: [`peek`](Self::peek), then [`next`](Self::next) until it gives `None`, then
///   [`advance`](Self::advance) when what came is durable. A peek does not move the slot: the next one begins there again.
/// - **Bounds**: one buffer of up to 256 KiB, or one message if that is larger, whatever the size of a transaction;
///   the server waits while nobody takes messages.
/// - **Cancellation**: dropping the future of `next` loses nothing. Dropping any other leaves the connection unusable.
/// - The slot is in use only while the server decodes, which is before the first message comes.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use change_feed::source::logical::peek::SlotPeek;
/// use change_feed::source::logical::replication::StartOptions;
///
/// let options = "postgres://feed@db/shop".parse()?;
/// let mut slot = SlotPeek::connect(&options, "orders", &StartOptions::new(["orders"])).await?;
/// loop {
///     slot.peek(100_000).await?;
///     let mut through = None;
///     while let Some(message) = slot.next().await? {
///         println!("{} bytes at {}", message.data.len(), message.wal_start);
///         through = Some(message.wal_end);
///     }
///     let Some(through) = through else { break };
///     slot.advance(through).await?;
/// }
/// # Ok(()) }
/// ```
pub struct SlotPeek {
    session: Session,
    slot: String,
    /// Of the plug-in, as arguments of the function.
    arguments: String,
    decode_limit: Duration,
    copy: Option<Copy>,
}

/// A peek that is being read.
#[derive(Default)]
struct Copy {
    reader: CopyReader,
    refused: Option<ServerError>,
}

impl SlotPeek {
    /// Connects as any client does. Of what the options say, only the limits for connecting and for answers count.
    ///
    /// # Errors
    ///
    /// As [`ReplicationConnection::connect`](super::super::replication::ReplicationConnection::connect).
    pub async fn connect(
        options: &ConnectOptions,
        slot: &str,
        plugin: &StartOptions,
    ) -> Result<Self, ReplicationError> {
        let arguments = plugin.plugin_options()?;
        let arguments = arguments.iter().map(|(name, value)| format!(", '{name}', {}", escape_literal(value).trim()));
        let arguments = arguments.collect();
        let session = Session::connect(Arc::new(options.clone()), Purpose::Statements).await?;
        let slot = escape_literal(slot).trim().to_owned();
        let decode_limit = Duration::from_millis(DECODE_LIMIT_MS);
        Ok(Self { session, slot, arguments, decode_limit, copy: None })
    }

    /// How long the server may decode before the first message of a peek comes, and how long an advance may take; 5
    /// minutes unless set. The server gives up then, too.
    #[must_use]
    pub fn decode_limit(mut self, limit: Duration) -> Self {
        self.decode_limit = limit;
        self
    }

    /// Asks for what the slot has, from its confirmed place on: whole transactions, until there are `changes_min`
    /// messages or no more. Returns before the server has decoded them.
    ///
    /// # Errors
    ///
    /// [`Transient`](ReplicationError::Transient), also while an earlier peek isn't read to its end. What the server
    /// refuses shows with [`next`](Self::next).
    pub async fn peek(&mut self, changes_min: u32) -> Result<(), ReplicationError> {
        let changes = changes_min.clamp(1, i32::MAX.unsigned_abs());
        let Self { slot, arguments, .. } = &*self;
        let copy = format!(
            "COPY (SELECT lsn, data FROM pg_catalog.pg_logical_slot_peek_binary_changes(\
             {slot}, NULL, {changes}{arguments})) TO STDOUT (FORMAT binary)"
        );
        let settings = self.settings();
        self.session.begin(&format!("{settings}{copy}")).await?;
        self.copy = Some(Copy::default());
        Ok(())
    }

    /// Waits for the next message of the peek; `None` at its end, or when there is none.
    ///
    /// # Errors
    ///
    /// [`SlotMissing`](ReplicationError::SlotMissing), [`SlotInUse`](ReplicationError::SlotInUse),
    /// [`PublicationMissing`](ReplicationError::PublicationMissing), [`Prerequisite`](ReplicationError::Prerequisite),
    /// [`Denied`](ReplicationError::Denied), [`Transient`](ReplicationError::Transient).
    pub async fn next(&mut self) -> Result<Option<XLogData>, ReplicationError> {
        loop {
            if let Some(message) = self.next_buffered()? {
                return Ok(Some(message));
            }
            if self.copy.is_none() {
                return Ok(None);
            }
            self.fill().await?;
        }
    }

    /// The next message if it is here already: no waiting, no system call. `None` says nothing about the end.
    ///
    /// # Errors
    ///
    /// Those of [`next`](Self::next).
    #[inline]
    pub fn next_buffered(&mut self) -> Result<Option<XLogData>, ReplicationError> {
        while let Some(copy) = &mut self.copy {
            let wire = self.session.wire();
            match wire.tag()? {
                Some(COPY_DATA_TAG) => {
                    let Some((_, body)) = wire.take()? else {
                        return Ok(None);
                    };
                    if let Some(message) = copy.reader.read(body)? {
                        return Ok(Some(message));
                    }
                }
                Some(_) => self.other_message()?,
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Lets the server forget what commits before or at this place, and says how far the slot is then: never further
    /// than the server's log, and never back.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next); [`Prerequisite`](ReplicationError::Prerequisite) also for a place before the
    /// slot's.
    pub async fn advance(&mut self, through: Lsn) -> Result<Lsn, ReplicationError> {
        let Self { slot, .. } = &*self;
        let settings = self.settings();
        let statement =
            format!("{settings}SELECT end_lsn FROM pg_catalog.pg_replication_slot_advance({slot}, '{through}')");
        let limit = self.decode_limit + self.session.options().answer_limit_value();
        self.session.query(&statement, limit).await?.parsed(0, "end_lsn")
    }

    /// Ends the connection and waits until the server has, too.
    pub async fn close(self) {
        self.session.close().await;
    }

    /// For this transaction only, which several statements in one message are: through a pooler the next may go to
    /// another session.
    fn settings(&self) -> String {
        let values = VALUE_SETTINGS.iter().map(|(name, value)| format!("SET LOCAL {name} = '{value}'; "));
        let limit = self.decode_limit.as_millis();
        values.chain([format!("SET LOCAL statement_timeout = {limit}; ")]).collect()
    }

    /// What isn't a row.
    #[cold]
    fn other_message(&mut self) -> Result<(), ReplicationError> {
        let (Some(copy), Some(message)) = (&mut self.copy, self.session.wire().parse()?) else {
            return Ok(());
        };
        match message {
            Message::ErrorResponse(body) => {
                let error = ServerError::read(body.fields());
                if error.is_final() {
                    return Err(error.into());
                }
                copy.refused = Some(error);
            }
            Message::ReadyForQuery(_) => {
                let refused = self.copy.take().and_then(|copy| copy.refused);
                self.session.end();
                return refused.map_or(Ok(()), |error| Err(error.into()));
            }
            Message::CommandComplete(_)
            | Message::CopyOutResponse(_)
            | Message::CopyDone
            | Message::NoticeResponse(_)
            | Message::ParameterStatus(_) => {}
            _ => return Err(ReplicationError::protocol("a message that has no place in a copy")),
        }
        Ok(())
    }

    async fn fill(&mut self) -> Result<(), ReplicationError> {
        let limit = self.decode_limit + self.session.options().answer_limit_value();
        let filled = tokio::time::timeout(limit, self.session.wire().fill());
        filled.await.unwrap_or_else(|_| Err(ReplicationError::timed_out("decoding", limit)))
    }
}

impl fmt::Debug for SlotPeek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlotPeek").field("slot", &self.slot).finish_non_exhaustive()
    }
}
