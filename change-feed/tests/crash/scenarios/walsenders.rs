//! The server ends the process that reads the log.

use crate::assignment::{Capture, Mode};
use crate::world::World;
use test_support::eventually;
use test_support::required;

/// The stream lives so long at most after it has given something, and is ended then.
const LIFE_MAX_MS: u64 = 700;

/// The server's process that reads the log for the relay is ended (`pg_terminate_backend`) so often, while writers write.
/// The relay reads on with nobody's help (V).
pub(crate) async fn walsenders(mode: Mode, count: u32) {
    let capture = Capture::PostgresLog;
    let (database_url, brokers) = (required(capture.url_variable()), required("KAFKA_BROKERS"));
    let mut world = World::new(capture, mode, &database_url, &brokers).await;
    let load = world.load();
    let mut relay = world.relay();
    for _ in 0..count {
        relay.publishes_more().await;
        world.some_time(LIFE_MAX_MS).await;
        let ledger = &world.ledger;
        let ended = async || match ledger.end_walsender().await {
            true => Ok(()),
            false => Err("nobody reads the slot".to_owned()),
        };
        eventually("the relay reads the log, and is cut off", ended, || relay.report()).await;
    }
    world.catch_up(&[&relay]).await;
    assert!(!relay.has_ended(), "nobody starts it again: {}", relay.report());
    let written = load.stop().await;
    written.assert_undisturbed();
    world.drain(&mut relay).await;
    world.conclude("a walsender that is terminated", &written, &format!("{count} times")).await;
}
