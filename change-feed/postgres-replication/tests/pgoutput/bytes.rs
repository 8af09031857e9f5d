//! Bytes that no server sent.

use postgres_replication::Lsn;
use postgres_replication::pgoutput::{Begin, Column, Commit, Message, Relation, ReplicaIdentity, Timestamp};
use proptest::prelude::*;

use crate::pgoutput::sent::{Old, Row, Sent, SentDatum};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_is_encoded_is_decoded_as_the_same(sent in any_sent()) {
        let bytes = sent.encode();
        let message = Message::decode(&bytes).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(Sent::from(&message), sent);
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in any::<Vec<u8>>()) {
        if let Ok(message) = Message::decode(&bytes) {
            prop_assert_eq!(Sent::from(&message).encode(), bytes);
        }
    }

    /// Bytes that are nearly a message get further than any bytes.
    #[test]
    fn a_message_with_a_piece_exchanged_is_decoded_or_refused(
        sent in any_sent(),
        at in any::<prop::sample::Index>(),
        piece in any::<Vec<u8>>(),
    ) {
        let mut bytes = sent.encode();
        let at = at.index(bytes.len());
        let end = bytes.len().min(at + piece.len() / 2);
        bytes.splice(at..end, piece);
        if let Ok(message) = Message::decode(&bytes) {
            prop_assert_eq!(Sent::from(&message).encode(), bytes);
        }
    }
}

/// Any message.
fn any_sent() -> impl Strategy<Value = Sent> {
    let lsn = || any::<u64>().prop_map(Lsn::new);
    let time = || any::<i64>().prop_map(Timestamp::from_us);
    // No zero byte, which would end it.
    let name = || "[^\\x00]{0,12}";
    prop_oneof![
        (lsn(), time(), any::<u32>()).prop_map(|(final_lsn, committed_at, xid)| Sent::Begin(Begin {
            final_lsn,
            committed_at,
            xid
        })),
        (lsn(), lsn(), time()).prop_map(|(commit_lsn, end_lsn, committed_at)| Sent::Commit(Commit {
            commit_lsn,
            end_lsn,
            committed_at
        })),
        (lsn(), name()).prop_map(|(commit_lsn, name)| Sent::Origin { commit_lsn, name }),
        any_relation().prop_map(Sent::Relation),
        (any::<u32>(), "[^\\x00]{1,12}", name()).prop_map(|(oid, schema, name)| Sent::Type { oid, schema, name }),
        (any::<u32>(), any_row()).prop_map(|(relation_oid, new)| Sent::Insert { relation_oid, new }),
        (any::<u32>(), proptest::option::of(any_old()), any_row()).prop_map(|(relation_oid, old, new)| Sent::Update {
            relation_oid,
            old,
            new
        }),
        (any::<u32>(), any_old()).prop_map(|(relation_oid, old)| Sent::Delete { relation_oid, old }),
        (proptest::collection::vec(any::<u32>(), 0..6), any::<bool>(), any::<bool>()).prop_map(
            |(relations, cascade, restart_identity)| { Sent::Truncate { relations, cascade, restart_identity } }
        ),
        (any::<bool>(), lsn(), name(), any::<Vec<u8>>())
            .prop_map(|(transactional, lsn, prefix, content)| Sent::Logical { transactional, lsn, prefix, content }),
    ]
}

fn any_relation() -> impl Strategy<Value = Relation> {
    let identity = prop_oneof![
        Just(ReplicaIdentity::Default),
        Just(ReplicaIdentity::Nothing),
        Just(ReplicaIdentity::Full),
        Just(ReplicaIdentity::Index)
    ];
    let column = ("[^\\x00]{0,12}", any::<u32>(), any::<i32>(), any::<bool>())
        .prop_map(|(name, type_oid, type_modifier, is_key)| Column { name, type_oid, type_modifier, is_key });
    let columns = proptest::collection::vec(column, 0..6);
    (any::<u32>(), "[^\\x00]{1,12}", "[^\\x00]{0,12}", identity, columns).prop_map(
        |(oid, schema, name, replica_identity, columns)| Relation { oid, schema, name, replica_identity, columns },
    )
}

fn any_row() -> impl Strategy<Value = Row> {
    let datum = prop_oneof![
        Just(SentDatum::Null),
        Just(SentDatum::Unchanged),
        any::<Vec<u8>>().prop_map(SentDatum::Text),
        any::<Vec<u8>>().prop_map(SentDatum::Binary)
    ];
    proptest::collection::vec(datum, 0..8)
}

fn any_old() -> impl Strategy<Value = Old> {
    prop_oneof![any_row().prop_map(Old::Key), any_row().prop_map(Old::Row)]
}
