//! The same outbox, read from the log.

use change_feed::LogicalSource;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outbox_in_the_log_of_postgresql_keeps_the_contract_of_a_source() -> Result<(), NotConforming> {
    let report = source::run(&Streamed).await.into_result()?;
    // The log is of the whole server: another database of it is no shorter.
    let not_claimed =
        ["position-past-the-end-is-refused", "every-chunk-can-be-started-from", "rejoin-gives-a-baseline"];
    assert!(report.not_applicable().eq(not_claimed), "{report}");
    Ok(())
}

struct Streamed;

/// The role of the other tests may not replicate.
const ADMIN: &str = "ADMIN_DATABASE_URL";

#[async_trait]
impl SourceHarness for Streamed {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new().concurrent_writers().tells_transactions().tells_lag()
    }

    async fn database(&self) -> Result<Box<dyn Database>, HarnessError> {
        let carts = Carts::create(ADMIN).await?;
        carts.0.run("create publication carts for table cart_events").await;
        let template = format!("t_{}", Uuid::now_v7().simple());
        let create = "select pg_create_logical_replication_slot($1, 'pgoutput')";
        sqlx::query(create).bind(&template).execute(&carts.0.pool).await?;
        Ok(Box::new(Slotted { template, carts }))
    }
}

struct Slotted {
    carts: Carts,
    /// A slot that nobody reads, from before the first event: the suite's feeds want to begin there whenever they begin.
    template: String,
}

#[async_trait]
impl Database for Slotted {
    async fn source(&self, feed: &FeedName) -> Result<Box<dyn Source>, HarnessError> {
        let copy = "select pg_copy_logical_replication_slot($1, $2)
            where not exists (select from pg_replication_slots where slot_name = $2)";
        sqlx::query(copy).bind(&self.template).bind(feed.as_str()).execute(&self.carts.0.pool).await?;
        let builder =
            LogicalSource::builder(&self.carts.0.url(), feed).outbox(guard().outbox_table()).publication("carts");
        Ok(Box::new(builder.connect().await?))
    }

    async fn begin(&self) -> Result<Box<dyn Writer>, HarnessError> {
        self.carts.begin().await
    }
}
