//! What of a run is published: the plot, the table of the README, and the reference that later runs are compared with.

use std::fs;
use std::path::{Path, PathBuf};

use crate::contender::Contender;
use crate::debezium::Mode;
use crate::figures::max;
use crate::latency::Subject;
use crate::outcome::Outcome;
use crate::plot::{grouped, svg};
use crate::relay::{Delivery, Shape};
use crate::summary::{Drain, Summary};
use crate::table::markdown;

/// The README's table is between these lines.
const BEGIN: &str = "<!-- Written by the rig: benches/README.md says how. -->\n";
const END: &str = "<!-- End of what the rig writes. -->\n";
/// The rate at which the README tells the latency.
const RATE: u32 = 1_000;

/// Writes plot, table and reference into this checkout.
pub(crate) fn publish(summary: &Summary) -> Outcome<()> {
    let plot = svg(summary).ok_or("the run has nothing into Kafka exactly once")?;
    let readme = fs::read_to_string(file("README.md"))?;
    fs::write(file("README.md"), with_table(&readme, summary).ok_or("README.md has no place for the table")?)?;
    fs::write(file("docs/throughput.svg"), plot)?;
    Ok(fs::write(file("benches/reference.json"), serde_json::to_string_pretty(summary)? + "\n")?)
}

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The README with the table of this summary.
fn with_table(readme: &str, summary: &Summary) -> Option<String> {
    let (before, rest) = readme.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{}\n{END}{after}", table(summary)))
}

/// A row for each of ours and for the rival, where it was measured.
fn table(summary: &Summary) -> String {
    let exactly_once = |shape| Contender::to_kafka(Delivery::Transactional, shape);
    let rows = [
        ("change-feed, outbox", exactly_once(Shape::Events), Some(Subject::Relay(Delivery::Transactional))),
        ("change-feed, rows", exactly_once(Shape::Rows), None),
        ("Debezium, rows", Contender::Debezium(Mode::ExactlyOnce), Some(Subject::Debezium(Mode::ExactlyOnce))),
    ];
    let measured = rows.into_iter().filter(|(_, contender, _)| summary.of(*contender).next().is_some());
    let body = measured.map(|(name, contender, subject)| {
        [
            name.to_owned(),
            by_size(summary, contender, |drain| format!("{:.0}", drain.rows_per_second / 1e3)),
            by_size(summary, contender, |drain| format!("{:.1}", drain.cpu_seconds_per_million)),
            max(summary.of(contender).map(|drain| drain.peak_mebibytes)).map_or_else(dash, |most| format!("{most:.0}")),
            subject.and_then(|subject| latency(summary, subject)).unwrap_or_else(dash),
        ]
    });
    let sizes: Vec<String> = summary.sizes().into_iter().map(grouped).collect();
    let sizes = sizes.join(" / ");
    let rates = format!("thousand rows/s at {sizes} rows per transaction");
    let wait = format!("commit to consumer at {}/s, p50 / p99 ms", grouped(u64::from(RATE)));
    markdown(["exactly once", &rates, "CPU s per million rows", "peak MiB", &wait], body)
}

fn by_size(summary: &Summary, contender: Contender, figure: fn(&Drain) -> String) -> String {
    let figures = summary.sizes().into_iter().map(|size| summary.drain(contender, size).map_or_else(dash, figure));
    figures.collect::<Vec<_>>().join(" / ")
}

fn latency(summary: &Summary, subject: Subject) -> Option<String> {
    let mut latencies = summary.latencies.iter().filter(|latency| latency.subject == subject);
    let latency = latencies.find(|latency| latency.transactions_per_second == RATE)?;
    Some(format!("{:.1} / {:.0}", latency.p50_ms, latency.p99_ms))
}

fn dash() -> String {
    "–".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::tests::summary;

    const README: &str = include_str!("../../README.md");
    const PLOT: &str = include_str!("../../docs/throughput.svg");

    #[test]
    fn the_readmes_table_and_plot_are_those_of_the_reference() {
        let reference = Summary::reference().expect("a summary");
        assert_eq!(with_table(README, &reference).as_deref(), Some(README), "run the rig with --publish");
        assert_eq!(svg(&reference).as_deref(), Some(PLOT), "run the rig with --publish");
    }

    #[test]
    fn the_table_has_the_rival_where_it_was_measured() {
        let with = table(&summary(true));
        let row = |table: &str, name: &str| -> Option<Vec<String>> {
            let row = table.lines().find(|line| line.contains(name))?;
            Some(row.split('|').map(|cell| cell.trim().to_owned()).filter(|cell| !cell.is_empty()).collect())
        };
        let rival = row(&with, "Debezium").expect("a row");
        assert_eq!(rival[1..], ["25 / 25 / 25", "94.0 / 94.0 / 94.0", "60", "15.0 / 314"]);
        assert_eq!(row(&with, "change-feed, rows").expect("a row")[4], "–");
        assert_eq!(row(&table(&summary(false)), "Debezium"), None);
    }

    #[test]
    fn a_readme_without_the_place_is_refused() {
        assert_eq!(with_table("# A page\n", &summary(true)), None);
        let page = format!("before\n{BEGIN}old{END}after\n");
        let page = with_table(&page, &summary(true)).expect("a page");
        assert!(page.starts_with("before\n") && page.ends_with("after\n") && !page.contains("old"));
    }
}
