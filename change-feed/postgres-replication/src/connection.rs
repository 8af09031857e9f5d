//! A connection for replication commands.

use std::fmt;
use std::sync::Arc;

use postgres_protocol::message::backend::Message;

use crate::error::ReplicationError;
use crate::lsn::Lsn;
use crate::options::ConnectOptions;
use crate::quoting;
use crate::rows::Rows;
use crate::server_error::ServerError;
use crate::session::Session;
use crate::slot::{CreatedSlot, NewSlot};
use crate::stream::{ReplicationStream, StartOptions};
use crate::wire::within;

const COPY_BOTH_RESPONSE: u8 = b'W';

/// A connection for replication commands and plain queries.
///
/// The role needs the attribute REPLICATION. Every call ends within the limits of [`ConnectOptions`]. A call
/// whose future is dropped leaves the connection unusable, and the next call fails.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use postgres_replication::Lsn;
/// use postgres_replication::{Frame, NewSlot, ReplicationConnection, StartOptions};
///
/// let mut connection = ReplicationConnection::connect(&"postgres://feed@db/shop".parse()?).await?;
/// connection.create_slot(&NewSlot::new("orders")).await?;
/// let mut stream = connection.start("orders", Lsn::INVALID, &StartOptions::new(["orders"])).await?;
/// let confirmer = stream.confirmer();
/// while let Frame::Data(change) = stream.next().await? {
///     println!("{} bytes at {}", change.data.len(), change.wal_start);
///     confirmer.confirm(change.wal_end);
/// }
/// stream.close().await?;
/// # Ok(()) }
/// ```
pub struct ReplicationConnection {
    session: Session,
}

/// A server's identity, and where its log ends.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct System {
    /// The number that initdb gave the cluster; its physical copies have the same.
    pub identifier: String,
    /// The timeline, which every promotion of a standby raises.
    pub timeline: u32,
    /// The end of the log on disk; on a standby, the end of what it has replayed.
    pub log_end: Lsn,
    /// The database of the connection.
    pub database: String,
}

impl ReplicationConnection {
    /// Connects in replication mode, so that a walsender serves the connection.
    ///
    /// # Errors
    ///
    /// [`Authentication`](ReplicationError::Authentication), [`Denied`](ReplicationError::Denied) for a role without
    /// REPLICATION, [`Tls`](ReplicationError::Tls), [`Prerequisite`](ReplicationError::Prerequisite) for a database that
    /// does not exist, [`Transient`](ReplicationError::Transient) while the server can't be reached or has no connection left.
    pub async fn connect(options: &ConnectOptions) -> Result<Self, ReplicationError> {
        let session = Session::connect(Arc::new(options.clone())).await?;
        Ok(Self { session })
    }

    /// The major release of the server, such as 18.
    pub fn server_major(&self) -> u32 {
        self.session.server_major()
    }

    /// Identifies the server (IDENTIFY_SYSTEM).
    pub async fn identify_system(&mut self) -> Result<System, ReplicationError> {
        let rows = self.session.query("IDENTIFY_SYSTEM").await?;
        Ok(System {
            identifier: rows.parsed(0, "systemid")?,
            timeline: rows.parsed(0, "timeline")?,
            log_end: rows.parsed(0, "xlogpos")?,
            database: rows.parsed(0, "dbname")?,
        })
    }

    /// Creates a slot.
    ///
    /// # Errors
    ///
    /// [`SlotExists`](ReplicationError::SlotExists); [`Prerequisite`](ReplicationError::Prerequisite) with too low a
    /// `wal_level`, or when no slot is left; [`Transient`](ReplicationError::Transient) when transactions stayed open for
    /// longer than the [limit](NewSlot::wait_limit). No slot exists after an error.
    pub async fn create_slot(&mut self, slot: &NewSlot) -> Result<CreatedSlot, ReplicationError> {
        let statement = slot.statement(self.server_major())?;
        let rows = self.session.query_within(&statement, slot.wait_limit).await?;
        Ok(CreatedSlot {
            name: rows.parsed(0, "slot_name")?,
            consistent_point: rows.parsed(0, "consistent_point")?,
            snapshot: rows.get(0, "snapshot_name").map(str::to_owned),
        })
    }

    /// Drops a slot, and waits first until no connection uses it.
    ///
    /// # Errors
    ///
    /// [`SlotMissing`](ReplicationError::SlotMissing); [`Transient`](ReplicationError::Transient) when it stayed in use
    /// for longer than the limit for answers.
    pub async fn drop_slot_when_free(&mut self, name: &str) -> Result<(), ReplicationError> {
        let name = quoting::slot_name(name)?;
        self.session.query(&format!("DROP_REPLICATION_SLOT {name} WAIT")).await.map(drop)
    }

    /// Drops a slot.
    ///
    /// # Errors
    ///
    /// [`SlotMissing`](ReplicationError::SlotMissing), [`SlotInUse`](ReplicationError::SlotInUse).
    pub async fn drop_slot(&mut self, name: &str) -> Result<(), ReplicationError> {
        let name = quoting::slot_name(name)?;
        self.session.query(&format!("DROP_REPLICATION_SLOT {name}")).await.map(drop)
    }

    /// Runs a plain query, or several, and returns the rows of the last one. The caller quotes names and values.
    pub async fn query(&mut self, statement: &str) -> Result<Rows, ReplicationError> {
        self.session.query(statement).await
    }

    /// Starts to stream the changes of a slot, from the transactions that commit after a place.
    ///
    /// **A place before the slot's `confirmed_flush_lsn` is not an error to the server. It starts at `confirmed_flush_lsn`,
    /// and the changes in between are missing.** Compare the two first. [`Lsn::INVALID`] means `confirmed_flush_lsn`.
    ///
    /// # Errors
    ///
    /// [`SlotMissing`](ReplicationError::SlotMissing), [`SlotInUse`](ReplicationError::SlotInUse), and
    /// [`Prerequisite`](ReplicationError::Prerequisite) for a slot that was invalidated or belongs to another
    /// database. A missing publication is an error of the stream at the first change
    /// ([`PublicationMissing`](ReplicationError::PublicationMissing)). From PostgreSQL 18 on it is no error: the stream stays
    /// empty.
    pub async fn start(
        mut self,
        slot: &str,
        after: Lsn,
        options: &StartOptions,
    ) -> Result<ReplicationStream, ReplicationError> {
        let statement = options.statement(slot, after)?;
        self.session.send_statements(&statement).await?;
        let limit = self.session.options().limits.answer;
        within(limit, "starting replication", Self::wait_for_stream(&mut self.session)).await?;
        ReplicationStream::begin(self.session.into_parts(), after)
    }

    async fn wait_for_stream(session: &mut Session) -> Result<(), ReplicationError> {
        let wire = session.wire();
        loop {
            match wire.incoming.tag()? {
                Some(COPY_BOTH_RESPONSE) => return wire.incoming.take().map(drop),
                Some(_) => match wire.message().await? {
                    Message::ErrorResponse(body) => return Err(ServerError::read(body.fields()).into()),
                    Message::ParameterStatus(_) => {}
                    _ => {
                        return Err(ReplicationError::protocol(
                            "it answered START_REPLICATION with something other than a stream",
                        ));
                    }
                },
                None => wire.incoming.fill().await?,
            }
        }
    }

    /// Closes the connection and waits until the server has closed it too.
    pub async fn close(self) {
        self.session.close().await;
    }
}

impl fmt::Debug for ReplicationConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplicationConnection").field("options", self.session.options()).finish_non_exhaustive()
    }
}
