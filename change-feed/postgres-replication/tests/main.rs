//! The client and the decoder on a real PostgreSQL, on what servers sent, and on what no server sends.

mod pgoutput;
mod replication;
