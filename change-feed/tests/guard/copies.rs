//! Copies of the tables keep their rows and their rules: dump and restore, and logical replication.

use std::process::Command;

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::guard::oracle::violations;
use crate::guard::world::{
    Database, Role, Session, World, add, administrator, environment, event, program, step, told,
};

/// A database of a test's own on the server of the tests, dropped when the test asks for it.
struct Copy {
    name: String,
    url: String,
}

impl Copy {
    /// An empty database of the owner's.
    async fn new() -> Self {
        let name = format!("guard_copy_{}", uuid::Uuid::now_v7().simple());
        let mut owner = PgConnection::connect(&environment("DATABASE_URL")).await.expect("the owner connects");
        owner.execute(AssertSqlSafe(format!("create database {name}"))).await.expect("a database");
        Self { url: in_database(&environment("DATABASE_URL"), &name), name }
    }

    async fn session(&self, schema: &str) -> Session {
        let mut connection = PgConnection::connect(&self.url).await.expect("a connection to the copy");
        connection.execute(AssertSqlSafe(format!("set search_path = {schema}"))).await.expect("the schema");
        Session::Postgres(connection)
    }

    /// As somebody who may disable triggers and subscribe.
    async fn administrator(&self, schema: &str) -> PgConnection {
        let url = in_database(&environment("ADMIN_DATABASE_URL"), &self.name);
        let mut connection = PgConnection::connect(&url).await.expect("the administrator connects to the copy");
        connection.execute(AssertSqlSafe(format!("set search_path = {schema}"))).await.expect("the schema");
        connection
    }

    async fn dropped(self) {
        let drop = format!("drop database {} with (force)", self.name);
        administrator().await.execute(AssertSqlSafe(drop)).await.expect("dropped");
    }
}

/// The same server and user, another database.
fn in_database(url: &str, database: &str) -> String {
    let (server, query) = url.split_once('?').unwrap_or((url, ""));
    let (server, _) = server.rsplit_once('/').expect("a URL with a database");
    format!("{server}/{database}?{query}")
}

/// Runs a client program of PostgreSQL, with the URL of a database as its last argument.
fn run(name: &str, arguments: &[&str], settings: &str, url: &str) -> Vec<u8> {
    let output = Command::new(program(name)).args(arguments).arg(url).env("PGOPTIONS", settings).output();
    let output = output.unwrap_or_else(|error| panic!("{name} does not start: {error}"));
    assert!(output.status.success(), "{name} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// What was dumped, into a file that `psql` reads.
fn dump(world: &World, arguments: &[&str]) -> tempfile::NamedTempFile {
    let schema = format!("--schema={}", world.schema());
    let arguments = [&["--no-privileges", &schema], arguments].concat();
    let script = run("pg_dump", &arguments, "", &environment("DATABASE_URL"));
    // pg_dump writes for servers of its own version: since 17 it sets what older ones don't know.
    let script = String::from_utf8(script).expect("UTF-8").replace("SET transaction_timeout = 0;\n", "");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), script).expect("written");
    file
}

fn restore(file: &tempfile::NamedTempFile, settings: &str, url: &str) {
    let path = file.path().to_str().expect("a path in UTF-8");
    run("psql", &["--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--file", path, "--dbname"], settings, url);
}

/// The copy has the rows, those of `others` too, and goes on under the rules: the next version of `:a` is legal, what is not is refused.
async fn goes_on(session: &mut Session, row: &str, others: &[&str]) {
    assert_eq!(violations(session).await, []);
    let orders = session.rows("select right(order_id::text, 1) || version || status from orders order by 1").await;
    let expected = [&["a2open", "b2open", "c3cancelled"], others].concat();
    let expected: Vec<_> = expected.into_iter().map(|text| vec![Some(text.to_owned())]).collect();
    assert_eq!(orders, expected, "{row}");
    for (statements, by) in [
        (vec![add(":a", ":x")], "order_items_changes_inside_a_step"),
        (vec![add(":c", ":x")], "orders_is_final"),
        (vec![step(":a")], "orders_version_has_event"),
        (vec![step(":a"), step(":a")], "orders_version_has_event"),
        (vec![event(":a", 3)], "order_events_at_present_version"),
        (vec!["delete from order_events".to_owned()], "order_events_is_immutable"),
    ] {
        let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
        assert_eq!(session.transaction("", &statements).await.expect_err("refused").by, by, "{row}: {statements:?}");
    }
    let legal = [&*step(":a"), &add(":a", ":x"), &told(":a", 3, "added", ":x")];
    session.transaction("", &legal).await.expect("the legal order");
    assert_eq!(violations(session).await, [], "{row}");
}

#[tokio::test]
async fn a_dump_of_everything_is_restored_with_its_rules() {
    let world = World::new(Database::Postgres).await;
    let copy = Copy::new().await;
    restore(&dump(&world, &[]), "", &copy.url);
    goes_on(&mut copy.session(world.schema()).await, "whole", &[]).await;
    copy.dropped().await;
}

