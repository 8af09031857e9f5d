//! Rows of published tables, and their changes.

mod change;
mod image;
mod table;

pub use change::{BeforeImage, Operation, RowChange};
pub use image::{Cell, InvalidRow, Row};
pub use table::{Column, Table};
