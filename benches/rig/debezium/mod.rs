//! The rival: Debezium's connector for PostgreSQL in a worker of Kafka Connect, tuned.

mod install;
mod mode;
mod properties;
mod rest;
mod worker;

pub(crate) use install::Debezium;
pub(crate) use mode::Mode;
