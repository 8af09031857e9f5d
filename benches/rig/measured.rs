//! Everything that a run has measured, and the lines of its table, each with its target.

use serde::{Deserialize, Serialize};

use crate::contender::Contender;
use crate::debezium::Mode;
use crate::draining::Sample;
use crate::figures::{max, median};
use crate::large::Large;
use crate::latency::{Latency, Subject};
use crate::relay::{Delivery, Shape};
use crate::starting::Start;
use crate::table::{Line, Rival, Target, Unit};

const MIB: f64 = 1_048_576.0;
const LIMIT_NAME: &str = "pg_recvlogical";

/// p50 and p99 in ms that another machine of 2 cores has shown, by delivery and transactions per second. They are no targets:
/// latency depends on the machine more than anything else here.
const LATENCIES_ELSEWHERE: [(Delivery, u32, [f64; 2]); 4] = [
    (Delivery::Transactional, 200, [2.5, 18.0]),
    (Delivery::Transactional, 1_000, [5.2, 27.0]),
    (Delivery::Idempotent, 200, [0.7, 2.1]),
    (Delivery::Idempotent, 1_000, [0.7, 5.8]),
];
/// At this rate and above, p99 has to be below the rival's.
const BUSY_RATE: u32 = 1_000;

/// Everything that was measured.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Measured {
    pub(crate) drains: Vec<Sample>,
    pub(crate) large: Vec<Large>,
    pub(crate) latencies: Vec<Latency>,
    pub(crate) starts: Vec<Start>,
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

    fn add_speeds(&self, lines: &mut Vec<Line>) {
        let limit = (Contender::Recvlogical, LIMIT_NAME);
        self.add_speed(lines, "slot to nothing, streaming over TCP", Contender::STREAMING, limit, streaming_target);
        let socket = "slot to nothing, streaming over a Unix socket";
        self.add_speed(lines, socket, Contender::STREAMING_BY_SOCKET, limit, |_| 1.6);
        let exactly_once = (Contender::Debezium(Mode::ExactlyOnce), "Debezium exactly once");
        let at_least_once = (Contender::Debezium(Mode::AtLeastOnce), "Debezium");
        for (delivery, of_limit, rival, of_rival) in
            [(Delivery::Transactional, 0.8, exactly_once, 6.0), (Delivery::Idempotent, 1.0, at_least_once, 4.0)]
        {
            for shape in [Shape::Events, Shape::Rows] {
                let what = format!("backlog to Kafka, {}, {}", delivery.name(), shape_name(shape));
                let contender = Contender::to_kafka(delivery, shape);
                self.add_speed(lines, &what, contender, limit, |_| of_limit);
                self.add_speed(lines, &what, contender, rival, |_| of_rival);
            }
        }
    }

    fn add_speed(
        &self,
        lines: &mut Vec<Line>,
        what: &str,
        contender: Contender,
        (other, name): (Contender, &str),
        times: impl Fn(u64) -> f64,
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
            // A rival that was not measured has no lines.
            if rival.is_some() || other.is_limit() {
                let what = format!("{what}, {rows_per_transaction} per transaction");
                lines.push(Line::new(
                    what,
                    Unit::RowsPerSecond,
                    value,
                    rival,
                    Target::Times(times(rows_per_transaction)),
                ));
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
                    let what = format!("CPU per million rows, {}, {}, the most", delivery.name(), shape_name(shape));
                    lines.push(Line::new(what, Unit::CpuSecondsPerMillion, value, rival.clone(), Target::AtMost(5.0)));
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
        for (delivery, mode) in
            [(Delivery::Transactional, Mode::ExactlyOnce), (Delivery::Idempotent, Mode::AtLeastOnce)]
        {
            for &rate in &rates {
                let elsewhere = LATENCIES_ELSEWHERE.iter().find(|(of, at, _)| (*of, *at) == (delivery, rate));
                for (index, (name, figure)) in figures.iter().enumerate() {
                    let of = |subject: Subject| {
                        let latencies = self.latencies.iter().filter(move |latency| latency.subject == subject);
                        median(latencies.filter(move |latency| latency.transactions_per_second == rate).map(figure))
                    };
                    let Some(value) = of(Subject::Relay(delivery)) else { continue };
                    let rival = |name: &str, value| Rival { name: name.to_owned(), value };
                    let what = format!("commit to consumer, {}, {rate} transactions/s, {name}", delivery.name());
                    let same = of(Subject::Debezium(mode)).map(|value| rival("Debezium", value));
                    let reference = elsewhere.map_or(Target::Open, |(.., figures)| Target::Reference(figures[index]));
                    lines.push(Line::new(what.clone(), Unit::Milliseconds, value, same, reference));
                    let least =
                        Mode::ALL.into_iter().filter_map(|mode| of(Subject::Debezium(mode))).min_by(f64::total_cmp);
                    if let Some(least) = least
                        && (*name, rate >= BUSY_RATE) == ("p99", true)
                    {
                        let least = Some(rival("Debezium's least", least));
                        lines.push(Line::new(what, Unit::Milliseconds, value, least, Target::BelowRival));
                    }
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

/// What streaming to nothing over TCP should reach, as times of pg_recvlogical. Short transactions are dear for the server, so
/// the way that a client reads matters most there.
fn streaming_target(rows_per_transaction: u64) -> f64 {
    match rows_per_transaction {
        0..10 => 2.5,
        10..1_000 => 2.0,
        1_000.. => 1.8,
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
        let drains = [&streaming[..], &[sample(Contender::Recvlogical, 10, 5.0)]].concat();
        let lines = Measured { drains, ..Measured::default() }.lines();
        let line = line(&lines, "slot to nothing, streaming over TCP, 10 per transaction");
        assert_eq!((line.value, line.ratio, line.met), (500_000.0, Some(2.5), Some(true)));
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
        let start = Start { delivery: Delivery::Transactional, seconds: 3.0 };
        let (drains, starts) = (vec![ours, rival], vec![start]);
        let lines = Measured { drains, starts, ..Measured::default() }.lines();
        let speeds = lines.iter().filter(|line| line.what.starts_with("backlog to Kafka, transactional, outbox"));
        let verdicts: Vec<_> = speeds.map(|line| (line.ratio, line.met)).collect();
        assert_eq!(verdicts, [(None, None), (Some(8.0), Some(true))]);
        let start = line(&lines, "start of the process to the first record, transactional");
        assert_eq!((start.ratio, start.met), (Some(0.6), Some(false)));
        let cpu = line(&lines, "CPU per million rows, transactional, outbox as CloudEvents, the most");
        assert_eq!((cpu.value, cpu.met), (8.0, Some(false)));
    }

    #[test]
    fn a_large_transaction_in_parts_is_shouted() {
        let large = |parts| Large { rows: 9, seconds: 1.0, cpu_seconds: 1.0, peak_bytes: 64 << 20, parts };
        let lines = Measured { large: vec![large(1), large(2)], ..Measured::default() }.lines();
        assert!(lines[0].what.ends_with("in PARTS"));
        let lines = Measured { large: vec![large(1)], ..Measured::default() }.lines();
        assert!(lines[0].what.ends_with("whole"));
    }

    fn latency(subject: Subject, p99_ms: f64) -> Latency {
        let transactions_per_second = 1_000;
        Latency { subject, transactions_per_second, p50_ms: 4.0, p99_ms, due_p50_ms: 6.0, due_p99_ms: 60.0 }
    }

    #[test]
    fn a_busy_relays_p99_has_to_be_below_the_least_of_the_rivals() {
        let ours = [30.0, 21.0, 10.0].map(|p99_ms| latency(Subject::Relay(Delivery::Transactional), p99_ms));
        let what = "commit to consumer, transactional, 1000 transactions/s, p99";
        let verdict = |rivals: &[Latency]| {
            let lines = Measured { latencies: [&ours, rivals].concat(), ..Measured::default() }.lines();
            assert_eq!(line(&lines, what).target, Target::Reference(27.0));
            lines.iter().find(|line| line.target == Target::BelowRival).map(|line| (line.value, line.met))
        };
        assert_eq!(verdict(&[]), None);
        let slow = latency(Subject::Debezium(Mode::ExactlyOnce), 314.0);
        let fast = |p99_ms| latency(Subject::Debezium(Mode::AtLeastOnce), p99_ms);
        assert_eq!(verdict(&[slow.clone(), fast(24.0)]), Some((21.0, Some(true))));
        assert_eq!(verdict(&[slow, fast(20.0)]), Some((21.0, Some(false))));
    }

    #[test]
    fn streaming_has_a_target_for_each_size_of_transactions() {
        let drains = [1, 10, 1_000]
            .map(|size| [sample(Contender::STREAMING, size, 1.0), sample(Contender::Recvlogical, size, 1.9)]);
        let lines = Measured { drains: drains.concat(), ..Measured::default() }.lines();
        let verdicts: Vec<_> = lines.iter().map(|line| (line.target, line.met)).collect();
        let times = Target::Times;
        assert_eq!(verdicts, [(times(2.5), Some(false)), (times(2.0), Some(false)), (times(1.8), Some(true))]);
    }
}
