//! What the application's and the feed's role can do, and what they can't.

use order_store::{OrderStore, PostgresOrderStore, Refusal, Request, Roles, StoreError, roles_sql};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use uuid::Uuid;

use crate::world::{Database, Postgres, World, milk, noon, pieces, server};

/// A world whose tables belong to an owner, with roles of its own.
struct Realm {
    world: World,
    roles: Roles,
}

const PASSWORD: &str = "only-for-this-test";

impl Realm {
    async fn create() -> Self {
        let world = World::postgres().await;
        let id = Uuid::now_v7().simple();
        let roles = Roles {
            owner: format!("owner_{id}"),
            application: format!("application_{id}"),
            feed: format!("feed_{id}"),
        };
        let realm = Self { world, roles };
        let mut admin = realm.admin().await;
        // Twice: it may be run again after each migration.
        for _ in 0..2 {
            sqlx::raw_sql(AssertSqlSafe(roles_sql(&realm.roles))).execute(&mut admin).await.expect("the script");
        }
        // The test's own statements go on as before.
        let test: String =
            sqlx::query_scalar("select current_user::text").fetch_one(&realm.postgres().pool).await.unwrap();
        let member = format!("grant {} to {test}", realm.roles.owner);
        admin.execute(AssertSqlSafe(member)).await.expect("a member");
        for role in [&realm.roles.owner, &realm.roles.application, &realm.roles.feed] {
            let password = format!("alter role {role} password '{PASSWORD}'");
            admin.execute(AssertSqlSafe(password)).await.expect("a password");
        }
        realm
    }

    fn postgres(&self) -> &Postgres {
        match &self.world.database {
            Database::Postgres(postgres) => postgres,
            Database::Sqlite(_) => unreachable!("a world on PostgreSQL"),
        }
    }

    async fn admin(&self) -> PgConnection {
        PgConnection::connect(&self.postgres().admin_url()).await.expect("the administrator of ADMIN_DATABASE_URL")
    }

    fn url(&self, role: &str) -> String {
        let url = &self.postgres().url;
        let (_, place) = url.split_once('@').expect("a URL with a user");
        format!("postgres://{role}:{PASSWORD}@{place}")
    }

    async fn connect(&self, role: &str) -> PgConnection {
        PgConnection::connect(&self.url(role)).await.expect("the role")
    }
}

impl Drop for Realm {
    fn drop(&mut self) {
        let (admin, server) = (self.postgres().admin_url(), server("ADMIN_DATABASE_URL"));
        let roles = [&self.roles.owner, &self.roles.application, &self.roles.feed].map(Clone::clone);
        let gone = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let mut connection = PgConnection::connect(&admin).await.expect("the administrator");
                for role in &roles {
                    let own = format!("reassign owned by {role} to current_user; drop owned by {role}");
                    sqlx::raw_sql(AssertSqlSafe(own)).execute(&mut connection).await.expect("nothing is owned");
                }
                let mut connection = PgConnection::connect(&server).await.expect("the administrator");
                for role in &roles {
                    connection.execute(AssertSqlSafe(format!("drop role {role}"))).await.expect("no role");
                }
            });
        });
        let _ = gone.join();
    }
}

/// The code of what the server refuses with.
async fn code(connection: &mut PgConnection, sql: &str) -> String {
    match sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await {
        Ok(_) => "accepted".to_owned(),
        Err(error) => error.as_database_error().and_then(|error| error.code()).map(Into::into).unwrap_or_default(),
    }
}

