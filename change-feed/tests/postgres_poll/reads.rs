//! How many rows a poll reads: counted by the server, not guessed from times.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use change_feed::{Position, PostgresPollSource, Source};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::postgres_poll::steps::{next, nothing_comes};
use crate::postgres_poll::world::{PATIENCE, World, append, end, feed, outbox, started, versions};

const HISTORY: i64 = 50_000;

/// What the server has read of the outbox so far.
#[derive(Debug, Clone, Copy)]
struct Reads {
    scans: i64,
    rows: i64,
}

impl Reads {
    async fn now(world: &World) -> Self {
        let asked = "select
                (select coalesce(sum(idx_scan), 0) from pg_stat_user_indexes where relname = 'cart_events')::bigint,
                (select coalesce(sum(idx_tup_read), 0) from pg_stat_user_indexes where relname = 'cart_events')::bigint
                    + (select seq_tup_read from pg_stat_user_tables where relname = 'cart_events')";
        let (scans, rows) = sqlx::query_as(asked).fetch_one(&world.pool).await.expect("the statistics");
        Self { scans, rows }
    }

    /// What has been read since, once the server has counted it: a session counts at its end at the latest.
    async fn since(self, world: &World) -> Self {
        let mut last = self.scans;
        let counted = async {
            loop {
                tokio::time::sleep(std::time::Duration::from_millis(700)).await;
                let now = Self::now(world).await;
                if now.scans > self.scans && now.scans == last {
                    return Self { scans: now.scans - self.scans, rows: now.rows - self.rows };
                }
                last = now.scans;
            }
        };
        tokio::time::timeout(PATIENCE, counted).await.expect("the server counts")
    }
}

/// A history of one cart, written past the trigger, as by 500 of the first transactions of the server.
async fn with_history() -> (World, Position) {
    let world = World::new().await;
    let cart = world.carts(1).await[0];
    world.run("alter table cart_events disable trigger step").await;
    let insert = "insert into cart_events (sequence, cart_id, version, transaction_id)
        select nextval('cart_events_numbers'), $1, n, (3 + n / 100)::text::xid8 from generate_series(1, $2) n";
    sqlx::query(insert).bind(cart).bind(HISTORY).execute(&world.pool).await.expect("a history");
    world.run("alter table cart_events enable trigger step").await;
    let source = world.started(&Position::ORIGIN).await;
    let mut given = 0;
    let mut position = Position::ORIGIN;
    while given < HISTORY.unsigned_abs() as usize {
        let run = next(&source).await;
        given += run.changes.len();
        position = end(&run);
    }
    nothing_comes(&source).await;
    source.release().await;
    (world, position)
}

#[tokio::test]
async fn a_poll_reads_what_is_new_and_nothing_else_whatever_runs_for_long() {
    let (world, position) = with_history().await;
    let carts = world.carts(2).await;
    // Somewhere in the cluster, and holding back every xmin.
    let mut elsewhere = world.connection().await;
    let mut long = elsewhere.begin().await.expect("a transaction");
    sqlx::query("select pg_current_xact_id()").execute(&mut *long).await.expect("an id");
    // And one that has written much and not committed.
    let mut loading = world.pool.begin().await.expect("a transaction");
    for _ in 0..2_000 {
        append(&mut loading, carts[1], "{}").await;
    }
    Reads::now(&world).await;
    let before = Reads::now(&world).await;
    let source = world.started(&position).await;
    for _ in 0..50 {
        world.change(&carts[..1]).await;
        assert_eq!(next(&source).await.changes.len(), 1, "long transactions delay nobody");
    }
    nothing_comes(&source).await;
    source.release().await;
    let read = before.since(&world).await;
    assert!(read.rows <= 150, "{read:?} for 50 rows");

    // The same count sees the poll that people write.
    let before = Reads::now(&world).await;
    let mut connection = world.connection().await;
    let naive = "select count(*) from cart_events where transaction_id >= pg_snapshot_xmin(pg_current_snapshot())";
    sqlx::query("set enable_seqscan = off").execute(&mut connection).await.expect("a setting");
    for _ in 0..10 {
        sqlx::query(naive).execute(&mut connection).await.expect("a poll");
    }
    connection.close().await.expect("closed");
    let read = before.since(&world).await;
    assert!(read.rows > 2_000, "{read:?}: the count does not see what it should");
    drop((long, loading));
}

