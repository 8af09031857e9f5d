//! From messages to changes.

#[cfg(test)]
mod pgoutput_bytes;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::mem;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};

use super::capture_fault::CaptureFault;
use super::catalog_key::CatalogKey;
use super::keeping::Keeping;
use super::log_position::{LogPosition, checksum};
use super::logical_messages::LogicalMessages;
use super::selection::{Selection, TableName};
use super::tables::{Learned, Shown, Tables};
use super::transaction_ids::TransactionIds;
use crate::feed::change::{Change, Content};
use crate::feed::part::Changes;
use crate::feed::row_change::RowChange;
use crate::feed::transaction::TransactionPlace;
use postgres_replication::Lsn;
use postgres_replication::pgoutput::{Begin, Commit};
use postgres_replication::pgoutput::{Delete, Insert, Truncate, Update};
use postgres_replication::pgoutput::{LogicalMessage, Message};

/// Limits of a run, and of a transaction that passes whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunLimits {
    /// Changes in one run.
    pub(super) run_changes: usize,
    /// Bytes in one run, which a last change may exceed.
    pub(super) run_bytes: usize,
    /// Changes of a transaction that pass whole.
    pub(super) transaction_changes: u64,
    /// How long one transaction is given whole.
    pub(super) transaction_duration: Duration,
}

/// The place where a stream starts, and what is known of the server then.
#[derive(Debug, Clone)]
pub(super) struct Start {
    pub(super) place: LogPosition,
    /// The captured tables by their object ids.
    pub(super) tables: HashMap<u32, TableName>,
    /// The server's next transaction id, in full.
    pub(super) next_transaction: u64,
}

/// Growth of the log, with nothing for the feed in it, after which the position moves so that the server can drop that.
///
/// More than what an acknowledgement writes into the log, or each one would bring about the next.
const IDLE_GROWTH_BYTES: u64 = 64 << 10;
/// The position moves no more often than this while nothing is captured.
const IDLE_INTERVAL_MS: u64 = 1_000;
/// What a change takes beside its texts, roughly.
const CHANGE_BYTES: usize = 200;

/// From messages to changes.
///
/// ```text
///  Begin ─ rows ─ Commit   Begin ─ rows ─ Commit   Begin ─ rows …
///  ╰──────── whole transactions ──────────────╯    ╰─ the open one ─╯
///  ready: ▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇    ▇▇▇▇▇▇▇▇  held: ▇
///                                           end ↑
/// ```
///
/// It does no I/O. What is `ready` through `end` is given as one complete run. What is ready of the open transaction
/// follows when it fills a run, as a piece that continues. One change is held back, so that the transaction's last one can
/// carry the count.
#[derive(Debug)]
pub(super) struct Assembler {
    tables: Tables,
    messages: Option<LogicalMessages>,
    limits: RunLimits,
    transactions: TransactionIds,
    /// The transaction that commits here has been given up to this number of changes and parts.
    resumed: LogPosition,
    /// The checksum of what is captured.
    captured: u32,
    ready: Vec<Change>,
    ready_bytes: usize,
    /// How many of those belong to whole transactions, or parts of one, and where that leads.
    whole: usize,
    end: Option<LogPosition>,
    /// The newest end that was given.
    given: LogPosition,
    /// The server has sent everything before this.
    reached: Lsn,
    /// When the position may move again without a change.
    idle_from: Instant,
    open: Option<Open>,
    /// For what is kept of the frames.
    room: BytesMut,
}

/// A transaction of which the end has not come.
#[derive(Debug)]
struct Open {
    commit: Lsn,
    committed_at: DateTime<Utc>,
    id: u64,
    /// Changes so far, those included that were given before the start.
    changes: u64,
    /// The number of them that were given before the start and are not given again.
    skipped: u64,
    parts: u32,
    part_changes: u64,
    part_began: Instant,
    held: Option<Change>,
}

