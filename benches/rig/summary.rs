//! The medians of a run, small enough to be kept and compared: `reference.json` has those of the README.

use serde::{Deserialize, Serialize};

use crate::contender::Contender;
use crate::draining::Sample;
use crate::figures::{max, median};
use crate::latency::{Latency, Subject};
use crate::machine::Machine;
use crate::measured::Measured;
use crate::relay::Delivery;
use crate::starting::Start;
use crate::table::{Unit, markdown, shown};

const MIB: f64 = 1_048_576.0;
/// A figure that is further away than this, in either direction, deserves a warning.
const FAR_TIMES: f64 = 1.5;
/// The figures that the README shows.
const REFERENCE: &str = include_str!("../reference.json");

/// The medians of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) machine: Machine,
    pub(crate) postgres: String,
    pub(crate) kafka: String,
    /// Rows of each backlog.
    pub(crate) rows: u64,
    pub(crate) drains: Vec<Drain>,
    pub(crate) latencies: Vec<CommitToConsumer>,
    pub(crate) starts: Vec<Start>,
}

/// One contender on the backlog of one size of transactions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Drain {
    pub(crate) contender: Contender,
    pub(crate) rows_per_transaction: u64,
    pub(crate) rows_per_second: f64,
    pub(crate) cpu_seconds_per_million: f64,
    pub(crate) server_cpu_seconds_per_million: f64,
    /// The largest of all runs.
    pub(crate) peak_mebibytes: f64,
}

/// The latency of one subject at one rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CommitToConsumer {
    pub(crate) subject: Subject,
    pub(crate) transactions_per_second: u32,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

impl Summary {
    pub(crate) fn new(machine: Machine, postgres: &str, kafka: &str, measured: &Measured) -> Self {
        Self {
            machine,
            postgres: postgres.to_owned(),
            kafka: kafka.to_owned(),
            rows: measured.drains.first().map_or(0, |sample| sample.rows),
            drains: drains(&measured.drains),
            latencies: latencies(&measured.latencies),
            starts: starts(&measured.starts),
        }
    }

    /// Reads the figures that the README shows.
    pub(crate) fn reference() -> Result<Self, serde_json::Error> {
        serde_json::from_str(REFERENCE)
    }

    pub(crate) fn drain(&self, contender: Contender, rows_per_transaction: u64) -> Option<&Drain> {
        self.of(contender).find(|drain| drain.rows_per_transaction == rows_per_transaction)
    }

    pub(crate) fn of(&self, contender: Contender) -> impl Iterator<Item = &Drain> {
        self.drains.iter().filter(move |drain| drain.contender == contender)
    }

    /// Lists the sizes of transactions, smallest first.
    pub(crate) fn sizes(&self) -> Vec<u64> {
        let mut sizes: Vec<u64> = self.drains.iter().map(|drain| drain.rows_per_transaction).collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }

    /// The medians of every contender, as a table.
    pub(crate) fn contenders(&self) -> String {
        let rows = self.drains.iter().map(|drain| {
            [
                drain.rows_per_transaction.to_string(),
                drain.contender.to_string(),
                format!("{:.1}k", drain.rows_per_second / 1e3),
                // pg_recvlogical's own CPU time is not measured.
                match drain.cpu_seconds_per_million {
                    0.0 => "–".to_owned(),
                    seconds => format!("{seconds:.1}"),
                },
                format!("{:.1}", drain.server_cpu_seconds_per_million),
                format!("{:.0}", drain.peak_mebibytes),
            ]
        });
        let head = ["per tx", "contender", "rows/s", "CPU s per million", "server's CPU s per million", "peak MiB"];
        markdown(head, rows)
    }

