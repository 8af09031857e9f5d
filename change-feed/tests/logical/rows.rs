//! Rows of captured tables.

use change_feed::feed::{BeforeImage, Cell, Operation, Row, RowChange};
use change_feed::{Change, Content, Position, Source};

use crate::logical::world::{World, changes, end, event, outbox, read, started};

fn row(change: &Change) -> &RowChange {
    let Content::Row(row) = &change.content else { panic!("no row: {change:?}") };
    row
}

fn cells(row: Option<&Row>) -> Vec<String> {
    let text = |cell: Cell<'_>| match cell {
        Cell::Text(text) => text.to_owned(),
        other => format!("{other:?}"),
    };
    row.map(|row| row.cells().map(text).collect()).unwrap_or_default()
}

/// Operation, before and after, in short.
fn told(change: &Change) -> String {
    let RowChange { operation, before, after, .. } = row(change);
    let before = match before {
        None => String::new(),
        Some(BeforeImage::Key(row)) => format!(" key {}", cells(Some(row)).join(",")),
        Some(BeforeImage::Full(row)) => format!(" full {}", cells(Some(row)).join(",")),
    };
    let after = after.as_ref().map(|row| format!(" -> {}", cells(Some(row)).join(","))).unwrap_or_default();
    format!("{}{before}{after}", operation.as_str())
}

/// What the log tells of these statements, on tables that `tables` makes; of the table `t`.
async fn told_of(tables: &str, statements: &[&str], expected: usize) -> Vec<String> {
    let world = World::new().await;
    world.run(tables).await;
    let source = started(world.bare().tables(["t"]), &Position::ORIGIN).await;
    for statement in statements {
        world.run(statement).await;
    }
    changes(&read(&source, expected).await).iter().map(told).collect()
}

const WRITES: [&str; 6] = [
    "insert into t values (1, 'a', 'x')",
    "update t set b = 'y'",
    "update t set id = 2",
    "insert into t values (3, 'c', null)",
    "delete from t where id = 2",
    "truncate t",
];

