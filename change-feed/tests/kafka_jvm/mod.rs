//! What Java's own consumer sees of a feed's topics is what our readers see, byte for byte; and Java's own producer would
//! choose the partitions that we choose.

mod cluster;
mod foreign;
mod jvm;
mod log;
mod relay;
mod seen;

use std::collections::BTreeSet;

use change_feed::{FeedName, Mark};
use uuid::Uuid;

use crate::kafka_jvm::cluster::{create_topic, read, read_events, wait_until_arrived, wait_until_stable};
use crate::kafka_jvm::jvm::{Isolation, JavaRecord};
use crate::kafka_jvm::log::Feed;
use crate::kafka_jvm::relay::{RELAY_OF, Relay, leave_open, new_feed, start_process, topic_of};
use crate::kafka_jvm::seen::{Place, Seen, Understood, differences, placed};

const ABORTED: &str = "aborted";
const ABANDONED: &str = "abandoned";
/// Of each.
const LOST_EVENTS: u64 = 12;

/// All three readers see the same; gives it.
async fn agreed(topic: &str, java: Vec<JavaRecord>) -> Vec<Seen> {
    let java: Vec<Seen> = java.into_iter().map(|record| record.seen).collect();
    assert_eq!(differences(&placed(java.clone()), &placed(read(topic, Isolation::Committed))), []);
    assert_eq!(differences(&understood(topic, &java), &read_events(topic).await), []);
    java
}

/// What our reader of events has to make of these records.
fn understood(topic: &str, records: &[Seen]) -> Vec<(Place, Understood)> {
    records.iter().map(|record| (record.place(), seen::understood(record, topic))).collect()
}

fn count(records: &[Seen], of_interest: impl Fn(&Seen) -> bool) -> usize {
    records.iter().filter(|record| of_interest(record)).count()
}

/// Committed, aborted, left open by a relay that was killed, and then ended by its successor; and what no feed writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn javas_consumer_sees_of_every_kind_of_transaction_what_ours_see() {
    const THIS_TEST: &str = "kafka_jvm::javas_consumer_sees_of_every_kind_of_transaction_what_ours_see";
    if let Ok(feed) = std::env::var(RELAY_OF) {
        return leave_open(&feed, LOST_EVENTS, ABANDONED).await;
    }
    let feed = new_feed();
    let topic = topic_of(&feed);
    create_topic(&topic, 3).await;
    write_and_abort(&feed).await;
    foreign::write(&topic, 0);
    wait_until_stable(&topic).await;
    let mut killed = start_process(THIS_TEST, &feed);
    wait_until_arrived(&topic, ABANDONED, LOST_EVENTS as usize).await;
    killed.kill().await.expect("a process of ours");
    // Behind what is open.
    (0..3).for_each(|partition| foreign::write(&topic, partition));

    let [while_open, all] = jvm::read([(Isolation::Committed, &topic), (Isolation::Uncommitted, &topic)]).await;
    let while_open = agreed(&topic, while_open).await;
    assert!(while_open.len() + (LOST_EVENTS as usize) < all.len(), "nothing is hidden behind what is open");

    let successor = Relay::start(&feed).await;
    successor.complete(&[successor.event("a", 3, "{\"by\":\"the successor\"}")], 4).await;
    wait_until_stable(&topic).await;
    let [committed, all] = jvm::read([(Isolation::Committed, &topic), (Isolation::Uncommitted, &topic)]).await;
    let committed = agreed(&topic, committed).await;
    let all: Vec<Seen> = all.into_iter().map(|record| record.seen).collect();

    // What these readers were to agree on is there.
    assert_eq!(count(&committed, |record| record.says("the successor")), 1);
    assert_eq!(count(&committed, |record| record.header("feed_op") == Some("delete") && record.value.is_none()), 1);
    assert_eq!(count(&committed, |record| record.header("feed_withheld").is_some() && record.value == Some(vec![])), 1);
    assert_eq!(count(&committed, |record| record.headers.contains(&("null".to_owned(), None))), 4 * 5);
    assert_eq!(count(&committed, |record| record.key.is_none()), 4 * 2);
    assert_eq!(count(&committed, |record| record.key == Some(vec![])), 4 * 2);

    // And the comparison tells a reader that sees more: by exactly what nobody may see.
    let lost = |record: &&Seen| record.says(ABORTED) || record.says(ABANDONED);
    let lost: Vec<Place> = all.iter().filter(lost).map(Seen::place).collect::<BTreeSet<_>>().into_iter().collect();
    assert_eq!(lost.len(), 2 * LOST_EVENTS as usize);
    assert_eq!(differences(&placed(all.clone()), &placed(read(&topic, Isolation::Committed))), lost);
    assert_eq!(differences(&understood(&topic, &all), &read_events(&topic).await), lost);
    assert_eq!(differences(&placed(all), &placed(read(&topic, Isolation::Uncommitted))), []);
}