#[tokio::test]
async fn a_dump_of_the_data_is_restored_into_tables_that_have_their_rules() {
    let world = World::new(Database::Postgres).await;
    for (row, arguments, settings) in [
        ("triggers disabled by the dump", &["--data-only", "--disable-triggers"][..], ""),
        ("triggers disabled by the session", &["--data-only"][..], "-c session_replication_role=replica"),
    ] {
        let copy = Copy::new().await;
        restore(&dump(&world, &["--schema-only"]), "", &copy.url);
        let administrator = in_database(&environment("ADMIN_DATABASE_URL"), &copy.name);
        restore(&dump(&world, arguments), settings, &administrator);
        goes_on(&mut copy.session(world.schema()).await, row, &[]).await;
        copy.dropped().await;
    }
}

/// Rows that a data-only restore writes without leave to pass the triggers are refused, not half-judged.
#[tokio::test]
async fn a_dump_of_the_data_is_refused_where_the_triggers_are_on() {
    let world = World::new(Database::Postgres).await;
    let copy = Copy::new().await;
    restore(&dump(&world, &["--schema-only"]), "", &copy.url);
    let data = dump(&world, &["--data-only"]);
    let path = data.path().to_str().expect("a path in UTF-8");
    let arguments = ["--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--single-transaction", "--file", path];
    let output =
        Command::new(program("psql")).args(arguments).args(["--dbname", &copy.url]).output().expect("psql runs");
    assert!(!output.status.success(), "rows came in round the rules");
    copy.dropped().await;
}

/// A subscription copies the tables one by one, in whatever order, and then what happens on them. Neither asks the rules,
/// which were asked where the rows come from; the sequence stays behind, and whoever takes over sets it.
#[tokio::test]
async fn a_subscription_copies_the_tables_in_either_order_and_keeps_the_rules() {
    for tables in [["orders", "order_items", "order_events"], ["order_events", "order_items", "orders"]] {
        subscribed(tables).await;
    }
}

async fn subscribed(tables: [&str; 3]) {
    let world = World::new(Database::Postgres).await;
    let copy = Copy::new().await;
    restore(&dump(&world, &["--schema-only"]), "", &copy.url);
    let schema = world.schema();
    let mut source = administrator_of(&world).await;
    let mut target = copy.administrator(schema).await;
    // A subscription to its own cluster would wait for itself: the slot is made first. A slot for each table, so that
    // the tables come in the order asked for.
    for (number, table) in tables.iter().enumerate() {
        let name = format!("{schema}_{number}");
        let connection = environment("ADMIN_DATABASE_URL");
        let connection = in_database(&connection, &database_of(&environment("DATABASE_URL")));
        source.execute(AssertSqlSafe(format!("create publication {name} for table {table}"))).await.expect("published");
        let slot = format!("select pg_create_logical_replication_slot('{name}', 'pgoutput')");
        source.execute(AssertSqlSafe(slot)).await.expect("a slot");
        let subscribe = format!(
            "create subscription {name} connection '{connection}' publication {name}
             with (create_slot = false, slot_name = '{name}')"
        );
        target.execute(AssertSqlSafe(subscribe)).await.expect("subscribed");
        until(&mut target, "select not exists (select from pg_subscription_rel where srsubstate <> 'r')").await;
    }
    // And what happens afterwards, a cancelled order among it.
    let mut writer = world.session(Role::Application).await;
    let cancel = "update orders set version = version + 1, status = 'cancelled' where order_id = :n";
    let created = [&*crate::guard::world::create(":n"), &add(":n", ":x"), &told(":n", 1, "added", ":x")];
    writer.transaction("", &created).await.expect("a new order");
    writer.transaction("", &[cancel, &told(":n", 2, "cancelled", "")]).await.expect("cancelled");
    let arrived = "select count(*) = 2 and exists (select from orders where status = 'cancelled' and right(order_id::text, 1) = 'd')
                     from order_events where right(order_id::text, 1) = 'd'";
    until(&mut target, arrived).await;
    for number in 0..tables.len() {
        let name = format!("{schema}_{number}");
        target
            .execute(AssertSqlSafe(format!("drop subscription {name}")))
            .await
            .expect("unsubscribed, and the slot gone");
    }
    // Taking over.
    let sequence = "select setval('order_events_sequence', (select max(sequence) from order_events))";
    target.execute(sequence).await.expect("the sequence catches up");
    target.close().await.expect("the administrator leaves");
    let mut session = copy.session(schema).await;
    let refused = session.transaction("", &[&add(":n", ":k")]).await;
    assert_eq!(refused.expect_err("refused").by, "orders_is_final");
    goes_on(&mut session, &format!("{tables:?}"), &["d2cancelled"]).await;
    copy.dropped().await;
}

async fn administrator_of(world: &World) -> PgConnection {
    let database = database_of(&environment("DATABASE_URL"));
    let url = in_database(&environment("ADMIN_DATABASE_URL"), &database);
    let mut connection = PgConnection::connect(&url).await.expect("the administrator connects");
    let path = format!("set search_path = {}", world.schema());
    connection.execute(AssertSqlSafe(path)).await.expect("the schema");
    connection
}

fn database_of(url: &str) -> String {
    let (server, _) = url.split_once('?').unwrap_or((url, ""));
    server.rsplit_once('/').expect("a URL with a database").1.to_owned()
}

/// Waits until a query answers true.
async fn until(connection: &mut PgConnection, query: &str) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while !sqlx::query_scalar::<_, bool>(AssertSqlSafe(query)).fetch_one(&mut *connection).await.expect("an answer") {
        assert!(std::time::Instant::now() < deadline, "still waiting for: {query}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
