//! What moves through a feed, and what says where the feed is.

pub(crate) mod change;
pub(crate) mod change_id;
pub(crate) mod checkpoint;
pub(crate) mod envelope;
pub(crate) mod event;
pub(crate) mod identity;
pub(crate) mod mismatch;
pub(crate) mod part;
pub(crate) mod position;
pub(crate) mod router;
pub(crate) mod row;
pub(crate) mod row_change;
pub(crate) mod table;
pub(crate) mod transaction;

pub use change::{Change, Content, Mark};
pub use change_id::{ChangeId, InvalidChangeId};
pub use checkpoint::Checkpoint;
pub use envelope::Envelope;
pub use event::{EventId, EventRecord};
pub use identity::{Epoch, FeedIdentity, FeedName, InvalidFeedName, PublisherIdentity, SourceIdentity, Topic};
pub use mismatch::{Mismatch, Side};
pub use part::{Changes, End, Part};
pub use position::{InvalidPosition, Position};
pub use router::{NoRoute, Router, RowFormat};
pub use row::{Cell, InvalidRow, Row};
pub use row_change::{BeforeImage, Operation, RowChange};
pub use table::{Column, Table};
pub use transaction::{TransactionId, TransactionPlace};
