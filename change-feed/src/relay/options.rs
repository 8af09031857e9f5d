//! The limits and the policies of a relay.

use std::time::Duration;

/// The limits and the policies of a relay.
///
/// ```
/// use change_feed::relay::{OnRejected, RelayOptions};
///
/// let options = RelayOptions {
///     max_part_envelopes: 1000,
///     on_rejected: OnRejected::Stop,
///     ..RelayOptions::default()
/// };
/// assert!(options.max_part_bytes < options.max_pending_bytes);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayOptions {
    /// No part has more envelopes (0 is taken as 1). 10,000 by default.
    pub max_part_envelopes: usize,
    /// No part is larger, by [`Envelope::size_bytes`](crate::feed::envelope::Envelope::size_bytes), unless it is
    /// one envelope. 8 MiB by default.
    pub max_part_bytes: usize,
    /// Nothing more is captured while this much is captured and not published. One run of the
    /// source may go beyond it. 16 MiB by default.
    pub max_pending_bytes: usize,
    /// What happens to an envelope that can't be published.
    pub on_rejected: OnRejected,
    /// The relay stops when so many envelopes between two complete ends are rejected: then it is
    /// not the envelopes that are wrong. 1,000 by default.
    pub max_rejected_envelopes: usize,
    /// The longest pause before the first retry; every further one may be twice as long. The real
    /// pause is between half of it and all of it, at random. 50 ms by default.
    pub min_retry_delay: Duration,
    /// The longest pause before any retry. 2 s by default.
    pub max_retry_delay: Duration,
    /// How long a shutdown may take to deliver what is captured. 10 s by default.
    pub shutdown_timeout: Duration,
}

impl Default for RelayOptions {
    fn default() -> Self {
        Self {
            max_part_envelopes: 10_000,
            max_part_bytes: 8 << 20,
            max_pending_bytes: 16 << 20,
            on_rejected: OnRejected::Withhold,
            max_rejected_envelopes: 1000,
            min_retry_delay: Duration::from_millis(50),
            max_retry_delay: Duration::from_secs(2),
            shutdown_timeout: Duration::from_secs(10),
        }
    }
}

/// What happens to an envelope that the publisher [rejects](crate::publisher::PublishError::Rejected).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnRejected {
    /// Its [withheld stub](crate::feed::envelope::Envelope::withheld) takes its place: order and versions stay, the
    /// data stays in the source, and consumers see that it is missing and why.
    #[default]
    Withhold,
    /// The relay ends with [`RelayError::Rejected`](crate::relay::error::RelayError::Rejected).
    Stop,
}
