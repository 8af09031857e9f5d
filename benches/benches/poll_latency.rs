//! How long a commit takes to reach the publisher, and what polling costs while nothing happens.
//!
//! `eval "$(scripts/services env)"; cargo bench -p benches --bench poll_latency`
//!
//! Prints one line for each database and each rate of commits: the time from a commit's return to the publisher's call,
//! with the source finding it by polling and with the writer waking the source. Then the share of one core
//! that an idle relay takes in this process, and on PostgreSQL in the server's processes that serve it (where the server
//! runs on this machine, on Linux).

#[path = "polling/store.rs"]
mod store;

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use change_feed::outbox::Event;
use change_feed::outbox::Wake;
use change_feed::{FeedName, Part, PublishError, Publisher, Relay, Router};
use uuid::Uuid;

use crate::store::{Store, guard};

/// Commits per second, and for how many seconds.
const LOADS: [(u32, u32); 2] = [(100, 10), (10, 20)];
const IDLE: Duration = Duration::from_secs(20);
/// Time for a relay to become idle: it slows down within 1.6 s.
const SETTLE: Duration = Duration::from_secs(4);
/// Linux counts a process's time in these.
const TICKS_PER_SECOND: f64 = 100.0;

/// Notes when each event arrives.
#[derive(Debug, Clone, Default)]
struct Arrivals(Arc<Mutex<HashMap<Uuid, Instant>>>);

#[async_trait]
impl Publisher for Arrivals {
    async fn publish(&self, part: &Part<'_>) -> Result<(), PublishError> {
        let now = Instant::now();
        let mut arrivals = self.0.lock().expect("nobody panics");
        arrivals.extend(part.envelopes().iter().filter_map(|envelope| Some((*envelope.event_id()?.as_uuid(), now))));
        Ok(())
    }
}

/// Commits a new cart with its first event, and returns the event's id.
async fn commit(store: &Store, payload: &serde_json::Value) -> Uuid {
    let cart = Uuid::now_v7();
    let event = Event::new("cart.created.v1", cart, 1, payload);
    let event_id = event.id();
    let insert = "insert into carts (cart_id, version) values ($1, 1)";
    match store {
        Store::Sqlite(pool, _) => {
            let mut transaction = pool.begin_with("begin immediate").await.expect("a transaction");
            sqlx::query(insert).bind(cart.to_string()).execute(&mut *transaction).await.expect("a cart");
            guard().append(&mut *transaction, event).await.expect("an event");
            transaction.commit().await.expect("a commit");
        }
        Store::Postgres(pool) => {
            let mut transaction = pool.begin().await.expect("a transaction");
            sqlx::query(insert).bind(cart).execute(&mut *transaction).await.expect("a cart");
            guard().append(&mut *transaction, event).await.expect("an event");
            transaction.commit().await.expect("a commit");
        }
    }
    event_id
}

/// Commits at an even rate, whatever the feed does.
async fn write(store: &Store, (rate, seconds): (u32, u32), wake: Option<&Wake>) -> Vec<(Uuid, Instant)> {
    let payload = serde_json::json!({ "note": "x".repeat(188) });
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
    let mut commits = Vec::new();
    for _ in 0..rate * seconds {
        ticks.tick().await;
        let event_id = commit(store, &payload).await;
        commits.push((event_id, Instant::now()));
        if let Some(wake) = wake {
            wake.wake();
        }
    }
    commits
}

/// The time from commit to arrival of the share of events that is `part` of all, in milliseconds.
fn percentile(sorted: &[Duration], part: f64) -> f64 {
    let index = ((sorted.len() - 1) as f64 * part).round() as usize;
    sorted[index].as_secs_f64() * 1_000.0
}

async fn measure(name: &str, store: &Store) {
    let feed = FeedName::new("latency").expect("a valid name");
    let (wake, arrivals) = (Wake::new(), Arrivals::default());
    let source = store.source(&feed, &wake).await;
    let relay = Relay::new(feed, source, Router::to_topic("carts"), arrivals.clone());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(relay.run(async {
        stopped.await.expect("it is stopped");
    }));
    for load in LOADS {
        for (how, wake) in [("polled", None), ("woken", Some(&wake))] {
            let commits = write(store, load, wake).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            let arrived = arrivals.0.lock().expect("nobody panics").clone();
            let took = commits.iter().map(|(id, at)| arrived[id].saturating_duration_since(*at));
            let mut took: Vec<_> = took.collect();
            took.sort();
            let (p50, p99) = (percentile(&took, 0.5), percentile(&took, 0.99));
            let rate = load.0;
            report(&format!("{name:10} {rate:4}/s {how}: commit to publish p50 {p50:6.2} ms, p99 {p99:6.2} ms"));
        }
    }
    tokio::time::sleep(SETTLE).await;
    let before = (own_ticks(), server_ticks(store).await);
    tokio::time::sleep(IDLE).await;
    let after = (own_ticks(), server_ticks(store).await);
    let share = |ticks: u64| ticks as f64 / TICKS_PER_SECOND / IDLE.as_secs_f64() * 100.0;
    let (here, there) = (share(after.0 - before.0), share(after.1.saturating_sub(before.1)));
    report(&format!("{name:10} idle: {here:.2} % of a core in this process, {there:.2} % in the server"));
    stop.send(()).expect("it runs");
    running.await.expect("it ends").expect("nothing fails");
}

fn report(line: &str) {
    writeln!(std::io::stdout(), "{line}").expect("a place to write to");
}

fn own_ticks() -> u64 {
    ticks("self")
}

/// The time of the server's processes that serve the relay.
async fn server_ticks(store: &Store) -> u64 {
    let Store::Postgres(pool) = store else { return 0 };
    let ask = sqlx::query_scalar("select pid from pg_stat_activity where application_name = 'change-feed latency'");
    let processes: Vec<i32> = ask.fetch_all(pool).await.expect("the sessions");
    processes.iter().map(|process| ticks(&process.to_string())).sum()
}

/// User and system time of a process, from proc(5); 0 where there is none.
fn ticks(process: &str) -> u64 {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{process}/stat")) else { return 0 };
    // The second field is the program's name in brackets and may hold anything.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}

#[tokio::main]
async fn main() {
    measure("SQLite", &Store::sqlite().await).await;
    measure("PostgreSQL", &Store::postgres().await).await;
}
