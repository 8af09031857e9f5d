//! Headers as they are given to whoever asks.

use std::fmt::{self, Write as _};

use chrono::{DateTime, SecondsFormat, Utc};

/// Writes values as text and gives them on, each with its name.
pub(super) struct Headers<'v> {
    visit: &'v mut dyn FnMut(&'static str, &str),
    text: String,
}

impl<'v> Headers<'v> {
    pub(super) fn to(visit: &'v mut dyn FnMut(&'static str, &str)) -> Self {
        Self { visit, text: String::with_capacity(72) }
    }

    pub(super) fn write(&mut self, name: &'static str, value: &str) {
        (self.visit)(name, value);
    }

    pub(super) fn show(&mut self, name: &'static str, value: &dyn fmt::Display) {
        self.text.clear();
        // Writing to a String can't fail, and no `Display` here reports an error of its own.
        let _ = write!(self.text, "{value}");
        (self.visit)(name, &self.text);
    }

    pub(super) fn show_some<T: fmt::Display>(&mut self, name: &'static str, value: Option<&T>) {
        if let Some(value) = value {
            self.show(name, value);
        }
    }

    /// RFC 3339, UTC, microseconds.
    pub(super) fn time(&mut self, name: &'static str, time: DateTime<Utc>) {
        (self.visit)(name, &time.to_rfc3339_opts(SecondsFormat::Micros, true));
    }
}
