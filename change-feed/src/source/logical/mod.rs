//! Logical decoding: committed changes from PostgreSQL's write-ahead log, through its output plug-in
//! pgoutput.

mod lsn;
pub mod pgoutput;

pub use lsn::{InvalidLsn, Lsn};
