//! A ledger, a feed of it, the relay processes between them, and what the judge says.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use change_feed::FeedName;
use change_feed::judge::{Delivery, Expected, FindingKind, History, Judge, Verdict};
use fastrand::Rng;
use tokio::time::sleep;
use uuid::Uuid;

use super::assignment::{Assignment, Capture, Mode};
use super::death::Death;
use super::flaw::Flaw;
use super::ledger::{Commits, Committed, Ledger};
use super::load::{HOT_ACCOUNTS, Load, Written};
use super::process::RelayProcess;
use super::topic::Topic;
use test_support::eventually;

/// An account that no writer knows, opened in a transaction that none of them numbers.
const MARKER_ACCOUNT: i64 = -1;
const MARKER_TRANSACTION: u64 = u64::MAX;

/// A ledger, a feed of it, and the relay processes between them.
pub(crate) struct World {
    pub(crate) ledger: Ledger,
    pub(crate) topic: Topic,
    pub(crate) rng: Rng,
    pub(crate) mode: Mode,
    capture: Capture,
    seed: u64,
    assignment: Assignment,
    folder: PathBuf,
    started: Instant,
    relays_started: u32,
}

impl World {
    /// On the servers of these URLs; SQLite needs no database server.
    pub(crate) async fn new(capture: Capture, mode: Mode, database_url: &str, brokers: &str) -> Self {
        let feed = FeedName::new(format!("crash_{}", Uuid::now_v7().simple())).expect("a valid name");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(feed.as_str());
        std::fs::create_dir_all(&folder).expect("a folder for logs");
        let ledger = Ledger::create(capture, database_url, &folder, HOT_ACCOUNTS).await;
        let seed = match std::env::var("CRASH_SEED") {
            Ok(seed) => seed.parse().expect("CRASH_SEED is a number"),
            Err(_) => fastrand::u64(..1 << 32),
        };
        let topic = format!("{feed}.events");
        let (database_url, brokers) = (ledger.url(), brokers.to_owned());
        Self {
            topic: Topic::new(&brokers, &topic),
            assignment: Assignment { feed, topic, capture, database_url, mode, brokers, flaw: None, death: None },
            rng: Rng::with_seed(seed),
            ledger,
            mode,
            capture,
            seed,
            folder,
            started: Instant::now(),
            relays_started: 0,
        }
    }

    pub(crate) fn load(&self) -> Load {
        Load::start(&self.ledger, self.seed)
    }

    pub(crate) fn relay(&mut self) -> RelayProcess {
        self.start(&self.assignment.clone())
    }

    /// A relay that is broken on purpose.
    pub(crate) fn relay_with(&mut self, flaw: Flaw) -> RelayProcess {
        self.start(&Assignment { flaw: Some(flaw), ..self.assignment.clone() })
    }

    /// A relay that ends itself.
    pub(crate) fn relay_that_dies(&mut self, death: Death) -> RelayProcess {
        self.start(&Assignment { death: Some(death), ..self.assignment.clone() })
    }

    fn start(&mut self, assignment: &Assignment) -> RelayProcess {
        self.relays_started += 1;
        let name = format!("relay-{}", self.relays_started);
        RelayProcess::start(assignment, &self.folder, name)
    }

    /// From now on relays reach the brokers by these addresses. Who reads the topic does not.
    pub(crate) fn reach_brokers_at(&mut self, addresses: &str) {
        addresses.clone_into(&mut self.assignment.brokers);
    }

    /// By which Kafka knows the feed's transactions.
    pub(crate) fn transactional_id(&self) -> String {
        format!("change-feed.{}", self.assignment.feed)
    }

    /// A moment at random, up to so many milliseconds away.
    pub(crate) async fn some_time(&mut self, max_ms: u64) {
        let moment = self.rng.u64(0..=max_ms);
        sleep(Duration::from_millis(moment)).await;
    }

    /// Everything that has committed so far.
    pub(crate) async fn history(&self) -> Vec<Committed> {
        self.ledger.history().await.expect("the database is there")
    }

    /// Waits until everything that has committed is in the topic, with nobody's help (L, V).
    pub(crate) async fn catch_up(&mut self, relays: &[&RelayProcess]) {
        let mut absent = self.history().await;
        let topic = &mut self.topic;
        let caught_up = async || {
            topic.read_on().await?;
            absent.retain(|committed| !topic.seen.contains(&committed.event_id));
            if absent.is_empty() { Ok(()) } else { Err(format!("{} are not there", absent.len())) }
        };
        eventually("everything that has committed is in the topic", caught_up, || reports(relays)).await;
    }

    /// Waits until all is published, ends the relay in good order, and reads what came after all.
    pub(crate) async fn drain(&mut self, relay: &mut RelayProcess) {
        self.catch_up(&[relay]).await;
        let ended = relay.terminate().await;
        assert_eq!(ended.code(), Some(0), "{}", relay.report());
        self.read_to_end().await;
    }

