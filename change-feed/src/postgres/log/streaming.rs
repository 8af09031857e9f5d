//! The stream of an elected source.

use std::time::{Duration, Instant};

use bytes::Bytes;
use sqlx::Executor as _;
use sqlx::postgres::PgConnection;

use super::assembler::{Assembler, RunLimits, Start};
use super::catalog_key::CatalogKey;
use super::catalog_table::CapturedTable;
use super::log_position::LogPosition;
use super::server_state::ServerState;
use super::setup::{Setup, classify};
use super::slot::{left_before, place_in};
use super::tables::Learned;
use crate::feed::mismatch::Mismatch;
use crate::feed::part::Changes;
use crate::feed::position::Position;
use crate::postgres::mismatch::unfit;
use crate::postgres::server::application_name;
use crate::source::SourceError;
use postgres_replication::Confirmer;
use postgres_replication::Frame;
use postgres_replication::ReplicationConnection;
use postgres_replication::ReplicationError;
use postgres_replication::{ReplicationStream, StartOptions};

/// Limit of the wait for a slot that a predecessor of this relay still reads.
const SLOT_LIMIT_MS: u64 = 15_000;
/// Time in which a predecessor ends by itself.
const SLOT_GRACE_MS: u64 = 500;
/// Interval at which the slot is tried.
const SLOT_INTERVAL_MS: u64 = 100;

/// The stream of an elected source, and the assembler of its changes.
#[derive(Debug)]
pub(super) struct Streaming {
    stream: ReplicationStream,
    assembler: Assembler,
    /// Taken from the stream and not yet by the assembler: it describes a table whose key has to be asked for.
    unknown: Option<(u32, Bytes)>,
    /// Taken from the assembler and not yet given.
    kept: Option<Changes>,
    /// Why the stream can't go on, once what came whole before that is given.
    fault: Option<SourceError>,
}

/// What a stream gives.
#[derive(Debug)]
pub(super) enum StreamOutput {
    Changes(Changes),
    /// The assembler needs the key of the table with this object id.
    NeedsKey(u32),
}

impl Streaming {
    /// Starts after `after`, if the slot still gives everything from there.
    pub(super) async fn start(
        setup: &Setup,
        connection: &mut PgConnection,
        limits: RunLimits,
        after: &Position,
    ) -> Result<Self, SourceError> {
        let facts = ServerState::read_primary(&setup.server, connection).await?;
        let slot = setup.slot(connection, &facts).await?;
        let place = place_in(&setup.slot, slot.as_ref(), &facts, after)?;
        let mut replication = setup.replication_connection(&facts).await?;
        if place.timeline != facts.timeline {
            check_history(&mut replication, &facts, &place, after).await?;
        }
        let wal_bytes = facts.flushed.as_u64().saturating_sub(place.lsn.as_u64());
        tracing::info!(
            target: "change_feed::source", feed = %setup.feed, slot = setup.slot, from = %place.lsn,
            "streaming; {wal_bytes} bytes of WAL to catch up"
        );
        let options = StartOptions::new([setup.publication.clone()]).messages(setup.selection.messages.is_some());
        let stream = free_slot(setup, connection, &facts, replication, place, &options).await?;
        let tables = CapturedTable::read_all(&setup.server, connection, &setup.selection.published()).await?;
        let tables = tables.into_iter().map(|captured| (captured.table.oid, captured.table.name)).collect();
        let start = Start {
            tables,
            place: LogPosition { timeline: facts.timeline, ..place },
            next_transaction: facts.next_transaction,
        };
        let mut assembler = Assembler::new(setup.selection.clone(), limits, start, Instant::now());
        if after.is_origin() {
            assembler.announce_start();
        }
        Ok(Self { stream, assembler, unknown: None, kept: None, fault: None })
    }

    pub(super) fn confirmer(&self) -> Confirmer {
        self.stream.confirmer()
    }

    /// Waits for the next changes. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Result<StreamOutput, SourceError> {
        if let Some(kept) = self.kept.take() {
            return Ok(StreamOutput::Changes(kept));
        }
        loop {
            if self.fault.is_none() {
                match self.gather() {
                    Ok(Some(oid)) => return Ok(StreamOutput::NeedsKey(oid)),
                    Ok(None) => {}
                    Err(error) => self.fault = Some(error),
                }
            }
            if let Some(error) = self.fault.take() {
                // What is whole is given first, and then the stream ends.
                let Some(whole) = self.assembler.take_whole() else {
                    return Err(error);
                };
                self.fault = Some(error);
                return Ok(StreamOutput::Changes(whole));
            }
            let now = Instant::now();
            if let Some(changes) = self.assembler.take().or_else(|| self.assembler.move_on(now)) {
                return Ok(StreamOutput::Changes(changes));
            }
            let frame = match self.assembler.moves_at() {
                None => self.stream.next().await,
                Some(at) => tokio::select! {
                    frame = self.stream.next() => frame,
                    () = tokio::time::sleep_until(at.into()) => continue,
                },
            };
            self.take(frame.map_err(classify)?, now)?;
        }
    }

    /// Takes back what [`next`](Self::next) has given, so that it gives it again.
    pub(super) fn keep(&mut self, changes: Changes) {
        self.kept = Some(changes);
    }

    /// What was taken back.
    pub(super) fn kept(&mut self) -> Option<Changes> {
        self.kept.take()
    }

    /// Takes what has come, up to the size of a run. Gives the object id of a table whose key it needs to go on.
    fn gather(&mut self) -> Result<Option<u32>, SourceError> {
        let now = Instant::now();
        while self.unknown.is_none() && !self.assembler.is_full() {
            match self.stream.next_buffered().map_err(classify)? {
                Some(frame) => self.take(frame, now)?,
                None => break,
            }
        }
        Ok(self.unknown.as_ref().map(|(oid, _)| *oid))
    }

    fn take(&mut self, frame: Frame, now: Instant) -> Result<(), SourceError> {
        match frame {
            Frame::Data(data) => {
                if let Learned::NeedsKey(oid) = self.assembler.push(&data.data, now)? {
                    self.unknown = Some((oid, data.data));
                }
            }
            Frame::Keepalive(keepalive) => self.assembler.reached(keepalive.wal_end),
        }
        Ok(())
    }

    /// Gives the assembler the key that it needs.
    pub(super) fn learn_key(&mut self, key: CatalogKey) {
        if let Some((oid, frame)) = self.unknown.take() {
            self.assembler.learn_key(oid, key);
            // The key is known now, so there is nothing more to learn.
            if let Err(fault) = self.assembler.push(&frame, Instant::now()) {
                self.fault = Some(fault.into());
            }
        }
    }

    /// Ends the stream, so that the slot is free.
    pub(super) async fn close(self) {
        if let Err(error) = self.stream.close().await {
            tracing::debug!(target: "change_feed::source", %error, "the stream ended without an answer");
        }
    }
}

