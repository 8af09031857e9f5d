//! Two devices on one order: while one cancels, the other adds an item. A thousand races; whichever comes first, no item is
//! added after the cancellation, and the device that lost gets an error at once.
//!
//! ```sh
//! cargo run --example two_devices                                        # on a SQLite file of its own
//! DATABASE_URL=postgres://… cargo run --example two_devices
//! ```

use std::error::Error;
use std::sync::Arc;

use chrono::Utc;
use order_domain::{Currency, CustomerId, Money, NewItem, NewOrder, Order, Quantity, Sku};
use order_store::{OrderStore, PostgresOrderStore, Refusal, Request, SqliteOrderStore, StoreError};
use tokio::sync::Barrier;

const RACES: u32 = 1000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let store = match std::env::var("DATABASE_URL") {
        Ok(url) => postgres(&url).await?,
        Err(_) => sqlite(&format!("sqlite:{}", folder.path().join("two_devices.db").display())).await?,
    };
    let (mut before, mut refused, mut after) = (0, 0, 0);
    for _ in 0..RACES {
        match race(&store).await? {
            Race::AddedBefore => before += 1,
            Race::Refused => refused += 1,
            Race::AddedAfter => after += 1,
        }
    }
    println!("{RACES} races: {before} accepted before the cancellation, {refused} refused, {after} accepted after it");
    if after == 0 { Ok(()) } else { Err("an item was added to a cancelled order".into()) }
}

/// What happened to the item.
enum Race {
    AddedBefore,
    Refused,
    AddedAfter,
}

/// One order, one device that cancels it, one that adds an item, both at the same time.
async fn race(store: &Arc<dyn OrderStore>) -> Result<Race, Box<dyn Error>> {
    let order = store.create(NewOrder::new(CustomerId::generate(Utc::now()), Currency::EUR), Request::new()).await?;
    let start = Arc::new(Barrier::new(2));
    let cancelling = tokio::spawn({
        let (store, start, order_id) = (Arc::clone(store), Arc::clone(&start), order.id());
        async move {
            start.wait().await;
            store.cancel(order_id, Request::new()).await
        }
    });
    start.wait().await;
    let milk = NewItem::new(Sku::new("milk")?, Quantity::new(2)?, Money::from_minor(149, Currency::EUR)?);
    let added = store.add_item(order.id(), milk, Request::new()).await;
    let cancelled = cancelling.await??;
    judge(added, &cancelled, &store.get(order.id()).await?)
}

/// The answer that the device got must agree with the order afterwards.
fn judge(added: Result<Order, StoreError>, cancelled: &Order, now: &Order) -> Result<Race, Box<dyn Error>> {
    match added {
        Ok(order) if order.version() < cancelled.version() && now.items().len() == 1 => Ok(Race::AddedBefore),
        Ok(_) => Ok(Race::AddedAfter),
        Err(StoreError::Refused(Refusal::OrderCancelled { at_version }))
            if at_version == cancelled.version() && now.items().is_empty() =>
        {
            Ok(Race::Refused)
        }
        Err(StoreError::Refused(Refusal::OrderCancelled { .. })) => Err("refused, and yet the item is there".into()),
        Err(error) => Err(error.into()),
    }
}

async fn postgres(url: &str) -> Result<Arc<dyn OrderStore>, StoreError> {
    let store = PostgresOrderStore::connect(url).await?;
    store.migrate().await?;
    Ok(Arc::new(store))
}

async fn sqlite(url: &str) -> Result<Arc<dyn OrderStore>, StoreError> {
    let store = SqliteOrderStore::connect(url).await?;
    store.migrate().await?;
    Ok(Arc::new(store))
}
