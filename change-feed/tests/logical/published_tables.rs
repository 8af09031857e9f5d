//! What is published must not make the application's writes fail, and the key of each record must be whole.

use change_feed::feed::{Cell, RowChange};
use change_feed::source::Start;
use change_feed::{Change, Content, Epoch, Position, Source, SourceError};
use sqlx::{Connection, Executor, PgConnection};

use crate::logical::world::{World, changes, end, read, refusal, started, text, version, versions};

/// A table, how it is published, and what its writers then meet.
struct Case {
    /// What it shows, and where it was met in public.
    name: &'static str,
    /// From this version of the server on.
    since: i32,
    /// Makes the table `t`.
    makes: &'static str,
    /// The publication, without its name.
    publishes: &'static str,
    /// A part of the refusal; empty where the table is accepted.
    refused: &'static str,
    /// Whether PostgreSQL itself refuses the writes while the table is published so.
    writes_fail: bool,
}

const PLAIN: &str = "for table t with (publish_via_partition_root = true)";

const CASES: [Case; 19] = [
    Case {
        name: "a primary key",
        since: 0,
        makes: "create table t (id int primary key, a int)",
        publishes: PLAIN,
        refused: "",
        writes_fail: false,
    },
    Case {
        name: "a deferrable primary key (wal2json 62, pglogical 149)",
        since: 0,
        makes: "create table t (id int primary key deferrable, a int)",
        publishes: PLAIN,
        refused: "primary key is deferrable",
        writes_fail: true,
    },
    Case {
        name: "a deferrable primary key, under which rows swap their keys within a transaction",
        since: 0,
        makes: "create table t (id int primary key deferrable, a int); alter table t replica identity full",
        publishes: PLAIN,
        refused: "primary key is deferrable",
        writes_fail: false,
    },
    Case {
        name: "no key (supabase etl 22)",
        since: 0,
        makes: "create table t (id int, a int)",
        publishes: PLAIN,
        refused: "has no key",
        writes_fail: true,
    },
    Case {
        name: "the index of the replica identity is gone",
        since: 0,
        makes: "create table t (id int not null, a int); create unique index i on t (id);
            alter table t replica identity using index i; drop index i",
        publishes: PLAIN,
        refused: "has no key",
        writes_fail: true,
    },
    Case {
        name: "the replica identity nothing",
        since: 0,
        makes: "create table t (id int primary key, a int); alter table t replica identity nothing",
        publishes: PLAIN,
        refused: "replica identity nothing",
        writes_fail: true,
    },
    Case {
        name: "the whole row over a stored generated column (spiceai 11293)",
        since: 180_000,
        makes: "create table t (id int primary key, a int, b int generated always as (a + 1) stored);
            alter table t replica identity full",
        publishes: PLAIN,
        refused: "generated column b",
        writes_fail: true,
    },
    Case {
        name: "the whole row over a stored generated column that is published",
        since: 180_000,
        makes: "create table t (id int primary key, a int, b int generated always as (a + 1) stored);
            alter table t replica identity full",
        publishes: "for table t with (publish_generated_columns = stored)",
        refused: "",
        writes_fail: false,
    },
    Case {
        name: "the whole row over a virtual generated column",
        since: 180_000,
        makes: "create table t (id int primary key, a int, b int generated always as (a + 1) virtual);
            alter table t replica identity full",
        publishes: "for table t with (publish_generated_columns = stored)",
        refused: "generated column b",
        writes_fail: true,
    },
    Case {
        name: "a generated column in the key (supabase etl 77)",
        since: 0,
        makes: "create table t (id int, a int, part int generated always as (id / 10) stored, primary key (id, part))",
        publishes: PLAIN,
        refused: "column part is not published",
        // PostgreSQL 18 refuses them, its predecessors send half a key.
        writes_fail: true,
    },
    Case {
        name: "a column list without the key",
        since: 150_000,
        makes: "create table t (id int primary key, a int)",
        publishes: "for table t (a)",
        refused: "column id is not published",
        writes_fail: true,
    },
    Case {
        name: "a column list over the whole row",
        since: 150_000,
        makes: "create table t (id int primary key, a int); alter table t replica identity full",
        publishes: "for table t (id)",
        refused: "list of columns",
        writes_fail: true,
    },
    Case {
        name: "a row filter beside the key",
        since: 150_000,
        makes: "create table t (id int primary key, a int)",
        publishes: "for table t where (a > 0 and id > 0)",
        refused: "row filter of public.t reads a",
        writes_fail: true,
    },
    Case {
        name: "a row filter by the key",
        since: 150_000,
        makes: "create table t (id int primary key, a int)",
        publishes: "for table t where (id > 0)",
        refused: "",
        writes_fail: false,
    },
    Case {
        name: "partitions that identify their rows as their root does",
        since: 0,
        makes: "create table t (id int primary key, a int) partition by range (id);
            create table t_1 partition of t for values from (0) to (100)",
        publishes: PLAIN,
        refused: "",
        writes_fail: false,
    },
    Case {
        name: "a root with an index, and a partition without identity",
        since: 0,
        makes: "create table t (id int not null, a int) partition by range (id); create unique index i on t (id);
            create table t_1 partition of t for values from (0) to (100); alter table t replica identity using index i",
        publishes: PLAIN,
        refused: "t_1 has no key",
        writes_fail: true,
    },
    Case {
        name: "a partition with the replica identity nothing, two levels down",
        since: 0,
        makes: "create table t (id int primary key, a int) partition by range (id);
            create table t_1 partition of t for values from (0) to (100) partition by range (id);
            create table t_2 partition of t_1 for values from (0) to (100); alter table t_2 replica identity nothing",
        publishes: PLAIN,
        refused: "t_2 has the replica identity nothing",
        writes_fail: true,
    },
    Case {
        name: "a root with the whole row and a partition without (sequin 1257)",
        since: 0,
        makes: "create table t (id int primary key, a int) partition by range (id);
            create table t_1 partition of t for values from (0) to (100); alter table t replica identity full",
        publishes: PLAIN,
        refused: "different replica identities",
        writes_fail: false,
    },
    Case {
        name: "a table that inherits, and has no key of its own",
        since: 0,
        makes: "create table t (id int primary key, a int); create table t_1 () inherits (t)",
        publishes: PLAIN,
        refused: "t_1 inherits from public.t",
        writes_fail: true,
    },
];