const FORBIDDEN: &str = "42501";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_application_does_all_that_the_store_does() {
    let realm = Realm::create().await;
    let store = PostgresOrderStore::connect(&realm.url(&realm.roles.application)).await.unwrap();
    store.migrate().await.expect("nothing to do, so no right is needed");
    let customer = crate::world::customer();
    let new = order_domain::NewOrder::new(customer, order_domain::Currency::EUR);
    let request = || Request::new().id("once".parse().unwrap());
    let order = store.create(new, request()).await.unwrap();
    assert_eq!(store.create(new, request()).await.unwrap(), order);
    let id = order.id();
    let item = store.add_item(id, milk(1), Request::new()).await.unwrap().items()[0].id();
    store.add_item(id, milk(2), Request::new()).await.unwrap();
    store.change_quantity(id, item, pieces(4), Request::new()).await.unwrap();
    store.schedule(id, noon(), Request::new()).await.unwrap();
    store.remove_item(id, item, Request::new()).await.unwrap();
    let cancelled = store.cancel(id, Request::new()).await.unwrap();
    let refused = store.add_item(id, milk(1), Request::new()).await;
    assert!(matches!(refused, Err(StoreError::Refused(Refusal::OrderCancelled { .. }))), "{refused:?}");
    assert_eq!(store.list_by_customer(customer, None).await.unwrap().orders, std::slice::from_ref(&cancelled));
    assert_eq!(realm.world.replayed(id).await, cancelled);
    assert_eq!(store.forget_requests(chrono::Utc::now() + chrono::TimeDelta::days(1)).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_application_can_not_go_around_the_rules() {
    let realm = Realm::create().await;
    let order = realm.world.with_items(1).await;
    let id = order.id();
    let mut application = realm.connect(&realm.roles.application).await;
    let forbidden = [
        "create table mine (id int)".to_owned(),
        "alter table orders add column note text".to_owned(),
        "alter table orders disable trigger all".to_owned(),
        "alter table orders drop constraint orders_version_has_event".to_owned(),
        "drop trigger orders_guard_update on orders".to_owned(),
        "create or replace function orders_guard_update() returns trigger language plpgsql as 'begin return new; end'"
            .to_owned(),
        "drop table order_events".to_owned(),
        "truncate orders cascade".to_owned(),
        "truncate order_items".to_owned(),
        "truncate order_events cascade".to_owned(),
        format!("delete from orders where order_id = '{id}'"),
        format!("delete from order_events where order_id = '{id}'"),
        format!("update order_events set payload = '{{}}' where order_id = '{id}'"),
        format!("update orders set order_id = gen_random_uuid() where order_id = '{id}'"),
        format!("update orders set version = version + 1, currency = 'USD' where order_id = '{id}'"),
        format!(
            "insert into order_events (sequence, order_id, version, event_type, payload) values (1, '{id}', 3, 'x', '{{}}')"
        ),
        format!(
            "insert into order_events (transaction_id, order_id, version, event_type, payload) values ('3', '{id}', 3, 'x', '{{}}')"
        ),
        "select setval('order_events_sequence', 1)".to_owned(),
        "alter sequence order_events_sequence restart".to_owned(),
        "set session_replication_role = replica".to_owned(),
        "insert into order_store_migrations (version) values (2)".to_owned(),
        "update order_requests set version = 9".to_owned(),
        "select order_events_prune(pg_current_snapshot(), 1)".to_owned(),
        format!("select order_events_erase('{id}')"),
        format!("set role {}", realm.roles.owner),
    ];
    for statement in &forbidden {
        assert_eq!(code(&mut application, statement).await, FORBIDDEN, "{statement}");
    }
    // The setting by which the owner's functions pass is anybody's to set, and helps nobody else.
    let pretended = format!(
        "begin; set local change_feed.maintenance = 'public.order_events'; delete from order_events where order_id = '{id}'"
    );
    assert_eq!(code(&mut application, &pretended).await, FORBIDDEN);
    assert_eq!(realm.world.store.get(id).await.unwrap(), order);
}

/// Functions that somebody planted under names like ours act with their maker's rights, and never with the owner's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_owner_gets_the_stores_functions_and_no_others() {
    let realm = Realm::create().await;
    let mut admin = realm.admin().await;
    let planted = ["orders_helper()", "order_events_prune(text)", "order_items_now(integer)", "order_items_now_()"];
    for signature in planted {
        let plant = format!(
            "create function public.{signature} returns bigint language sql security definer
             as 'with gone as (delete from public.orders returning 1) select count(*) from gone'"
        );
        admin.execute(AssertSqlSafe(plant)).await.expect("a planted function");
    }
    sqlx::raw_sql(AssertSqlSafe(roles_sql(&realm.roles))).execute(&mut admin).await.expect("the script again");
    let owned_by = |owner: &str| {
        format!(
            "select p.oid::regprocedure::text from pg_proc p where p.pronamespace = 'public'::regnamespace
                and p.proowner {owner} '{}'::regrole order by 1",
            realm.roles.owner
        )
    };
    let others = sqlx::query_scalar::<_, String>(AssertSqlSafe(owned_by("<>"))).fetch_all(&mut admin).await.unwrap();
    assert_eq!(
        others,
        ["order_events_prune(text)", "order_items_now(integer)", "order_items_now_()", "orders_helper()"]
    );
    let owned = sqlx::query_scalar::<_, String>(AssertSqlSafe(owned_by("="))).fetch_all(&mut admin).await.unwrap();
    let made = order_store::migrations(order_store::Dialect::Postgres);
    let made = made.iter().flat_map(|script| script.sql.lines());
    let made = made.filter(|line| line.starts_with("create") && line.contains(" function public.")).count();
    assert_eq!(owned.len(), made, "all of the migrations': {owned:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_owner_can_not_change_the_history_by_accident() {
    let realm = Realm::create().await;
    let order = realm.world.with_items(1).await;
    let mut owner = realm.connect(&realm.roles.owner).await;
    const REFUSED: &str = "23514";
    for statement in ["delete from orders", "delete from order_events", "update order_events set payload = '{}'"] {
        assert_eq!(code(&mut owner, statement).await, REFUSED, "{statement}");
    }
    let erase = format!("select order_events_erase('{}')", order.id());
    assert_eq!(code(&mut owner, &erase).await, "accepted");
    assert_eq!(code(&mut owner, "alter table orders add column note text").await, "accepted", "it may migrate");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_feed_reads_what_it_publishes_and_writes_in_a_schema_of_its_own() {
    let realm = Realm::create().await;
    let order = realm.world.with_items(1).await;
    let mut feed = realm.connect(&realm.roles.feed).await;
    for table in ["orders", "order_items", "order_events"] {
        assert_eq!(code(&mut feed, &format!("select * from {table}")).await, "accepted");
    }
    assert_eq!(code(&mut feed, "create table change_feed.state (at text)").await, "accepted");
    let forbidden = [
        "select * from order_requests".to_owned(),
        "create table public.mine (id int)".to_owned(),
        format!("update orders set version = version + 1 where order_id = '{}'", order.id()),
        "delete from order_items".to_owned(),
        "delete from order_events".to_owned(),
        "truncate order_events cascade".to_owned(),
        "select nextval('order_events_sequence')".to_owned(),
        "select order_events_prune(pg_current_snapshot(), 1)".to_owned(),
        "set session_replication_role = replica".to_owned(),
    ];
    for statement in &forbidden {
        assert_eq!(code(&mut feed, statement).await, FORBIDDEN, "{statement}");
    }
    let replicates: bool = sqlx::query_scalar("select rolreplication from pg_roles where rolname = current_user")
        .fetch_one(&mut feed)
        .await
        .unwrap();
    assert!(replicates);
}
