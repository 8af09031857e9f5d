//! What the runs come to: the lines of the table, each with its target.

use serde::Serialize;

use crate::contender::Contender;
use crate::debezium::Mode;
use crate::draining::Sample;
use crate::figures::{max, median};
use crate::large::Large;
use crate::latency::{Latency, Subject};
use crate::machine::Machine;
use crate::relay::{Delivery, Shape};
use crate::starting::Start;
use crate::table::{Line, Rival, Target, Unit, markdown};

const MIB: f64 = 1_048_576.0;
const LIMIT_NAME: &str = "pg_recvlogical";

/// Everything that was measured.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Measured {
    pub(crate) drains: Vec<Sample>,
    pub(crate) large: Vec<Large>,
    pub(crate) latencies: Vec<Latency>,
    pub(crate) starts: Vec<Start>,
}

/// The report as it is written to the file.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) postgres: String,
    pub(crate) command: String,
    pub(crate) lines: Vec<Line>,
    #[serde(flatten)]
    pub(crate) measured: Measured,
}

impl Measured {
    /// The lines of the table, in its order.
    pub(crate) fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        self.add_speeds(&mut lines);
        self.add_memory(&mut lines);
        self.add_cpu(&mut lines);
        self.add_latencies(&mut lines);
        self.add_starts(&mut lines);
        lines
    }

    /// The medians of everybody who drained a backlog, in a table of their own.
    pub(crate) fn contenders(&self) -> String {
        let mut who: Vec<(u64, Contender)> = Vec::new();
        for sample in &self.drains {
            let one = (sample.rows_per_transaction, sample.contender);
            if !who.contains(&one) {
                who.push(one);
            }
        }
        let rows = who.into_iter().map(|(rows_per_transaction, contender)| {
            let middle = |figure: fn(&Sample) -> f64| {
                let samples = self.drains.iter().filter(|sample| sample.contender == contender);
                let samples = samples.filter(|sample| sample.rows_per_transaction == rows_per_transaction);
                median(samples.map(figure)).unwrap_or(f64::NAN)
            };
            [
                rows_per_transaction.to_string(),
                contender.to_string(),
                format!("{:.1}k", middle(Sample::rows_per_second) / 1e3),
                format!("{:.1}", middle(Sample::cpu_seconds_per_million)),
                format!("{:.1}", middle(Sample::server_cpu_seconds_per_million)),
                format!("{:.0}", middle(|sample| sample.peak_bytes as f64 / MIB)),
            ]
        });
        let head = ["per tx", "contender", "rows/s", "CPU s per million", "server's CPU s per million", "peak MiB"];
        markdown(head, rows)
    }

    fn add_speeds(&self, lines: &mut Vec<Line>) {
        let limit = (Contender::Recvlogical, LIMIT_NAME);
        self.add_speed(lines, "slot to nothing, streaming over TCP", Contender::STREAMING, limit, 1.0);
        self.add_speed(
            lines,
            "slot to nothing, streaming over a Unix socket",
            Contender::STREAMING_BY_SOCKET,
            limit,
            1.6,
        );
        let exactly_once = (Contender::Debezium(Mode::ExactlyOnce), "Debezium exactly once");
        let at_least_once = (Contender::Debezium(Mode::AtLeastOnce), "Debezium");
        for (delivery, of_limit, rival, of_rival) in
            [(Delivery::Transactional, 0.8, exactly_once, 6.0), (Delivery::Idempotent, 1.0, at_least_once, 4.0)]
        {
            for shape in [Shape::Events, Shape::Rows] {
                let what = format!("backlog to Kafka, {}, {}", delivery.name(), shape_name(shape));
                let contender = Contender::to_kafka(delivery, shape);
                self.add_speed(lines, &what, contender, limit, of_limit);
                self.add_speed(lines, &what, contender, rival, of_rival);
            }
        }
    }

    fn add_speed(
        &self,
        lines: &mut Vec<Line>,
        what: &str,
        contender: Contender,
        (other, name): (Contender, &str),
        times: f64,
    ) {
        for rows_per_transaction in self.sizes() {
            let speed = |of: Contender| {
                let samples = self.drains.iter().filter(|sample| sample.contender == of);
                median(
                    samples
                        .filter(|sample| sample.rows_per_transaction == rows_per_transaction)
                        .map(Sample::rows_per_second),
                )
            };
            let Some(value) = speed(contender) else { continue };
            let rival = speed(other).map(|value| Rival { name: name.to_owned(), value });
            // A rival that the run was not told to measure has no lines.
            if rival.is_some() || other.is_limit() {
                let what = format!("{what}, {rows_per_transaction} per transaction");
                lines.push(Line::new(what, Unit::RowsPerSecond, value, rival, Target::Times(times)));
            }
        }
    }

    fn sizes(&self) -> Vec<u64> {
        let mut sizes: Vec<u64> = self.drains.iter().map(|sample| sample.rows_per_transaction).collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }

    fn add_memory(&self, lines: &mut Vec<Line>) {
        let peaks = |wanted: fn(&Contender) -> bool| {
            let samples = self.drains.iter().filter(move |sample| wanted(&sample.contender));
            samples.map(|sample| sample.peak_bytes as f64 / MIB)
        };
        let rival = peaks(Contender::is_debezium).min_by(f64::total_cmp);
        let rival = rival.map(|value| Rival { name: "Debezium's least".to_owned(), value });
        if let Some(value) = max(peaks(Contender::is_to_kafka)) {
            lines.push(Line::new(
                "resident memory at full speed, the most of all runs",
                Unit::Mebibytes,
                value,
                rival,
                Target::AtMost(64.0),
            ));
        }
        let peaks = self.large.iter().map(|large| large.peak_bytes as f64 / MIB);
        if let Some(value) = max(peaks) {
            let rows = self.large.first().map_or(0, |large| large.rows);
            let whole =
                if self.large.iter().all(|large| large.parts == 1) { "published whole" } else { "published in PARTS" };
            let what = format!("resident memory for a transaction of {rows} rows, {whole}");
            lines.push(Line::new(what, Unit::Mebibytes, value, None, Target::AtMost(128.0)));
        }
    }

    fn add_cpu(&self, lines: &mut Vec<Line>) {
        let medians = |contender: Contender| {
            self.sizes().into_iter().filter_map(move |rows_per_transaction| {
                let samples = self.drains.iter().filter(|sample| sample.contender == contender);
                let samples = samples.filter(|sample| sample.rows_per_transaction == rows_per_transaction);
                median(samples.map(Sample::cpu_seconds_per_million))
            })
        };
        for (delivery, mode) in
            [(Delivery::Transactional, Mode::ExactlyOnce), (Delivery::Idempotent, Mode::AtLeastOnce)]
        {
            let rival = medians(Contender::Debezium(mode)).min_by(f64::total_cmp);
            let rival = rival.map(|value| Rival { name: "Debezium's least".to_owned(), value });
            for shape in [Shape::Events, Shape::Rows] {
                if let Some(value) = max(medians(Contender::to_kafka(delivery, shape))) {
                    let what = format!("CPU per million rows, {}, {}, the dearest", delivery.name(), shape_name(shape));
                    lines.push(Line::new(what, Unit::CpuSecondsPerMillion, value, rival.clone(), Target::AtMost(10.0)));
                }
            }
        }
    }

    fn add_latencies(&self, lines: &mut Vec<Line>) {
        let mut rates: Vec<u32> = self.latencies.iter().map(|latency| latency.transactions_per_second).collect();
        rates.sort_unstable();
        rates.dedup();
        type Figure = fn(&Latency) -> f64;
        let figures: [(&str, Figure); 2] = [("p50", |latency| latency.p50_ms), ("p99", |latency| latency.p99_ms)];
        for (delivery, mode, most) in [
            (Delivery::Transactional, Mode::ExactlyOnce, [12.0, 40.0]),
            (Delivery::Idempotent, Mode::AtLeastOnce, [5.0, 20.0]),
        ] {
            for &rate in &rates {
                for ((name, figure), most) in figures.iter().zip(most) {
                    let of = |subject: Subject| {
                        let latencies = self.latencies.iter().filter(move |latency| latency.subject == subject);
                        median(latencies.filter(move |latency| latency.transactions_per_second == rate).map(figure))
                    };
                    let Some(value) = of(Subject::Relay(delivery)) else { continue };
                    let rival = of(Subject::Debezium(mode));
                    let rival = rival.map(|value| Rival { name: "Debezium".to_owned(), value });
                    let what = format!("commit to consumer, {}, {rate} transactions/s, {name}", delivery.name());
                    lines.push(Line::new(what, Unit::Milliseconds, value, rival, Target::AtMost(most)));
                }
            }
        }
    }

    fn add_starts(&self, lines: &mut Vec<Line>) {
        for (delivery, mode, most) in
            [(Delivery::Transactional, Mode::ExactlyOnce, 2.5), (Delivery::Idempotent, Mode::AtLeastOnce, 1.0)]
        {
            let starts = self.starts.iter().filter(|start| start.delivery == delivery);
            let Some(value) = median(starts.map(|start| start.seconds)) else { continue };
            let rivals = self.drains.iter().filter(|sample| sample.contender == Contender::Debezium(mode));
            let rival = median(rivals.filter_map(|sample| sample.start_seconds));
            let rival = rival.map(|value| Rival { name: "Debezium".to_owned(), value });
            let what = format!("start of the process to the first record, {}", delivery.name());
            lines.push(Line::new(what, Unit::Seconds, value, rival, Target::AtMost(most)));
        }
    }
}

