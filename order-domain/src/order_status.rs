//! The status of an order.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::invalid_value::InvalidValue;

/// The status of an order. Text and JSON: `open`, `scheduled`, `cancelled`.
///
/// ```text
///  open ──schedule──▶ scheduled ─┐
///   │                  │    ▲    │ schedule again
///   │                  │    └────┘
///   └──────cancel──────┴──▶ cancelled (final)
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// Items come and go; no delivery is agreed.
    Open,
    /// A delivery window is agreed; items still come and go, one stays.
    Scheduled,
    /// Final: nothing changes any more.
    Cancelled,
}

impl OrderStatus {
    /// Every status.
    pub const ALL: [Self; 3] = [Self::Open, Self::Scheduled, Self::Cancelled];

    /// The status as text, as databases keep it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Scheduled => "scheduled",
            Self::Cancelled => "cancelled",
        }
    }
}

impl FromStr for OrderStatus {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or(InvalidValue::Status)
    }
}

impl fmt::Display for OrderStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_the_same_text_in_json_and_elsewhere() {
        for status in OrderStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
            assert_eq!(serde_json::to_value(status).unwrap(), status.to_string());
        }
        assert_eq!("Open".parse::<OrderStatus>(), Err(InvalidValue::Status));
    }
}
