//! The stores on their real databases: one suite for both, and what only one of them has.

mod agreement;
mod conformance;
mod migrations;
mod requests;
mod transactions;
mod world;
