//! One transaction of very many rows: published whole, in bounded memory.

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::time::sleep;

use crate::dataset::Dataset;
use crate::draining::Topics;
use crate::outcome::Outcome;
use crate::relay::{Delivery, Drain, LOG_PROGRESS, Plan, Shape, To};
use crate::rig::Rig;

const LIMIT: Duration = Duration::from_secs(900);
const REST: Duration = Duration::from_millis(300);

/// One run with the large transaction.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Large {
    pub(crate) drain: &'static str,
    pub(crate) rows: u64,
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_bytes: u64,
    /// 1 if it was published whole.
    pub(crate) parts: u64,
}

/// Publishes the transaction to Kafka, transactionally, by each way of draining.
pub(crate) async fn measure(rig: &Rig) -> Outcome<Vec<Large>> {
    let rows = rig.options.large_transaction_rows;
    eprintln!("rig: writing one transaction of {rows} rows");
    let dataset = Dataset::with_backlog(&rig.postgres, "large", rows, rows).await?;
    let mut all = Vec::new();
    for _ in 0..rig.options.runs {
        let drains = if rig.relay.chooses_drain { &[Drain::Auto, Drain::Streaming][..] } else { &[Drain::Auto] };
        for &drain in drains {
            match run(rig, &dataset, drain).await {
                Ok(large) => {
                    let Large { drain, seconds, peak_bytes, parts, .. } = &large;
                    let peak_mib = peak_bytes >> 20;
                    eprintln!("rig: the large transaction, {drain}: {seconds:.1} s, {peak_mib} MiB, {parts} part(s)");
                    all.push(large);
                }
                Err(error) => rig.miss(&format!("the large transaction, {}", drain.name()), &error),
            }
            sleep(REST).await;
        }
    }
    dataset.drop().await?;
    Ok(all)
}

async fn run(rig: &Rig, dataset: &Dataset, drain: Drain) -> Outcome<Large> {
    let feed = dataset.new_feed().await?;
    let plan = Plan { to: To::Kafka(Delivery::Transactional), shape: Shape::Events, drain };
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
        drain: drain.name(),
        rows: dataset.rows,
        seconds,
        cpu_seconds: usage.cpu_seconds,
        peak_bytes: usage.peak_bytes,
        parts: content.parts + 1,
    })
}