    /// Names the figures that are far from the reference's: one line for each, or nothing where all of them are near.
    pub(crate) fn far_from(&self, reference: &Self) -> Vec<String> {
        let theirs = reference.figures();
        let figures = self.figures().into_iter();
        let far = figures.filter_map(|(what, unit, ours)| {
            let (.., theirs) = theirs.iter().find(|(other, other_unit, _)| (other, *other_unit) == (&what, unit))?;
            let (times, direction) = if ours > *theirs { (ours / theirs, "more") } else { (theirs / ours, "less") };
            (times > FAR_TIMES).then(|| {
                let (ours, theirs) = (shown(ours, unit), shown(*theirs, unit));
                format!("{what}: {ours}, {times:.1} times {direction} than the README's {theirs}")
            })
        });
        far.collect()
    }

    fn figures(&self) -> Vec<(String, Unit, f64)> {
        let mut figures = Vec::new();
        for drain in &self.drains {
            let what = format!("{}, {} per transaction", drain.contender, drain.rows_per_transaction);
            figures.push((what.clone(), Unit::RowsPerSecond, drain.rows_per_second));
            if drain.cpu_seconds_per_million > 0.0 {
                figures.push((what, Unit::CpuSecondsPerMillion, drain.cpu_seconds_per_million));
            }
        }
        for latency in &self.latencies {
            let what = format!("{} at {} transactions/s", latency.subject, latency.transactions_per_second);
            figures.push((format!("{what}, p50"), Unit::Milliseconds, latency.p50_ms));
            figures.push((format!("{what}, p99"), Unit::Milliseconds, latency.p99_ms));
        }
        for start in &self.starts {
            figures.push((format!("start, {}", start.delivery.name()), Unit::Seconds, start.seconds));
        }
        figures
    }
}

fn drains(samples: &[Sample]) -> Vec<Drain> {
    let keys = distinct(samples.iter().map(|sample| (sample.rows_per_transaction, sample.contender)));
    let drain = |(rows_per_transaction, contender)| {
        let samples = || {
            let samples = samples.iter().filter(move |sample| sample.contender == contender);
            samples.filter(move |sample| sample.rows_per_transaction == rows_per_transaction)
        };
        Some(Drain {
            contender,
            rows_per_transaction,
            rows_per_second: rounded(median(samples().map(Sample::rows_per_second))?, 0),
            cpu_seconds_per_million: rounded(median(samples().map(Sample::cpu_seconds_per_million))?, 2),
            server_cpu_seconds_per_million: rounded(median(samples().map(Sample::server_cpu_seconds_per_million))?, 2),
            peak_mebibytes: rounded(max(samples().map(|sample| sample.peak_bytes as f64 / MIB))?, 1),
        })
    };
    keys.into_iter().filter_map(drain).collect()
}

fn latencies(windows: &[Latency]) -> Vec<CommitToConsumer> {
    let keys = distinct(windows.iter().map(|window| (window.subject, window.transactions_per_second)));
    let latency = |(subject, transactions_per_second)| {
        let windows = || {
            let windows = windows.iter().filter(move |window| window.subject == subject);
            windows.filter(move |window| window.transactions_per_second == transactions_per_second)
        };
        Some(CommitToConsumer {
            subject,
            transactions_per_second,
            p50_ms: rounded(median(windows().map(|window| window.p50_ms))?, 2),
            p99_ms: rounded(median(windows().map(|window| window.p99_ms))?, 2),
        })
    };
    keys.into_iter().filter_map(latency).collect()
}

fn starts(starts: &[Start]) -> Vec<Start> {
    let median = |delivery: Delivery| {
        let seconds = starts.iter().filter(|start| start.delivery == delivery).map(|start| start.seconds);
        Some(Start { delivery, seconds: rounded(median(seconds)?, 3) })
    };
    [Delivery::Transactional, Delivery::Idempotent].into_iter().filter_map(median).collect()
}

/// The different keys, in the order of their first appearance.
fn distinct<K: PartialEq>(keys: impl Iterator<Item = K>) -> Vec<K> {
    keys.fold(Vec::new(), |mut distinct, key| {
        if !distinct.contains(&key) {
            distinct.push(key);
        }
        distinct
    })
}

