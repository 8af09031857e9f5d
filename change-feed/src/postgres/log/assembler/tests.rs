//! What comes of messages.

use proptest::prelude::*;

use super::pgoutput_bytes::Value::{Null, Text, Unchanged};
use super::pgoutput_bytes::{
    COMMIT_BYTES, STEP, Value, begin, commit, delete, insert, logical, relation, truncate, update,
};
use super::*;
use crate::feed::part::End;
use crate::feed::position::Position;
use crate::feed::row::{Cell, Row};
use crate::feed::row_change::{BeforeImage, Operation};
use crate::outbox::table::Outbox;
use crate::postgres::log::catalog_key::CatalogColumn;
use crate::postgres::log::selection::TableName;

const OUTBOX: u32 = 1;
const CUSTOMERS: u32 = 2;
const OTHERS: u32 = 3;
const EVENT_ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

fn selection() -> Selection {
    Selection {
        outboxes: vec![Outbox::new("order_events", "order_id").event_type_format("order.", ".v1")],
        tables: vec![TableName::parse("public.customers").expect("a name")],
        messages: Some("orders".into()),
    }
}

fn generous() -> RunLimits {
    RunLimits {
        run_changes: 1_000,
        run_bytes: 1 << 20,
        transaction_changes: u64::MAX,
        transaction_duration: Duration::from_secs(3_600),
    }
}

fn at(place: LogPosition, limits: RunLimits) -> Assembler {
    let renamed = TableName::parse("public.customers").expect("a name");
    let start = Start { place, tables: HashMap::from([(CUSTOMERS, renamed)]), next_transaction: 0x1_0000_0500 };
    let mut assembler = Assembler::new(selection(), limits, start, Instant::now());
    for table in [outbox(), customers(), relation(OTHERS, "others", b'd', &[("id", true)])] {
        assert_eq!(assembler.push(&table, Instant::now()).expect("a table"), Learned::Shape);
    }
    assembler
}

fn assembler() -> Assembler {
    at(LogPosition::between(Lsn::new(0x10), 1), generous())
}

fn outbox() -> Bytes {
    let names = ["sequence", "event_id", "order_id", "version", "event_type", "payload", "occurred_at", "traceparent"];
    relation(OUTBOX, "order_events", b'd', &names.map(|name| (name, name == "sequence")))
}

fn customers() -> Bytes {
    relation(CUSTOMERS, "customers", b'd', &[("id", true), ("name", false), ("note", false)])
}

fn event(payload: &str) -> Bytes {
    let values = ["7", EVENT_ID, "order-1", "3", "created", payload, "2026-11-23 05:46:08.5+00"];
    let values: Vec<_> = values.into_iter().map(Text).chain([Null]).collect();
    insert(OUTBOX, &values)
}

fn customer(id: &str) -> Bytes {
    insert(CUSTOMERS, &[Text(id), Text("Ada"), Null])
}

fn feed(assembler: &mut Assembler, messages: impl IntoIterator<Item = Bytes>) {
    for message in messages {
        assert_eq!(assembler.push(&message, Instant::now()).expect("a message"), Learned::Shape);
    }
}

/// What one transaction comes to.
fn transaction(messages: impl IntoIterator<Item = Bytes>) -> Changes {
    let mut assembler = assembler();
    feed(&mut assembler, [begin(0x100, 9)]);
    feed(&mut assembler, messages);
    feed(&mut assembler, [commit(0x100)]);
    assembler.take().expect("a transaction")
}

fn rows(changes: &Changes) -> Vec<&RowChange> {
    changes
        .changes
        .iter()
        .filter_map(|change| match &change.content {
            Content::Row(row) => Some(row),
            Content::Event(_) => None,
        })
        .collect()
}

fn cells(row: Option<&Row>) -> Vec<String> {
    let text = |cell: Cell<'_>| match cell {
        Cell::Text(text) => text.to_owned(),
        other => format!("{other:?}"),
    };
    row.map(|row| row.cells().map(text).collect()).unwrap_or_default()
}

