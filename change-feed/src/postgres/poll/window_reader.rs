//! Reads an outbox window by window.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use super::limits::PollLimits;
use super::poll_progress::{Anchor, PollProgress, change_position};
use super::poll_session::{PollSession, Present, SCAN_MAX, Stretch};
use super::row::OutboxRow;
use super::snapshot::Snapshot;
use super::transactions::Transactions;
use crate::feed::change::Change;
use crate::feed::mismatch::Mismatch;
use crate::feed::part::Changes;
use crate::feed::position::Position;
use crate::source::SourceError;

/// What one poll came to.
#[derive(Debug)]
pub(super) enum Poll {
    /// Changes, and the progress has moved past them.
    Found(Changes),
    /// There may be more at once.
    Again,
    /// Nothing new.
    Nothing,
}

/// Reads an outbox window by window.
pub(super) struct WindowReader {
    session: PollSession,
    limits: PollLimits,
    /// Its progress, in terms that survive a crash of the server; `None` until the start.
    progress: Option<PollProgress>,
    /// The last snapshot of which everything has been given. It may see more transactions than the progress dares to
    /// say, and holds only as long as the connection: a crash of the server ends both.
    looked: Snapshot,
    /// Only within a window.
    scan: Option<Scan>,
    transactions: Transactions,
}

/// What is known of the rest of a window that is given in pages.
#[derive(Debug, Clone, Copy)]
struct Scan {
    /// Rows through this sequence have been read.
    after: u64,
    /// No row of the window has a higher one.
    highest: u64,
    /// Rows in the next page: fewer than allowed after a page that was cut for its bytes.
    page_rows: u32,
}

/// A window of which more is to come.
struct OpenWindow {
    window: u64,
    through: u64,
    old: Snapshot,
    target: Snapshot,
    anchor: Option<Anchor>,
}

impl From<OpenWindow> for PollProgress {
    fn from(open: OpenWindow) -> Self {
        let OpenWindow { window, through, old, target, anchor } = open;
        Self::Within { window, through, old, target, anchor }
    }
}

impl WindowReader {
    pub(super) fn new(session: PollSession, limits: PollLimits) -> Self {
        Self {
            session,
            limits,
            progress: None,
            looked: Snapshot::NOTHING,
            scan: None,
            transactions: Transactions::default(),
        }
    }

    /// The session, for what else the election's holder asks.
    pub(super) fn session(&mut self) -> &mut PollSession {
        &mut self.session
    }

    /// Starts after `position`, if this database's history holds it.
    pub(super) async fn start(&mut self, position: &Position) -> Result<(), SourceError> {
        let progress = PollProgress::from_position(position)
            .ok_or_else(|| Mismatch::made_by_another_kind(position, super::KIND))?;
        let now = self.session.present().await?.snapshot;
        if !now.follows(progress.newest()) || self.has_another_event_at(progress.anchor()).await? {
            let (window, anchor) = (position.major(), None);
            let source_end = PollProgress::Between { window, seen: now, anchor }.position();
            return Err(SourceError::Closed(Mismatch::SourceBehind { position: position.clone(), source_end }));
        }
        self.refuse_foreign_rows().await?;
        self.looked = progress.newest().clone();
        self.progress = Some(progress);
        self.scan = None;
        self.transactions.clear();
        Ok(())
    }

    /// Whether the history has another event where the last one stood, or does not reach that far. An event that was
    /// pruned tells nothing: pruning leaves the newest one.
    async fn has_another_event_at(&mut self, anchor: Option<Anchor>) -> Result<bool, SourceError> {
        let Some(anchor) = anchor else {
            return Ok(false);
        };
        match self.session.anchor_at(anchor.sequence).await? {
            Some(found) => Ok(found != anchor),
            None => Ok(self.session.highest_sequence().await? < anchor.sequence),
        }
    }

    /// A row that was restored from a dump or copied by a subscription names a transaction of another server; one "in
    /// the future" would be given long after its successors, or never.
    async fn refuse_foreign_rows(&mut self) -> Result<(), SourceError> {
        if !self.session.has_foreign_rows().await? {
            return Ok(());
        }
        let table = self.session.outbox();
        Err(SourceError::fatal(
            format!("rows of {table} name transactions that this server has not begun: they were copied here"),
            "let the tables' owner set transaction_id of the copied rows to '3', the server's first transaction, with \
             the outbox's triggers off and no feed running; then start a feed under a new name",
        ))
    }

    /// Polls once.
    pub(super) async fn poll(&mut self) -> Result<Poll, SourceError> {
        match self.progress.clone() {
            None => Err(SourceError::transient("the source has not been started at a position")),
            Some(PollProgress::Between { window, seen, anchor }) => self.next_window(window, seen, anchor).await,
            Some(PollProgress::Within { window, through, old, target, anchor }) => {
                self.next_page(OpenWindow { window, through, old, target, anchor }).await
            }
        }
    }

