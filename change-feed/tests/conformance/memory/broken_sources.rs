//! Sources that are broken on purpose: each wraps a sound one and does one thing wrong.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use change_feed::memory::{MemoryDatabase, MemorySource};
use change_feed::source::{Elected, Lag, Source, SourceError, Start};
use change_feed::{Change, Changes, Checkpoint, Content, End, Epoch, EventId, EventRecord, FeedName, Position};
use tokio::sync::Notify;

/// What is wrong with a source.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Defect {
    SkipsAChange,
    GivesTwice,
    ChangesPayloads,
    Reorders,
    PassesOverLateCommits,
    GivesWhatRolledBack,
    RepeatsAtStart,
    StartsLate,
    IgnoresASecondStart,
    PlacesChangesPastTheEnd,
    EndsInsideTransactions,
    CountsWrongly,
    ForgetsAcknowledgements,
    AcknowledgesBackwards,
    KeepsTheFirstIdentity,
    LosesOnDrop,
    LosesWhileItConfirms,
    ElectsEveryone,
    NeverLetsGo,
    IgnoresRelease,
    ChangesItsIdentity,
    EchoesAcknowledgements,
    SleepsThroughCommits,
    StartsAnywhere,
    SharesOneCheckpoint,
    SkipsChunksAtStart,
    ForgetsARejoin,
    TellsNoLag,
}

/// What the defective sources of one database have in common.
#[derive(Default)]
pub(crate) struct SharedByDefects {
    drawn: AtomicU64,
    numbers: Mutex<HashMap<EventId, u64>>,
    phantoms: Mutex<Vec<EventRecord>>,
    checkpoints: Mutex<HashMap<Option<FeedName>, Checkpoint>>,
    /// Sources that were dropped and live on.
    undead: Mutex<Vec<Arc<MemorySource>>>,
}

impl SharedByDefects {
    /// Draws a sequence number for an event when it is appended: before its commit.
    pub(crate) fn number(&self, event: EventId) {
        let number = self.drawn.fetch_add(1, Ordering::Relaxed) + 1;
        self.numbers.lock().expect("not poisoned").insert(event, number);
    }

    pub(crate) fn note_phantoms(&self, records: Vec<EventRecord>) {
        self.phantoms.lock().expect("not poisoned").extend(records);
    }
}

pub(crate) struct Defective {
    defect: Defect,
    inner: Arc<MemorySource>,
    database: MemoryDatabase,
    feed: FeedName,
    shared: Arc<SharedByDefects>,
    has_started: AtomicBool,
    /// The highest number of what was given.
    highest: AtomicU64,
    last_end: Mutex<Position>,
    echo: Notify,
}

impl Defective {
    pub(crate) fn new(
        defect: Defect,
        sound: MemorySource,
        database: &MemoryDatabase,
        feed: &FeedName,
        shared: &Arc<SharedByDefects>,
    ) -> Self {
        let inner = Arc::new(sound);
        if defect == Defect::NeverLetsGo {
            shared.undead.lock().expect("not poisoned").push(Arc::clone(&inner));
        }
        Self {
            defect,
            inner,
            database: database.clone(),
            feed: feed.clone(),
            shared: Arc::clone(shared),
            has_started: AtomicBool::new(false),
            highest: AtomicU64::new(0),
            last_end: Mutex::new(Position::ORIGIN),
            echo: Notify::new(),
        }
    }

    /// Under which name this source keeps checkpoints of its own, if it does.
    fn kept_under(&self) -> Option<Option<FeedName>> {
        match self.defect {
            Defect::AcknowledgesBackwards | Defect::KeepsTheFirstIdentity => Some(Some(self.feed.clone())),
            Defect::SharesOneCheckpoint => Some(None),
            _ => None,
        }
    }

    async fn start_after(&self, position: &Position) -> Result<(), SourceError> {
        self.inner.start(&Start::after(position, Epoch::FIRST)).await
    }

    /// The ends of transactions, in order.
    fn ends(&self) -> Vec<Position> {
        let ends_transaction = |change: &Change| change.transaction.as_ref().is_some_and(|place| place.count.is_some());
        let changes = self.database.changes().into_iter();
        changes.filter(ends_transaction).map(|change| change.position).collect()
    }

    fn spoil(&self, run: &mut Changes) {
        let end = run.end.position().cloned();
        let changes = &mut run.changes;
        match self.defect {
            // The last one of the run: a hole inside would be a transaction's as well.
            Defect::SkipsAChange if changes.len() >= 5 => drop(changes.pop()),
            Defect::GivesTwice if changes.len() >= 5 => changes.extend(changes.last().cloned()),
            Defect::ChangesPayloads => {
                for change in changes {
                    change.content = match change.content.clone() {
                        Content::Event(event) => Content::Event(with_other_payload(event)),
                        other => other,
                    };
                }
            }
            Defect::Reorders => {
                let first = changes.first().map(|change| event(change).key.clone());
                let other = changes.iter().rposition(|change| Some(&event(change).key) == first.as_ref());
                if let Some(other) = other {
                    changes.swap(0, other);
                }
            }
            Defect::PassesOverLateCommits => {
                let numbers = self.shared.numbers.lock().expect("not poisoned");
                let number = |change: &Change| numbers.get(&event(change).event_id).copied().unwrap_or_default();
                let highest = self.highest.load(Ordering::Relaxed);
                changes.retain(|change| number(change) > highest);
                let now = changes.iter().map(number).max().unwrap_or_default();
                self.highest.fetch_max(now, Ordering::Relaxed);
            }
            Defect::GivesWhatRolledBack => {
                let phantoms = std::mem::take(&mut *self.shared.phantoms.lock().expect("not poisoned"));
                let at = end.unwrap_or(Position::ORIGIN);
                changes.extend(phantoms.into_iter().map(|phantom| Change::event(at.clone(), phantom)));
            }
            Defect::PlacesChangesPastTheEnd => {
                for change in changes {
                    change.position = Position::new('m', change.position.major() + 1_000_000, 0);
                }
            }
            Defect::EndsInsideTransactions if end.is_none() => {
                let through = changes.last().map_or(Position::ORIGIN, |change| change.position.clone());
                run.end = End::Complete(through);
            }
            Defect::CountsWrongly => {
                for place in changes.iter_mut().filter_map(|change| change.transaction.as_mut()) {
                    place.count = place.count.map(|count| count + 1);
                }
            }
            _ => {}
        }
    }
}