fn rounded(value: f64, decimals: i32) -> f64 {
    let factor = 10_f64.powi(decimals);
    (value * factor).round() / factor
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::debezium::Mode;
    use crate::relay::Shape;

    /// A summary with and without the rival.
    pub(crate) fn summary(has_debezium: bool) -> Summary {
        let drain = |contender, rows_per_transaction, rows_per_second, cpu_seconds_per_million| Drain {
            contender,
            rows_per_transaction,
            rows_per_second,
            cpu_seconds_per_million,
            server_cpu_seconds_per_million: 4.0,
            peak_mebibytes: 60.0,
        };
        let [events, rows] =
            [Shape::Events, Shape::Rows].map(|shape| Contender::to_kafka(Delivery::Transactional, shape));
        let debezium = Contender::Debezium(Mode::ExactlyOnce);
        let mut drains = Vec::new();
        for (size, speed) in [(1, 150_000.0), (10, 180_000.0), (1000, 200_000.0)] {
            drains.push(drain(events, size, speed, 4.0));
            drains.push(drain(rows, size, speed * 0.9, 4.6));
            if has_debezium {
                drains.push(drain(debezium, size, 25_000.0, 94.0));
            }
        }
        let latency =
            |subject, p50_ms, p99_ms| CommitToConsumer { subject, transactions_per_second: 1000, p50_ms, p99_ms };
        let mut latencies = vec![latency(Subject::Relay(Delivery::Transactional), 5.0, 27.0)];
        if has_debezium {
            latencies.push(latency(Subject::Debezium(Mode::ExactlyOnce), 15.0, 314.0));
        }
        let machine = Machine {
            date: "2026-11-29 20:56 UTC".to_owned(),
            cpu: "A & B".to_owned(),
            cores: 2,
            kernel: "6.18.44".to_owned(),
            load: Some(0.1),
        };
        let starts = vec![Start { delivery: Delivery::Transactional, seconds: 0.2 }];
        Summary { machine, postgres: "18.6".into(), kafka: "4.3.1".into(), rows: 300_000, drains, latencies, starts }
    }

    #[test]
    fn every_contender_is_in_a_table_of_medians() {
        let drains = [4.0, 1.0, 2.0].map(|seconds| Sample {
            contender: Contender::STREAMING,
            rows_per_transaction: 10,
            rows: 1_000_000,
            seconds,
            cpu_seconds: 2.0 * seconds,
            peak_bytes: 32 << 20,
            server_cpu_seconds: seconds,
            start_seconds: None,
        });
        let measured = Measured { drains: drains.to_vec(), ..Measured::default() };
        let table = Summary::new(summary(false).machine, "18.6", "4.3.1", &measured).contenders();
        let row: Vec<&str> = table.lines().nth(2).expect("a row").split('|').map(str::trim).collect();
        assert_eq!(row, ["", "10", "relay to null", "500.0k", "4.0", "2.0", "32", ""]);
        assert_eq!(table.lines().count(), 3);
    }

    #[test]
    fn a_figure_that_is_far_from_the_reference_is_named_in_both_directions() {
        let reference = summary(true);
        assert_eq!(reference.far_from(&reference), Vec::<String>::new());
        let mut here = summary(false);
        here.drains[0].rows_per_second = 60_000.0;
        here.drains[1].cpu_seconds_per_million = 6.8;
        here.latencies[0].p99_ms = 60.0;
        assert_eq!(
            here.far_from(&reference),
            [
                "relay to Kafka transactional, outbox, 1 per transaction: 60.0k rows/s, 2.5 times less than the README's 150.0k rows/s",
                "relay transactional at 1000 transactions/s, p99: 60.0 ms, 2.2 times more than the README's 27.0 ms",
            ]
        );
    }

    #[test]
    fn the_reference_is_a_summary() {
        let reference = Summary::reference().expect("benches/reference.json is a summary");
        assert!(!reference.drains.is_empty() && !reference.latencies.is_empty());
    }
}