impl World {
    async fn version(&self) -> i32 {
        let version = self.text("select current_setting('server_version_num')").await.expect("a version");
        version.parse().expect("a number")
    }
}

#[tokio::test]
async fn a_table_is_accepted_only_if_its_applications_writes_go_on_and_its_key_is_whole() {
    for case in CASES {
        let world = World::new().await;
        let version = world.version().await;
        if version < case.since {
            continue;
        }
        world.run(case.makes).await;
        world.run("insert into t (id, a) values (1, 1), (2, 2)").await;
        let nothing_made = world.bare().tables(["t"]).connect().await;
        // As the feed itself would publish it: no publication is there yet.
        if !case.refused.is_empty() && case.publishes == PLAIN {
            let error = nothing_made.expect_err(case.name);
            assert!(
                matches!(error, SourceError::Closed(_)) && text(&error).contains(case.refused),
                "{}: {}",
                case.name,
                text(&error)
            );
            assert_eq!(
                world.text("select count(*)::text from pg_publication").await.as_deref(),
                Some("0"),
                "{}",
                case.name
            );
            assert_eq!(world.slot("slot_name").await, None, "{}", case.name);
        } else if let Ok(made) = nothing_made {
            drop(made);
            world.run(&format!("drop publication {}", world.feed)).await;
        }
        // As somebody publishes it by hand.
        world.run("drop schema if exists change_feed cascade").await;
        world.run(&format!("create publication {} {}", world.feed, case.publishes)).await;
        let accepted = world.bare().tables(["t"]).connect().await;
        match &accepted {
            Ok(_) => assert!(case.refused.is_empty(), "{} is accepted", case.name),
            Err(error) => assert!(
                text(error).contains(case.refused) && !case.refused.is_empty(),
                "{}: {}",
                case.name,
                text(error)
            ),
        }
        let writes =
            world.pool.execute(sqlx::raw_sql("update t set a = 3 where id = 1; delete from t where id = 2")).await;
        let known = case.writes_fail || writes.is_ok();
        assert!(known, "{}: {writes:?}", case.name);
        if accepted.is_ok() {
            writes.expect(case.name);
        }
    }
}