impl Assembler {
    pub(super) fn new(selection: Selection, limits: RunLimits, start: Start, now: Instant) -> Self {
        let captured = checksum(start.tables.keys().copied(), selection.messages.as_deref());
        let messages = selection.messages.clone().map(LogicalMessages::with_prefix);
        Self {
            captured,
            tables: Tables::new(selection, start.tables),
            messages,
            limits,
            transactions: TransactionIds::near(start.next_transaction),
            resumed: start.place,
            ready: Vec::new(),
            ready_bytes: 0,
            whole: 0,
            end: None,
            given: start.place,
            reached: start.place.lsn,
            idle_from: now,
            open: None,
            room: BytesMut::new(),
        }
    }

    /// Says at once where the stream starts: a new feed then has a position, and a slot that is made anew later does not
    /// hold it.
    pub(super) fn announce_start(&mut self) {
        self.complete(self.given);
    }

    /// What the catalogue has as the key of a table.
    pub(super) fn learn_key(&mut self, oid: u32, key: CatalogKey) {
        self.tables.learn_key(oid, key);
    }

    /// Takes a message of pgoutput. Only a description of a table can need a key; after
    /// [`learn_key`](Self::learn_key) the same message is taken again.
    pub(super) fn push(&mut self, frame: &Bytes, now: Instant) -> Result<Learned, CaptureFault> {
        match Message::decode(frame)? {
            Message::Insert(insert) => self.insert(&insert, frame, now)?,
            Message::Update(update) => self.update(&update, frame, now)?,
            Message::Delete(delete) => self.delete(&delete, frame, now)?,
            Message::Begin(begin) => self.begin(&begin, now)?,
            Message::Commit(commit) => self.commit(&commit)?,
            Message::Relation(relation) => return self.tables.show(relation),
            Message::Truncate(truncate) => self.truncate(truncate, now)?,
            Message::Logical(message) => self.message(&message, frame, now)?,
            Message::Origin(_) | Message::Type(_) => {}
        }
        Ok(Learned::Shape)
    }

    /// The server has sent everything before this place in the log.
    pub(super) fn reached(&mut self, lsn: Lsn) {
        if self.open.is_none() {
            self.reached = self.reached.max(lsn);
        }
    }

    /// Whether what is there makes a run of the largest size.
    pub(super) fn is_full(&self) -> bool {
        self.ready.len() >= self.limits.run_changes || self.ready_bytes >= self.limits.run_bytes
    }

