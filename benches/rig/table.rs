//! The table: each figure beside its rival's and its target.

use std::fmt;

use serde::{Serialize, Serializer};

/// The unit of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Unit {
    #[serde(rename = "rows/s")]
    RowsPerSecond,
    #[serde(rename = "MiB")]
    Mebibytes,
    #[serde(rename = "CPU s per million rows")]
    CpuSecondsPerMillion,
    #[serde(rename = "ms")]
    Milliseconds,
    #[serde(rename = "s")]
    Seconds,
}

/// The figure that a line should have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Target {
    /// At least this many times the rival's figure.
    Times(f64),
    /// No more than this, in the line's unit.
    AtMost(f64),
    /// Less than the rival's figure.
    BelowRival,
    /// No target: the figure of another machine, to compare with.
    Reference(f64),
    /// No target.
    Open,
}

/// The figure of another program.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Rival {
    pub(crate) name: String,
    pub(crate) value: f64,
}

/// A line of the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Line {
    pub(crate) what: String,
    pub(crate) unit: Unit,
    /// The median of the runs.
    pub(crate) value: f64,
    pub(crate) rival: Option<Rival>,
    /// The value in relation to the rival's.
    pub(crate) ratio: Option<f64>,
    pub(crate) target: Target,
    /// `None` where there is no target, or the rival was not measured.
    pub(crate) met: Option<bool>,
}

impl Line {
    pub(crate) fn new(what: impl Into<String>, unit: Unit, value: f64, rival: Option<Rival>, target: Target) -> Self {
        let ratio = rival.as_ref().map(|rival| value / rival.value);
        let met = match target {
            Target::Times(times) => ratio.map(|ratio| ratio >= times),
            Target::AtMost(most) => Some(value <= most),
            Target::BelowRival => ratio.map(|ratio| ratio < 1.0),
            Target::Reference(_) | Target::Open => None,
        };
        Self { what: what.into(), unit, value, rival, ratio, target, met }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Times(times) => write!(f, "≥ {times} times"),
            Self::AtMost(most) => write!(f, "≤ {most}"),
            Self::BelowRival => f.write_str("< rival"),
            Self::Reference(value) => write!(f, "{value} elsewhere"),
            Self::Open => f.write_str("–"),
        }
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Writes the lines as a table.
pub(crate) fn table(lines: &[Line]) -> String {
    markdown(["what", "measured", "rival", "ratio", "target", "met"], lines.iter().map(cells))
}

/// Writes a table in Markdown with aligned columns.
pub(crate) fn markdown<const N: usize>(head: [&str; N], body: impl IntoIterator<Item = [String; N]>) -> String {
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(body);
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    rows.insert(1, widths.map(|width| "-".repeat(width)));
    let line = |row: &[String; N]| -> String {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("| {cell:width$} "));
        cells.collect::<String>() + "|\n"
    };
    rows.iter().map(line).collect()
}

fn cells(line: &Line) -> [String; 6] {
    let Line { what, unit, value, rival, ratio, target, met } = line;
    let met = match met {
        Some(true) => "yes",
        Some(false) => "NO",
        None if matches!(target, Target::Reference(_) | Target::Open) => "–",
        None => "not measured",
    };
    [
        what.clone(),
        shown(*value, *unit),
        rival.as_ref().map_or_else(|| "–".to_owned(), |rival| format!("{} {}", rival.name, shown(rival.value, *unit))),
        ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}")),
        target.to_string(),
        met.to_owned(),
    ]
}

/// Writes a figure with its unit.
pub(crate) fn shown(value: f64, unit: Unit) -> String {
    match unit {
        Unit::RowsPerSecond => format!("{:.1}k rows/s", value / 1e3),
        Unit::Mebibytes => format!("{value:.0} MiB"),
        Unit::CpuSecondsPerMillion => format!("{value:.1} s"),
        Unit::Milliseconds => format!("{value:.1} ms"),
        Unit::Seconds => format!("{value:.2} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rival(value: f64) -> Option<Rival> {
        Some(Rival { name: "other".to_owned(), value })
    }

    #[test]
    fn a_target_against_a_rival_is_met_by_the_ratio() {
        let line = |value, rival| Line::new("speed", Unit::RowsPerSecond, value, rival, Target::Times(1.5));
        assert_eq!(line(150.0, rival(100.0)).met, Some(true));
        assert_eq!(line(149.0, rival(100.0)).met, Some(false));
        assert_eq!(line(150.0, None).met, None);
    }

    #[test]
    fn a_limit_is_met_by_the_value_alone() {
        let line = |value, rival| Line::new("memory", Unit::Mebibytes, value, rival, Target::AtMost(64.0));
        assert_eq!((line(64.0, None).met, line(64.5, rival(900.0)).met), (Some(true), Some(false)));
        assert_eq!(line(64.0, rival(32.0)).ratio, Some(2.0));
    }

    #[test]
    fn a_figure_below_the_rivals_is_met_and_a_reference_demands_nothing() {
        let line = |rival, target| Line::new("p99", Unit::Milliseconds, 20.0, rival, target);
        assert_eq!(line(rival(24.0), Target::BelowRival).met, Some(true));
        assert_eq!(line(rival(20.0), Target::BelowRival).met, Some(false));
        assert_eq!(line(None, Target::BelowRival).met, None);
        let reference = line(None, Target::Reference(18.0));
        assert_eq!(
            (reference.met, cells(&reference)[4].as_str(), cells(&reference)[5].as_str()),
            (None, "18 elsewhere", "–")
        );
    }

    #[test]
    fn columns_are_aligned_and_a_missing_rival_is_named() {
        let lines = [
            Line::new("speed", Unit::RowsPerSecond, 54_321.0, rival(50_000.0), Target::Times(1.0)),
            Line::new("start of the process", Unit::Seconds, 0.5, None, Target::AtMost(1.0)),
            Line::new("speed", Unit::RowsPerSecond, 1.0, None, Target::Times(6.0)),
        ];
        let table = table(&lines);
        let rows: Vec<&str> = table.lines().collect();
        assert_eq!(
            rows[2],
            "| speed                | 54.3k rows/s | other 50.0k rows/s | 1.09  | ≥ 1 times | yes          |"
        );
        assert!(rows.iter().all(|row| row.chars().count() == rows[0].chars().count()));
        assert!(rows[4].contains("not measured"));
    }
}
