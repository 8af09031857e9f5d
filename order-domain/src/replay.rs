//! An order from its events, one after another.

use std::borrow::Borrow;

use crate::event::OrderEvent;
use crate::item::{Item, NewItem};
use crate::order::Order;
use crate::order_error::OrderError;
use crate::order_status::OrderStatus;
use crate::replay_error::ReplayError;
use crate::rules;
use crate::version::Version;

impl Order {
    /// Replays the whole history of an order: each event with its version, from 1 without a gap.
    ///
    /// ```
    /// use order_domain::{CustomerId, Currency, NewOrder, Order, OrderId, OrderEvent, OrderStatus, Version, create};
    /// # let order_id: OrderId = "01998f3e-7c00-7000-8000-000000000001".parse()?;
    /// # let customer: CustomerId = "01998f3e-7c00-7000-8000-0000000000c1".parse()?;
    ///
    /// let created = create(order_id, &NewOrder::new(customer, Currency::EUR));
    /// let cancelled = OrderEvent::Cancelled { order_id };
    /// let history = [(Version::new(1)?, created), (Version::new(2)?, cancelled)];
    /// assert_eq!(Order::from_events(history)?.status(), OrderStatus::Cancelled);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ReplayError`] says where the history stops making sense.
    pub fn from_events<E>(history: impl IntoIterator<Item = (Version, E)>) -> Result<Self, ReplayError>
    where
        E: Borrow<OrderEvent>,
    {
        let mut history = history.into_iter();
        let (version, first) = history.next().ok_or(ReplayError::NoEvents)?;
        in_sequence(Version::FIRST, version)?;
        let mut order = Self::created(first.borrow())?;
        for (version, event) in history {
            in_sequence(order.next_version()?, version)?;
            order.apply(event.borrow())?;
        }
        Ok(order)
    }

    /// Takes an event as the order's next version.
    ///
    /// # Errors
    /// When [`decide`](crate::decide) couldn't have made this event of this order. The order then stays as it was.
    pub fn apply(&mut self, event: &OrderEvent) -> Result<(), ReplayError> {
        let version = self.next_version()?;
        if event.order_id() != self.id {
            return Err(ReplayError::OtherOrder { expected: self.id, found: event.order_id() });
        }
        self.take(version, event)?;
        self.version = version;
        Ok(())
    }

    fn created(event: &OrderEvent) -> Result<Self, ReplayError> {
        match *event {
            OrderEvent::Created { order_id, customer_id, currency } => Ok(Self {
                id: order_id,
                customer_id,
                status: OrderStatus::Open,
                version: Version::FIRST,
                currency,
                items: Vec::new(),
                delivery_window: None,
            }),
            _ => Err(ReplayError::NotCreated { found: event.event_type() }),
        }
    }

    fn take(&mut self, version: Version, event: &OrderEvent) -> Result<(), ReplayError> {
        let illegal = |source| ReplayError::Illegal { version, source };
        match event {
            OrderEvent::Created { .. } => return Err(ReplayError::CreatedAgain { version }),
            OrderEvent::ItemAdded { item, .. } => {
                let as_new = NewItem::new(item.sku().clone(), item.quantity(), item.unit_price());
                let (place, item) = rules::add_item(self, item.id(), &as_new).map_err(illegal)?;
                self.items.insert(place, item);
            }
            OrderEvent::ItemQuantityChanged { item, previous_quantity, .. } => {
                let place = rules::change_item_quantity(self, item.id()).map_err(illegal)?;
                same_item(version, &self.items[place], &item.with_quantity(*previous_quantity))?;
                self.items[place] = item.clone();
            }
            OrderEvent::ItemRemoved { item, .. } => {
                let place = rules::remove_item(self, item.id()).map_err(illegal)?;
                same_item(version, &self.items[place], item)?;
                self.items.remove(place);
            }
            OrderEvent::Scheduled { delivery_window, .. } => {
                rules::schedule(self).map_err(illegal)?;
                self.status = OrderStatus::Scheduled;
                self.delivery_window = Some(*delivery_window);
            }
            OrderEvent::Cancelled { .. } => {
                rules::cancel(self).map_err(illegal)?;
                self.status = OrderStatus::Cancelled;
            }
        }
        Ok(())
    }

    fn next_version(&self) -> Result<Version, ReplayError> {
        let source = OrderError::VersionsExhausted;
        self.version.next().ok_or(ReplayError::Illegal { version: self.version, source })
    }
}

fn in_sequence(expected: Version, found: Version) -> Result<(), ReplayError> {
    if expected == found { Ok(()) } else { Err(ReplayError::OutOfSequence { expected, found }) }
}

fn same_item(version: Version, held: &Item, told: &Item) -> Result<(), ReplayError> {
    if held == told { Ok(()) } else { Err(ReplayError::Contradiction { version, item_id: held.id() }) }
}