    /// Commits one more event, and waits until that is in the topic: the relay has been given all before it.
    pub(crate) async fn publish_marker(&mut self, relay: &RelayProcess) {
        let mut session = self.ledger.connect(Commits::Durable).await.expect("the database is there");
        session.begin().await.expect("a transaction");
        self.ledger.open_account(&mut session, MARKER_ACCOUNT, MARKER_TRANSACTION).await.expect("a new account");
        session.run("commit").await.expect("a commit");
        let topic = &mut self.topic;
        let arrived = async || {
            topic.read_on().await?;
            let marker = topic.events.iter().any(|event| event.key() == MARKER_ACCOUNT.to_string());
            if marker { Ok(()) } else { Err("it is not there".to_owned()) }
        };
        eventually("the marker is in the topic", arrived, || relay.report()).await;
    }

    /// Reads the topic once nothing in it is open.
    pub(crate) async fn read_to_end(&mut self) {
        let topic = &mut self.topic;
        eventually("nothing is open in the topic", async || topic.is_decided().await, String::new).await;
        eventually("the topic is read", async || topic.read_on().await, String::new).await;
    }

    /// What the judge says of the topic as it was read.
    pub(crate) fn judge(&self, history: &[Committed], delivery: Delivery) -> Verdict {
        let expected = history.iter().map(|committed| Expected {
            key: &committed.key,
            version: committed.version,
            event_id: committed.event_id,
            transaction: Some(committed.transaction.into()),
        });
        let mut judge = Judge::new(History::from_iter(expected), delivery);
        for event in &self.topic.events {
            judge.observe(&event.observed());
        }
        judge.verdict()
    }

    /// The end of a scenario whose promises hold: the verdict, the report line, and nothing left behind.
    pub(crate) async fn conclude(self, scenario: &str, written: &Written, what_happened: &str) {
        let history = self.history().await;
        let verdict = self.judge(&history, self.mode.delivery());
        assert!(verdict.is_clean(), "{}: {scenario}: {verdict}", self.name());
        assert!(!written.committed.is_empty() && written.rolled_back > 0, "no load: {written:?}");
        self.report(&format!("{scenario}: {what_happened}; {}; {}", wrote(written, &history), published(&verdict)));
        self.remove();
    }

    /// One line for the log of the test.
    #[expect(clippy::print_stdout, reason = "the report is what the test prints")]
    pub(crate) fn report(&self, what: &str) {
        let seconds = self.started.elapsed().as_secs();
        println!("crash report: {}: {what} (seed {}, {seconds} s)", self.name(), self.seed);
    }

    pub(crate) fn remove(self) {
        // A file that can't be removed is no reason to fail: the folder is one for temporary files.
        let _: std::io::Result<()> = std::fs::remove_dir_all(&self.folder);
    }

    fn name(&self) -> String {
        format!("{} to Kafka, {}", self.capture, self.mode)
    }
}

/// What the writers wrote. What a crash took back was answered before it was on the disk.
fn wrote(written: &Written, history: &[Committed]) -> String {
    let transactions: HashSet<u64> = history.iter().map(|event| event.transaction).collect();
    let taken_back = written.committed.iter().filter(|transaction| !transactions.contains(transaction)).count();
    let (commits, events) = (transactions.len(), history.len());
    let Written { rolled_back, interrupted, unknown, .. } = written;
    format!(
        "{commits} commits of {events} events, {rolled_back} rolled back, {interrupted} interrupted, {unknown} cut off \
         in the commit, {taken_back} taken back by a crash"
    )
}

fn published(verdict: &Verdict) -> String {
    let total = |kinds: &[FindingKind]| kinds.iter().map(|&kind| verdict.total(kind)).sum::<u64>();
    let duplicates = verdict.counts().redelivered + verdict.total(FindingKind::Duplicated);
    format!(
        "{} records, {duplicates} duplicates, {} lost, {} phantom, {} inverted, {} torn",
        verdict.counts().records,
        total(&[FindingKind::Missing, FindingKind::Gap]),
        total(&[FindingKind::Extra, FindingKind::Conflicting]),
        total(&[FindingKind::Inverted, FindingKind::Scattered]),
        total(&[FindingKind::Torn]),
    )
}

/// What the relays say of themselves.
pub(crate) fn reports(relays: &[&RelayProcess]) -> String {
    let reports: Vec<String> = relays.iter().map(|relay| relay.report()).collect();
    reports.join("\n")
}

impl Drop for World {
    #[expect(clippy::print_stdout, reason = "a failure says where its logs are")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}, seed {}: the relays' logs are in {}", self.name(), self.seed, self.folder.display());
        }
    }
}
