//! Backlogs: every contender drains the same log, each from a slot of the same age, in an order that rotates.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::contender::Contender;
use crate::dataset::Dataset;
use crate::debezium::Mode;
use crate::kafka::{Content, Kind, PARTITIONS};
use crate::outcome::Outcome;
use crate::relay::{LOG_PROGRESS, Plan, Shape, To};
use crate::rig::Rig;
use crate::usage::Usage;

const LIMIT: Duration = Duration::from_secs(600);
const REST: Duration = Duration::from_millis(300);
const RIVAL_POLL: Duration = Duration::from_millis(500);
/// The rival is done, or has failed, when its topic has not grown for this time.
const RIVAL_SILENCE: Duration = Duration::from_secs(3);

/// One run of one contender.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) contender: Contender,
    pub(crate) rows_per_transaction: u64,
    pub(crate) rows: u64,
    /// From the request for the log until the last row is durable at the broker. For Debezium: from its first record to its last.
    pub(crate) seconds: f64,
    /// CPU time of the process alone, from its start.
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_bytes: u64,
    /// CPU time of the PostgreSQL processes that served it.
    pub(crate) server_cpu_seconds: f64,
    /// From the start of the process to the broker's first record, where the run shows it.
    pub(crate) start_seconds: Option<f64>,
}

impl Sample {
    pub(crate) fn rows_per_second(&self) -> f64 {
        self.rows as f64 / self.seconds
    }

    pub(crate) fn cpu_seconds_per_million(&self) -> f64 {
        self.cpu_seconds * 1e6 / self.rows as f64
    }

    pub(crate) fn server_cpu_seconds_per_million(&self) -> f64 {
        self.server_cpu_seconds * 1e6 / self.rows as f64
    }
}

/// Measures all contenders on all backlogs.
pub(crate) async fn measure(rig: &Rig) -> Outcome<Vec<Sample>> {
    let mut samples = Vec::new();
    for &rows_per_transaction in &rig.options.rows_per_transaction {
        eprintln!("rig: writing a backlog of {} rows, {rows_per_transaction} per transaction", rig.options.rows);
        let name = format!("by{rows_per_transaction}");
        let dataset = Dataset::with_backlog(&rig.postgres, &name, rig.options.rows, rows_per_transaction).await?;
        samples.extend(measure_on(rig, &dataset).await);
        dataset.drop().await?;
    }
    Ok(samples)
}

async fn measure_on(rig: &Rig, dataset: &Dataset) -> Vec<Sample> {
    let mut contenders = Contender::all(rig.postgres.socket.is_some(), rig.debezium.is_some());
    contenders.retain(|contender| contender.is_limit() || rig.options.wants_contender(&contender.to_string()));
    let mut samples = Vec::new();
    for round in 0..=usize::from(rig.options.runs) {
        let first = round % contenders.len();
        let order: Vec<_> = contenders[first..].iter().chain(&contenders[..first]).copied().collect();
        for contender in order {
            // A virtual machine starts cold in every run.
            if round == 0 && contender.is_debezium() {
                continue;
            }
            match run(rig, dataset, contender).await {
                Ok(sample) => {
                    let discarded = if round == 0 { " (discarded)" } else { "" };
                    eprintln!(
                        "rig: {contender}, {} per transaction: {:.1}k rows/s, CPU {:.1} s and the server's {:.1} s per million{discarded}",
                        dataset.rows_per_transaction,
                        sample.rows_per_second() / 1e3,
                        sample.cpu_seconds_per_million(),
                        sample.server_cpu_seconds_per_million(),
                    );
                    if round > 0 {
                        samples.push(sample);
                    }
                }
                Err(error) => {
                    rig.miss(&format!("{contender}, {} per transaction", dataset.rows_per_transaction), &error);
                    contenders.retain(|other| *other != contender);
                }
            }
            sleep(REST).await;
        }
        if contenders.is_empty() {
            break;
        }
    }
    samples
}

async fn run(rig: &Rig, dataset: &Dataset, contender: Contender) -> Outcome<Sample> {
    let feed = dataset.new_feed().await?;
    let server_cpu = rig.postgres.watch_cpu(&dataset.database).await?;
    let answer = match contender {
        Contender::Recvlogical => recvlogical(rig, dataset, &feed).await,
        Contender::Relay { plan, socket } => relay(rig, dataset, &feed, plan, socket).await,
        Contender::Debezium(mode) => debezium(rig, dataset, &feed, mode).await,
    };
    let server_cpu_seconds = server_cpu.seconds().await;
    dataset.end_feed(&feed).await?;
    let Measured { seconds, usage, start_seconds } = answer?;
    Ok(Sample {
        contender,
        rows_per_transaction: dataset.rows_per_transaction,
        rows: dataset.rows,
        seconds,
        cpu_seconds: usage.cpu_seconds,
        peak_bytes: usage.peak_bytes,
        server_cpu_seconds,
        start_seconds,
    })
}

