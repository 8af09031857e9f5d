//! What is not a message, and how it is said.

use postgres_replication::pgoutput::{DecodeError, Message, MessageKind};

fn refusal(bytes: &[u8]) -> String {
    Message::decode(bytes).expect_err("no message").to_string()
}

#[test]
fn in_progress_streaming_and_two_phase_commit_were_not_asked_for() {
    for (tag, name) in [
        (b'S', "Stream Start"),
        (b'E', "Stream Stop"),
        (b'c', "Stream Commit"),
        (b'A', "Stream Abort"),
        (b'b', "Begin Prepare"),
        (b'P', "Prepare"),
        (b'K', "Commit Prepared"),
        (b'r', "Rollback Prepared"),
        (b'p', "Stream Prepare"),
    ] {
        let error = Message::decode(&[tag, 0, 0, 0, 1]).expect_err("not asked for");
        let kind = MessageKind::of(tag).expect("a known kind");
        assert_eq!(error, DecodeError::NotAskedFor { message: kind });
        assert!(error.to_string().starts_with(name), "{error}");
    }
}

#[test]
fn every_other_first_byte_is_unknown() {
    let known = b"BCORYIUDTMSEcAbPKrp";
    for tag in 0..=u8::MAX {
        let unknown = Message::decode(&[tag]) == Err(DecodeError::Unknown { tag });
        assert_eq!(unknown, !known.contains(&tag), "{tag}");
    }
}

#[test]
fn a_refusal_says_which_message_and_where_and_what_was_expected() {
    let refusals: [(&[u8], &str); 16] = [
        (b"", "the message of pgoutput is empty"),
        (b"x", "pgoutput has no message with the first byte 0x78; check that the slot's plug-in is pgoutput"),
        (b"I\0\0", "Insert ends too early: expected the OID of the relation (Int32) at byte 1"),
        (b"I\0\0\0\x01K", "Insert is malformed: expected the tag of the new row (N) at byte 5"),
        (b"I\0\0\0\x01N\0\x01x", "Insert is malformed: expected the kind of a column (n, u, t or b) at byte 8"),
        (b"I\0\0\0\x01N\0\x01t\0\0\0\x02x", "Insert ends too early: expected a value of the stated length at byte 13"),
        (
            b"I\0\0\0\x01N\0\x01t\xff\xff\xff\xff",
            "Insert is malformed: expected the length of a value (Int32, not negative) at byte 9",
        ),
        (b"I\0\0\0\x01N\0\x01nn", "Insert is malformed: it should end before byte 9; unexpected bytes: 1"),
        (b"U\0\0\0\x01K\0\0K", "Update is malformed: expected the tag of the new row (N) at byte 8"),
        (b"D\0\0\0\x01N", "Delete is malformed: expected the tag of the old row (K or O) at byte 5"),
        (b"C\x01", "Commit is malformed: expected flags (Int8, always 0) at byte 1"),
        (
            b"T\0\0\0\x01\x04",
            "Truncate is malformed: expected the options (Int8: 1 for CASCADE, 2 for RESTART IDENTITY) at byte 5",
        ),
        (b"T\x7f\xff\xff\xff\0", "Truncate ends too early: expected the OIDs of the relations (Int32 each) at byte 6"),
        (b"M\x02", "Message is malformed: expected flags (Int8: 0, or 1 for transactional) at byte 1"),
        (b"O\0\0\0\0\0\0\0\x01ab", "Origin ends too early: expected the name of the origin (String) at byte 9"),
        (b"O\0\0\0\0\0\0\0\x01a\xffb\0", "Origin is malformed: expected the name of the origin (String) at byte 9"),
    ];
    for (bytes, text) in refusals {
        assert_eq!(refusal(bytes), text);
    }
}

#[test]
fn a_relation_takes_no_more_memory_than_its_bytes_can_fill() {
    // 65,535 columns are said, one is there.
    let bytes = b"R\0\0\0\x01\0t\0d\xff\xff\0a\0\0\0\0\x17\xff\xff\xff\xff";
    let measured = allocation_counter::measure(|| {
        assert!(matches!(Message::decode(bytes), Err(DecodeError::Truncated { .. })));
    });
    assert!(measured.bytes_max < 1024, "{} bytes", measured.bytes_max);
}

#[test]
fn rows_are_decoded_and_read_without_an_allocation() {
    let bytes = b"U\0\0\0\x01K\0\x02t\0\0\0\x01anN\0\x02t\0\0\0\x02bbu";
    let measured = allocation_counter::measure(|| {
        let Ok(Message::Update(update)) = Message::decode(bytes) else { panic!("an update") };
        assert_eq!(update.new.columns().len(), 2);
        assert_eq!(update.new.columns().count(), 2);
        assert_eq!(update.new.as_bytes(), b"\0\x02t\0\0\0\x02bbu");
        assert_eq!(update.old.expect("a key").tuple().as_bytes(), b"\0\x02t\0\0\0\x01an");
    });
    assert_eq!(measured.count_total, 0);
}
