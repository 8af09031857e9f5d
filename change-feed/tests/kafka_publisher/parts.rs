//! Parts to publish.

use std::sync::Arc;

use bytes::Bytes;
use change_feed::feed::{BeforeImage, Cell, Column, Row, RowChange, Table};
use change_feed::publisher::Resumed;
use change_feed::{
    End, Envelope, Epoch, EventId, EventRecord, FeedIdentity, Part, Position, PublishError, Publisher, TransactionPlace,
};
use chrono::DateTime;
use uuid::Uuid;

use crate::kafka_publisher::cluster::Place;

/// A feed that runs: makes envelopes and publishes them.
pub(crate) struct Run {
    place_topic: Arc<str>,
    identity: FeedIdentity,
}

impl Run {
    pub(crate) fn new(place: &Place, resumed: &Resumed) -> Self {
        Self {
            place_topic: place.topic.clone(),
            identity: FeedIdentity::new(place.feed.clone(), Epoch::FIRST, place.source(), resumed.identity.clone()),
        }
    }

    /// The event that closed this version of this key, with a payload of that many bytes.
    pub(crate) fn envelope_of_bytes(&self, key: &str, version: u64, payload_bytes: usize) -> Envelope {
        self.envelope(key, version, &format!("\"{}\"", noise(payload_bytes.saturating_sub(2))))
    }

    pub(crate) fn envelope(&self, key: &str, version: u64, payload: &str) -> Envelope {
        let event = EventRecord::new(
            "public.order_events".into(),
            EventId::new(Uuid::now_v7()),
            key.into(),
            version,
            "order.item_added.v1".into(),
            Bytes::copy_from_slice(payload.as_bytes()),
            DateTime::from_timestamp(1_700_000_000, 123_456_000).expect("in range"),
        );
        let position = Position::new('t', version, 0);
        Envelope::cloud_event(self.place_topic.clone(), "/tests".into(), event, position, &self.identity)
            .in_transaction(Some(TransactionPlace::new(7, 0)))
    }

    /// The row of this key as it is now, `None` if it was deleted.
    pub(crate) fn row(&self, key: &str, position: u64, note: Option<&str>) -> Envelope {
        const TEXT: u32 = 25;
        let table = Arc::new(Table::new("public", "notes", [Column::key("id", TEXT), Column::new("note", TEXT)]));
        let row = |note| Row::from_cells([Cell::Text(key), note]).expect("a small row");
        let at = DateTime::UNIX_EPOCH;
        let change = match note {
            Some(note) => RowChange::update(table, None, row(Cell::Text(note)), at),
            None => RowChange::delete(table, BeforeImage::Key(row(Cell::Null)), at),
        };
        self.enveloped(change, position)
    }

    /// All rows are gone.
    pub(crate) fn truncation(&self, position: u64) -> Envelope {
        let table = Arc::new(Table::new("public", "notes", []));
        self.enveloped(RowChange::truncate(table, DateTime::UNIX_EPOCH), position)
    }

    fn enveloped(&self, change: RowChange, position: u64) -> Envelope {
        Envelope::flat_row(self.place_topic.clone(), change, Position::new('t', position, 0), &self.identity)
    }

    /// Publishes the envelopes and completes them at this position.
    pub(crate) async fn complete(
        &self,
        publisher: &dyn Publisher,
        envelopes: &[Envelope],
        position: u64,
    ) -> Result<(), PublishError> {
        let end = End::Complete(Position::new('t', position, 0));
        publisher.publish(&Part::new(&self.identity, envelopes, &end)).await
    }

    /// Publishes the envelopes; more of their database transaction follows.
    pub(crate) async fn begin(&self, publisher: &dyn Publisher, envelopes: &[Envelope]) -> Result<(), PublishError> {
        publisher.publish(&Part::new(&self.identity, envelopes, &End::Continues)).await
    }
}

/// The text of the position with this number.
pub(crate) fn position(number: u64) -> Option<String> {
    Some(Position::new('t', number, 0).to_string())
}

/// Text that does not compress, the same each time.
fn noise(bytes: usize) -> String {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let letters = std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[(state >> 32) as usize % 64])
    });
    letters.take(bytes).collect()
}