struct Measured {
    seconds: f64,
    usage: Usage,
    start_seconds: Option<f64>,
}

async fn recvlogical(rig: &Rig, dataset: &Dataset, feed: &str) -> Outcome<Measured> {
    let took = rig.recvlogical.drain(&rig.postgres, dataset, feed).await?;
    Ok(Measured { seconds: took.as_secs_f64(), usage: Usage::default(), start_seconds: None })
}

async fn relay(rig: &Rig, dataset: &Dataset, feed: &str, plan: Plan, socket: bool) -> Outcome<Measured> {
    let topics = Topics::create(rig, feed, &plan).await?;
    let url = match socket {
        true => rig.postgres.socket_url(&dataset.database).ok_or("there is no Unix socket")?,
        false => rig.postgres.url(&dataset.database),
    };
    let mut relay = rig.relay.start(&plan, feed, &url, &rig.kafka.brokers, LOG_PROGRESS)?;
    let progress = relay.published(dataset.rows, LIMIT).await;
    let usage = relay.usage();
    relay.end().await;
    let progress = progress?;
    topics.check(rig, dataset.rows).await?;
    topics.delete(rig).await?;
    let seconds = progress.published.duration_since(progress.reading).as_secs_f64();
    Ok(Measured { seconds, usage, start_seconds: None })
}

async fn debezium(rig: &Rig, dataset: &Dataset, feed: &str, mode: Mode) -> Outcome<Measured> {
    let debezium = rig.debezium.as_ref().ok_or("Debezium is not installed")?;
    let topic = mode.topic(feed);
    rig.kafka.create_topic(&topic, Kind::Events).await?;
    let started = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let mut worker = debezium.start(mode, &rig.postgres, &rig.kafka, &dataset.database, feed).await?;
    let deadline = Instant::now() + LIMIT;
    let (mut offsets, mut grown) = (0, Instant::now());
    while offsets < dataset.rows || grown.elapsed() < RIVAL_SILENCE {
        sleep(RIVAL_POLL).await;
        worker.check()?;
        let now = rig.kafka.offsets(&topic, PARTITIONS).await?;
        if now > offsets {
            (offsets, grown) = (now, Instant::now());
        }
        if Instant::now() > deadline {
            return Err(worker.failure(&format!("{offsets} of {} rows in {} s", dataset.rows, LIMIT.as_secs())));
        }
    }
    let usage = worker.usage();
    worker.end().await;
    let content = rig.kafka.read(&topic).await?;
    rig.kafka.delete_topics(&[&topic]).await?;
    whole(&content, dataset.rows)?;
    let since = |ms: i64| ms as f64 / 1e3 - started.as_secs_f64();
    let seconds = since(content.last_ms) - since(content.first_ms);
    Ok(Measured { seconds, usage, start_seconds: Some(since(content.first_ms)) })
}

/// The topics of a feed of ours. They exist before it starts, as they do for every feed that has run before.
pub(crate) struct Topics {
    pub(crate) records: Option<String>,
    position: Option<String>,
}

impl Topics {
    pub(crate) async fn create(rig: &Rig, feed: &str, plan: &Plan) -> Outcome<Self> {
        if plan.to == To::Null {
            return Ok(Self { records: None, position: None });
        }
        let (records, position) = (plan.topic(feed), format!("{feed}.positions"));
        let kind = if plan.shape == Shape::Events { Kind::Events } else { Kind::Rows };
        rig.kafka.create_topic(&records, kind).await?;
        rig.kafka.create_topic(&position, Kind::Position).await?;
        Ok(Self { records: Some(records), position: Some(position) })
    }

    /// Fails unless each row is in the topic exactly once.
    async fn check(&self, rig: &Rig, rows: u64) -> Outcome<()> {
        match &self.records {
            Some(topic) => whole(&rig.kafka.read(topic).await?, rows),
            None => Ok(()),
        }
    }

    pub(crate) async fn delete(&self, rig: &Rig) -> Outcome<()> {
        let names: Vec<&str> = self.records.iter().chain(&self.position).map(String::as_str).collect();
        if names.is_empty() { Ok(()) } else { rig.kafka.delete_topics(&names).await }
    }
}

fn whole(content: &Content, rows: u64) -> Outcome<()> {
    match content.records {
        records if records == rows => Ok(()),
        records => Err(format!("{records} records are in the topic instead of {rows}").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_counts_only_if_every_row_came_once() {
        let content = Content { records: 1000, ..Content::default() };
        assert!(whole(&content, 1000).is_ok());
        assert!(whole(&content, 1001).is_err() && whole(&content, 999).is_err());
    }
}