#[test]
fn a_row_of_an_outbox_is_an_event_that_does_not_hold_what_it_was_read_with() {
    let message = event(r#"{"a": 1}"#);
    let mut assembler = assembler();
    feed(&mut assembler, [begin(0x100, 9), message.clone(), commit(0x100)]);
    let changes = assembler.take().expect("a transaction");
    assert_eq!(changes.end, End::Complete(LogPosition::between(Lsn::new(0x100 + COMMIT_BYTES), 1).position()));
    let [change] = &changes.changes[..] else { panic!("{changes:?}") };
    assert_eq!(change.position, Position::change('l', 0x100, 0));
    assert_eq!(change.transaction, Some(TransactionPlace::last(0x1_0000_0009, 1)));
    let Content::Event(event) = &change.content else { panic!("{change:?}") };
    assert_eq!((&*event.outbox, &*event.key, event.version), ("public.order_events", "order-1", 3));
    assert_eq!((&*event.event_type, event.event_id.to_string().as_str()), ("order.created.v1", EVENT_ID));
    assert_eq!(event.occurred_at.to_rfc3339(), "2026-11-23T05:46:08.500+00:00");
    assert_eq!(&*event.payload, br#"{"a": 1}"#);
    assert!(!message.as_ptr_range().contains(&event.payload.as_ptr()));
}

#[test]
fn what_prunes_an_outbox_and_what_is_not_captured_is_no_change() {
    let changes = transaction([
        update(OUTBOX, None, &[Text("7"), Null, Null, Null, Null, Null, Null, Null]),
        delete(OUTBOX, b'K', &[Text("7"), Null, Null, Null, Null, Null, Null, Null]),
        truncate(&[OUTBOX, OTHERS]),
        insert(OTHERS, &[Text("1")]),
        event("{}"),
    ]);
    assert_eq!(changes.changes.len(), 1);
    assert_eq!(changes.changes[0].transaction.clone().expect("a place").count, Some(1));
}

#[test]
fn rows_come_with_what_the_log_tells_of_them_before_and_after() {
    let changes = transaction([
        customer("1"),
        update(CUSTOMERS, None, &[Text("1"), Text("Bea"), Unchanged]),
        update(CUSTOMERS, Some((b'O', &[Text("1"), Text("Bea"), Text("long")])), &[Text("1"), Text("Cy"), Unchanged]),
        delete(CUSTOMERS, b'K', &[Text("1"), Null, Null]),
        truncate(&[CUSTOMERS]),
    ]);
    let [inserted, updated, filled, deleted, truncated] = rows(&changes)[..] else { panic!("{changes:?}") };
    assert_eq!((inserted.operation, cells(inserted.after.as_ref())[0].as_str()), (Operation::Insert, "1"));
    assert_eq!(cells(updated.after.as_ref()), ["1", "Bea", "Unchanged"]);
    assert_eq!(cells(filled.after.as_ref()), ["1", "Cy", "long"]);
    assert!(matches!(filled.before, Some(BeforeImage::Full(_))));
    assert_eq!((deleted.operation, deleted.after.is_none()), (Operation::Delete, true));
    assert!(matches!(deleted.before, Some(BeforeImage::Key(_))));
    assert_eq!((truncated.operation, &truncated.before, &truncated.after), (Operation::Truncate, &None, &None));
    let key: Vec<_> = inserted.table.key_columns().map(|(_, column)| &*column.name).collect();
    assert_eq!((inserted.table.qualified_name(), key), ("public.customers", vec!["id"]));
}

#[test]
fn a_change_of_the_key_is_a_delete_and_an_insert() {
    for tag in [b'K', b'O'] {
        let old = [Text("1"), Null, Text("long")];
        let changes = transaction([update(CUSTOMERS, Some((tag, &old)), &[Text("2"), Text("Ada"), Unchanged])]);
        let [deleted, inserted] = rows(&changes)[..] else { panic!("{changes:?}") };
        assert_eq!((deleted.operation, inserted.operation), (Operation::Delete, Operation::Insert));
        assert_eq!(cells(deleted.keyed_row())[0], "1");
        let note = if tag == b'O' { "long" } else { "Unchanged" };
        assert_eq!(cells(inserted.after.as_ref()), ["2", "Ada", note]);
        assert_eq!(changes.changes[1].transaction.clone().expect("a place").count, Some(2));
    }
}

#[test]
fn a_key_that_is_stored_out_of_line_is_taken_from_the_key_before() {
    let old = [Text("1"), Null, Null];
    let changes = transaction([update(CUSTOMERS, Some((b'K', &old)), &[Unchanged, Text("Ada"), Unchanged])]);
    let [updated] = rows(&changes)[..] else { panic!("{changes:?}") };
    assert_eq!(
        (updated.operation, cells(updated.after.as_ref())),
        (Operation::Update, ["1", "Ada", "Unchanged"].map(Into::into).into())
    );
}

#[test]
fn a_table_that_is_altered_is_another_one_from_there_on() {
    let changes = transaction([
        customer("1"),
        relation(CUSTOMERS, "customers", b'd', &[("id", true), ("called", false)]),
        insert(CUSTOMERS, &[Text("2"), Text("Bea")]),
    ]);
    let [before, after] = rows(&changes)[..] else { panic!("{changes:?}") };
    assert_eq!((before.table.columns().len(), after.table.columns().len()), (3, 2));
    assert_eq!(&*after.table.columns()[1].name, "called");
}

#[test]
fn a_table_that_was_called_otherwise_is_known_by_its_object_id() {
    let changes = transaction([
        relation(CUSTOMERS, "clients", b'd', &[("id", true), ("name", false), ("note", false)]),
        customer("1"),
    ]);
    assert_eq!(rows(&changes)[0].table.qualified_name(), "public.customers");
}

#[test]
fn where_the_log_marks_every_column_the_key_is_asked_for() {
    let mut assembler = assembler();
    let full = relation(CUSTOMERS, "customers", b'f', &[("id", true), ("name", true), ("note", true)]);
    feed(&mut assembler, [begin(0x100, 9)]);
    assert_eq!(assembler.push(&full, Instant::now()).expect("a table"), Learned::NeedsKey(CUSTOMERS));
    assembler.learn_key(CUSTOMERS, catalog_key("id"));
    feed(&mut assembler, [full.clone(), customer("1"), commit(0x100)]);
    let changes = assembler.take().expect("a transaction");
    assert_eq!(rows(&changes)[0].table.key_columns().count(), 1);
    // It is asked for again when the table is described again: it may have been altered.
    assert_eq!(assembler.push(&full, Instant::now()).expect("a table"), Learned::NeedsKey(CUSTOMERS));
    assembler.learn_key(CUSTOMERS, catalog_key("another"));
    assert!(matches!(assembler.push(&full, Instant::now()), Err(CaptureFault::NoKey { .. })));
}

/// Of a table that has lost a column at some time.
fn catalog_key(name: &str) -> CatalogKey {
    let column = CatalogColumn { name: name.to_owned(), type_oid: 25, is_key: true };
    CatalogKey { columns: vec![column], dropped: true }
}

#[test]
fn a_transaction_of_which_a_part_was_given_is_not_gone_on_with_by_a_feed_of_other_tables() {
    let given = |captured| LogPosition { lsn: Lsn::new(0x100), changes: 1, timeline: 1, parts: 1, captured };
    let mine = at(given(None), generous()).captured;
    for (captured, goes_on) in [(None, true), (Some(mine), true), (Some(!mine), false)] {
        let mut assembler = at(given(captured), generous());
        let begun = assembler.push(&begin(0x100, 9), Instant::now());
        assert_eq!(!matches!(begun, Err(CaptureFault::CapturesChanged { .. })), goes_on, "{captured:?}");
        // A transaction behind it is whole, whatever is captured.
        let mut assembler = at(given(captured), generous());
        assert_eq!(assembler.push(&begin(0x200, 9), Instant::now()).expect("the next one"), Learned::Shape);
    }
}

#[test]
fn a_transactional_message_of_the_prefix_is_an_event_and_no_other_is() {
    let said = format!(
        r#"{{"event_id":"{EVENT_ID}","key":"o-1","version":2,"event_type":"paid.v1","payload":{{"a": [1.50]}}}}"#
    );
    let changes = transaction([
        logical(false, "orders", &said),
        logical(true, "others", "nonsense"),
        logical(true, "orders", &said),
    ]);
    let [Change { content: Content::Event(event), .. }] = &changes.changes[..] else { panic!("{changes:?}") };
    assert_eq!((&*event.outbox, &*event.key, event.version), ("orders", "o-1", 2));
    assert_eq!(&*event.payload, br#"{"a": [1.50]}"#);
    assert_eq!(event.occurred_at.to_rfc3339(), "2000-01-01T00:00:00+00:00", "the time of the commit");
}

#[test]
fn a_malformed_message_is_a_fault_that_names_its_place_and_nothing_of_what_it_says() {
    let zero = format!(r#"{{"event_id":"{EVENT_ID}","key":"secret","version":0,"event_type":"t","payload":1}}"#);
    for said in ["secret", r#"{"key":"secret"}"#, r#"{"secret":1}"#, zero.as_str()] {
        let mut assembler = assembler();
        feed(&mut assembler, [begin(0x100, 9)]);
        let fault = assembler.push(&logical(true, "orders", said), Instant::now()).expect_err(said);
        let text = format!("{fault} {fault:?}");
        assert!(text.contains("0/77") && !text.contains("secret"), "{text}");
    }
}

#[test]
fn a_row_of_an_outbox_that_is_no_event_is_a_fault_that_names_the_column_and_no_value() {
    let good = ["7", EVENT_ID, "order-1", "3", "created", "{}", "2026-11-23 05:46:08+00"];
    for (column, value, name) in [
        (1, Text("secret"), "event_id"),
        (2, Null, "key"),
        (3, Text("0"), "version"),
        (3, Text("-1"), "version"),
        (5, Null, "payload"),
        (6, Text("infinity"), "occurred_at"),
    ] {
        let mut values: Vec<Value<'_>> = good.into_iter().map(Text).chain([Null]).collect();
        values[column] = value;
        let mut assembler = assembler();
        feed(&mut assembler, [begin(0x100, 9)]);
        let fault = assembler.push(&insert(OUTBOX, &values), Instant::now()).expect_err(name);
        let text = format!("{fault} {fault:?}");
        assert!(text.contains(name) && text.contains("0/100") && !text.contains("secret"), "{text}");
    }
    let without = relation(OUTBOX, "order_events", b'd', &[("sequence", true), ("event_id", false)]);
    let fault = assembler().push(&without, Instant::now()).expect_err("columns are missing");
    assert!(matches!(&fault, CaptureFault::OutboxColumn { column, .. } if column == "order_id"), "{fault}");
}

#[test]
fn messages_in_an_order_that_there_is_not_are_faults() {
    let orders: [&[Bytes]; 5] = [
        &[commit(0x100)],
        &[begin(0x100, 9), begin(0x200, 10)],
        &[customer("1")],
        &[begin(0x100, 9), insert(99, &[])],
        &[begin(0x100, 9), insert(CUSTOMERS, &[Text("1")])],
    ];
    for order in orders {
        let mut assembler = assembler();
        let mut taken = order.iter().map(|message| assembler.push(message, Instant::now()));
        assert!(matches!(taken.find_map(Result::err), Some(CaptureFault::Order(_))), "{order:?}");
    }
}

#[test]
fn small_transactions_share_a_run_and_an_open_one_does_not_delay_them() {
    let mut assembler = assembler();
    feed(&mut assembler, [begin(0x100, 9), customer("1"), customer("2"), commit(0x100)]);
    feed(&mut assembler, [begin(0x200, 10), customer("3"), commit(0x200)]);
    feed(&mut assembler, [begin(0x300, 11), customer("4"), customer("5"), customer("6")]);
    let run = assembler.take().expect("two transactions");
    assert_eq!((run.changes.len(), run.end.position().map(Position::major)), (3, Some(0x200 + COMMIT_BYTES)));
    assert_eq!(assembler.take(), None, "what is open waits for its end");
    feed(&mut assembler, [commit(0x300)]);
    assert_eq!(assembler.take().expect("the third").changes.len(), 3);
}

#[test]
fn a_large_transaction_comes_in_pieces_and_its_last_change_carries_the_count() {
    let mut assembler = at(LogPosition::between(Lsn::new(0x10), 1), RunLimits { run_changes: 3, ..generous() });
    feed(&mut assembler, [begin(0x100, 9)]);
    let mut pieces = Vec::new();
    for id in 0..8 {
        feed(&mut assembler, [customer(&id.to_string())]);
        pieces.extend(assembler.take());
    }
    feed(&mut assembler, [commit(0x100)]);
    pieces.extend(assembler.take());
    assert_eq!(pieces.iter().map(|piece| piece.changes.len()).collect::<Vec<_>>(), [3, 3, 2]);
    assert!(pieces[..2].iter().all(|piece| piece.end == End::Continues));
    let places: Vec<_> =
        pieces.iter().flat_map(|p| &p.changes).map(|c| c.transaction.clone().expect("a place")).collect();
    assert!(places.iter().enumerate().all(|(index, place)| place.index as usize == index));
    assert!(places[..7].iter().all(|place| place.count.is_none()));
    assert_eq!(places[7].count, Some(8));
}

#[test]
fn a_transaction_that_takes_too_long_is_split() {
    let limits = RunLimits { transaction_duration: Duration::from_secs(1), ..generous() };
    let mut assembler = at(LogPosition::between(Lsn::new(0x10), 1), limits);
    let began = Instant::now();
    feed(&mut assembler, [begin(0x100, 9), customer("1"), customer("2")]);
    let later = began + Duration::from_secs(10);
    assert!(assembler.push(&customer("3"), later).is_ok());
    let part = assembler.take().expect("a part");
    assert_eq!(
        part.end.position().map(ToString::to_string).as_deref(),
        Some("1l-0000000000000100-8000000000000002-1.1.20f82512")
    );
    assert_eq!(part.changes[1].transaction.clone().expect("a place").part, Some(1));
}

#[test]
fn an_idle_log_moves_the_position_when_it_has_grown_and_not_more_often_than_allowed() {
    let mut assembler = assembler();
    let now = Instant::now();
    assembler.reached(Lsn::new(0x10 + IDLE_GROWTH_BYTES - 1));
    assert_eq!((assembler.moves_at(), assembler.move_on(now)), (None, None), "an acknowledgement writes as much");
    assembler.reached(Lsn::new(0x10 + IDLE_GROWTH_BYTES));
    let moved = assembler.move_on(now).expect("it has grown");
    assert_eq!(
        moved,
        Changes::complete(vec![], LogPosition::between(Lsn::new(0x10 + IDLE_GROWTH_BYTES), 1).position())
    );
    assembler.reached(Lsn::new(0x10 + 3 * IDLE_GROWTH_BYTES));
    assert_eq!(assembler.move_on(now), None);
    assert!(assembler.moves_at().is_some_and(|at| at > now));
    assert!(assembler.move_on(now + Duration::from_millis(IDLE_INTERVAL_MS)).is_some());
}

#[test]
fn the_position_does_not_move_within_a_transaction_and_empty_ones_move_it_as_a_growing_log_does() {
    let mut assembler = assembler();
    let now = Instant::now();
    feed(&mut assembler, [begin(0x200, 9)]);
    assembler.reached(Lsn::new(10 * IDLE_GROWTH_BYTES));
    assert_eq!(assembler.move_on(now), None);
    feed(&mut assembler, [commit(0x200)]);
    assert_eq!((assembler.take(), assembler.move_on(now)), (None, None), "there was nothing in it");
    let far = 20 * IDLE_GROWTH_BYTES;
    feed(&mut assembler, [begin(far, 10), commit(far)]);
    assert_eq!(
        assembler.move_on(now).expect("it has grown").end.position().map(Position::major),
        Some(far + COMMIT_BYTES)
    );
}

#[test]
fn a_new_feed_is_told_where_it_begins() {
    let mut assembler = assembler();
    assembler.announce_start();
    assert_eq!(assembler.take(), Some(Changes::complete(vec![], LogPosition::between(Lsn::new(0x10), 1).position())));
}

/// Transactions of so many changes each, some of which are of no concern.
fn log(sizes: &[usize]) -> Vec<Bytes> {
    let mut messages = Vec::new();
    for (index, size) in sizes.iter().enumerate() {
        let at = (index as u64 + 1) * STEP;
        messages.push(begin(at, u32::try_from(index).expect("few") + 1));
        for id in 0..*size {
            messages.push(customer(&format!("{index}.{id}")));
            messages.push(insert(OTHERS, &[Text("1")]));
        }
        messages.push(commit(at));
    }
    messages
}

/// Everything that comes of a log from a place on, however it is read; the server leaves out what committed before.
fn read(messages: &[Bytes], place: LogPosition, limits: RunLimits, takes: &[bool]) -> Vec<Changes> {
    let mut assembler = at(place, limits);
    let mut runs = Vec::new();
    let mut skipping = false;
    let mut takes = takes.iter().cycle();
    for message in messages {
        if let Ok(Message::Begin(begin)) = Message::decode(message) {
            skipping = begin.final_lsn < place.lsn;
        }
        if skipping {
            continue;
        }
        feed(&mut assembler, [message.clone()]);
        if assembler.is_full() || takes.next() == Some(&true) {
            while let Some(run) = assembler.take() {
                runs.push(run);
            }
        }
    }
    while let Some(run) = assembler.take() {
        runs.push(run);
    }
    assert!(assembler.is_empty());
    runs
}

proptest! {
    #[test]
    fn every_end_can_be_started_from_and_nothing_is_lost_or_doubled(
        sizes in proptest::collection::vec(0_usize..9, 1..9),
        run_changes in 1_usize..6,
        part in 1_u64..7,
        takes in proptest::collection::vec(any::<bool>(), 1..9),
        other_run_changes in 1_usize..6,
    ) {
        let messages = log(&sizes);
        let origin = LogPosition::between(Lsn::new(0x10), 1);
        let limits = RunLimits { run_changes, transaction_changes: part, ..generous() };
        let runs = read(&messages, origin, limits, &takes);
        let all: Vec<Change> = runs.iter().flat_map(|run| run.changes.clone()).collect();
        prop_assert_eq!(all.len(), sizes.iter().sum::<usize>());

        let mut end = origin.position();
        let mut before = 0;
        for run in &runs {
            prop_assert!(run.changes.len() <= run_changes.max(part as usize) + run_changes);
            for change in &run.changes {
                prop_assert!(end < change.position, "{} does not follow {}", change.position, end);
            }
            before += run.changes.len();
            let Some(position) = run.end.position() else { continue };
            prop_assert!(run.changes.iter().all(|change| change.position <= *position));
            prop_assert!(end < *position);
            end = position.clone();
            let place = LogPosition::from_position(position).expect("a place of ours");
            let limits = RunLimits { run_changes: other_run_changes, ..limits };
            let again = read(&messages, place, limits, &[true]);
            let after: Vec<Change> = again.into_iter().flat_map(|run| run.changes).collect();
            prop_assert_eq!(&after[..], &all[before..], "after a start at {}", position);
        }
        for (index, size) in sizes.iter().enumerate() {
            let commit = (index as u64 + 1) * STEP;
            let places: Vec<_> = all.iter().filter(|c| c.position.major() == commit).filter_map(|c| c.transaction.clone()).collect();
            prop_assert_eq!(places.last().and_then(|place| place.count).map_or(0, |count| count as usize), *size);
            let parts: Vec<_> = places.iter().filter_map(|place| place.part).collect();
            let expected = (*size as u64).saturating_sub(1) / part;
            prop_assert_eq!(parts, (1..=u32::try_from(expected).expect("few")).collect::<Vec<_>>());
        }
    }
}
