//! The outbox of SQLite, read by its sequence.

mod capture;
mod election;
mod processes;
mod world;
