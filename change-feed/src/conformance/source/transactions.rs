//! Database transactions as a source gives them.

use std::collections::{HashMap, HashSet};

use super::driver::{Driver, Given, event_of};
use super::harness::SourceHarness;
use crate::conformance::rule::{Fault, broken, must};
use crate::feed::event::EventId;
use crate::feed::position::Position;
use crate::feed::transaction::{TransactionId, TransactionPlace};

/// The number of events in the largest transaction, unless the source claims less.
const LARGE: usize = 1_200;
/// The number of events in the small ones around it.
const AROUND: usize = 9;

/// A large transaction among small ones, read in one go.
async fn read(harness: &dyn SourceHarness) -> Result<(Driver, Given), Fault> {
    let mut driver = Driver::open(harness).await?;
    let limit = harness.capabilities().whole_transactions_up_to;
    let large = LARGE.min(limit.saturating_sub(AROUND));
    driver.commit(&[0]).await?;
    driver.commit(&[1, 2, 1]).await?;
    let keys: Vec<usize> = (0..large).map(|n| n % 7).collect();
    driver.commit(&keys).await?;
    driver.commit(&[3, 3]).await?;
    driver.commit(&[4, 5, 6]).await?;
    let source = driver.started(&Position::ORIGIN).await?;
    let given = driver.read(&*source, &driver.events()).await?;
    Ok((driver, given))
}

pub(super) async fn transactions_come_whole(harness: &dyn SourceHarness) -> Result<(), Fault> {
    let (driver, given) = read(harness).await?;
    let mut seen: HashSet<EventId> = HashSet::new();
    for run in given.runs() {
        seen.extend(run.changes.iter().map(|change| event_of(change).event_id));
        let Some(end) = run.end.position() else { continue };
        for events in &driver.committed {
            let count = events.iter().filter(|event| seen.contains(&event.event_id)).count();
            must(count == 0 || count == events.len(), || {
                format!("at the complete end {end} {count} of a transaction's {} events were given", events.len())
            })?;
        }
    }
    Ok(())
}

pub(super) async fn transaction_places_are_right(harness: &dyn SourceHarness) -> Result<(), Fault> {
    let (driver, given) = read(harness).await?;
    let places: HashMap<EventId, Option<&TransactionPlace>> =
        given.changes().map(|change| (event_of(change).event_id, change.transaction.as_ref())).collect();
    let mut ids = HashSet::new();
    for events in &driver.committed {
        let of_transaction = events.iter().filter_map(|event| places.get(&event.event_id));
        let id = in_one_transaction(of_transaction, events.len())?;
        must(ids.insert(id), || format!("two transactions have the id {id}"))?;
    }
    Ok(())
}

/// The id that these places of one transaction have in common.
fn in_one_transaction<'a>(
    places: impl Iterator<Item = &'a Option<&'a TransactionPlace>>,
    events: usize,
) -> Result<&'a TransactionId, Fault> {
    let mut id = None;
    for (index, place) in places.enumerate() {
        let Some(place) = place else {
            return broken("a change has no place in its transaction");
        };
        let first = *id.get_or_insert(&place.id);
        must(*first == place.id, || format!("a transaction has the ids {first} and {}", place.id))?;
        must(place.index as usize == index, || {
            format!("the change {index} of a transaction has index {}", place.index)
        })?;
        let count = place.count.map(|count| count as usize);
        let expected = (index + 1 == events).then_some(events);
        must(count == expected, || {
            format!("the change {index} of {events} in a transaction has count {count:?}, should be {expected:?}")
        })?;
    }
    id.map_or_else(|| broken("nothing of a transaction was given"), Ok)
}
