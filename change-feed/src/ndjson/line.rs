//! The line of a record.

use std::io;

use serde::de::IgnoredAny;

use crate::feed::envelope::Envelope;
use crate::publisher::{PublishError, Rejection};

/// The lines of these envelopes, or the rejection of those that have no line.
pub(super) fn render(envelopes: &[Envelope]) -> Result<Vec<u8>, PublishError> {
    let rejections: Vec<Rejection> = envelopes
        .iter()
        .enumerate()
        .filter(|(_, envelope)| !has_line(envelope))
        .map(|(index, _)| Rejection { index, reason: "the payload is not JSON".to_owned() })
        .collect();
    if !rejections.is_empty() {
        return Err(PublishError::Rejected(rejections));
    }
    let mut lines = Vec::with_capacity(envelopes.iter().map(Envelope::size_bytes).sum());
    for envelope in envelopes {
        // A Vec takes every byte, so this never fails.
        push(&mut lines, envelope).map_err(PublishError::transient)?;
    }
    Ok(lines)
}

fn has_line(envelope: &Envelope) -> bool {
    match envelope.value() {
        Some(value) if envelope.withheld_reason().is_none() => serde_json::from_slice::<IgnoredAny>(value).is_ok(),
        _ => true,
    }
}

fn push(lines: &mut Vec<u8>, envelope: &Envelope) -> io::Result<()> {
    lines.extend_from_slice(b"{\"topic\":");
    serde_json::to_writer(&mut *lines, &**envelope.topic())?;
    lines.extend_from_slice(b",\"key\":");
    serde_json::to_writer(&mut *lines, envelope.key())?;
    let mut before = &b",\"headers\":{"[..];
    let mut failed = Ok(());
    envelope.visit_headers(&mut |name, value| {
        lines.extend_from_slice(before);
        before = b",";
        let written = serde_json::to_writer(&mut *lines, name).and_then(|()| {
            lines.push(b':');
            serde_json::to_writer(&mut *lines, value)
        });
        if let Err(error) = written {
            failed = Err(error);
        }
    });
    failed?;
    lines.push(b'}');
    if envelope.withheld_reason().is_none() {
        lines.extend_from_slice(b",\"payload\":");
        // In JSON a bare line break only ever stands between tokens.
        let no_break = |byte: &u8| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte };
        lines.extend(envelope.value().unwrap_or(b"null").iter().map(no_break));
    }
    lines.extend_from_slice(b"}\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::identity::tests::identity;
    use crate::feed::position::Position;
    use crate::feed::router::Router;
    use crate::feed::row::{Cell, Row};
    use crate::feed::row_change::{BeforeImage, RowChange};
    use crate::feed::table::{Column, Table};
    use crate::memory::database::MemoryDatabase;
    use crate::memory::event::MemoryEvent;
    use chrono::DateTime;
    use std::sync::Arc;

    fn envelopes(payloads: &[&str]) -> Vec<Envelope> {
        let database = MemoryDatabase::new();
        let event = |payload: &&str| MemoryEvent::new("or\"der\n1").payload((*payload).to_owned());
        database.commit(payloads.iter().map(event));
        let router = Router::to_topic("orders.events");
        database
            .changes()
            .into_iter()
            .map(|change| router.route(change, &identity()).expect("a topic for events"))
            .collect()
    }

    #[test]
    fn a_record_is_one_line_of_json_with_its_payload_in_it() {
        let lines = render(&envelopes(&["{\r\n \"a\": \"x\\ny\", \"b\": 12.50\n}"])).expect("JSON");
        let text = String::from_utf8(lines).expect("text");
        assert_eq!(text.matches('\n').count(), 1);
        assert!(text.ends_with(",\"payload\":{   \"a\": \"x\\ny\", \"b\": 12.50 }}\n"), "{text}");
        let record: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(record["topic"], "orders.events");
        assert_eq!(record["key"], "or\"der\n1");
        assert_eq!(record["headers"]["feed_version"], "1");
        assert_eq!(record["headers"]["ce_type"], "memory.changed.v1");
        assert_eq!(record["payload"]["a"], "x\ny");
    }

    #[test]
    fn a_withheld_stub_has_no_payload() {
        let stub = envelopes(&["{}"]).remove(0).withheld("too large");
        let text = String::from_utf8(render(&[stub]).expect("a stub")).expect("text");
        let record: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(record.get("payload"), None);
        assert_eq!(record["headers"]["feed_withheld"], "too large");
    }

    #[test]
    fn a_tombstone_has_a_payload_that_is_null() {
        let table = Arc::new(Table::new("public", "orders", [Column::key("id", 20)]));
        let row = Row::from_cells([Cell::Text("7")]).expect("a small row");
        let deleted = RowChange::delete(table, BeforeImage::Key(row), DateTime::UNIX_EPOCH);
        let tombstone = Envelope::flat_row("t".into(), deleted, Position::new('t', 1, 0), &identity());
        let text = String::from_utf8(render(std::slice::from_ref(&tombstone)).expect("a line")).expect("text");
        let record: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((record.get("payload"), &record["key"]), (Some(&serde_json::Value::Null), &"7".into()));
        assert_eq!(record["headers"]["feed_op"], "delete");
        let stub = String::from_utf8(render(&[tombstone.withheld("too large")]).expect("a line")).expect("text");
        let stub: serde_json::Value = serde_json::from_str(&stub).expect("JSON");
        assert_eq!(stub.get("payload"), None);
    }

    #[test]
    fn every_payload_that_is_not_json_is_rejected() {
        let rejected = render(&envelopes(&["{}", "", "1", "{} {}", "{\"a\":\u{7}}"])).expect_err("rejected");
        let PublishError::Rejected(rejections) = rejected else { panic!("{rejected:?}") };
        let indexes: Vec<_> = rejections.iter().map(|rejection| rejection.index).collect();
        assert_eq!(indexes, [1, 3, 4]);
    }
}
