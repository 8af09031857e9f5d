//! What a crash of the server may take back has not been given, and what it keeps is.

use change_feed::source::Start;
use std::collections::HashSet;
use std::time::Duration;

use change_feed::{Epoch, Position, PostgresPollSource, Source, SourceError};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use test_support::Instance;
use uuid::Uuid;

use crate::postgres_poll::long::report;
use crate::postgres_poll::pollers::{UnsafePoller, Way};
use crate::postgres_poll::world::{PATIENCE, Version, World, end, text, versions};

const ROUNDS: usize = 8;
const WRITERS: usize = 4;

/// Writes until the server is gone: transactions that commit, and transactions that take an id and roll back, whose ids
/// the server gives out again after the crash.
async fn write(options: PgConnectOptions, cart: Uuid) -> Result<(), sqlx::Error> {
    let mut connection = options.connect().await?;
    loop {
        let mut transaction = connection.begin().await?;
        sqlx::query("select pg_current_xact_id()").execute(&mut *transaction).await?;
        if fastrand::u8(..) < 200 {
            transaction.rollback().await?;
            continue;
        }
        insert(&mut transaction, cart).await?;
        transaction.commit().await?;
    }
}

async fn insert(connection: &mut PgConnection, cart: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("insert into cart_events (cart_id) values ($1)").bind(cart).execute(connection).await.map(drop)
}

/// Everything that the source gives until `until` says so, across crashes of the server.
struct Reader {
    source: PostgresPollSource,
    position: Position,
    given: Vec<Version>,
}

impl Reader {
    async fn read_for(&mut self, time: Duration) {
        let _: Result<(), _> = tokio::time::timeout(time, self.read()).await;
    }

    async fn read(&mut self) {
        loop {
            match self.source.next().await {
                Ok(changes) => {
                    self.position = end(&changes).to_string().parse().expect("a position");
                    self.given.extend(versions(&changes.changes));
                }
                Err(error) => self.revive(error).await,
            }
        }
    }

    async fn revive(&mut self, error: SourceError) {
        assert!(matches!(error, SourceError::Transient(_)), "{}", text(&error));
        tokio::time::sleep(Duration::from_millis(20)).await;
        if let Err(error) = self.source.elect().await {
            assert!(matches!(error, SourceError::Transient(_)), "{}", text(&error));
            return;
        }
        if let Err(error) = self.source.start(&Start::after(&self.position, Epoch::FIRST)).await {
            assert!(matches!(error, SourceError::Transient(_)), "{}", text(&error));
        }
    }
}

/// What a poller gave that the server does not know after its crash.
fn phantoms(given: &[Version], history: &[Version]) -> usize {
    let history: HashSet<_> = history.iter().collect();
    given.iter().filter(|version| !history.contains(version)).count()
}

/// Crashes the server again and again under load, and counts: given, lost, doubled, phantoms of ours, phantoms of a naive poller.
async fn crashes(name: &str, synchronous_commit: &'static str) -> [usize; 5] {
    let instance = Instance::start(name).await;
    let world = World::on(instance.url("DATABASE_URL")).await;
    let carts = world.carts(WRITERS).await;
    let source = world.started(&Position::ORIGIN).await;
    let mut ours = Reader { source, position: Position::ORIGIN, given: Vec::new() };
    let (mut invented, mut invented_by_others) = (0, 0);
    for _ in 0..ROUNDS {
        let options = world.options.clone().options([("synchronous_commit", synchronous_commit)]);
        let writers = carts.iter().map(|&cart| tokio::spawn(write(options.clone(), cart))).collect::<Vec<_>>();
        let naive = tokio::spawn(naive(UnsafePoller::new(Way::AfterTheLastNumber, world.connection().await)));
        ours.read_for(Duration::from_millis(fastrand::u64(300..900))).await;
        instance.crash().await;
        for writer in writers {
            writer.await.expect("a writer").expect_err("the server crashed");
        }
        let history = history(&world).await;
        invented += phantoms(&ours.given, &history);
        invented_by_others += phantoms(&naive.await.expect("a poller"), &history);
        ours.read_for(Duration::from_secs(2)).await;
    }
    let history = history(&world).await;
    ours.read_for(Duration::from_secs(3)).await;
    let once: HashSet<_> = ours.given.iter().collect();
    let lost = history.iter().filter(|version| !once.contains(version)).count();
    [ours.given.len(), lost, ours.given.len() - once.len(), invented, invented_by_others]
}

/// The history, once the server answers again.
async fn history(world: &World) -> Vec<Version> {
    let answers = async {
        while sqlx::query("select 1").execute(&world.pool).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, answers).await.expect("the server comes back");
    world.history().await
}

/// A poller that trusts what it sees, until the server is gone.
async fn naive(mut poller: UnsafePoller) -> Vec<Version> {
    while poller.poll().await.is_ok() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    poller.given
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crashes_of_the_server_lose_double_and_invent_nothing() {
    let [given, lost, doubled, invented, _] = crashes("poll-crash", "on").await;
    report(&format!("{ROUNDS} crashes: {given} given, {lost} lost, {doubled} doubled, {invented} invented"));
    assert_eq!((lost, doubled, invented), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_asynchronous_commit_loses_in_a_crash_was_not_given() {
    let [given, lost, doubled, invented, by_others] = crashes("poll-crash-asynchronous", "off").await;
    report(&format!(
        "{ROUNDS} crashes, synchronous_commit=off: {given} given, {lost} lost, {doubled} doubled, {invented} invented; \
         {by_others} invented by a poller that does not wait for the disk"
    ));
    assert_eq!((lost, doubled, invented), (0, 0, 0));
    assert!(by_others > 0, "the crashes took nothing back: this test shows nothing");
}
