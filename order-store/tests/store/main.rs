//! The stores on their real databases: one suite for both, and what only one of them has.

mod agreement;
mod closing;
mod conformance;
mod connections;
mod constraints;
mod errors;
mod migrations;
mod overtaken;
mod patience;
mod postgres_only;
mod proxy;
mod races;
mod requests;
mod roles;
mod transactions;
mod unknown;
mod world;
