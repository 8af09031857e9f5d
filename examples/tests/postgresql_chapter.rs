//! The chapter on PostgreSQL, docs/postgresql.md: each of its statements runs, as the role that it names, and what they
//! set up is enough for a feed.

use change_feed::source::Start;
use std::collections::HashMap;

use change_feed::{Content, Epoch, FeedName, LogicalSource, Position, Source as _};
use order_domain::{Currency, CustomerId, NewOrder};
use order_store::{OrderStore as _, PostgresOrderStore, Request};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _};
use uuid::Uuid;

const CHAPTER: &str = include_str!("../../docs/postgresql.md");

/// The statements of a block, and who runs them.
struct Block {
    role: String,
    script: String,
}

fn blocks(chapter: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = chapter.lines();
    while let Some(line) = lines.next() {
        if let Some(role) = line.strip_prefix("```sql") {
            let script: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push(Block { role: role.trim().to_owned(), script: script.join("\n") });
        }
    }
    blocks
}

/// The server is shared with other tests: what belongs to all of it gets a name of this test's own.
fn renamed(script: &str, id: &str) -> String {
    let own = |text: String, from: &str, to: &str| text.replace(from, to);
    let script = own(script.to_owned(), "orders_feed", &format!("orders_feed_{id}"));
    let script = own(script, "database store", &format!("database chapter_{id}"));
    let script = own(script, "'orders'", &format!("'orders_{id}'"));
    own(script, "publication orders", &format!("publication orders_{id}"))
}

#[tokio::test]
async fn every_statement_runs_as_the_role_that_it_names_and_a_feed_works_with_what_they_set_up() {
    let required = |variable: &str| {
        std::env::var(variable)
            .unwrap_or_else(|_| panic!("{variable} is not set: run scripts/test, or eval \"$(scripts/services env)\""))
    };
    let server: PgConnectOptions = required("ADMIN_DATABASE_URL").parse().expect("the URL of a server");
    let id = Uuid::now_v7().simple().to_string();
    let (database, password) = (format!("chapter_{id}"), format!("password-{id}"));
    let mut on_server = server.connect().await.expect("the server answers");
    let set_up =
        format!("create role owner_{id} login password '{password}'; create database {database} owner owner_{id}");
    for statement in set_up.split("; ") {
        on_server.execute(AssertSqlSafe(statement.to_owned())).await.expect(statement);
    }
    let owner = server.clone().database(&database).username(&format!("owner_{id}")).password(&password);
    let store = PostgresOrderStore::connect(owner.to_url_lossy().as_str()).await.expect("the owner connects");
    store.migrate().await.expect("the tables");

    let feed_role = format!("orders_feed_{id}");
    let administrator = server.clone().database(&database);
    let feed = server.clone().database(&database).username(&feed_role).password(&password);
    let by_role = HashMap::from([("administrator", &administrator), ("owner", &owner), ("feed", &feed)]);
    let (mut ran, mut fed) = (0, false);
    for Block { role, script } in blocks(CHAPTER) {
        if script.contains("pg_drop_replication_slot") {
            feed_an_order(&feed, &store, &id).await;
            fed = true;
        }
        let options = by_role.get(role.as_str()).unwrap_or_else(|| panic!("who runs this? {script}"));
        let mut connection = options.connect().await.expect("the role connects");
        // Each statement by itself, as in psql: `alter system` can't run in a transaction.
        for statement in renamed(&script, &id).split_inclusive(";\n").filter(|text| !text.trim().is_empty()) {
            connection.execute(AssertSqlSafe(statement.to_owned())).await.expect(statement);
            ran += 1;
        }
        if script.contains("create role") {
            let give = format!("alter role {feed_role} password '{password}'");
            connection.execute(AssertSqlSafe(give)).await.expect("a password");
        }
    }
    on_server.execute("alter system reset max_slot_wal_keep_size").await.expect("an administrator");
    assert!(fed && ran >= 15, "{ran} statements");
    let slots: i64 = sqlx::query_scalar("select count(*) from pg_replication_slots where database = $1")
        .bind(&database)
        .fetch_one(&mut on_server)
        .await
        .expect("an answer");
    assert_eq!(slots, 0, "the last section takes everything away");
}

/// A feed of the chapter's role, publication and slot gives what the store commits.
async fn feed_an_order(feed: &PgConnectOptions, store: &PostgresOrderStore, id: &str) {
    let name = FeedName::new(format!("orders_{id}")).expect("a valid name");
    let source = LogicalSource::builder(feed.to_url_lossy().as_str(), &name)
        .outbox(order_store::outbox())
        .tables(["public.orders", "public.order_items"])
        .connect()
        .await
        .expect("all that it needs is there");
    source.elect().await.expect("the only one");
    source.start(&Start::after(&Position::ORIGIN, Epoch::FIRST)).await.expect("a slot of its own");
    let order = NewOrder::new(CustomerId::generate(chrono::Utc::now()), Currency::EUR);
    let order = store.create(order, Request::new()).await.expect("a new order");
    loop {
        let given = source.next().await.expect("the server is there");
        let is_it =
            |content: &Content| matches!(content, Content::Event(event) if *event.key == order.id().to_string());
        if given.changes.iter().any(|change| is_it(&change.content)) {
            break;
        }
    }
    source.release().await;
}