    async fn next_window(&mut self, window: u64, seen: Snapshot, anchor: Option<Anchor>) -> Result<Poll, SourceError> {
        let present = self.session.present().await?;
        let ranges = self.looked.unseen_until(&present.snapshot);
        if ranges.is_empty() {
            return Ok(Poll::Nothing);
        }
        let read = self.session.window(&ranges).await?;
        if read.total == 0 {
            self.looked = present.snapshot;
            return Ok(Poll::Nothing);
        }
        self.session.flush(&present).await?;
        let window = window + 1;
        if read.total > i64::from(self.limits.window_rows) {
            return self.open(window, seen, anchor, &present, &ranges).await;
        }
        if read.cut {
            let page_rows = rows_that_fit(&read.rows).min(self.limits.window_rows);
            let target = self.target(&present).await?;
            self.begin_scan(read.rows.last().map_or(0, |row| row.sequence), page_rows).await?;
            self.count_transactions(&read.rows, 0).await?;
            let open = OpenWindow { window, through: 0, old: seen, target, anchor };
            return Ok(self.give_page(open, read.rows, false));
        }
        let highest = read.rows.iter().map(|row| row.transaction).max().unwrap_or_default();
        let seen = present.snapshot.through(highest.max(seen.highest()));
        self.looked = present.snapshot;
        self.transactions = Transactions::count(read.rows.iter().map(|row| row.transaction));
        let anchor = read.rows.last().map(anchor_of);
        Ok(self.give(window, read.rows, PollProgress::Between { window, seen, anchor }))
    }

    /// Begins a window that has too many rows to be read at once.
    async fn open(
        &mut self,
        window: u64,
        old: Snapshot,
        anchor: Option<Anchor>,
        present: &Present,
        ranges: &[RangeInclusive<u64>],
    ) -> Result<Poll, SourceError> {
        let target = self.target(present).await?;
        // The history from its beginning needs no look at all of it to find where it begins.
        let from_the_beginning = old == Snapshot::NOTHING;
        let lowest = if from_the_beginning { 1 } else { self.session.lowest_sequence(ranges).await? };
        let through = lowest.saturating_sub(1);
        self.scan = None;
        self.transactions.clear();
        self.progress = Some(PollProgress::Within { window, through, old, target, anchor });
        Ok(Poll::Again)
    }

    /// What the server's present sees, in terms that survive a crash.
    async fn target(&mut self, present: &Present) -> Result<Snapshot, SourceError> {
        let highest = self.session.highest_transaction(&present.snapshot).await?;
        Ok(present.snapshot.through(highest))
    }

    async fn next_page(&mut self, open: OpenWindow) -> Result<Poll, SourceError> {
        let scan = match self.scan {
            Some(scan) => scan,
            None => self.begin_scan(open.through, self.limits.window_rows).await?,
        };
        if scan.after >= scan.highest {
            self.close(open);
            return Ok(Poll::Again);
        }
        let through = scan.highest.min(scan.after + SCAN_MAX);
        let stretch = Stretch { after: scan.after, through, rows: scan.page_rows };
        let read = self.session.page(stretch, &open.old, &open.target).await?;
        let Some(last) = read.rows.last() else {
            let following = self.session.following_sequence(through).await?;
            let after = following.map_or(scan.highest, |sequence| sequence - 1);
            self.scan = Some(Scan { after, ..scan });
            return Ok(Poll::Again);
        };
        let full = read.cut || read.rows.len() >= scan.page_rows as usize;
        let after = if full { last.sequence } else { through };
        let page_rows = if read.cut { rows_that_fit(&read.rows) } else { self.limits.window_rows };
        self.count_transactions(&read.rows, open.through).await?;
        self.scan = Some(Scan { after, page_rows: page_rows.min(self.limits.window_rows), ..scan });
        Ok(self.give_page(open, read.rows, after >= scan.highest))
    }

    /// Moves past a window of which everything has been given.
    fn close(&mut self, open: OpenWindow) {
        let OpenWindow { window, target, anchor, .. } = open;
        self.looked = target.clone();
        self.scan = None;
        self.progress = Some(PollProgress::Between { window, seen: target, anchor });
    }

    fn give_page(&mut self, open: OpenWindow, rows: Vec<OutboxRow>, last: bool) -> Poll {
        let window = open.window;
        let anchor = rows.last().map(anchor_of).or(open.anchor);
        let through = rows.last().map_or(open.through, |row| row.sequence);
        let open = OpenWindow { through, anchor, ..open };
        if !last {
            return self.give(window, rows, open.into());
        }
        self.close(open);
        match self.progress.clone() {
            Some(progress) => self.give(window, rows, progress),
            None => Poll::Again,
        }
    }

    /// Turns rows into changes and moves past them.
    fn give(&mut self, window: u64, rows: Vec<OutboxRow>, progress: PollProgress) -> Poll {
        let changes = rows.into_iter().map(|row| Change {
            transaction: self.transactions.next(row.transaction),
            ..Change::event(change_position(window, row.sequence), row.event)
        });
        let changes = Changes::complete(changes.collect(), progress.position());
        self.progress = Some(progress);
        Poll::Found(changes)
    }

    async fn begin_scan(&mut self, after: u64, page_rows: u32) -> Result<Scan, SourceError> {
        let highest = self.session.highest_sequence().await?;
        let scan = Scan { after, highest, page_rows };
        self.scan = Some(scan);
        Ok(scan)
    }

    /// Learns the sizes of transactions in a page, of which everything through `given_through` has been given.
    async fn count_transactions(&mut self, rows: &[OutboxRow], given_through: u64) -> Result<(), SourceError> {
        let in_page: HashSet<u64> = rows.iter().map(|row| row.transaction).collect();
        let unknown: Vec<u64> = in_page.into_iter().filter(|&id| !self.transactions.knows(id)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        for (id, total, given) in self.session.tallies(&unknown, given_through).await? {
            self.transactions.learn(id, given, total);
        }
        Ok(())
    }
}

fn anchor_of(row: &OutboxRow) -> Anchor {
    Anchor::new(row.sequence, row.event.event_id)
}

/// After a page that was cut: about as many rows as were enough, so that the server does not sort and send rows in vain.
fn rows_that_fit(rows: &[OutboxRow]) -> u32 {
    u32::try_from(rows.len().saturating_mul(2)).unwrap_or(u32::MAX).max(1)
}
