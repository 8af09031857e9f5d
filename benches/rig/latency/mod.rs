//! From the commit to the consumer: writers commit single rows at a fixed rate, and a `read_committed` consumer runs on the same
//! machine, so that one clock serves both.
//!
//! The loop is *open*: the rate does not slow down for late answers. A stall delays every transaction that was due meanwhile, and
//! each of them counts. Latency is measured from the moment at which the commit returned to its writer and, more strictly, from
//! the moment at which the transaction was due.

mod reader;
mod writer;

use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tokio::time::sleep;

pub(crate) use reader::Reader;
pub(crate) use writer::Writer;

use crate::dataset::Dataset;
use crate::debezium::Mode;
use crate::draining::Topics;
use crate::figures::percentile;
use crate::kafka::Kind;
use crate::outcome::Outcome;
use crate::relay::{Delivery, LOG_QUIET, Plan, Shape};
use crate::rig::Rig;
use writer::Write;

/// How long the first record may take, the start of a virtual machine included.
const FIRST_LIMIT: Duration = Duration::from_secs(60);
const ARRIVAL_LIMIT: Duration = Duration::from_secs(30);
const ARRIVAL_POLL: Duration = Duration::from_millis(20);

/// A program whose latency is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Relay(Delivery),
    Debezium(Mode),
}

/// One window of one subject at one rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    #[serde(rename = "name")]
    pub(crate) subject: Subject,
    pub(crate) transactions_per_second: u32,
    /// From the return of the commit.
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// From the moment at which the transaction was due.
    pub(crate) due_p50_ms: f64,
    pub(crate) due_p99_ms: f64,
}

impl Subject {
    fn all(has_debezium: bool) -> Vec<Self> {
        let mut all = [Delivery::Transactional, Delivery::Idempotent].map(Self::Relay).to_vec();
        if has_debezium {
            all.extend([Mode::AtLeastOnce, Mode::ExactlyOnce].map(Self::Debezium));
        }
        all
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Relay(delivery) => write!(f, "relay {}", delivery.name()),
            Self::Debezium(mode) => write!(f, "Debezium {mode}"),
        }
    }
}

impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let subject = Self::all(true).into_iter().find(|subject| subject.to_string() == name);
        subject.ok_or_else(|| de::Error::custom(format!("unknown subject {name:?}")))
    }
}

/// Measures every subject at every rate.
pub(crate) async fn measure(rig: &Rig) -> Vec<Latency> {
    let mut all = Vec::new();
    for (index, subject) in Subject::all(rig.debezium.is_some()).into_iter().enumerate() {
        if !rig.options.wants_contender(&subject.to_string()) {
            continue;
        }
        match measure_subject(rig, subject, index).await {
            Ok(latencies) => all.extend(latencies),
            Err(error) => rig.miss(&format!("the latency of {subject}"), &error),
        }
    }
    all
}

async fn measure_subject(rig: &Rig, subject: Subject, index: usize) -> Outcome<Vec<Latency>> {
    let dataset = Dataset::empty(&rig.postgres, &format!("latency{index}")).await?;
    let feed = dataset.new_feed().await?;
    let latencies = match subject {
        Subject::Relay(delivery) => {
            let plan = Plan::to_kafka(delivery, Shape::Events);
            let topics = Topics::create(rig, &feed, &plan).await?;
            let url = rig.postgres.url(&dataset.database);
            let mut relay = rig.relay.start(&plan, &feed, &url, &rig.kafka.brokers, LOG_QUIET)?;
            let topic = plan.topic(&feed);
            let measured = tokio::select! {
                measured = at_all_rates(rig, subject, &dataset, &topic) => measured,
                ended = relay.follow() => ended.map(|()| Vec::new()),
            };
            relay.end().await;
            topics.delete(rig).await?;
            measured
        }
        Subject::Debezium(mode) => {
            let debezium = rig.debezium.as_ref().ok_or("Debezium is not installed")?;
            let topic = mode.topic(&feed);
            rig.kafka.create_topic(&topic, Kind::Events).await?;
            let worker = debezium.start(mode, &rig.postgres, &rig.kafka, &dataset.database, &feed).await?;
            let measured = at_all_rates(rig, subject, &dataset, &topic).await;
            worker.end().await;
            rig.kafka.delete_topics(&[&topic]).await?;
            measured
        }
    };
    dataset.end_feed(&feed).await?;
    dataset.drop().await?;
    latencies
}

async fn at_all_rates(rig: &Rig, subject: Subject, dataset: &Dataset, topic: &str) -> Outcome<Vec<Latency>> {
    let reader = Reader::start(&rig.kafka, topic)?;
    let mut writer = Writer::connect(dataset).await?;
    let first = writer.write_one().await?;
    reader.wait_for(first.index, FIRST_LIMIT).await.ok_or("the first record did not come")?;
    let seconds = rig.options.latency_seconds;
    let mut latencies = Vec::new();
    for &rate in &rig.options.latency_rates {
        writer.write(rate, seconds.div_ceil(4)).await?;
        for _ in 0..rig.options.runs {
            let writes = writer.write(rate, seconds).await?;
            let latency = measured(subject, rate, &writes, &reader).await?;
            let Latency { p50_ms, p99_ms, .. } = &latency;
            eprintln!("rig: {subject} at {rate} transactions/s: p50 {p50_ms:.1} ms, p99 {p99_ms:.1} ms");
            latencies.push(latency);
        }
    }
    Ok(latencies)
}

async fn measured(subject: Subject, rate: u32, writes: &[Write], reader: &Reader) -> Outcome<Latency> {
    let deadline = Instant::now() + ARRIVAL_LIMIT;
    let arrivals = loop {
        let arrivals: Vec<Option<Instant>> = writes.iter().map(|write| reader.arrival(write.index)).collect();
        let missing = arrivals.iter().filter(|arrival| arrival.is_none()).count();
        if missing == 0 {
            break arrivals;
        }
        if Instant::now() > deadline {
            return Err(format!("{missing} of {} records did not come", writes.len()).into());
        }
        sleep(ARRIVAL_POLL).await;
    };
    let since = |moment: fn(&Write) -> Instant| -> Vec<f64> {
        let pairs = writes.iter().zip(arrivals.iter().flatten());
        pairs.map(|(write, arrival)| milliseconds_between(moment(write), *arrival)).collect()
    };
    let (returned, due) = (since(|write| write.returned), since(|write| write.due));
    let at = |values: &[f64], percent| percentile(values.iter().copied(), percent).unwrap_or(f64::NAN);
    Ok(Latency {
        subject,
        transactions_per_second: rate,
        p50_ms: at(&returned, 50.0),
        p99_ms: at(&returned, 99.0),
        due_p50_ms: at(&due, 50.0),
        due_p99_ms: at(&due, 99.0),
    })
}

/// Negative where a record reached its consumer before the commit's answer reached the writer.
fn milliseconds_between(from: Instant, to: Instant) -> f64 {
    match to.checked_duration_since(from) {
        Some(later) => later.as_secs_f64() * 1e3,
        None => from.duration_since(to).as_secs_f64() * -1e3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_may_come_before_the_commits_answer() {
        let now = Instant::now();
        let later = now + Duration::from_millis(5);
        assert!((milliseconds_between(now, later) - 5.0).abs() < 1e-9);
        assert!((milliseconds_between(later, now) + 5.0).abs() < 1e-9);
    }
}