#[tokio::test]
async fn with_the_primary_key_as_identity_the_old_row_is_its_key_where_it_changed() {
    let told = told_of("create table t (id int primary key, a text, b text)", &WRITES, 7).await;
    let expected = [
        "insert -> 1,a,x",
        "update -> 1,a,y",
        "delete key 1,Null,Null",
        "insert -> 2,a,y",
        "insert -> 3,c,Null",
        "delete key 2,Null,Null",
        "truncate",
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn with_the_whole_row_as_identity_the_old_row_is_whole_and_the_key_is_the_primary_key() {
    let tables = "create table t (id int primary key, a text, b text); alter table t replica identity full";
    let told = told_of(tables, &WRITES, 7).await;
    let expected = [
        "insert -> 1,a,x",
        "update full 1,a,x -> 1,a,y",
        "delete full 1,a,y",
        "insert -> 2,a,y",
        "insert -> 3,c,Null",
        "delete full 2,a,y",
        "truncate",
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn with_an_index_as_identity_its_columns_are_the_key() {
    let tables = "create table t (id int primary key, a text not null, b text);
        create unique index by_a on t (a); alter table t replica identity using index by_a";
    let told =
        told_of(tables, &["insert into t values (1, 'a', 'x')", "update t set id = 2", "update t set a = 'z'"], 4)
            .await;
    assert_eq!(told, ["insert -> 1,a,x", "update -> 2,a,x", "delete key Null,a,Null", "insert -> 2,z,x"]);
}

#[tokio::test]
async fn a_large_value_that_did_not_change_is_unchanged_or_taken_from_the_old_row() {
    let large = "update t set a = (select string_agg(md5(n::text), '') from generate_series(1, 400) n)";
    for (identity, filled) in [("default", false), ("full", true)] {
        let tables = format!(
            "create table t (id int primary key, a text, b text); alter table t alter a set storage external;
            alter table t replica identity {identity}"
        );
        let world = World::new().await;
        world.run(&tables).await;
        let source = started(world.bare().tables(["t"]), &Position::ORIGIN).await;
        for statement in ["insert into t values (1, '', 'x')", large, "update t set b = 'y'", "update t set id = 2"] {
            world.run(statement).await;
        }
        let changes = changes(&read(&source, 5).await);
        let [_, grown, touched, _, moved] = &changes[..] else { panic!("{changes:?}") };
        let large = cells(row(grown).after.as_ref())[1].clone();
        assert_eq!(large.len(), 12_800);
        let expected = if filled { large } else { "Unchanged".to_owned() };
        assert_eq!(cells(row(touched).after.as_ref()), ["1", &expected, "y"], "{identity}");
        assert_eq!(cells(row(moved).after.as_ref()), ["2", &expected, "y"], "{identity}");
    }
}

#[tokio::test]
async fn columns_that_are_added_dropped_renamed_and_retyped_show_from_the_next_row_on() {
    let world = World::new().await;
    world.run("create table t (id int primary key, a text, b text)").await;
    let source = started(world.bare().tables(["t"]), &Position::ORIGIN).await;
    let steps = [
        "insert into t values (1, 'a', 'b')",
        "alter table t add c numeric default 1.50; insert into t values (2, 'a', 'b')",
        "alter table t drop a; insert into t values (3, 'b', 2.5)",
        "alter table t rename b to renamed; insert into t values (4, 'b', 3)",
        "alter table t alter c type text using 'c' || c; insert into t values (5, 'b', 'text')",
    ];
    for step in steps {
        // In one transaction, with rows before and after the alteration.
        world.run(&format!("begin; {step}; commit")).await;
    }
    let changes = changes(&read(&source, 5).await);
    let shapes: Vec<String> = changes
        .iter()
        .map(|change| {
            let columns =
                row(change).table.columns().iter().map(|column| format!("{}:{}", column.name, column.type_oid));
            columns.collect::<Vec<_>>().join(" ")
        })
        .collect();
    let expected = [
        "id:23 a:25 b:25",
        "id:23 a:25 b:25 c:1700",
        "id:23 b:25 c:1700",
        "id:23 renamed:25 c:1700",
        "id:23 renamed:25 c:25",
    ];
    assert_eq!(shapes, expected);
    let rows: Vec<_> = changes.iter().map(|change| cells(row(change).after.as_ref()).join(",")).collect();
    assert_eq!(rows, ["1,a,b", "2,a,b,1.50", "3,b,2.5", "4,b,3", "5,b,text"]);
}

#[tokio::test]
async fn with_the_whole_row_as_identity_a_key_that_is_renamed_keeps_the_rows_before_it_apart() {
    let world = World::new().await;
    world.run("create table t (a text, id int primary key, b text); alter table t replica identity full").await;
    let source = started(world.bare().tables(["t"]), &Position::ORIGIN).await;
    let place = end(&{
        world.run("insert into t values ('a', 1, 'x')").await;
        read(&source, 1).await
    });
    drop(source);
    // While the feed is stopped: rows under the old name and under the new one.
    world
        .run("update t set b = 'y'; update t set id = 2; alter table t rename id to number; alter table t add c int")
        .await;
    world.run("update t set b = 'z', c = 7").await;
    let changes = changes(&read(&started(world.bare().tables(["t"]), &place).await, 4).await);
    let keys = changes.iter().map(|change| {
        let table = &row(change).table;
        table.key_columns().map(|(_, column)| column.name.clone()).collect::<Vec<_>>().join(",")
    });
    assert_eq!(keys.collect::<Vec<_>>(), ["id", "id", "id", "number"]);
    let expected =
        ["update full a,1,x -> a,1,y", "delete full a,1,y", "insert -> a,2,y", "update full a,2,y,Null -> a,2,z,7"];
    assert_eq!(changes.iter().map(told).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_key_whose_index_includes_other_columns_is_the_key_alone() {
    let tables =
        "create table t (id int, a text, b text, primary key (id) include (a)); alter table t replica identity full";
    let told = told_of(tables, &["insert into t values (1, 'a', 'x')", "update t set a = 'b'"], 2).await;
    assert_eq!(told, ["insert -> 1,a,x", "update full 1,a,x -> 1,b,x"]);
}

#[tokio::test]
async fn every_common_type_comes_as_its_exact_text() {
    let tables =
        "create table t (id int primary key, n numeric, f float8, t timestamptz, d date, i interval, y bytea, j jsonb,
        a int[], u uuid, b bool)";
    let write = r#"insert into t values (1, 12345678901234567890.123456789012345678900, 0.1, '2026-11-23 07:46:08.123456+02',
        '2026-11-23', '1 day 2:03', '\x00ff', '{"a": 1.50}', '{1,null,3}', '01890a5d-ac96-774b-bcce-b302099a8057', true)"#;
    let told = told_of(tables, &[write], 1).await;
    let expected = [
        "insert -> 1",
        "12345678901234567890.123456789012345678900",
        "0.1",
        "2026-11-23 05:46:08.123456+00",
        "2026-11-23",
        "1 day 02:03:00",
        "\\x00ff",
        "{\"a\": 1.50}",
        "{1,NULL,3}",
        "01890a5d-ac96-774b-bcce-b302099a8057",
        "t",
    ];
    assert_eq!(told, [expected.join(",")]);
}

#[tokio::test]
async fn a_truncation_names_each_captured_table() {
    let world = World::new().await;
    world.run("create table a (id int primary key); create table b (id int primary key); create table c (id int primary key)").await;
    let source = started(world.bare().tables(["a", "public.b"]), &Position::ORIGIN).await;
    world.run("truncate a, b, c").await;
    let changes = changes(&read(&source, 2).await);
    let mut tables: Vec<_> = changes.iter().map(|change| row(change).table.qualified_name().to_owned()).collect();
    tables.sort();
    assert_eq!(tables, ["public.a", "public.b"]);
    assert!(changes.iter().all(|change| row(change).operation == Operation::Truncate));
}

#[tokio::test]
async fn events_and_rows_of_one_transaction_keep_their_order() {
    let world = World::new().await;
    world.run("create table t (id int primary key)").await;
    let source = started(world.bare().outbox(outbox()).tables(["t"]), &Position::ORIGIN).await;
    world.run("begin; insert into t values (1); insert into order_events (order_id, version) values ('a', 1); delete from t; commit").await;
    let changes = changes(&read(&source, 3).await);
    assert_eq!((told(&changes[0]).as_str(), &*event(&changes[1]).key), ("insert -> 1", "a"));
    assert_eq!(changes[2].transaction.clone().expect("a place").count, Some(3));
    assert!(row(&changes[0]).committed_at.timestamp() > 1_700_000_000);
}

#[tokio::test]
async fn a_table_that_is_added_to_a_feed_is_captured_from_then_on() {
    let world = World::new().await;
    world.run("create table t (id int primary key)").await;
    let source = world.started(&Position::ORIGIN).await;
    world.append("a", 1).await;
    let runs = read(&source, 1).await;
    let at = crate::logical::world::end(&runs);
    let identity = source.elect().await.expect("it is elected").identity;
    world.acknowledge(&source, at.clone()).await;
    drop(source);
    world.run("insert into t values (1)").await;
    let longer = started(world.builder().tables(["t"]), &at).await;
    assert_eq!(longer.elect().await.expect("it is elected").identity, identity);
    world.run("insert into t values (2)").await;
    let changes = changes(&read(&longer, 1).await);
    assert_eq!(told(&changes[0]), "insert -> 2");
}
