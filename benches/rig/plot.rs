//! The plot of the README: into Kafka exactly once, beside the rival, as an SVG without scripts or foreign fonts that is
//! readable on light and on dark pages.
//!
//! ```text
//!                        thousand rows/s          CPU s per million rows
//!  1 row per transaction
//!   change-feed, outbox  ██████████████ 161       █ 4.1
//!   Debezium, rows       ██ 24                    ████████████████ 94
//!  …
//! ```

use std::fmt::Write as _;

use crate::contender::Contender;
use crate::debezium::Mode;
use crate::figures::max;
use crate::relay::{Delivery, Shape};
use crate::summary::{Drain, Summary};

const WIDTH: u32 = 760;
const MARGIN: u32 = 24;
/// Where the groups begin, below title and column heads.
const TOP: u32 = 86;
const GROUP_HEAD: u32 = 22;
const GROUP_GAP: u32 = 12;
const ROW: u32 = 20;
const BAR: u32 = 12;
/// Two lines.
const FOOTER: u32 = 52;

/// A column of bars.
struct Column {
    head: &'static str,
    left: u32,
    /// The length of the longest bar. Its label follows it.
    width: u32,
    value: fn(&Drain) -> f64,
    decimals: usize,
}

const COLUMNS: [Column; 2] = [
    Column {
        head: "Thousand rows per second (more is better)",
        left: 178,
        width: 236,
        value: |drain| drain.rows_per_second / 1e3,
        decimals: 0,
    },
    Column {
        head: "CPU seconds per million rows (less is better)",
        left: 476,
        width: 210,
        value: |drain| drain.cpu_seconds_per_million,
        decimals: 1,
    },
];

const STYLE: &str = "  .page { fill: #ffffff; stroke: #d1d9e0 } .ink { fill: #1f2328 } .quiet { fill: #59636e }
  .events { fill: #0a66c2 } .rows { fill: #55a0ea } .rival { fill: #a3abb4 }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117; stroke: #3d444d } .ink { fill: #f0f6fc } .quiet { fill: #9ba5b0 }
    .events { fill: #58a6ff } .rows { fill: #2f70c9 } .rival { fill: #6b7480 }
  }
  text { font-family: system-ui, -apple-system, 'Segoe UI', sans-serif; font-size: 12px }
  text.title { font-size: 16px; font-weight: 600 } .head { font-weight: 600 }
";

/// Draws the plot; `None` where the run has nothing into Kafka exactly once.
pub(crate) fn svg(summary: &Summary) -> Option<String> {
    let series = [
        ("change-feed, outbox", "events", Contender::to_kafka(Delivery::Transactional, Shape::Events)),
        ("change-feed, rows", "rows", Contender::to_kafka(Delivery::Transactional, Shape::Rows)),
        ("Debezium, rows", "rival", Contender::Debezium(Mode::ExactlyOnce)),
    ];
    let scales = COLUMNS.map(|column| max(series.iter().flat_map(|(.., of)| summary.of(*of).map(column.value))));
    let mut bars = String::new();
    let mut y = TOP;
    for size in summary.sizes() {
        let drains = series.iter().filter_map(|(name, class, of)| Some((name, class, summary.drain(*of, size)?)));
        let drains: Vec<_> = drains.collect();
        if drains.is_empty() {
            continue;
        }
        bars += &text(MARGIN, y + 14, "ink head", &transaction_size(size));
        y += GROUP_HEAD;
        for (name, class, drain) in drains {
            bars += &text(MARGIN, y + 13, "ink", name);
            for (column, scale) in COLUMNS.iter().zip(scales) {
                bars += &column.bar(drain, scale?, y, class);
            }
            y += ROW;
        }
        y += GROUP_GAP;
    }
    // Some size has a bar, or there is nothing to show.
    scales[0]?;
    Some(page(summary, &bars, y + FOOTER))
}

impl Column {
    fn bar(&self, drain: &Drain, scale: f64, y: u32, class: &str) -> String {
        let value = (self.value)(drain);
        // A bar of less than a pixel would look like none.
        let length = (value / scale * f64::from(self.width)).max(1.0);
        let label = format!("{value:.*}", self.decimals);
        let bar = format!(
            "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{length:.1}\" height=\"{BAR}\" rx=\"2\"/>\n",
            self.left,
            y + 3
        );
        bar + &text(self.left + length.ceil() as u32 + 6, y + 13, "ink", &label)
    }
}

fn page(summary: &Summary, bars: &str, height: u32) -> String {
    let title = "From PostgreSQL's log into Kafka, exactly once";
    let machine = &summary.machine;
    let footers = [
        format!("Backlogs of {} rows of about 420 bytes, medians of the runs", grouped(summary.rows)),
        format!(
            "PostgreSQL {}, Kafka {} and the program share {} cores of {}, Linux {}, {}",
            summary.postgres,
            summary.kafka,
            machine.cores,
            machine.cpu,
            machine.kernel.split('-').next().unwrap_or_default(),
            machine.date.split(' ').next().unwrap_or_default()
        ),
    ];
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         role=\"img\" aria-label=\"{title}: rows per second and CPU time, by rows per transaction\">\n<style>\n{STYLE}</style>\n"
    );
    // Writing to a string can't fail.
    let _: std::fmt::Result = writeln!(
        svg,
        "<rect class=\"page\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"8\"/>",
        WIDTH - 1,
        height - 1
    );
    svg += &text(MARGIN, 34, "ink title", title);
    for Column { head, left, .. } in &COLUMNS {
        svg += &text(*left, 64, "quiet", head);
    }
    svg += bars;
    for (y, footer) in [height - 36, height - 18].into_iter().zip(&footers) {
        svg += &text(MARGIN, y, "quiet", footer);
    }
    svg + "</svg>\n"
}

