//! Outbox polling of PostgreSQL by snapshot difference.

mod capture;
mod election;
mod world;