async fn write_and_abort(feed: &FeedName) {
    let relay = Relay::start(feed).await;
    let payloads = ["{}", "{\"price\": 12.50}", "{\"größe\":\"½\\n\"}", "\"\"", "null"];
    let events = payloads.iter().enumerate().map(|(n, payload)| relay.event(&format!("order-{n}"), 1, payload));
    relay.complete(&events.collect::<Vec<_>>(), 1).await;
    let marked = [
        relay.event("a", 1, "{}").withheld("too large"),
        relay.tombstone("a"),
        relay.event("b", 1, "{}").marked(Mark::Replay),
        relay.event("Schlüssel ✓", 2, "{}"),
    ];
    relay.complete(&marked, 2).await;
    let payload = format!("{{\"said\":\"{ABORTED}\"}}");
    let events: Vec<_> = (0..LOST_EVENTS).map(|n| relay.event(&format!("lost-{n}"), 1, &payload)).collect();
    relay.begin(&events).await;
    wait_until_arrived(&topic_of(feed), ABORTED, events.len()).await;
    let relay = relay.give_up().await;
    relay.complete(&[relay.event("a", 2, "{}")], 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn javas_consumer_sees_of_events_and_rows_from_the_log_what_ours_see() {
    let feed = Feed::create(new_feed()).await;
    let expected = feed.run().await;
    let (events, rows) = (feed.events(), feed.rows());
    for topic in [&events, &rows] {
        wait_until_stable(topic).await;
    }
    let [java_events, java_rows] = jvm::read([(Isolation::Committed, &events), (Isolation::Committed, &rows)]).await;
    let all_chosen = |record: &JavaRecord| record.chosen_partition == Some(record.seen.partition);
    assert!(java_events.iter().chain(&java_rows).all(all_chosen));
    let (events, rows) = (agreed(&events, java_events).await, agreed(&rows, java_rows).await);
    assert_eq!((events.len() + rows.len()) as u64, expected);

    // A transaction of 230 changes in parts of 50, a row that moved to another key, one that was deleted, and a truncation.
    let parts = events.iter().chain(&rows).filter_map(|record| record.header("feed_tx_part"));
    assert_eq!(parts.collect::<BTreeSet<_>>(), BTreeSet::from(["1", "2", "3", "4"]));
    let tombstones = rows.iter().filter(|record| record.value.is_none()).map(|record| record.key.as_deref());
    assert_eq!(tombstones.collect::<BTreeSet<_>>(), BTreeSet::from([&b""[..], b"6", b"7"].map(Some)));
    assert_eq!(count(&rows, |record| record.says("rolled back")), 0);
    feed.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_key_is_where_javas_own_producer_puts_it() {
    let [few, many] = [new_feed(), new_feed()];
    let topics = [topic_of(&few), topic_of(&many)];
    for (feed, topic, partitions) in [(&few, &topics[0], 7), (&many, &topics[1], 36)] {
        create_topic(topic, partitions).await;
        let relay = Relay::start(feed).await;
        relay.complete(&keys().iter().map(|key| relay.event(key, 1, "{}")).collect::<Vec<_>>(), 1).await;
        wait_until_stable(topic).await;
    }
    let [few, many] = jvm::read([(Isolation::Committed, &topics[0]), (Isolation::Committed, &topics[1])]).await;
    for (records, partitions) in [(few, 7), (many, 36)] {
        assert_eq!(records.len(), keys().len());
        let elsewhere = records.iter().find(|record| record.chosen_partition != Some(record.seen.partition));
        assert!(elsewhere.is_none(), "{elsewhere:?}");
        let used: BTreeSet<i32> = records.iter().map(|record| record.seen.partition).collect();
        assert_eq!(used.len(), partitions, "the keys show nothing of some partitions");
    }
}

/// Keys of every length up to some hundred bytes, in ASCII and beyond, as orders have them and as nobody has them.
fn keys() -> Vec<String> {
    let lengths = (0..200).map(|length| "k".repeat(length));
    let numbers = (0..1_000).map(|number| number.to_string());
    let letters = ('\u{1}'..'\u{3000}').step_by(19).map(|letter| format!("{letter}-{letter}{letter}"));
    let ids = (0..1_000).map(|_| Uuid::now_v7().to_string());
    lengths.chain(numbers).chain(letters).chain(ids).collect()
}
