//! The source in memory as the suite sees it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use change_feed::conformance::HarnessError;
use change_feed::conformance::source::{Capabilities, Database, NewEvent, SourceHarness, Writer};
use change_feed::memory::{MemoryDatabase, MemorySource};
use change_feed::source::Source;
use change_feed::{Epoch, EventRecord, FeedName};

use crate::conformance::memory::broken_sources::{Defect, Defective, SharedByDefects};

/// Sources of a database in memory, sound or with one defect.
pub(crate) struct MemoryOutbox {
    run_changes: usize,
    defect: Option<Defect>,
}

impl MemoryOutbox {
    pub(crate) fn new() -> Self {
        Self::in_runs_of(MemorySource::DEFAULT_MAX_RUN_CHANGES)
    }

    pub(crate) fn in_runs_of(run_changes: usize) -> Self {
        Self { run_changes, defect: None }
    }

    pub(crate) fn with(defect: Defect) -> Self {
        Self { run_changes: 6, defect: Some(defect) }
    }
}

#[async_trait]
impl SourceHarness for MemoryOutbox {
    fn capabilities(&self) -> Capabilities {
        // Nothing in memory takes time: what does not come at once never comes. A call that a
        // defect holds up for ever is not waited for as long as one that a busy machine delays.
        let given_within = Duration::from_millis(if self.defect.is_some() { 400 } else { 20_000 });
        let never_ends = [Defect::NeverLetsGo, Defect::IgnoresRelease, Defect::SleepsThroughCommits];
        let is_held_up = self.defect.is_some_and(|defect| never_ends.contains(&defect));
        let call_limit = Duration::from_secs(if is_held_up { 5 } else { 60 });
        let limits = Capabilities::new().given_within(given_within).call_limit(call_limit);
        limits
            .concurrent_writers()
            .tells_transactions()
            .refuses_positions_past_its_end()
            .gives_chunks()
            .rejoins()
            .tells_lag()
    }

    async fn database(&self) -> Result<Box<dyn Database>, HarnessError> {
        let shared = Arc::default();
        let (database, run_changes, defect) = (MemoryDatabase::new(), self.run_changes, self.defect);
        Ok(Box::new(Outbox { database, run_changes, defect, shared }))
    }
}

#[derive(Clone)]
struct Outbox {
    database: MemoryDatabase,
    run_changes: usize,
    defect: Option<Defect>,
    shared: Arc<SharedByDefects>,
}

#[async_trait]
impl Database for Outbox {
    async fn source(&self, feed: &FeedName) -> Result<Box<dyn Source>, HarnessError> {
        let sound = MemorySource::new(&self.database, feed).max_run_changes(self.run_changes);
        Ok(match self.defect {
            None => Box::new(sound),
            Some(defect) => Box::new(Defective::new(defect, sound, &self.database, feed, &self.shared)),
        })
    }

    async fn begin(&self) -> Result<Box<dyn Writer>, HarnessError> {
        Ok(Box::new(Transaction { outbox: self.clone(), records: Vec::new() }))
    }

    async fn add_chunk(&self, events: &[NewEvent]) -> Result<(), HarnessError> {
        events.iter().for_each(|event| self.shared.number(event.event_id));
        self.database.add_chunk_of_records(events.iter().map(record));
        Ok(())
    }

    async fn rejoin(&self, feed: &FeedName) -> Result<Epoch, HarnessError> {
        self.database.rejoin(feed).ok_or_else(|| "nothing was acknowledged".into())
    }
}

/// Nothing of a transaction is in the database before it commits.
struct Transaction {
    outbox: Outbox,
    records: Vec<EventRecord>,
}

#[async_trait]
impl Writer for Transaction {
    async fn append(&mut self, events: &[NewEvent]) -> Result<(), HarnessError> {
        events.iter().for_each(|event| self.outbox.shared.number(event.event_id));
        self.records.extend(events.iter().map(record));
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<(), HarnessError> {
        self.outbox.database.commit_records(self.records);
        Ok(())
    }

    async fn roll_back(self: Box<Self>) -> Result<(), HarnessError> {
        if self.outbox.defect == Some(Defect::GivesWhatRolledBack) {
            self.outbox.shared.note_phantoms(self.records);
        }
        Ok(())
    }
}

fn record(event: &NewEvent) -> EventRecord {
    let record = EventRecord::new(
        "memory.events".into(),
        event.event_id,
        event.key.as_str().into(),
        event.version,
        event.event_type.as_str().into(),
        event.payload.clone().into(),
        event.occurred_at,
    );
    match &event.traceparent {
        Some(traceparent) => record.with_traceparent(traceparent.as_str()),
        None => record,
    }
}
