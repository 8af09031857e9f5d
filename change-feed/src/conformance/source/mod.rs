//! The contract of [`Source`](crate::source::Source), rule by rule.
//!
//! | rule | what is checked | applies to |
//! | --- | --- | --- |
//! | `origin-gives-everything` | a start at the origin gives every committed event (L) | all |
//! | `nothing-twice` | a run gives each event once (D) | all |
//! | `content-unchanged` | each event has its key, version, type, time, trace context and payload | all |
//! | `order-per-key` | a key's events come in the order of their versions (O) | all |
//! | `no-loss-with-concurrent-writers` | what was written early and committed late is given (L) | concurrent writers |
//! | `no-phantom` | nothing is given of a transaction that is open, or that rolled back (P) | all |
//! | `start-repeats-nothing` | a start at a complete end gives nothing at or before it | all |
//! | `every-end-can-be-started-from` | it gives everything after it, in another process, from the position's text (L) | all |
//! | `start-again-rewinds` | a second start of the same source gives again what follows its position | all |
//! | `positions-grow` | ends grow, changes lie between them, texts read back and sort | all |
//! | `transactions-come-whole` | no complete end is inside a transaction (A) | up to the size that is claimed |
//! | `transaction-places-are-right` | one id for each transaction, indexes 0, 1, 2 …, the count on the last | tells transactions |
//! | `acknowledged-is-kept` | an election in another process finds what was acknowledged | all |
//! | `acknowledge-never-goes-back` | an older checkpoint is ignored, by epoch and then by position | all |
//! | `equal-acknowledge-stores-identity` | at the same position the identity is stored anew | all |
//! | `dropped-next-loses-nothing` | a dropped `next` loses nothing and gives nothing twice | all |
//! | `one-is-elected` | a second source waits while the first one holds the election | all |
//! | `standby-takes-over` | the election goes to a waiting source when its holder is dropped, and when it gives it up | all |
//! | `identity-is-stable` | the identity is the same in another process, and different for another database | all |
//! | `idle-is-quiet` | without commits only a moved position is given, at most once a second, and not for an acknowledgement | all |
//! | `next-waits-for-commits` | a `next` that waits gives what is committed then | all |
//! | `position-past-the-end-is-refused` | a start past the end of the database fails closed | where it can be seen |
//! | `every-chunk-can-be-started-from` | the ends of chunks are places to start from, each row is given once | gives chunks |
//! | `rejoin-gives-a-baseline` | a baseline of each key comes first, in pieces that resume; then the rejoin is over | rejoins |
//! | `lag-grows-with-commits` | nothing lags when all is acknowledged, and what is committed then does | tells its lag |
//! | `feeds-are-separate` | two feeds of one database have elections and checkpoints of their own | all |

pub(crate) mod acknowledgement;
pub(crate) mod capture;
pub(crate) mod chunks;
pub(crate) mod driver;
pub(crate) mod election;
pub(crate) mod harness;
pub(crate) mod idle;
pub(crate) mod restart;
pub(crate) mod rules;
pub(crate) mod transactions;

pub use harness::{Capabilities, Database, NewEvent, SourceHarness, Writer};
pub use rules::run;
