//! Writers that write until they are told to stop.

use std::collections::BTreeSet;
use std::ops::AddAssign;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use change_feed::outbox::GuardError;
use fastrand::Rng;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::ledger::{Commits, Ledger, Session};

const WRITERS: u64 = 8;
/// The accounts that all of them write to.
pub(crate) const HOT_ACCOUNTS: i64 = 12;
/// A writer rests so long at most between two transactions.
const REST_MAX_MS: u64 = 30;
/// A slow transaction rests so long at most before it ends. On SQLite it holds up everybody.
const SLOW_MAX_MS: u64 = 60;

/// Eight writers at work.
pub(crate) struct Load {
    writers: JoinSet<Written>,
    stop: Arc<AtomicBool>,
    commits: Arc<AtomicU64>,
}

/// What the writers know of what they did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Written {
    /// The transactions whose commit was answered.
    pub(crate) committed: Vec<u64>,
    /// Rolled back by a statement, or by leaving.
    pub(crate) rolled_back: u64,
    /// Ended by an error before the commit: the server went away.
    pub(crate) interrupted: u64,
    /// Ended by an error in the commit: whether it took place only the database knows.
    pub(crate) unknown: u64,
}

/// What a transaction is to do.
struct Plan {
    accounts: BTreeSet<i64>,
    opens: Option<i64>,
    /// How long it rests before its end.
    slow: Option<Duration>,
    end: End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Commit,
    RollBack,
    /// The connection is dropped in the middle.
    Leave,
}

/// What a writer knows of a transaction of its own.
#[derive(Clone, Copy)]
enum Outcome {
    Committed,
    RolledBack,
    Interrupted,
    Unknown,
}

struct Writer {
    ledger: Ledger,
    number: u64,
    rng: Rng,
    stop: Arc<AtomicBool>,
    commits: Arc<AtomicU64>,
    transactions: u64,
}

impl Load {
    pub(crate) fn start(ledger: &Ledger, seed: u64) -> Self {
        let (stop, commits) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let writer = |number| Writer {
            ledger: ledger.clone(),
            number,
            rng: Rng::with_seed(seed.wrapping_add(number)),
            stop: Arc::clone(&stop),
            commits: Arc::clone(&commits),
            transactions: 0,
        };
        let writers = (1..=WRITERS).map(|number| writer(number).write()).collect();
        Self { writers, stop, commits }
    }

    /// How many transactions have committed so far.
    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    pub(crate) async fn stop(self) -> Written {
        self.stop.store(true, Ordering::Relaxed);
        let mut written = Written::default();
        for one in self.writers.join_all().await {
            written += one;
        }
        written
    }
}

impl Writer {
    async fn write(mut self) -> Written {
        let mut written = Written::default();
        // Every second one has its commits answered early: what a crash takes back must not be published.
        let commits = if self.number.is_multiple_of(2) { Commits::Early } else { Commits::Durable };
        let mut idle: Option<Session> = None;
        while !self.stop.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(self.rng.u64(0..=REST_MAX_MS))).await;
            let mut session = match idle.take() {
                Some(session) => session,
                None => match self.ledger.connect(commits).await {
                    Ok(session) => session,
                    Err(_) => continue,
                },
            };
            let plan = self.plan();
            let outcome = match self.fill(&mut session, &plan).await {
                Ok(()) => finish(&mut session, plan.end).await,
                Err(_) => Outcome::Interrupted,
            };
            if plan.end != End::Leave && matches!(outcome, Outcome::Committed | Outcome::RolledBack) {
                idle = Some(session);
            }
            match outcome {
                Outcome::Committed => {
                    self.commits.fetch_add(1, Ordering::Relaxed);
                    written.committed.push(self.transaction());
                }
                Outcome::RolledBack => written.rolled_back += 1,
                Outcome::Interrupted => written.interrupted += 1,
                Outcome::Unknown => written.unknown += 1,
            }
        }
        written
    }

    fn plan(&mut self) -> Plan {
        self.transactions += 1;
        let rng = &mut self.rng;
        // In the order of their ids: no deadlocks.
        let accounts = (0..rng.u32(1..=5)).map(|_| rng.i64(0..HOT_ACCOUNTS)).collect();
        let slow = (rng.u8(0..10) == 0).then(|| Duration::from_millis(rng.u64(1..=SLOW_MAX_MS)));
        let end = match rng.u8(0..12) {
            0 => End::RollBack,
            1 => End::Leave,
            _ => End::Commit,
        };
        let opens = rng.u8(0..20) == 0;
        Plan { accounts, opens: opens.then(|| signed(self.transaction())), slow, end }
    }

    /// The number of the present transaction, which no other has.
    fn transaction(&self) -> u64 {
        self.number << 32 | self.transactions
    }

    async fn fill(&mut self, session: &mut Session, plan: &Plan) -> Result<(), GuardError> {
        let transaction = self.transaction();
        session.begin().await.map_err(GuardError::Database)?;
        for (n, &account) in plan.accounts.iter().enumerate() {
            self.ledger.book(session, account, 1, transaction).await?;
            // The rest comes between the first write and the commit, and holds what was written so far.
            if n == 0
                && let Some(rest) = plan.slow
            {
                sleep(rest).await;
            }
            if self.rng.u8(0..10) == 0 {
                self.ledger.book(session, account, -1, transaction).await?;
            }
        }
        match plan.opens {
            Some(account) => self.ledger.open_account(session, account, transaction).await,
            None => Ok(()),
        }
    }
}

async fn finish(session: &mut Session, end: End) -> Outcome {
    match end {
        End::Leave => Outcome::RolledBack,
        End::RollBack => match session.run("rollback").await {
            Ok(()) => Outcome::RolledBack,
            Err(_) => Outcome::Interrupted,
        },
        End::Commit => match session.run("commit").await {
            Ok(()) => Outcome::Committed,
            Err(_) => Outcome::Unknown,
        },
    }
}

impl Written {
    /// Whatever happens to a relay, no writer notices.
    pub(crate) fn assert_undisturbed(&self) {
        assert_eq!((self.interrupted, self.unknown), (0, 0), "the writers were disturbed");
    }
}

impl AddAssign for Written {
    fn add_assign(&mut self, other: Self) {
        self.committed.extend(other.committed);
        self.rolled_back += other.rolled_back;
        self.interrupted += other.interrupted;
        self.unknown += other.unknown;
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).expect("writers are few")
}
