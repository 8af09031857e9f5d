//! The guard "the event closes the version", attacked around the library with raw SQL, on PostgreSQL and SQLite.
//!
//! `world` makes tables of a test's own, `oracle` reads their history and says what is wrong with it.
mod adoption;
mod attacks;
mod baselines;
mod copies;
mod legal;
mod library;
mod oracle;
mod privileges;
mod races;
mod unsafe_guards;
mod world;
