//! Values of columns.

mod json;

pub(crate) use json::{write_json, write_json_text};
