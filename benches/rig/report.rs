//! The report of a run: where it was measured, its lines, and every figure; as a file it can be read again.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::measured::Measured;
use crate::outcome::Outcome;
use crate::summary::Summary;
use crate::table::{self, Line};

/// A whole run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    /// Versions of the servers.
    pub(crate) postgres: String,
    #[serde(default = "unknown")]
    pub(crate) kafka: String,
    /// The arguments of the rig.
    pub(crate) command: String,
    /// For other readers of the file. This rig computes them from the figures, with the targets of today.
    #[serde(skip_deserializing)]
    pub(crate) lines: Vec<Line>,
    #[serde(flatten)]
    pub(crate) measured: Measured,
}

fn unknown() -> String {
    "unknown".to_owned()
}

impl Report {
    /// Reads a report that an earlier run has written.
    pub(crate) fn read(file: &Path) -> Outcome<Self> {
        let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let report: Self = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(Self { lines: report.measured.lines(), ..report })
    }

    pub(crate) fn write(&self, file: &Path) -> Outcome<()> {
        Ok(fs::write(file, serde_json::to_string_pretty(self)? + "\n")?)
    }

    pub(crate) fn summary(&self) -> Summary {
        Summary::new(self.machine.clone(), &self.postgres, &self.kafka, &self.measured)
    }

    /// Describes the machine and the servers in two lines.
    pub(crate) fn header(&self) -> String {
        let Machine { date, cpu, cores, kernel, load } = &self.machine;
        let load = load.map_or_else(|| "unknown".to_owned(), |load| load.to_string());
        let warning = if self.machine.is_quiet() {
            ""
        } else {
            "\nWARNING: other programs use this machine. Trust ratios, not absolute figures."
        };
        format!(
            "{date}: {cores} cores of {cpu}, Linux {kernel}, load {load} at the start.{warning}\n\
             PostgreSQL {}, Kafka {}.\n",
            self.postgres, self.kafka
        )
    }

    /// The two tables: lines with their targets, and medians by contender.
    pub(crate) fn tables(&self) -> String {
        format!("{}\n{}", table::table(&self.lines), self.summary().contenders())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"{
        "machine": {"date": "2026-11-29 20:56 UTC", "cpu": "CPU", "cores": 2, "kernel": "6.18", "load": null},
        "postgres": "18.6", "command": "",
        "lines": [{"what": "of an older rig"}],
        "drains": [{"contender": "relay to null", "rows_per_transaction": 1, "rows": 1000, "seconds": 0.5,
            "cpu_seconds": 0.1, "peak_bytes": 1048576, "server_cpu_seconds": 0.2, "start_seconds": null}],
        "large": [],
        "latencies": [{"name": "relay transactional", "transactions_per_second": 200, "p50_ms": 3.0, "p99_ms": 30.0,
            "due_p50_ms": 4.0, "due_p99_ms": 40.0}],
        "starts": [{"name": "idempotent", "seconds": 0.1}]
    }"#;

    #[test]
    fn a_report_is_read_again_and_its_lines_are_those_of_today() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("rig.json");
        fs::write(&file, REPORT).expect("written");
        let report = Report::read(&file).expect("a report");
        assert_eq!((report.kafka.as_str(), report.machine.load), ("unknown", None));
        assert!(report.lines.iter().all(|line| line.what != "of an older rig"));
        assert!(report.lines.iter().any(|line| line.what == "slot to nothing, streaming over TCP, 1 per transaction"));
        report.write(&file).expect("written");
        assert_eq!(Report::read(&file).expect("a report").measured, report.measured);
    }

    #[test]
    fn the_header_names_the_kernel_and_warns_of_a_machine_that_may_be_busy() {
        let report: Report = serde_json::from_str(REPORT).expect("a report");
        assert!(report.header().contains("2 cores of CPU, Linux 6.18, load unknown"), "{}", report.header());
        assert!(report.header().contains("WARNING"));
    }
}
