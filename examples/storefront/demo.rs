//! One scripted order, so that a first look shows something.

use std::time::{Duration, Instant};

use change_feed::Wake;
use chrono::{TimeDelta, Utc};
use order_domain::{Currency, CustomerId, DeliveryWindow, Money, NewItem, NewOrder, Order, Quantity, Sku};
use order_store::{OrderStore, Request, StoreError};
use tokio::time::timeout_at;

use crate::console::say;

use crate::journal::{HeardEvent, Journal};

/// How long the script waits for its events, all in all. Without a broker it goes on without them, as orders do.
const EVENTS_TIMEOUT: Duration = Duration::from_secs(10);

/// One scripted order: created, two items, scheduled, cancelled, and an item that comes too late.
pub(crate) struct Demo<'a> {
    store: &'a dyn OrderStore,
    wake: &'a Wake,
    journal: &'a Journal,
    events_due: tokio::time::Instant,
}

/// Why the script ended before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    /// The store didn't do what the script asked for.
    #[error("the example order was interrupted")]
    Store(#[from] StoreError),
    /// The store accepted what it had to refuse.
    #[error("the store accepted an item on a cancelled order, at version {0}")]
    NotRefused(order_domain::Version),
    /// The script itself is wrong.
    #[error("the example order is not valid")]
    Script(#[from] order_domain::InvalidValue),
}

impl<'a> Demo<'a> {
    /// The script, for this store; the events are expected in the journal.
    pub(crate) fn new(store: &'a dyn OrderStore, wake: &'a Wake, journal: &'a Journal) -> Self {
        Self { store, wake, journal, events_due: tokio::time::Instant::now() + EVENTS_TIMEOUT }
    }

    /// Plays it, and writes what happens.
    pub(crate) async fn play(&self) -> Result<(), DemoError> {
        say("\nOne order, as an example (--no-demo leaves it out):\n");
        let new_order = NewOrder::new(CustomerId::generate(Utc::now()), Currency::EUR);
        let order = self.step("create an order", self.store.create(new_order, Request::new())).await?;
        let id = order.id();
        for (words, item) in [("add 2 milk", item("milk", 2, 149)?), ("add 1 bread", item("bread", 1, 320)?)] {
            self.step(words, self.store.add_item(id, item, Request::new())).await?;
        }
        self.step("schedule it for tomorrow", self.store.schedule(id, tomorrow()?, Request::new())).await?;
        let cancelled = self.step("cancel it", self.store.cancel(id, Request::new())).await?;
        let late = self.store.add_item(id, item("butter", 1, 289)?, Request::new()).await;
        self.refused("add 1 butter", late, &cancelled).await
    }

    /// One change: what the store answered, and its event as it came back from the broker.
    async fn step(
        &self,
        words: &str,
        change: impl Future<Output = Result<Order, StoreError>>,
    ) -> Result<Order, DemoError> {
        let cursor = self.journal.recent(0);
        let order = change.await?;
        let committed_at = Instant::now();
        self.wake.wake();
        let said = format!("  {words:<26}version {}", order.version());
        match timeout_at(self.events_due, self.heard(&order, cursor)).await {
            Ok(heard) => say(format_args!("{said}   {}", shown(&heard, committed_at))),
            Err(_) => say(format_args!("{said}   committed; its event waits until the broker takes it")),
        }
        Ok(order)
    }

    /// Waits for the event that closed the order's present version.
    async fn heard(&self, order: &Order, mut cursor: u64) -> HeardEvent {
        let (key, version) = (order.id().to_string(), u64::from(order.version()));
        loop {
            match self.journal.at(cursor).await {
                Ok(entry) if entry.event.event().key() == key && entry.event.event().version() == version => {
                    return entry.event.as_ref().clone();
                }
                Ok(_) => cursor += 1,
                // An old history was read back so quickly that it passed by: the event is still to come.
                Err(_) => cursor = self.journal.floor().1,
            }
        }
    }

    /// The answer to the item that came too late. Each version has exactly one event, so the versions count the events.
    async fn refused(&self, words: &str, late: Result<Order, StoreError>, cancelled: &Order) -> Result<(), DemoError> {
        let refusal = match late {
            Ok(order) => return Err(DemoError::NotRefused(order.version())),
            Err(StoreError::Refused(refusal)) => refusal,
            Err(error) => return Err(error.into()),
        };
        let now = self.store.get(cancelled.id()).await?;
        let published = now.version().get() - cancelled.version().get();
        say(format_args!("  {words:<26}refused: {refusal}; {published} events published"));
        Ok(())
    }
}

fn shown(heard: &HeardEvent, committed_at: Instant) -> String {
    let event = heard.event();
    // It may have come back before the store's answer was looked at.
    let milliseconds = heard.heard_at().saturating_duration_since(committed_at).as_secs_f64() * 1000.0;
    let (name, partition, offset) = (event.event_type(), event.partition(), event.offset());
    format!("{name:<22} partition {partition:>2}  offset {offset:>4}  {milliseconds:>6.1} ms after the commit")
}

fn item(sku: &str, quantity: u16, price_minor: i64) -> Result<NewItem, order_domain::InvalidValue> {
    Ok(NewItem::new(Sku::new(sku)?, Quantity::new(quantity)?, Money::from_minor(price_minor, Currency::EUR)?))
}

fn tomorrow() -> Result<DeliveryWindow, order_domain::InvalidValue> {
    let starts_at = Utc::now() + TimeDelta::days(1);
    DeliveryWindow::new(starts_at, starts_at + TimeDelta::hours(2))
}
