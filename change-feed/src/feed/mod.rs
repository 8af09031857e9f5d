//! What moves through a feed, and what says where the feed is.

pub(crate) mod change;
pub(crate) mod change_id;
pub(crate) mod envelope;
pub(crate) mod identity;
pub(crate) mod part;
pub(crate) mod position;
pub(crate) mod router;
pub(crate) mod row;
pub(crate) mod row_change;
pub(crate) mod table;
pub(crate) mod transaction;

pub use change::{Change, Content, EventId, EventRecord, Mark};
pub use change_id::{ChangeId, InvalidChangeId};
pub use envelope::Envelope;
pub use identity::{
    Checkpoint, Epoch, FeedIdentity, FeedName, InvalidFeedName, Mismatch, PublisherIdentity, Side, SourceIdentity,
    Topic,
};
pub use part::{Changes, End, Part};
pub use position::{InvalidPosition, Position};
pub use router::{NoRoute, Router, RowFormat};
pub use row::{Cell, InvalidRow, Row};
pub use row_change::{BeforeImage, Operation, RowChange};
pub use table::{Column, Table};
pub use transaction::{TransactionId, TransactionPlace};