/// The key of a table whose log marks every column as one.
pub(super) async fn key_of(setup: &Setup, connection: &mut PgConnection, oid: u32) -> Result<CatalogKey, SourceError> {
    CatalogKey::read(&setup.server, connection, oid).await
}

/// Checks, on a server that is on another timeline than the feed was, that the feed's was not left before its position.
async fn check_history(
    replication: &mut ReplicationConnection,
    facts: &ServerState,
    place: &LogPosition,
    after: &Position,
) -> Result<(), SourceError> {
    // The first timeline has no history, and no server goes back to an earlier one.
    let has_history = facts.timeline > place.timeline;
    let history = match has_history {
        true => Some(replication.query(&format!("TIMELINE_HISTORY {}", facts.timeline)).await.map_err(classify)?),
        false => None,
    };
    let history = history.as_ref().and_then(|rows| rows.get(0, "content"));
    if left_before(history.unwrap_or_default(), place) {
        let source_end = LogPosition::between(facts.flushed, facts.timeline).position();
        return Err(SourceError::Closed(Mismatch::SourceBehind { position: after.clone(), source_end }));
    }
    Ok(())
}

/// Starts the stream, and makes a predecessor of this relay let go of the slot.
///
/// The elected relay may end the server's process of an earlier relay of the same feed: that one is dead, frozen,
/// or has just lost its election.
async fn free_slot(
    setup: &Setup,
    connection: &mut PgConnection,
    facts: &ServerState,
    replication: ReplicationConnection,
    place: LogPosition,
    options: &StartOptions,
) -> Result<ReplicationStream, SourceError> {
    let began = Instant::now();
    let mut replication = Some(replication);
    loop {
        let ready = match replication.take() {
            Some(ready) => ready,
            None => setup.replication_connection(facts).await?,
        };
        match ready.start(&setup.slot, place.lsn, options).await {
            Ok(stream) => return Ok(stream),
            Err(ReplicationError::SlotInUse(_)) => {}
            Err(error) => return Err(refused(setup, connection, error).await),
        }
        let slot = setup.slot(connection, facts).await?;
        if let Some((pid, name)) = slot.and_then(|slot| Some((slot.active_pid?, slot.active_name))) {
            let ours = name.as_deref() == Some(&application_name(&setup.feed));
            if began.elapsed() > Duration::from_millis(SLOT_LIMIT_MS) {
                return Err(in_use(setup, pid, name.as_deref(), ours));
            }
            if ours && began.elapsed() > Duration::from_millis(SLOT_GRACE_MS) {
                tracing::warn!(
                    target: "change_feed::source", feed = %setup.feed, slot = setup.slot, pid,
                    "an earlier relay of this feed still reads the slot; its connection is ended"
                );
                // Without the right to end it there is still its own time limit.
                let end = sqlx::query("select pg_terminate_backend($1)").bind(pid);
                let _ended = setup.server.answer(async { Ok(connection.execute(end).await) }).await?;
            }
        }
        tokio::time::sleep(Duration::from_millis(SLOT_INTERVAL_MS)).await;
    }
}

/// Maps the server's refusal to start the stream. A server that became a standby meanwhile refuses too, and that passes.
async fn refused(setup: &Setup, connection: &mut PgConnection, error: ReplicationError) -> SourceError {
    match ServerState::read_primary(&setup.server, connection).await {
        Ok(_) => classify(error),
        Err(standby) => standby,
    }
}

fn in_use(setup: &Setup, pid: i32, name: Option<&str>, ours: bool) -> SourceError {
    let name = name.filter(|name| !name.is_empty()).unwrap_or("unnamed");
    let what = format!("the replication slot {:?} is in use by the server's process {pid} ({name})", setup.slot);
    if ours {
        return SourceError::transient(what);
    }
    unfit(
        what,
        "end that program, or give the feed a slot of its own: what others read from a slot is gone for the feed",
    )
}
