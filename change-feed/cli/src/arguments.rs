//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::settings::Settings;

const ENVIRONMENT: &str = "\
Environment:
  DATABASE_URL   postgres://USER:PASSWORD@HOST:PORT/DATABASE, of a role with REPLICATION
  KAFKA_BROKERS  HOST:PORT,HOST:PORT…
  RUST_LOG       what to log on standard error, like change_feed=debug  [default: info; warn on a terminal]

Exit codes: 0 ended in order (SIGTERM and Ctrl-C drain), 1 failed, 2 wrong usage, 3 failed closed.";

/// What committed in PostgreSQL reaches Kafka: in order, exactly once.
#[derive(Debug, Parser)]
#[command(name = "change-feed", version, after_help = ENVIRONMENT)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run a feed until SIGTERM or Ctrl-C.
    #[command(after_help = ENVIRONMENT)]
    Run(Box<RunArguments>),
}

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// Make what is missing: publication, slot and topics.
    #[arg(long)]
    pub(crate) create: bool,
    /// A TOML file with any of these options, without the dashes; what the command line says goes before it. Its table
    /// "kafka" holds properties of librdkafka, such as "security.protocol".
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}
