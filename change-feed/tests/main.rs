//! The library on real servers, in memory and on broken implementations, sorted by system.
//!
//! One binary, since each one links the whole library anew. Tests that need a process of their own are beside it:
//! `crash` (relays as processes that die), `relay_log` and `kafka_log` (who listens to a log changes it), `relay_allocations`.

mod conformance;
mod feed;
mod guard;
mod kafka_jvm;
mod kafka_publisher;
mod kafka_reader;
mod logical;
mod ndjson;
mod pgoutput;
mod postgres_poll;
mod relay;
mod sqlite_outbox;
