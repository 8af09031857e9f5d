//! One round of the load with all pollers, and what each did wrong.

use change_feed::source::Start;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use change_feed::{Epoch, Position, Source};

use crate::postgres_poll::load;
use crate::postgres_poll::pollers::{UnsafePoller, Way};
use crate::postgres_poll::world::{Version, World, end, versions};

/// More polls in vain than any transaction of the load takes.
const POLLS_IN_VAIN: usize = 100;

/// What is wrong with what a poller gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Faults {
    pub(crate) lost: usize,
    pub(crate) doubled: usize,
    /// Versions that came after a higher one of the same cart.
    pub(crate) inverted: usize,
}

impl Faults {
    pub(crate) fn of(given: &[Version], history: &[Version]) -> Self {
        let once: HashSet<&Version> = given.iter().collect();
        let lost = history.iter().filter(|version| !once.contains(version)).count();
        let mut highest = HashMap::new();
        let inverted = given.iter().filter(|version| {
            let highest = highest.entry(version.cart).or_insert(0);
            let inverted = version.version < *highest;
            *highest = version.version.max(*highest);
            inverted
        });
        Self { inverted: inverted.count(), doubled: given.len() - once.len(), lost }
    }
}

/// What each poller did wrong in one round of the load.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) commits: usize,
    pub(crate) windows: usize,
    pub(crate) ours: Faults,
    pub(crate) others: HashMap<&'static str, Faults>,
}

/// One round: `commits` transactions while everybody polls; ours is resumed from the text of its position all the time.
pub(crate) async fn round(commits: usize) -> Round {
    let world = World::new().await;
    let mut pollers = Vec::new();
    for way in Way::ALL {
        pollers.push(UnsafePoller::new(way, world.connection().await));
    }
    let (done, finished) = tokio::sync::watch::channel(false);
    let writers = async {
        load::write(&world, commits).await;
        done.send(true).expect("somebody polls");
    };
    let others = futures::future::join_all(pollers.into_iter().map(|poller| poll_until(poller, finished.clone())));
    let (_, others, (given, windows)) = tokio::join!(writers, others, ours(&world, finished));
    let history = world.history().await;
    let others = others.iter().map(|poller| (name(poller.way), Faults::of(&poller.given, &history)));
    Round { commits, windows, ours: Faults::of(&given, &history), others: others.collect() }
}

pub(crate) fn name(way: Way) -> &'static str {
    match way {
        Way::AfterTheLastNumber => "after the last number",
        Way::AfterTheLastTransaction => "after the last transaction",
        Way::BelowTheOldestTransaction => "below the oldest transaction",
    }
}

async fn poll_until(mut poller: UnsafePoller, finished: tokio::sync::watch::Receiver<bool>) -> UnsafePoller {
    let mut in_vain = 0;
    while in_vain < POLLS_IN_VAIN {
        let found = poller.poll().await.expect("a poll");
        in_vain = if found == 0 && *finished.borrow() { in_vain + 1 } else { 0 };
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    poller
}

async fn ours(world: &World, finished: tokio::sync::watch::Receiver<bool>) -> (Vec<Version>, usize) {
    let source = world.started(&Position::ORIGIN).await;
    let (mut given, mut windows) = (Vec::new(), 0);
    loop {
        let ended = *finished.borrow();
        match tokio::time::timeout(Duration::from_secs(1), source.next()).await {
            Ok(changes) => {
                let changes = changes.expect("the source works");
                given.extend(versions(&changes.changes));
                windows += 1;
                if fastrand::u8(..) < 60 {
                    let position = end(&changes).to_string().parse().expect("a position");
                    source.start(&Start::after(&position, Epoch::FIRST)).await.expect("a position of this database");
                }
            }
            // A whole second of silence after everything has committed.
            Err(_) if ended => return (given, windows),
            Err(_) => {}
        }
    }
}