    /// Whether nothing is waiting to be given, and no transaction is open.
    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.open.is_none()
    }

    /// What can be given now: whole transactions, or else a piece of the largest size of the one that is open.
    pub(super) fn take(&mut self) -> Option<Changes> {
        if let Some(end) = self.end.take() {
            let rest = self.ready.split_off(self.whole);
            let whole = mem::replace(&mut self.ready, rest);
            self.ready_bytes = self.ready.iter().map(size_bytes).sum();
            self.whole = 0;
            self.given = end;
            return Some(Changes::complete(whole, end.position()));
        }
        if self.ready.is_empty() || !self.is_full() {
            return None;
        }
        self.ready_bytes = 0;
        Some(Changes::continued(mem::take(&mut self.ready)))
    }

    /// Takes the whole transactions alone, where there are any.
    pub(super) fn take_whole(&mut self) -> Option<Changes> {
        self.end.is_some().then(|| self.take()).flatten()
    }

    /// Moves the position past what is of no concern to the feed, where that is due.
    pub(super) fn move_on(&mut self, now: Instant) -> Option<Changes> {
        if self.moves_at()? > now {
            return None;
        }
        self.idle_from = now + Duration::from_millis(IDLE_INTERVAL_MS);
        self.given = LogPosition::between(self.reached, self.given.timeline);
        Some(Changes::complete(Vec::new(), self.given.position()))
    }

    /// When the position moves though nothing is captured.
    pub(super) fn moves_at(&self) -> Option<Instant> {
        let growth = self.reached.as_u64().saturating_sub(self.given.lsn.as_u64());
        (self.is_empty() && growth >= IDLE_GROWTH_BYTES).then_some(self.idle_from)
    }

    fn begin(&mut self, begin: &Begin, now: Instant) -> Result<(), CaptureFault> {
        if self.open.is_some() {
            return Err(CaptureFault::Order("a transaction within another one"));
        }
        let resumed = Some(self.resumed).filter(|place| place.lsn == begin.final_lsn);
        if resumed.and_then(|place| place.captured).is_some_and(|captured| captured != self.captured) {
            return Err(CaptureFault::CapturesChanged { commit: begin.final_lsn });
        }
        let (skipped, parts) = resumed.map_or((0, 0), |place| (place.changes, place.parts));
        self.open = Some(Open {
            commit: begin.final_lsn,
            committed_at: begin.committed_at.to_utc()?,
            id: self.transactions.extend(begin.xid),
            changes: 0,
            skipped,
            parts,
            part_changes: 0,
            part_began: now,
            held: None,
        });
        Ok(())
    }

    fn commit(&mut self, commit: &Commit) -> Result<(), CaptureFault> {
        let mut open = self.open.take().ok_or(CaptureFault::Order("a commit without a transaction"))?;
        let count = u32::try_from(open.changes).unwrap_or(u32::MAX);
        let end = LogPosition::between(commit.end_lsn, self.given.timeline);
        self.reached = self.reached.max(commit.end_lsn);
        if let Some(mut last) = open.held.take() {
            if let Some(place) = &mut last.transaction {
                place.count = Some(count);
            }
            self.add(last);
        } else if open.skipped == 0 {
            // Nothing of it was for the feed: a reason to move on, in its time.
            return Ok(());
        }
        self.complete(end);
        Ok(())
    }

    fn insert(&mut self, insert: &Insert<'_>, frame: &Bytes, now: Instant) -> Result<(), CaptureFault> {
        let (commit, committed_at) = self.transaction()?;
        let content = match self.tables.get(insert.relation_oid)? {
            Shown::Outbox(outbox) => {
                Content::Event(outbox.event(insert.new, &mut Keeping { frame, room: &mut self.room }, commit)?)
            }
            Shown::Rows(rows) => {
                let row = rows.inserted(insert.new, &mut Keeping { frame, room: &mut self.room })?;
                Content::Row(RowChange::insert(rows.table.clone(), row, committed_at))
            }
            Shown::Ignored => return Ok(()),
        };
        self.captured(content, now)
    }

    fn update(&mut self, update: &Update<'_>, frame: &Bytes, now: Instant) -> Result<(), CaptureFault> {
        let (_, committed_at) = self.transaction()?;
        // An outbox's rows never change but by their owner's hand, which erases personal data.
        let Shown::Rows(rows) = self.tables.get(update.relation_oid)? else {
            return Ok(());
        };
        let keeping = &mut Keeping { frame, room: &mut self.room };
        let before = update.old.map(|old| rows.before(old, keeping)).transpose()?;
        let after = rows.after(update.new, before.as_ref(), keeping)?;
        let table = rows.table.clone();
        match before {
            Some(before) if rows.key_differs(before.row(), &after) => {
                let deleted = RowChange::delete(table.clone(), before, committed_at);
                self.captured(Content::Row(deleted), now)?;
                self.captured(Content::Row(RowChange::insert(table, after, committed_at)), now)
            }
            before => self.captured(Content::Row(RowChange::update(table, before, after, committed_at)), now),
        }
    }

    fn delete(&mut self, delete: &Delete<'_>, frame: &Bytes, now: Instant) -> Result<(), CaptureFault> {
        let (_, committed_at) = self.transaction()?;
        // Of an outbox: pruned.
        let Shown::Rows(rows) = self.tables.get(delete.relation_oid)? else {
            return Ok(());
        };
        let before = rows.before(delete.old, &mut Keeping { frame, room: &mut self.room })?;
        let deleted = RowChange::delete(rows.table.clone(), before, committed_at);
        self.captured(Content::Row(deleted), now)
    }

    fn truncate(&mut self, truncate: Truncate<'_>, now: Instant) -> Result<(), CaptureFault> {
        let (_, committed_at) = self.transaction()?;
        for oid in truncate.relations {
            if let Shown::Rows(rows) = self.tables.get(oid)? {
                let truncated = RowChange::truncate(rows.table.clone(), committed_at);
                self.captured(Content::Row(truncated), now)?;
            }
        }
        Ok(())
    }

    fn message(&mut self, message: &LogicalMessage<'_>, frame: &Bytes, now: Instant) -> Result<(), CaptureFault> {
        let Some(messages) = self.messages.as_ref().filter(|messages| messages.has(message)) else {
            return Ok(());
        };
        if !message.transactional {
            // It is in the log whether its transaction commits or not: it would be a phantom.
            let (lsn, prefix) = (message.lsn, message.prefix);
            tracing::warn!(target: "change_feed::source", %lsn, prefix, "a message outside of transactions is not captured");
            return Ok(());
        }
        let open = self.open.as_ref().ok_or(CaptureFault::Order("a transactional message without a transaction"))?;
        let event = messages.event(message, &mut Keeping { frame, room: &mut self.room }, open.committed_at)?;
        self.captured(Content::Event(event), now)
    }

    /// The commit record and the time of the open transaction.
    fn transaction(&self) -> Result<(Lsn, DateTime<Utc>), CaptureFault> {
        let open = self.open.as_ref().ok_or(CaptureFault::Order("a row without a transaction"))?;
        Ok((open.commit, open.committed_at))
    }

    /// Takes the next change of the open transaction.
    fn captured(&mut self, content: Content, now: Instant) -> Result<(), CaptureFault> {
        let open = self.open.as_mut().ok_or(CaptureFault::Order("a change without a transaction"))?;
        let index = open.changes;
        open.changes += 1;
        if index < open.skipped {
            return Ok(());
        }
        let index = u32::try_from(index).map_err(|_| CaptureFault::Order("a transaction of more than 2^32 changes"))?;
        let position = LogPosition::of_change(open.commit, index);
        let transaction = Some(TransactionPlace::new(open.id, index));
        let change = Change { transaction, ..Change::new(position, content) };
        let Some(mut before) = open.held.replace(change) else {
            open.part_changes += 1;
            return Ok(());
        };
        // There is more, so the part can end here without being the transaction's end.
        let ends_part = open.part_changes >= self.limits.transaction_changes
            || now.duration_since(open.part_began) > self.limits.transaction_duration;
        if !ends_part {
            open.part_changes += 1;
            self.add(before);
            return Ok(());
        }
        open.parts = open.parts.saturating_add(1);
        open.part_changes = 1;
        open.part_began = now;
        let end = LogPosition {
            lsn: open.commit,
            changes: u64::from(index),
            timeline: self.given.timeline,
            parts: open.parts,
            captured: Some(self.captured),
        };
        before.transaction = before.transaction.map(|place| place.ending_part(end.parts));
        self.add(before);
        self.complete(end);
        Ok(())
    }

    fn add(&mut self, change: Change) {
        self.ready_bytes += size_bytes(&change);
        self.ready.push(change);
    }

    /// Everything that is ready leads to this end.
    fn complete(&mut self, end: LogPosition) {
        self.whole = self.ready.len();
        self.end = Some(end);
    }
}

/// The memory that a change takes, roughly.
fn size_bytes(change: &Change) -> usize {
    let texts = match &change.content {
        Content::Event(event) => event.key.len() + event.payload.len(),
        Content::Row(row) => {
            let before = row.before.as_ref().map_or(0, |before| before.row().size_bytes());
            before + row.after.as_ref().map_or(0, crate::feed::row::Row::size_bytes)
        }
    };
    texts + CHANGE_BYTES
}
