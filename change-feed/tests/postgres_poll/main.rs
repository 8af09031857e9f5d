//! Outbox polling of PostgreSQL by snapshot difference.

mod adversity;
mod capture;
mod election;
mod load;
mod pollers;
mod reads;
mod rights;
mod steps;
mod trial;
mod world;
