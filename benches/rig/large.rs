//! One transaction of a million rows, which the relay must publish whole and in bounded memory.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::dataset::Dataset;
use crate::draining::Topics;
use crate::outcome::Outcome;
use crate::relay::{Delivery, LOG_PROGRESS, Plan, Shape};
use crate::rig::Rig;

const LIMIT: Duration = Duration::from_secs(900);
const REST: Duration = Duration::from_millis(300);

/// One run with the large transaction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Large {
    pub(crate) rows: u64,
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_bytes: u64,
    /// 1 if it was published whole.
    pub(crate) parts: u64,
}

/// Publishes the transaction to Kafka, transactionally.
pub(crate) async fn measure(rig: &Rig) -> Outcome<Vec<Large>> {
    let rows = rig.options.large_transaction_rows;
    eprintln!("rig: writing one transaction of {rows} rows");
    let dataset = Dataset::with_backlog(&rig.postgres, "large", rows, rows).await?;
    let mut all = Vec::new();
    for _ in 0..rig.options.runs {
        match run(rig, &dataset).await {
            Ok(large) => {
                let Large { seconds, peak_bytes, parts, .. } = &large;
                eprintln!("rig: the large transaction: {seconds:.1} s, {} MiB, {parts} part(s)", peak_bytes >> 20);
                all.push(large);
            }
            Err(error) => rig.miss("the large transaction", &error),
        }
        sleep(REST).await;
    }
    dataset.drop().await?;
    Ok(all)
}

async fn run(rig: &Rig, dataset: &Dataset) -> Outcome<Large> {
    let feed = dataset.new_feed().await?;
    let plan = Plan::to_kafka(Delivery::Transactional, Shape::Events);
    let topics = Topics::create(rig, &feed, &plan).await?;
    let url = rig.postgres.url(&dataset.database);
    let mut relay = rig.relay.start(&plan, &feed, &url, &rig.kafka.brokers, LOG_PROGRESS)?;
    let started = Instant::now();
    let progress = relay.published(dataset.rows, LIMIT).await;
    let (seconds, usage) = (started.elapsed().as_secs_f64(), relay.usage());
    relay.end().await;
    dataset.end_feed(&feed).await?;
    progress?;
    let content = rig.kafka.read(&plan.topic(&feed)).await?;
    topics.delete(rig).await?;
    if content.records != dataset.rows {
        return Err(format!("{} records are in the topic instead of {}", content.records, dataset.rows).into());
    }
    Ok(Large {
        rows: dataset.rows,
        seconds,
        cpu_seconds: usage.cpu_seconds,
        peak_bytes: usage.peak_bytes,
        parts: content.parts + 1,
    })
}