fn event(change: &Change) -> &EventRecord {
    match &change.content {
        Content::Event(event) => event,
        other => unreachable!("memory has only events, not {other:?}"),
    }
}

fn with_other_payload(mut event: EventRecord) -> EventRecord {
    event.payload = String::from_utf8_lossy(&event.payload).replace("12.50", "12").into_bytes().into();
    event
}

#[async_trait]
impl Source for Defective {
    async fn elect(&self) -> Result<Elected, SourceError> {
        if self.defect == Defect::ElectsEveryone {
            self.database.depose(&self.feed);
        }
        let mut elected = self.inner.elect().await?;
        if self.defect == Defect::ChangesItsIdentity {
            elected.identity.system = uuid::Uuid::now_v7().to_string();
        }
        let began = elected.checkpoint.as_ref().is_some_and(|stored| stored.position.chunk_row().is_some());
        if self.defect == Defect::ForgetsARejoin && began {
            elected.wanted_epoch = None;
        }
        if let Some(name) = self.kept_under() {
            elected.checkpoint = self.shared.checkpoints.lock().expect("not poisoned").get(&name).cloned();
        }
        Ok(elected)
    }

    async fn start(&self, start: &Start<'_>) -> Result<(), SourceError> {
        let after = start.position();
        self.highest.store(0, Ordering::Relaxed);
        let again = self.has_started.swap(true, Ordering::Relaxed);
        match self.defect {
            Defect::IgnoresASecondStart if again => Ok(()),
            Defect::RepeatsAtStart if *after <= self.database.end() => {
                let before = self.ends().into_iter().rfind(|end| end < after);
                self.start_after(&before.unwrap_or(Position::ORIGIN)).await
            }
            Defect::StartsLate if !after.is_origin() => {
                let later = self.ends().into_iter().find(|end| end > after);
                self.start_after(&later.unwrap_or_else(|| after.clone())).await
            }
            Defect::StartsAnywhere if *after > self.database.end() => self.start_after(&self.database.end()).await,
            Defect::SkipsChunksAtStart if after.chunk_row().is_some() && !start.wants_baseline() => {
                self.start_after(&Position::chunk('m', after.major(), u64::MAX >> 1)).await
            }
            _ => self.inner.start(start).await,
        }
    }

    async fn next(&self) -> Result<Changes, SourceError> {
        let mut run = match self.defect {
            Defect::SleepsThroughCommits => match tokio::time::timeout(Duration::ZERO, self.inner.next()).await {
                Ok(run) => run?,
                Err(_) => std::future::pending().await,
            },
            Defect::EchoesAcknowledgements => tokio::select! {
                biased;
                run = self.inner.next() => run?,
                () = self.echo.notified() => {
                    let end = self.last_end.lock().expect("not poisoned").clone();
                    Changes::complete(Vec::new(), Position::new('m', end.major(), end.minor() + 1))
                }
            },
            _ => self.inner.next().await?,
        };
        if self.defect == Defect::LosesOnDrop {
            tokio::task::yield_now().await;
        }
        if self.defect == Defect::LosesWhileItConfirms {
            // It asks in a task of its own whether it is still elected, with the run in hand.
            let asking = tokio::spawn(async {});
            asking.await.map_err(|error| SourceError::transient(error.to_string()))?;
        }
        self.spoil(&mut run);
        if let Some(end) = run.end.position() {
            *self.last_end.lock().expect("not poisoned") = end.clone();
        }
        Ok(run)
    }

    async fn acknowledge(&self, checkpoint: &Checkpoint) -> Result<(), SourceError> {
        self.echo.notify_one();
        if self.defect == Defect::ForgetsAcknowledgements {
            return Ok(());
        }
        let Some(name) = self.kept_under() else {
            return self.inner.acknowledge(checkpoint).await;
        };
        let mut checkpoints = self.shared.checkpoints.lock().expect("not poisoned");
        let stored = checkpoints.get(&name);
        let is_ignored = match self.defect {
            Defect::KeepsTheFirstIdentity => stored.is_some_and(|stored| !stored.is_older_than(checkpoint)),
            Defect::SharesOneCheckpoint => stored.is_some_and(|stored| checkpoint.is_older_than(stored)),
            _ => false,
        };
        if !is_ignored {
            checkpoints.insert(name, checkpoint.clone());
        }
        Ok(())
    }

    async fn lag(&self) -> Option<Lag> {
        if self.defect == Defect::TellsNoLag {
            return Some(Lag::of_changes(0));
        }
        let Some(name) = self.kept_under() else {
            return self.inner.lag().await;
        };
        let checkpoints = self.shared.checkpoints.lock().expect("not poisoned");
        let acknowledged = checkpoints.get(&name).map_or(&Position::ORIGIN, |stored| &stored.position);
        let changes = self.database.changes();
        Some(Lag::of_changes(changes.iter().filter(|change| change.position > *acknowledged).count() as u64))
    }

    async fn release(&self) {
        if !matches!(self.defect, Defect::IgnoresRelease | Defect::NeverLetsGo) {
            self.inner.release().await;
        }
    }
}
