//! The contract of [`Publisher`](crate::publisher::Publisher), rule by rule.
//!
//! | rule | what is checked | applies to |
//! | --- | --- | --- |
//! | `durable-at-complete-end` | after Ok at a complete end a reader sees every envelope (L) | all |
//! | `nothing-twice` | without an error each envelope is there once (D) | all |
//! | `order-per-key` | a key's envelopes stand in the order in which they were given (O) | all |
//! | `partition-per-key` | a key stays in one partition, across publishers (O) | all |
//! | `content-unchanged` | key, headers and payload arrive byte for byte | all |
//! | `withheld-stub-passes` | a stub arrives with its mark, and empty rather than null | all |
//! | `tombstone-is-null` | a deleted row arrives with a null payload, the stub of a withheld one with an empty one | publishes rows |
//! | `empty-part-is-taken` | a complete part without envelopes is Ok, shows nothing, and moves the position | all; the position: those that keep it |
//! | `dropped-publish-loses-nothing` | a dropped `publish`, `resume`, and again: nothing lost, no order broken; nothing twice where the position is kept | all |
//! | `resume-answers-last-position` | that of the last complete end, in this publisher and in another; none where none is kept | all |
//! | `nothing-before-complete-end` | parts that continue are not visible (A) | transactional |
//! | `resume-forgets-open-parts` | what was open at a `resume` never becomes visible | transactional, or keeps the position |
//! | `resume-shuts-out-earlier-relays` | an older publisher is answered `Fenced`, and nothing of it becomes visible | fences |
//! | `resume-compares-before-it-fences` | another database's relay is answered `Closed`, and the present one goes on | keeps the position |
//! | `rejection-names-its-envelopes` | the indexes are those of envelopes that can't be published; with stubs in their place the part passes | rejects |
//! | `rejected-part-is-invisible` | nothing of a rejected part is visible | rejects, unless a documented limit says otherwise |
//! | `lost-answer-is-no-duplicate` | the broker goes away and comes back: an error, `resume`, and again; as for a dropped `publish` | can be made unavailable |
//! | `feeds-are-separate` | feeds that share a destination don't disturb each other | shared by feeds |

pub(crate) mod content;
pub(crate) mod delivery;
pub(crate) mod driver;
pub(crate) mod harness;
pub(crate) mod interruption;
pub(crate) mod position;
pub(crate) mod rejection;
pub(crate) mod rules;
pub(crate) mod visibility;

pub use harness::{Capabilities, Destination, PublisherHarness, SeenRecord};
pub use rules::run;
