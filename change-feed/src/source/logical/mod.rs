//! Logical decoding: committed changes from PostgreSQL's write-ahead log, through its output plug-in
//! pgoutput.

mod lsn;
pub mod peek;
pub mod pgoutput;
pub mod replication;

pub use lsn::{InvalidLsn, Lsn};