#[tokio::test]
async fn what_identifies_a_row_is_what_postgresql_itself_takes_and_is_found_without_a_lock() {
    let world = World::new().await;
    world
        .run(
            "create table plain (id int primary key); create table deferred (id int primary key deferrable);
            create table keyless (id int); create table partial (id int not null);
            create unique index on partial (id) where id > 0;
            create table chosen (id int primary key, a int not null); create unique index i on chosen (a);
            alter table chosen replica identity using index i;
            create table root (id int primary key) partition by range (id);
            create table leaf partition of root for values from (0) to (9)",
        )
        .await;
    for table in ["plain", "deferred", "keyless", "partial", "chosen", "root", "leaf"] {
        let index = world.text(&format!("select pg_get_replica_identity_index('{table}')::text")).await;
        let connected = world.bare().tables([table]).connect().await;
        assert_eq!(connected.is_ok(), index.is_some(), "{table}: {connected:?}");
    }
}

#[tokio::test]
async fn an_outbox_without_a_primary_key_can_still_be_pruned_and_scrubbed() {
    let world = World::new().await;
    world.run("alter table order_events drop constraint order_events_pkey").await;
    let source = world.started(&Position::ORIGIN).await;
    world.append("a", 1).await;
    world.run("update order_events set payload = '{}'; delete from order_events").await;
    world.append("a", 2).await;
    assert_eq!(versions(&read(&source, 2).await), [version("a", 1), version("a", 2)]);
    drop(source);

    // With rows in the same publication updates are published, and its own would fail.
    world.run("create table t (id int primary key)").await;
    let error = world.builder().tables(["t"]).connect().await.expect_err("it has no identity");
    assert!(text(&error).contains("public.order_events has no key"), "{}", text(&error));
    world.run("update order_events set payload = '{}'").await;
    world.run("alter table order_events add primary key (sequence)").await;
    let both = started(world.builder().tables(["t"]), &Position::ORIGIN).await;
    world.run("insert into t values (1); update t set id = 2").await;
    read(&both, 5).await;
}

#[tokio::test]
async fn a_partition_that_is_attached_later_is_looked_at_too() {
    let world = World::new().await;
    world.run("create table t (id int primary key, a int) partition by range (id)").await;
    let source = started(world.bare().tables(["t"]), &Position::ORIGIN).await;
    world
        .run(
            "create table late (id int not null primary key, a int); alter table late replica identity nothing;
            alter table t attach partition late for values from (0) to (100)",
        )
        .await;
    let error = refusal(&source).await;
    assert!(text(&error).contains("late has the replica identity nothing"), "{}", text(&error));
}

#[tokio::test]
async fn a_partition_without_a_log_is_refused() {
    let world = World::new().await;
    world
        .run(
            "create table t (id int primary key) partition by range (id);
            create unlogged table quiet partition of t for values from (0) to (100)",
        )
        .await;
    let error = world.bare().tables(["t"]).connect().await.expect_err("its changes are not in the log");
    assert!(text(&error).contains("quiet, a partition of public.t, is foreign or unlogged"), "{}", text(&error));
}

fn key(change: &Change) -> String {
    let Content::Row(RowChange { after: Some(after), .. }) = &change.content else { panic!("no row: {change:?}") };
    match after.cell(0) {
        Some(Cell::Text(text)) => text.to_owned(),
        other => panic!("no key: {other:?}"),
    }
}

#[tokio::test]
async fn a_large_key_that_did_not_change_stays_in_the_record() {
    // ClickHouse 111552: the key is stored outside of the row, so the new row says that it is unchanged.
    let world = World::new().await;
    world.run("create table t (id text primary key, a int); alter table t alter id set storage external").await;
    let source = started(world.bare().tables(["t"]), &Position::ORIGIN).await;
    world.run("insert into t values (repeat('k', 2500), 1); update t set a = 2").await;
    let changes = changes(&read(&source, 2).await);
    assert_eq!(changes.iter().map(key).map(|key| key.len()).collect::<Vec<_>>(), [2500, 2500]);
}

#[tokio::test]
async fn the_look_at_the_set_up_waits_for_no_lock_on_a_table() {
    let world = World::new().await;
    world.run("create table t (id int primary key)").await;
    let source = started(world.bare().tables(["t"]), &Position::ORIGIN).await;
    world.run("insert into t values (1)").await;
    let position = end(&read(&source, 1).await);
    drop(source);
    let mut locked = PgConnection::connect_with(&world.options).await.expect("a connection");
    sqlx::raw_sql("begin; lock table t in access exclusive mode").execute(&mut locked).await.expect("nobody holds it");
    let again = world.bare().tables(["t"]).connect().await.expect("no lock is waited for");
    again.elect().await.expect("no lock is waited for");
    again.start(&Start::after(&position, Epoch::FIRST)).await.expect("no lock is waited for");
}
