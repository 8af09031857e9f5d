//! An order, as its events made it.

use std::borrow::Borrow;

use serde::{Deserialize, Serialize, Serializer};

use crate::{
    Currency, CustomerId, DeliveryWindow, Item, ItemId, Money, MoneyError, NewItem, OrderError, OrderEvent, OrderId,
    OrderState, OrderStatus, ReplayError, Version, rules,
};

/// An order, as its events made it. Only events change it.
///
/// JSON has the fields of [`OrderState`], from which it is also built when its parts come from a database.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "OrderState")]
pub struct Order {
    pub(crate) id: OrderId,
    pub(crate) customer_id: CustomerId,
    pub(crate) status: OrderStatus,
    pub(crate) version: Version,
    pub(crate) currency: Currency,
    /// Sorted by id.
    pub(crate) items: Vec<Item>,
    pub(crate) delivery_window: Option<DeliveryWindow>,
}

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

    /// The id.
    #[must_use]
    pub const fn id(&self) -> OrderId {
        self.id
    }

    /// Whose order it is.
    #[must_use]
    pub const fn customer_id(&self) -> CustomerId {
        self.customer_id
    }

    /// How far it has come.
    #[must_use]
    pub const fn status(&self) -> OrderStatus {
        self.status
    }

    /// The version that its last change took.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The currency of all its prices.
    #[must_use]
    pub const fn currency(&self) -> Currency {
        self.currency
    }

    /// Its items, sorted by id: with ids of UUID version 7, in the order in which they were added.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// The item of this id, if it has one.
    #[must_use]
    pub fn item(&self, item_id: ItemId) -> Option<&Item> {
        self.place_of(item_id).ok().map(|place| &self.items[place])
    }

    /// The window that was agreed last; a cancelled order keeps the one that it had.
    #[must_use]
    pub const fn delivery_window(&self) -> Option<DeliveryWindow> {
        self.delivery_window
    }

    /// What all its items cost.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`]: no order is refused for its sum, so a sum may be too large to tell.
    pub fn total(&self) -> Result<Money, MoneyError> {
        self.items.iter().try_fold(Money::zero(self.currency), |sum, item| sum.plus(item.total()?))
    }

    /// Where the item is, or where it would go.
    pub(crate) fn place_of(&self, item_id: ItemId) -> Result<usize, usize> {
        self.items.binary_search_by_key(&item_id, Item::id)
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

impl Serialize for Order {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        OrderState::from(self).serialize(serializer)
    }
}

fn in_sequence(expected: Version, found: Version) -> Result<(), ReplayError> {
    if expected == found { Ok(()) } else { Err(ReplayError::OutOfSequence { expected, found }) }
}

fn same_item(version: Version, held: &Item, told: &Item) -> Result<(), ReplayError> {
    if held == told { Ok(()) } else { Err(ReplayError::Contradiction { version, item_id: held.id() }) }
}
