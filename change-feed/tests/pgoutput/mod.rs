//! Rows of PostgreSQL's messages, and the values in them.

mod rows;
mod values;
