//! Transactions of many rows.

use change_feed::source::Start;
use change_feed::{End, Epoch, Position, Source};

use crate::logical::world::{World, changes, end, read, started};

const ROWS: usize = 50_000;

#[tokio::test]
async fn a_large_transaction_flows_in_pieces_that_belong_together() {
    let world = World::new().await;
    let source = world.started(&Position::ORIGIN).await;
    world
        .run(&format!("insert into order_events (order_id, version) select 'a', n from generate_series(1, {ROWS}) n"))
        .await;
    let mut runs = read(&source, ROWS).await;
    // The position may move before it comes.
    runs.retain(|run| !run.changes.is_empty());
    let (last, pieces) = runs.split_last().expect("pieces");
    assert!(pieces.iter().all(|piece| piece.end == End::Continues));
    assert!(pieces.len() >= ROWS / 2_000 - 1, "{} pieces", pieces.len());
    assert!(last.end.position().is_some());
    let places: Vec<_> = changes(&runs).iter().map(|change| change.transaction.clone().expect("a place")).collect();
    assert!(places.iter().enumerate().all(|(index, place)| place.index as usize == index && place.part.is_none()));
    assert_eq!(places.last().and_then(|place| place.count), u32::try_from(ROWS).ok());
}

#[tokio::test]
async fn a_transaction_above_the_limit_comes_in_parts_each_of_which_is_marked() {
    let world = World::new().await;
    let source = started(world.builder().max_transaction_rows(20_000), &Position::ORIGIN).await;
    world
        .run(&format!("insert into order_events (order_id, version) select 'a', n from generate_series(1, {ROWS}) n"))
        .await;
    let changes = changes(&read(&source, ROWS).await);
    let marks: Vec<_> = changes
        .iter()
        .filter_map(|change| Some((change.transaction.as_ref()?.index, change.transaction.as_ref()?.part?)))
        .collect();
    assert_eq!(marks, [(19_999, 1), (39_999, 2)]);
    assert_eq!(changes.last().and_then(|change| change.transaction.as_ref()?.count), Some(50_000));
}

#[tokio::test]
async fn small_transactions_of_a_backlog_share_runs_that_are_complete() {
    let world = World::new().await;
    let source = world.started(&Position::ORIGIN).await;
    let place = end(&[source.next().await.expect("where it begins")]);
    world.run("do $$ begin for n in 1..3000 loop insert into order_events (order_id, version) values ('a', n); commit; end loop; end $$").await;
    source.start(&Start::after(&place, Epoch::FIRST)).await.expect("a position of ours");
    let runs = read(&source, 3_000).await;
    assert!(runs.iter().all(|run| run.end.position().is_some()));
    assert!(runs.len() < 1_000, "{} runs", runs.len());
}
