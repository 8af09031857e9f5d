//! Ids: UUIDs that can't be taken for one another.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::{NoContext, Timestamp, Uuid};

use crate::invalid_value::InvalidValue;

macro_rules! id {
    ($(#[$documentation:meta])* $name:ident) => {
        $(#[$documentation])*
        ///
        /// New ones are UUIDs of version 7, so that they sort by the time of their making; any UUID is accepted when
        /// one is read, since other programs write too. Text and JSON have the usual form with hyphens.
        ///
        /// ```
        #[doc = concat!("use order_domain::", stringify!($name), ";")]
        ///
        #[doc = concat!("let id = ", stringify!($name), "::generate(chrono::DateTime::UNIX_EPOCH);")]
        /// assert_eq!(id.to_string().parse(), Ok(id));
        #[doc = concat!("assert!(\"no uuid\".parse::<", stringify!($name), ">().is_err());")]
        /// ```
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id for the time `now` (milliseconds count; before 1970 is 1970) with 74 random bits.
            #[must_use]
            pub fn generate(now: DateTime<Utc>) -> Self {
                Self(version_7(now))
            }

            /// The bare UUID.
            #[must_use]
            pub const fn as_uuid(&self) -> &Uuid {
                &self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidValue;

            fn from_str(text: &str) -> Result<Self, InvalidValue> {
                text.parse().map(Self).map_err(|_| InvalidValue::Id)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }
    };
}

id! {
    /// Names an order.
    OrderId
}

id! {
    /// Names an item within its order.
    ItemId
}

id! {
    /// Names the customer whom an order belongs to.
    CustomerId
}

fn version_7(now: DateTime<Utc>) -> Uuid {
    let seconds = u64::try_from(now.timestamp()).unwrap_or(0);
    Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, now.timestamp_subsec_nanos()))
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    #[test]
    fn a_generated_id_is_a_uuid_of_version_7_and_carries_its_time() {
        let now = Utc.timestamp_millis_opt(1_790_000_000_123).unwrap();
        let id = OrderId::generate(now);
        assert_eq!(id.as_uuid().get_version_num(), 7);
        let (seconds, nanoseconds) = id.as_uuid().get_timestamp().unwrap().to_unix();
        assert_eq!((seconds, nanoseconds), (1_790_000_000, 123_000_000));
    }

    #[test]
    fn ids_generated_at_one_moment_differ() {
        let now = Utc.timestamp_millis_opt(1_790_000_000_123).unwrap();
        assert_ne!(ItemId::generate(now), ItemId::generate(now));
    }

    #[test]
    fn ids_sort_by_the_time_of_their_making() {
        let at = |millis| CustomerId::generate(Utc.timestamp_millis_opt(millis).unwrap());
        assert!(at(1_790_000_000_123) < at(1_790_000_000_124));
    }

    #[test]
    fn a_time_before_1970_counts_as_1970() {
        let id = OrderId::generate(Utc.timestamp_opt(-5, 0).unwrap());
        assert_eq!(id.as_uuid().get_timestamp().unwrap().to_unix().0, 0);
    }

    #[test]
    fn any_uuid_is_read_and_text_that_is_none_is_refused() {
        let text = "9b2f1f0e-54a2-4b6e-9d6c-1c9a3d2c7e11";
        assert_eq!(text.parse::<OrderId>().unwrap().to_string(), text);
        assert_eq!("milk".parse::<OrderId>(), Err(InvalidValue::Id));
        assert_eq!("".parse::<ItemId>(), Err(InvalidValue::Id));
        assert!(serde_json::from_str::<CustomerId>("\"milk\"").is_err());
    }
}
