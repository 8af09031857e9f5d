//! Publishing to Kafka.
//!
//! ```text
//! resume  connect ─▶ whose position? ─▶ init_transactions ─▶ read the position ─▶ write it again
//!                    (else Closed)      (fences, aborts)     (read_committed)     (claims the feed)
//! publish begin ─▶ last position ─▶ envelopes … ─▶ new position ─▶ commit
//!                  └───────────── one Kafka transaction ─────────────┘
//! error   the producer is never used again; the next `resume` makes another
//! ```
//!
//! A `ProducerSession` is one producer from its start to its first error. `publish` takes the
//! session out of the publisher and puts it back only after success: an error or a dropped future leaves
//! none, and `resume` must make another (the contract of [`Publisher`](crate::publisher::Publisher)). So no producer
//! outlives an abort, or a commit whose answer had to be asked for twice: librdkafka speaks the
//! transaction protocol in which a late EndTxn request can end a later transaction of the same
//! producer epoch.

pub(crate) mod builder;
pub(crate) mod closing;
pub(crate) mod deliveries;
pub(crate) mod options;
pub(crate) mod positions;
pub(crate) mod preflight;
pub(crate) mod producer;
pub(crate) mod producer_session;
pub(crate) mod publisher;
pub(crate) mod record;
pub(crate) mod route;
pub(crate) mod start;

pub use builder::KafkaPublisherBuilder;
pub use publisher::KafkaPublisher;
