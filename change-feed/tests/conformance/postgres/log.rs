//! The same outbox, read from the log.

use std::sync::{Arc, Mutex, PoisonError};

use change_feed::LogicalSource;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outbox_in_the_log_of_postgresql_keeps_the_contract_of_a_source() -> Result<(), NotConforming> {
    let harness = Streamed::default();
    let report = source::run(&harness).await;
    harness.clean_up().await.expect("the server is there");
    let report = report.into_result()?;
    // The log is of the whole server: another database of it is no shorter.
    let not_claimed =
        ["position-past-the-end-is-refused", "every-chunk-can-be-started-from", "rejoin-gives-a-baseline"];
    assert!(report.not_applicable().eq(not_claimed), "{report}");
    Ok(())
}

/// A slot holds the log back, so those of databases that are done with are dropped as the suite goes on.
#[derive(Default)]
struct Streamed {
    done: Arc<Mutex<Vec<String>>>,
}

impl Streamed {
    async fn clean_up(&self) -> Result<(), HarnessError> {
        let done = std::mem::take(&mut *self.done.lock().unwrap_or_else(PoisonError::into_inner));
        let mut connection = server(ADMIN)?.connect().await?;
        for database in done {
            let slots = "select slot_name::text from pg_replication_slots where database = $1";
            let slots: Vec<String> = sqlx::query_scalar(slots).bind(&database).fetch_all(&mut connection).await?;
            for slot in slots {
                drop_slot(&mut connection, &slot).await?;
            }
            connection.execute(AssertSqlSafe(format!("drop database {database} with (force)"))).await?;
        }
        Ok(connection.close().await?)
    }
}

/// Whoever reads it is ended first.
async fn drop_slot(connection: &mut sqlx::PgConnection, slot: &str) -> Result<(), HarnessError> {
    loop {
        let end = "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = $1 and active";
        sqlx::query(end).bind(slot).execute(&mut *connection).await?;
        match sqlx::query("select pg_drop_replication_slot($1)").bind(slot).execute(&mut *connection).await {
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("55006") => {}
            dropped => return Ok(dropped.map(drop)?),
        }
    }
}

/// The role of the other tests may not replicate.
const ADMIN: &str = "ADMIN_DATABASE_URL";

#[async_trait]
impl SourceHarness for Streamed {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new().concurrent_writers().tells_transactions().tells_lag()
    }

    async fn database(&self) -> Result<Box<dyn Database>, HarnessError> {
        self.clean_up().await?;
        let carts = Carts::create(ADMIN).await?;
        carts.pool.execute("create publication carts for table cart_events").await?;
        let made = Slotted { template: format!("t_{}", Uuid::now_v7().simple()), carts, done: Arc::clone(&self.done) };
        let create = "select pg_create_logical_replication_slot($1, 'pgoutput')";
        sqlx::query(create).bind(&made.template).execute(&made.carts.pool).await?;
        Ok(Box::new(made))
    }
}

struct Slotted {
    carts: Carts,
    /// A slot that nobody reads, from before the first event: the suite's feeds want to begin there whenever they begin.
    template: String,
    done: Arc<Mutex<Vec<String>>>,
}

impl Drop for Slotted {
    fn drop(&mut self) {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).push(self.carts.name.clone());
    }
}

#[async_trait]
impl Database for Slotted {
    async fn source(&self, feed: &FeedName) -> Result<Box<dyn Source>, HarnessError> {
        let copy = "select pg_copy_logical_replication_slot($1, $2)
            where not exists (select from pg_replication_slots where slot_name = $2)";
        sqlx::query(copy).bind(&self.template).bind(feed.as_str()).execute(&self.carts.pool).await?;
        let builder = LogicalSource::builder(&self.carts.url, feed).outbox(guard().outbox_table()).publication("carts");
        Ok(Box::new(builder.connect().await?))
    }

    async fn begin(&self) -> Result<Box<dyn Writer>, HarnessError> {
        self.carts.begin().await
    }
}