fn shape_name(shape: Shape) -> &'static str {
    match shape {
        Shape::Events => "outbox as CloudEvents",
        Shape::Rows => "rows flat",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(contender: Contender, rows_per_transaction: u64, seconds: f64) -> Sample {
        Sample {
            contender,
            rows_per_transaction,
            rows: 1_000_000,
            seconds,
            cpu_seconds: 2.0 * seconds,
            peak_bytes: 32 << 20,
            server_cpu_seconds: seconds,
            start_seconds: contender.is_debezium().then_some(5.0),
        }
    }

    fn line<'a>(lines: &'a [Line], what: &str) -> &'a Line {
        lines.iter().find(|line| line.what == what).unwrap_or_else(|| panic!("no line {what:?} in {lines:#?}"))
    }

    #[test]
    fn a_speed_is_the_median_of_its_runs_beside_its_rivals() {
        let streaming = [4.0, 1.0, 2.0].map(|seconds| sample(Contender::STREAMING, 10, seconds));
        let drains = [&streaming[..], &[sample(Contender::Recvlogical, 10, 3.0)]].concat();
        let lines = Measured { drains, ..Measured::default() }.lines();
        let line = line(&lines, "slot to nothing, streaming over TCP, 10 per transaction");
        assert_eq!((line.value, line.ratio, line.met), (500_000.0, Some(1.5), Some(true)));
    }

    #[test]
    fn everybody_who_drained_is_in_a_table_of_medians() {
        let drains = [4.0, 1.0, 2.0].map(|seconds| sample(Contender::STREAMING, 10, seconds)).to_vec();
        let table = Measured { drains, ..Measured::default() }.contenders();
        let row: Vec<&str> = table.lines().nth(2).expect("a row").split('|').map(str::trim).collect();
        assert_eq!(row, ["", "10", "relay to null", "500.0k", "4.0", "2.0", "32", ""]);
        assert_eq!(table.lines().count(), 3);
    }

    #[test]
    fn sizes_of_transactions_are_never_mixed() {
        let drains = vec![sample(Contender::STREAMING, 1, 4.0), sample(Contender::Recvlogical, 10, 1.0)];
        let lines = Measured { drains, ..Measured::default() }.lines();
        assert_eq!(line(&lines, "slot to nothing, streaming over TCP, 1 per transaction").met, None);
        assert_eq!(lines.len(), 1, "{lines:#?}");
    }

    #[test]
    fn the_rival_has_its_lines_where_it_was_measured() {
        let ours = sample(Contender::to_kafka(Delivery::Transactional, Shape::Events), 10, 4.0);
        let rival = sample(Contender::Debezium(Mode::ExactlyOnce), 10, 32.0);
        let start = Start { delivery: Delivery::Transactional, name: "transactional", seconds: 3.0 };
        let (drains, starts) = (vec![ours, rival], vec![start]);
        let lines = Measured { drains, starts, ..Measured::default() }.lines();
        let speeds = lines.iter().filter(|line| line.what.starts_with("backlog to Kafka, transactional, outbox"));
        let verdicts: Vec<_> = speeds.map(|line| (line.ratio, line.met)).collect();
        assert_eq!(verdicts, [(None, None), (Some(8.0), Some(true))]);
        let start = line(&lines, "start of the process to the first record, transactional");
        assert_eq!((start.ratio, start.met), (Some(0.6), Some(false)));
        let cpu = line(&lines, "CPU per million rows, transactional, outbox as CloudEvents, the dearest");
        assert_eq!((cpu.value, cpu.met), (8.0, Some(true)));
    }

    #[test]
    fn a_large_transaction_in_parts_is_shouted() {
        let large = |parts| Large { rows: 9, seconds: 1.0, cpu_seconds: 1.0, peak_bytes: 64 << 20, parts };
        let lines = Measured { large: vec![large(1), large(2)], ..Measured::default() }.lines();
        assert!(lines[0].what.ends_with("in PARTS"));
        let lines = Measured { large: vec![large(1)], ..Measured::default() }.lines();
        assert!(lines[0].what.ends_with("whole"));
    }

    #[test]
    fn latencies_are_told_by_rate_and_percentile() {
        let latency = |p99_ms| Latency {
            subject: Subject::Relay(Delivery::Idempotent),
            name: String::new(),
            transactions_per_second: 200,
            p50_ms: 4.0,
            p99_ms,
            due_p50_ms: 6.0,
            due_p99_ms: 60.0,
        };
        let lines = Measured { latencies: [30.0, 21.0, 10.0].map(latency).to_vec(), ..Measured::default() }.lines();
        assert_eq!(line(&lines, "commit to consumer, idempotent, 200 transactions/s, p50").met, Some(true));
        assert_eq!(line(&lines, "commit to consumer, idempotent, 200 transactions/s, p99").met, Some(false));
    }
}
