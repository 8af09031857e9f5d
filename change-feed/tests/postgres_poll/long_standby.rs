//! A standby is no place to poll.

use std::time::Duration;

use change_feed::{PostgresPollSource, SourceError};
use test_support::{Instance, Standby};

use crate::postgres_poll::world::{PATIENCE, World, feed, outbox, text};

#[tokio::test]
async fn a_standby_is_refused_with_the_address_of_the_primary_as_the_remedy() {
    let instance = Instance::start("poll-standby").await;
    let world = World::on(instance.url("DATABASE_URL")).await;
    let url = world.url();
    world.source().await;
    world.pool.close().await;
    instance.server("stop").await;
    let standby = Standby::start(&instance, world.options.get_port());
    let refused = async {
        loop {
            let builder = PostgresPollSource::builder(&url, &feed()).outbox(outbox());
            match builder.connect().await.expect_err("a standby") {
                SourceError::Transient(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                error => return error,
            }
        }
    };
    let error = tokio::time::timeout(PATIENCE, refused).await.expect("it answers");
    assert!(text(&error).contains("standby") && text(&error).contains("primary"), "{}", text(&error));
    drop(standby);
}