fn text(x: u32, y: u32, class: &str, content: &str) -> String {
    let content = content.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!("<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{content}</text>\n")
}

fn transaction_size(rows: u64) -> String {
    if rows == 1 { "1 row per transaction".to_owned() } else { format!("{} rows per transaction", grouped(rows)) }
}

/// Writes a number with a comma before each group of three digits.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::tests::summary;

    fn widths(svg: &str, class: &str) -> Vec<f64> {
        let bars = svg.lines().filter(|line| line.starts_with(&format!("<rect class=\"{class}\"")));
        let width = |line: &str| line.split("width=\"").nth(1)?.split('"').next()?.parse().ok();
        bars.map(|line| width(line).expect("a width")).collect()
    }

    #[test]
    fn bars_are_as_long_as_their_values_in_each_column() {
        let svg = svg(&summary(true)).expect("a plot");
        // Rates and CPU times by turns, for 1, 10 and 1,000 rows per transaction.
        let events = widths(&svg, "events");
        assert_eq!(events[4], 236.0, "the fastest");
        assert!((events[0] / events[4] - 0.75).abs() < 0.01, "{events:?}");
        assert_eq!(widths(&svg, "rival")[1], 210.0, "the most CPU time");
        for label in [">150<", ">4.6<", ">94.0<", ">1 row per transaction<", ">1,000 rows per transaction<"] {
            assert!(svg.contains(label), "no {label} in {svg}");
        }
    }

    #[test]
    fn a_run_without_the_rival_has_a_plot_without_it() {
        let (with, without) = (svg(&summary(true)).expect("a plot"), svg(&summary(false)).expect("a plot"));
        assert!(with.contains("Debezium") && !without.contains("Debezium"));
        assert_eq!(widths(&without, "rows").len(), 6);
        let nothing = Summary { drains: Vec::new(), ..summary(true) };
        assert_eq!(svg(&nothing), None);
    }

    #[test]
    fn the_plot_needs_nothing_from_elsewhere_and_knows_dark_pages() {
        let svg = svg(&summary(true)).expect("a plot");
        assert!(svg.contains("prefers-color-scheme: dark") && svg.contains("A &amp; B"));
        assert!(!svg.contains("<script") && !svg.contains("url(") && svg.matches("http").count() == 1, "{svg}");
        for tag in ["svg", "style", "text"] {
            let opened = svg.matches(&format!("<{tag} ")).count() + svg.matches(&format!("<{tag}>")).count();
            assert_eq!(opened, svg.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }

    #[test]
    fn numbers_are_grouped_by_three_digits() {
        assert_eq!([1, 999, 1_000, 1_234_567].map(grouped), ["1", "999", "1,000", "1,234,567"]);
    }
}
