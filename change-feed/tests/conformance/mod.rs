//! The suites of sources and publishers, on every implementation of ours and on broken ones.

mod kafka;
mod memory;
mod ndjson;
mod postgres;
mod sqlite;
