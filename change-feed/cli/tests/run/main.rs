//! `change-feed run`, as a user runs it: a process, a PostgreSQL, a Kafka cluster, and files.

mod closed;
mod feeds;
mod refused;
mod usage;
mod world;
