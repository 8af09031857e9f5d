//! From the start of the process until a `read_committed` consumer has the first record. The feed has run before; one row waits
//! for it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::dataset::Dataset;
use crate::draining::Topics;
use crate::latency::{Reader, Writer};
use crate::outcome::Outcome;
use crate::relay::{Delivery, LOG_QUIET, Plan, Shape};
use crate::rig::Rig;

const LIMIT: Duration = Duration::from_secs(60);

/// One start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Start {
    #[serde(rename = "name")]
    pub(crate) delivery: Delivery,
    pub(crate) seconds: f64,
}

/// Measures the start of a relay of each delivery.
pub(crate) async fn measure(rig: &Rig) -> Vec<Start> {
    let mut all = Vec::new();
    for delivery in [Delivery::Transactional, Delivery::Idempotent] {
        match starts(rig, delivery).await {
            Ok(starts) => all.extend(starts),
            Err(error) => rig.miss(&format!("the start of the {} relay", delivery.name()), &error),
        }
    }
    all
}

async fn starts(rig: &Rig, delivery: Delivery) -> Outcome<Vec<Start>> {
    let dataset = Dataset::empty(&rig.postgres, &format!("start_{}", delivery.name())).await?;
    let feed = dataset.new_feed().await?;
    let plan = Plan::to_kafka(delivery, Shape::Events);
    let topics = Topics::create(rig, &feed, &plan).await?;
    let reader = Reader::start(&rig.kafka, &plan.topic(&feed))?;
    let mut writer = Writer::connect(&dataset).await?;
    let mut starts = Vec::new();
    // The first start enrols the feed.
    for round in 0..=rig.options.runs {
        let write = writer.write_one().await?;
        let url = rig.postgres.url(&dataset.database);
        let mut relay = rig.relay.start(&plan, &feed, &url, &rig.kafka.brokers, LOG_QUIET)?;
        let arrival = tokio::select! {
            arrival = reader.wait_for(write.index, LIMIT) => arrival.ok_or_else(|| "the first record did not come".into()),
            ended = relay.follow() => ended.and(Err("the relay ended".into())),
        };
        let started = relay.started;
        relay.end().await;
        let seconds = arrival?.duration_since(started).as_secs_f64();
        if round > 0 {
            eprintln!("rig: the {} relay's first record after {seconds:.2} s", delivery.name());
            starts.push(Start { delivery, seconds });
        }
    }
    topics.delete(rig).await?;
    dataset.end_feed(&feed).await?;
    dataset.drop().await?;
    Ok(starts)
}
