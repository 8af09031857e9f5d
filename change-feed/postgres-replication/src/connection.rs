//! A connection that replication commands can be given on.

use std::fmt;
use std::sync::Arc;

use postgres_protocol::message::backend::Message;

use crate::error::ReplicationError;
use crate::lsn::Lsn;
use crate::options::ConnectOptions;
use crate::quoting;
use crate::rows::Rows;
use crate::server_error::ServerError;
use crate::session::{Session, within};
use crate::slot::{CreatedSlot, NewSlot};
use crate::stream::{ReplicationStream, StartOptions};

const COPY_BOTH_RESPONSE: u8 = b'W';

/// A connection that replication commands can be given on, and plain queries.
///
/// The role needs the attribute REPLICATION. Dropping a call before it is done leaves the connection unusable, which
/// the next call says; every call ends within the limits of [`ConnectOptions`].
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

/// Which server this is, and where its log ends.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct System {
    /// The number that initdb gave the cluster; its physical copies have the same.
    pub identifier: String,
    /// The timeline, which steps with every promotion.
    pub timeline: u32,
    /// How far the log is on the disk; on a standby, how far it was replayed.
    pub log_end: Lsn,
    /// The database that the connection is to.
    pub database: String,
}

impl ReplicationConnection {
    /// Connects as a walsender's client.
    ///
    /// # Errors
    ///
    /// [`Authentication`](ReplicationError::Authentication), [`Denied`](ReplicationError::Denied) for a role without
    /// REPLICATION, [`Tls`](ReplicationError::Tls), [`Prerequisite`](ReplicationError::Prerequisite) for a database that
    /// isn't there, [`Transient`](ReplicationError::Transient) while the server is away or full.
    pub async fn connect(options: &ConnectOptions) -> Result<Self, ReplicationError> {
        let session = Session::connect(Arc::new(options.clone())).await?;
        Ok(Self { session })
    }

    /// The release of the server, such as 18.
    pub fn server_major(&self) -> u32 {
        self.session.server_major()
    }

    /// Which server this is (IDENTIFY_SYSTEM).
    pub async fn identify_system(&mut self) -> Result<System, ReplicationError> {
        let rows = self.session.ask("IDENTIFY_SYSTEM").await?;
        Ok(System {
            identifier: rows.parsed(0, "systemid")?,
            timeline: rows.parsed(0, "timeline")?,
            log_end: rows.parsed(0, "xlogpos")?,
            database: rows.parsed(0, "dbname")?,
        })
    }

    /// Makes a slot.
    ///
    /// # Errors
    ///
    /// [`SlotExists`](ReplicationError::SlotExists); [`Prerequisite`](ReplicationError::Prerequisite) with too low a
    /// `wal_level`, or when no slot is left; [`Transient`](ReplicationError::Transient) when transactions stayed open for
    /// longer than the [limit](NewSlot::wait_limit): no slot is left behind.
    pub async fn create_slot(&mut self, slot: &NewSlot) -> Result<CreatedSlot, ReplicationError> {
        let statement = slot.statement(self.server_major())?;
        let rows = self.session.query(&statement, slot.wait_limit).await?;
        Ok(CreatedSlot {
            name: rows.parsed(0, "slot_name")?,
            consistent_point: rows.parsed(0, "consistent_point")?,
            snapshot: rows.get(0, "snapshot_name").map(str::to_owned),
        })
    }

    /// Drops a slot; one in use, when it is free.
    ///
    /// # Errors
    ///
    /// [`SlotMissing`](ReplicationError::SlotMissing); [`Transient`](ReplicationError::Transient) when it stayed in use
    /// for longer than the limit for answers.
    pub async fn drop_slot_when_free(&mut self, name: &str) -> Result<(), ReplicationError> {
        let name = quoting::slot_name(name)?;
        self.session.ask(&format!("DROP_REPLICATION_SLOT {name} WAIT")).await.map(drop)
    }

    /// Drops a slot.
    ///
    /// # Errors
    ///
    /// [`SlotMissing`](ReplicationError::SlotMissing), [`SlotInUse`](ReplicationError::SlotInUse).
    pub async fn drop_slot(&mut self, name: &str) -> Result<(), ReplicationError> {
        let name = quoting::slot_name(name)?;
        self.session.ask(&format!("DROP_REPLICATION_SLOT {name}")).await.map(drop)
    }

    /// The rows of a plain query, or of the last one of several. Names and values are the caller's to quote.
    pub async fn query(&mut self, statement: &str) -> Result<Rows, ReplicationError> {
        self.session.ask(statement).await
    }

    /// Starts to stream what a slot gives of the transactions that commit after a place.
    ///
    /// **A place before the slot's `confirmed_flush_lsn` is no error to the server: it starts there, late.** Compare
    /// first. [`Lsn::INVALID`] stands for `confirmed_flush_lsn`.
    ///
    /// # Errors
    ///
    /// [`SlotMissing`](ReplicationError::SlotMissing), [`SlotInUse`](ReplicationError::SlotInUse), and
    /// [`Prerequisite`](ReplicationError::Prerequisite) for a slot that was invalidated or is another database's. A
    /// missing publication shows with the first change: [`PublicationMissing`](ReplicationError::PublicationMissing);
    /// from PostgreSQL 18 on it doesn't, and nothing comes.
    pub async fn start(
        mut self,
        slot: &str,
        after: Lsn,
        options: &StartOptions,
    ) -> Result<ReplicationStream, ReplicationError> {
        let statement = options.statement(slot, after)?;
        self.session.begin(&statement).await?;
        let limit = self.session.options().limits.answer;
        within(limit, "starting replication", Self::stream_begins(&mut self.session)).await?;
        ReplicationStream::begin(self.session.into_parts(), after)
    }

    async fn stream_begins(session: &mut Session) -> Result<(), ReplicationError> {
        let wire = session.wire();
        loop {
            match wire.incoming.tag()? {
                Some(COPY_BOTH_RESPONSE) => return wire.incoming.take().map(drop),
                Some(_) => match wire.message().await? {
                    Message::ErrorResponse(body) => return Err(ServerError::read(body.fields()).into()),
                    Message::ParameterStatus(_) => {}
                    _ => return Err(ReplicationError::protocol("no stream where one was asked for")),
                },
                None => wire.incoming.fill().await?,
            }
        }
    }

    /// Ends the connection and waits until the server has, too.
    pub async fn close(self) {
        self.session.close().await;
    }
}

impl fmt::Debug for ReplicationConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplicationConnection").field("options", self.session.options()).finish_non_exhaustive()
    }
}
