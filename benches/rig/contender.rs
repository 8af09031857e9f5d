//! The programs that drain a backlog.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::debezium::Mode;
use crate::relay::{Delivery, Plan, Shape, To};

/// A program that drains a backlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contender {
    /// The limit: the walsender's stream, written to /dev/null.
    Recvlogical,
    Relay {
        plan: Plan,
        /// Over the Unix socket instead of TCP.
        socket: bool,
    },
    Debezium(Mode),
}

impl Contender {
    pub(crate) const STREAMING: Self = Self::to_null(false);
    pub(crate) const STREAMING_BY_SOCKET: Self = Self::to_null(true);

    const fn to_null(socket: bool) -> Self {
        Self::Relay { plan: Plan { to: To::Null, shape: Shape::Events }, socket }
    }

    pub(crate) fn to_kafka(delivery: Delivery, shape: Shape) -> Self {
        Self::Relay { plan: Plan::to_kafka(delivery, shape), socket: false }
    }

    /// Lists the contenders, without those that this machine lacks.
    pub(crate) fn all(has_socket: bool, has_debezium: bool) -> Vec<Self> {
        let mut all = vec![Self::Recvlogical, Self::STREAMING];
        all.extend(has_socket.then_some(Self::STREAMING_BY_SOCKET));
        for delivery in [Delivery::Transactional, Delivery::Idempotent] {
            all.extend([Shape::Events, Shape::Rows].map(|shape| Self::to_kafka(delivery, shape)));
        }
        if has_debezium {
            all.extend(Mode::ALL.map(Self::Debezium));
        }
        all
    }

    pub(crate) fn is_limit(&self) -> bool {
        *self == Self::Recvlogical
    }

    pub(crate) fn is_to_kafka(&self) -> bool {
        matches!(self, Self::Relay { plan: Plan { to: To::Kafka(_), .. }, .. })
    }

    pub(crate) fn is_debezium(&self) -> bool {
        matches!(self, Self::Debezium(_))
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recvlogical => f.write_str("pg_recvlogical to /dev/null"),
            Self::Debezium(mode) => write!(f, "Debezium {mode}"),
            Self::Relay { plan: Plan { to, shape }, socket } => {
                let socket = if *socket { ", Unix socket" } else { "" };
                let shape = if *shape == Shape::Events { "outbox" } else { "rows" };
                match to {
                    To::Null => write!(f, "relay to null{socket}"),
                    To::Kafka(delivery) => write!(f, "relay to Kafka {}, {shape}{socket}", delivery.name()),
                }
            }
        }
    }
}

impl Serialize for Contender {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Contender {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let contender = Self::all(true, true).into_iter().find(|contender| contender.to_string() == name);
        contender.ok_or_else(|| de::Error::custom(format!("unknown contender {name:?}")))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_contenders_share_a_name() {
        let all = Contender::all(true, true);
        let names: BTreeSet<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), all.len(), "{names:?}");
        assert!(names.contains("relay to Kafka transactional, outbox"));
    }

    #[test]
    fn a_contender_is_read_back_by_its_name() {
        for contender in Contender::all(true, true) {
            let name = serde_json::to_string(&contender).expect("text");
            assert_eq!(serde_json::from_str::<Contender>(&name).expect("a contender"), contender);
        }
        assert!(serde_json::from_str::<Contender>("\"somebody else\"").is_err());
    }

    #[test]
    fn contenders_that_this_machine_lacks_are_left_out() {
        let all = Contender::all(false, false);
        assert!(all.contains(&Contender::STREAMING) && !all.contains(&Contender::STREAMING_BY_SOCKET));
        assert!(!all.iter().any(Contender::is_debezium));
    }
}
