//! The rig's arguments.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

const ENVIRONMENT: &str = "\
Environment (scripts/services env prints it):
  ADMIN_DATABASE_URL  a superuser of PostgreSQL with wal_level=logical, on this machine
  KAFKA_BROKERS       HOST:PORT,…
  PG_BIN              the folder of pg_recvlogical
  PG_SOCKET_DIR       the folder of PostgreSQL's Unix socket [default: the server is asked]
  KAFKA_VERSION       named in the report

Exit codes: 0 measured (whether or not the targets are met), 1 failed or something could not be measured, 2 wrong usage.";

/// Measures the whole feed, from PostgreSQL's log to Kafka's consumers, beside its rivals on the same data and the same
/// servers. Everything that it makes on the servers is removed at the end.
#[derive(Debug, Clone, Parser)]
#[command(name = "rig", version, after_help = ENVIRONMENT)]
pub(crate) struct Options {
    /// Rows of each backlog.
    #[arg(long, default_value_t = 500_000, value_parser = clap::value_parser!(u64).range(1000..))]
    pub(crate) rows: u64,
    /// Rows per transaction: one backlog for each.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 1000], value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) rows_per_transaction: Vec<u64>,
    /// Measured runs of each contender; the median counts. The first run is not counted.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) runs: u16,
    /// What to measure [default: all of it].
    #[arg(long, value_delimiter = ',')]
    pub(crate) sections: Vec<Section>,
    /// Measures pg_recvlogical and the contenders whose names contain this text. Can be repeated.
    #[arg(long = "contender", value_name = "TEXT")]
    pub(crate) contenders: Vec<String>,
    /// Rows of the one large transaction.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) large_transaction_rows: u64,
    /// Transactions per second of the latency's writers.
    #[arg(long, value_delimiter = ',', default_values_t = [200, 1000], value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) latency_rates: Vec<u32>,
    /// Seconds of each measurement of latency. A warm-up of a quarter of them comes before it.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) latency_seconds: u32,
    /// Measures Debezium too: Kafka Connect's worker, which Maven downloads once, and its connector for PostgreSQL.
    #[arg(long)]
    pub(crate) debezium: bool,
    /// Where the figures of every run go [default: rig.json in the target folder].
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Where the plot goes [default: beside the figures].
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
    /// Measures nothing, and shows a run from the file of its figures.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["sections", "debezium", "json", "relay"])]
    pub(crate) from: Option<PathBuf>,
    /// Writes this run into the checkout: the plot and the table of the README, and the reference that later runs are compared with.
    #[arg(long)]
    pub(crate) publish: bool,
    /// The change-feed command to measure [default: it is built, released].
    #[arg(long, value_name = "FILE")]
    pub(crate) relay: Option<PathBuf>,
}

/// A part of the rig.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Section {
    /// Backlogs, by each contender: speed, memory, CPU.
    Drain,
    /// One transaction of many rows.
    Large,
    /// From the commit to the consumer, at fixed rates.
    Latency,
    /// From the start of the process to the first record.
    Start,
}

impl Options {
    pub(crate) fn wants(&self, section: Section) -> bool {
        self.sections.is_empty() || self.sections.contains(&section)
    }

    pub(crate) fn wants_contender(&self, name: &str) -> bool {
        self.contenders.is_empty() || self.contenders.iter().any(|part| name.contains(part.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(arguments: &[&str]) -> Options {
        Options::try_parse_from([&["rig"], arguments].concat()).expect("good options")
    }

    #[test]
    fn everything_but_debezium_is_measured_by_default() {
        let options = options(&[]);
        assert!(!options.debezium && options.wants(Section::Drain) && options.wants(Section::Start));
        assert_eq!((&options.rows_per_transaction[..], options.runs), (&[1, 10, 1000][..], 3));
        assert!(options.wants_contender("relay"));
    }

    #[test]
    fn sections_and_contenders_can_be_chosen() {
        let options =
            options(&["--sections", "latency,start", "--contender", "idempotent, rows", "--contender", "null"]);
        assert!(options.wants(Section::Latency) && !options.wants(Section::Drain));
        assert!(options.wants_contender("to null, Unix socket") && !options.wants_contender("transactional, rows"));
    }
}
