//! Writers and relays in processes of their own, some of which are killed.
//!
//! The other process is this test program once more, told by its environment what to be.

use std::collections::HashMap;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use change_feed::{Position, Source};
use sqlx::ConnectOptions as _;

use crate::sqlite_outbox::world::{PATIENCE, Version, World, change, end, next, options, started, versions};

const ROLE: &str = "CHANGE_FEED_TEST_ROLE";
const FILE: &str = "CHANGE_FEED_TEST_FILE";
const WRITERS: usize = 4;

/// A process that plays a role until it is killed.
struct Process(Child);

impl Process {
    fn start(role: &str, world: &World) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "sqlite_outbox::processes::what_another_process_does", "--nocapture"]);
        command.env(ROLE, role).env(FILE, &world.path).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("a process"))
    }

    /// The end that no process can prepare for.
    fn kill(&mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("it ends");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _: std::io::Result<()> = self.0.kill();
        let _: std::io::Result<_> = self.0.wait();
    }
}

/// Not a test of its own: what the tests below start. Without a role there is nothing to do.
#[tokio::test]
async fn what_another_process_does() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let path = std::path::PathBuf::from(std::env::var(FILE).expect("a file"));
    if role == "write" {
        let mut connection = options(&path).connect().await.expect("the file");
        loop {
            let carts: &[&str] = if fastrand::bool() { &["a", "b"] } else { &["b"] };
            change(&mut connection, carts, "{}").await;
        }
    }
    let url = format!("sqlite:{}", path.display());
    let builder = change_feed::SqliteOutboxSource::builder(&url, &crate::sqlite_outbox::world::feed());
    let source = started(builder.outbox(crate::sqlite_outbox::world::guard().outbox_table()), &Position::ORIGIN).await;
    std::fs::write(path.with_extension("elected"), "").expect("a sign");
    loop {
        source.next().await.expect("the source works");
    }
}

/// What is wrong with what was given: lost, doubled, inverted.
fn faults(given: &[Version], history: &[Version]) -> (usize, usize, usize) {
    let once: std::collections::HashSet<_> = given.iter().collect();
    let lost = history.iter().filter(|version| !once.contains(version)).count();
    let mut highest = HashMap::new();
    let inverted = given.iter().filter(|(cart, version)| {
        let highest = highest.entry(cart.clone()).or_insert(0);
        let inverted = version < highest;
        *highest = *version.max(highest);
        inverted
    });
    (lost, given.len() - once.len(), inverted.count())
}

#[test]
fn the_checker_sees_a_loss_a_double_and_an_inversion() {
    let versions = |numbers: &[u64]| -> Vec<Version> { numbers.iter().map(|&n| ("a".to_owned(), n)).collect() };
    let history = versions(&[1, 2, 3]);
    assert_eq!(faults(&versions(&[1, 2, 3]), &history), (0, 0, 0));
    assert_eq!(faults(&versions(&[1, 3]), &history), (1, 0, 0));
    assert_eq!(faults(&versions(&[1, 2, 3, 3]), &history), (0, 1, 0));
    assert_eq!(faults(&versions(&[2, 1, 3]), &history), (0, 0, 1));
}

#[tokio::test]
async fn nothing_is_lost_or_inverted_while_writing_processes_are_killed() {
    let world = World::new().await;
    let mut source = world.started(&Position::ORIGIN).await;
    let mut writers: Vec<_> = (0..WRITERS).map(|_| Process::start("write", &world)).collect();
    let mut given = Vec::new();
    for round in 0..12 {
        let target = given.len() + 150;
        let mut position = Position::ORIGIN;
        while given.len() < target {
            let run = next(&source).await;
            given.extend(versions(&run.changes));
            position = end(&run);
        }
        let writer = &mut writers[round % WRITERS];
        writer.kill();
        *writer = Process::start("write", &world);
        if round % 3 == 0 {
            drop(source);
            source = world.started(&position.to_string().parse().expect("a position")).await;
        }
    }
    drop(writers);
    let history = world.history().await;
    while given.len() < history.len() {
        given.extend(versions(&next(&source).await.changes));
    }
    assert_eq!(faults(&given, &history), (0, 0, 0), "of {}", history.len());
}

#[tokio::test]
async fn a_relay_that_is_killed_loses_the_election() {
    let world = World::new().await;
    let mut active = Process::start("relay", &world);
    let sign = world.path.with_extension("elected");
    let elected = async {
        while !sign.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, elected).await.expect("the other process is elected");
    let standby = world.source().await;
    assert!(tokio::time::timeout(Duration::from_millis(500), standby.elect()).await.is_err(), "both are elected");
    active.kill();
    tokio::time::timeout(PATIENCE, standby.elect()).await.expect("takes over").expect("a free lock");
}

#[tokio::test]
async fn a_lock_file_that_somebody_removed_ends_the_election() {
    let world = World::new().await;
    let source = world.started(&Position::ORIGIN).await;
    let mut lock = world.path.clone().into_os_string();
    lock.push(".carts.lock");
    std::fs::remove_file(lock).expect("the lock file");
    let lost = tokio::time::timeout(PATIENCE, source.next()).await.expect("it is noticed");
    assert!(matches!(lost, Err(change_feed::SourceError::Transient(_))), "{lost:?}");
}
