//! The storefront on PostgreSQL's log, and what it chooses at its first start.

use change_feed::postgres::postgres_checkpoint;
use change_feed::{FeedName, LogicalSource};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, PgConnection};
use tokio::sync::Mutex;

use crate::live_stream::LiveStream;
use crate::place::Place;
use crate::program::PATIENCE;

/// A new slot waits for every transaction of the server, also for those that another test here holds open.
static TRANSACTIONS: Mutex<()> = Mutex::const_new(());

/// How the feed is captured, as its position says; waits until it has one.
async fn captured_by(place: &Place) -> String {
    let (url, feed) = (place.database.to_url_lossy(), FeedName::new(&*place.feed).expect("a valid name"));
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let stored = postgres_checkpoint(url.as_str(), &feed).await.expect("the server answers");
        if let Some(checkpoint) = stored {
            return checkpoint.identity.source.kind;
        }
        assert!(tokio::time::Instant::now() < deadline, "the feed has no position");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// Drops the slot, which would hold back the server's log for ever.
async fn clean_up(place: &Place) {
    let (url, feed) = (place.database.to_url_lossy(), FeedName::new(&*place.feed).expect("a valid name"));
    LogicalSource::builder(url.as_str(), &feed)
        .outbox(order_store::outbox())
        .clean_up()
        .await
        .expect("nobody relays any more");
}

#[tokio::test]
async fn an_automatic_feed_reads_the_log_or_says_that_it_polls() {
    let _alone = TRANSACTIONS.lock().await;
    let place = Place::replicating().await;
    let program = place.start().serving().await;
    program.line("0 events published").await;
    let captured_by = captured_by(&place).await;
    // Another program may hold a transaction open on the same server.
    let polls = program.said().iter().any(|line| line.contains("polls the outbox"));
    assert_eq!(captured_by == LogicalSource::KIND, !polls, "{captured_by}: {:#?}", program.said());
    assert_eq!(program.terminated().await.code(), Some(0));
    if !polls {
        clean_up(&place).await;
    }
}

#[tokio::test]
async fn a_role_that_may_replicate_reads_the_log_and_goes_on_with_it() {
    let _alone = TRANSACTIONS.lock().await;
    let place = Place::replicating().await;
    let first = place.start().args(&["--source", "logical"]).spawn();
    first.line("0 events published").await;
    assert_eq!(captured_by(&place).await, LogicalSource::KIND);
    assert_eq!(first.terminated().await.code(), Some(0));

    let second = place.start().args(&["--no-demo"]).serving().await;
    let api = second.api().await;
    let order = api.create().await;
    LiveStream::open(&api, None).await.through(&order).await;
    let verdict = place.verdict().await;
    assert!(verdict.is_clean(), "{verdict:?}");
    assert_eq!(place.records().await.len(), 6, "five of the example, and one");
    assert_eq!(second.terminated().await.code(), Some(0));

    let polling = place.start().args(&["--no-demo", "--source", "poll"]).serving().await;
    polling.warning("FAILED CLOSED").await;
    assert_eq!(polling.terminated().await.code(), Some(3));
    clean_up(&place).await;
}

#[tokio::test]
async fn a_feed_that_began_with_polling_goes_on_with_it_where_the_log_could_be_read() {
    let _alone = TRANSACTIONS.lock().await;
    let place = Place::replicating().await;
    let first = place.start().args(&["--no-demo", "--source", "poll"]).serving().await;
    assert_eq!(captured_by(&place).await, "postgres-poll");
    assert_eq!(first.terminated().await.code(), Some(0));
    let second = place.start().args(&["--no-demo"]).serving().await;
    let api = second.api().await;
    let order = api.create().await;
    LiveStream::open(&api, None).await.through(&order).await;
    assert_eq!(captured_by(&place).await, "postgres-poll");
    assert!(place.verdict().await.is_clean());
}

/// A connection with an open transaction that has written, which every new slot waits for.
async fn open_transaction(place: &Place) -> PgConnection {
    let mut connection = place.connection().await;
    connection.execute("begin").await.expect("a transaction");
    connection.execute("select pg_current_xact_id()").await.expect("a transaction id");
    connection
}

/// The slots of the feed, and the server's processes that make one.
async fn slots_and_makers(place: &Place) -> i64 {
    let mut connection = place.connection().await;
    let ask = "select (select count(*) from pg_replication_slots where slot_name = $1) +
        (select count(*) from pg_stat_activity where query like 'CREATE_REPLICATION_SLOT%' and query like '%' || $1 || '%'
            and state = 'active')";
    let count = sqlx::query_scalar(ask).bind(&place.feed).fetch_one(&mut connection).await.expect("the server answers");
    connection.close().await.expect("closed");
    count
}

#[tokio::test]
async fn while_a_transaction_is_open_an_automatic_feed_polls_and_orders_are_taken() {
    let _alone = TRANSACTIONS.lock().await;
    let place = Place::replicating().await;
    let open = open_transaction(&place).await;
    let program = place.start().args(&["--no-demo"]).serving().await;
    let said = program.said().join("\n");
    assert!(said.contains("the end of the transaction of process") && said.contains("polls the outbox"), "{said}");
    let api = program.api().await;
    let order = api.create().await;
    assert_eq!(slots_and_makers(&place).await, 0, "nothing is left on the server");
    open.close().await.expect("closed");
    LiveStream::open(&api, None).await.through(&order).await;
    assert_eq!(captured_by(&place).await, "postgres-poll");
    assert!(place.verdict().await.is_clean());
    assert_eq!(program.terminated().await.code(), Some(0));
}

#[tokio::test]
async fn a_logical_feed_says_what_it_waits_for_and_begins_when_that_has_ended() {
    let _alone = TRANSACTIONS.lock().await;
    let place = Place::replicating().await;
    let open = open_transaction(&place).await;
    let program = place.start().args(&["--no-demo", "--source", "logical"]).spawn();
    program.line("the end of the transaction of process").await;
    open.close().await.expect("closed");
    program.line("Serving at ").await;
    let api = program.api().await;
    let order = api.create().await;
    LiveStream::open(&api, None).await.through(&order).await;
    assert_eq!(captured_by(&place).await, LogicalSource::KIND);
    assert_eq!(program.terminated().await.code(), Some(0));
    clean_up(&place).await;
}

#[tokio::test]
async fn a_signal_ends_the_wait_for_a_slot_on_the_server_too() {
    let _alone = TRANSACTIONS.lock().await;
    let place = Place::replicating().await;
    let open = open_transaction(&place).await;
    let program = place.start().args(&["--no-demo", "--source", "logical"]).spawn();
    program.line("the end of the transaction of process").await;
    let ended = program.terminated().await;
    assert_eq!(ended.code(), Some(0), "{ended:#?}");
    assert_eq!(slots_and_makers(&place).await, 0, "nothing is left on the server");
    open.close().await.expect("closed");
}