#[tokio::test]
async fn the_plans_do_not_depend_on_what_the_server_knows_about_the_table() {
    for statistics in ["select 1", "analyze cart_events", "truncate cart_events; analyze cart_events"] {
        let (world, position) = with_history().await;
        world.run("alter table cart_events set (autovacuum_enabled = off)").await;
        world.run(&format!("begin; create table aside as table cart_events; {statistics}; commit")).await;
        if statistics.starts_with("truncate") {
            // Known to be empty, and it is not.
            world.run("alter table cart_events disable trigger step; insert into cart_events table aside; alter table cart_events enable trigger step").await;
        }
        let cart = world.carts(1).await;
        let before = Reads::now(&world).await;
        let source = world.started(&position).await;
        for _ in 0..20 {
            world.change(&cart).await;
            next(&source).await;
        }
        source.release().await;
        let read = before.since(&world).await;
        assert!(read.rows <= 60, "{read:?} for 20 rows after {statistics}");
    }
}

#[tokio::test]
async fn a_window_in_many_pages_is_read_a_few_times_and_not_once_for_each_page() {
    let (world, position) = with_history().await;
    let carts = world.carts(3).await;
    let mut large = world.pool.begin().await.expect("a transaction");
    append(&mut large, carts[0], "{}").await;
    // Between the numbers of the window's rows lie those of others, which are given before.
    world.change(&carts[2..]).await;
    let source = started(world.builder().max_window_rows(100), &position).await;
    let first = next(&source).await;
    source.release().await;
    for _ in 0..5_000 {
        append(&mut large, carts[1], "{}").await;
    }
    large.commit().await.expect("a commit");
    let before = Reads::now(&world).await;
    let source = started(world.builder().max_window_rows(100), &end(&first)).await;
    let mut given = Vec::new();
    while given.len() < 5_001 {
        given.extend(next(&source).await.changes);
    }
    source.release().await;
    let read = before.since(&world).await;
    assert!(read.rows < 5 * 5_001, "{read:?} for 5,001 rows in 51 pages");
    let history = world.history().await;
    let expected: Vec<_> = history[HISTORY.unsigned_abs() as usize..].iter().filter(|v| v.cart != carts[2]).collect();
    assert_eq!(versions(&given).iter().collect::<Vec<_>>(), expected);
}

/// A way to the server that counts the bytes that come from it.
async fn counted(server: std::net::SocketAddr) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let bytes = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&bytes);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let counter = Arc::clone(&counter);
            tokio::spawn(async move {
                let server = TcpStream::connect(server).await.expect("the server listens");
                let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
                    (client.into_split(), server.into_split());
                let up = async { tokio::io::copy(&mut from_client, &mut to_server).await.map(drop) };
                let down = async {
                    let mut buffer = vec![0; 16 << 10];
                    loop {
                        match from_server.read(&mut buffer).await? {
                            0 => return to_client.shutdown().await,
                            read => {
                                counter.fetch_add(read, Ordering::SeqCst);
                                to_client.write_all(&buffer[..read]).await?;
                            }
                        }
                    }
                };
                // Either side may end the connection.
                let _ended: std::io::Result<((), ())> = tokio::try_join!(up, down);
            });
        }
    });
    (port, bytes)
}

#[tokio::test]
async fn the_server_sends_no_more_of_a_window_than_is_held() {
    const ROWS: usize = 200;
    const PAYLOAD_BYTES: usize = 20_000;
    let world = World::new().await;
    let cart = world.carts(1).await[0];
    // Compressed, it takes a hundredth of that.
    let payload = format!("{:?}", "x".repeat(PAYLOAD_BYTES - 2));
    let mut writer = world.connection().await;
    sqlx::raw_sql("begin").execute(&mut writer).await.expect("a transaction");
    for _ in 0..ROWS {
        append(&mut writer, cart, &payload).await;
    }
    sqlx::raw_sql("commit").execute(&mut writer).await.expect("it commits");
    let options = world.options.clone();
    let server = (options.get_host().to_owned(), options.get_port());
    let address = tokio::net::lookup_host(server).await.expect("the server's address").next().expect("one address");
    let (port, bytes) = counted(address).await;
    let through = options.host("127.0.0.1").port(port).to_url_lossy().to_string();
    let builder = PostgresPollSource::builder(&through, &feed()).outbox(outbox()).max_page_bytes(4 * PAYLOAD_BYTES);
    let source = started(builder, &Position::ORIGIN).await;
    let begun = bytes.load(Ordering::SeqCst);
    let mut given = 0;
    while given < ROWS {
        let run = source.next().await.expect("the server answers");
        assert!(run.changes.len() <= 5, "{} rows at once", run.changes.len());
        given += run.changes.len();
    }
    let sent = bytes.load(Ordering::SeqCst) - begun;
    assert!(sent < ROWS * PAYLOAD_BYTES * 3 / 2, "{sent} bytes");
}
