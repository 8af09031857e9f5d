//! The store's trait.

use async_trait::async_trait;
use order_domain::{Command, CustomerId, DeliveryWindow, ItemId, NewItem, NewOrder, Order, OrderId, Quantity};

use crate::error::StoreError;
use crate::page::{Cursor, OrderPage};
use crate::request::Request;

/// Keeps orders. The database accepts or refuses each change; an accepted change has its event in the outbox.
///
/// # Answers
/// A change returns the order exactly as the change left it. [`StoreError`] says what to do next; a refused change has
/// changed nothing.
///
/// # Refusals
/// If several apply, the first of: the order is cancelled; it has another version than expected; the refusals of
/// [`order_domain::decide`], in their order.
///
/// # Repeated requests
/// A change with a [`RequestId`](crate::RequestId) that was accepted before isn't done again: it answers the order as
/// the first one left it, even if it was cancelled since. (If the outbox no longer has those events: the order as it is
/// now.) An id that was accepted for another change is [`Refusal::RequestIdReused`](crate::Refusal). The expected
/// version and the trace context are not part of the change. A refused request is not kept: its id may be
/// used again.
///
/// # Cancellation
/// Dropping the future of a change leaves its outcome unknown, as after [`StoreError::Unknown`]; the same request id
/// finds out. It never leaves half a change.
///
/// # Concurrency
/// Changes of one order happen one after another, from any program; changes of different orders don't wait for one
/// another.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait OrderStore: Send + Sync {
    /// Creates an order, open and without items, under an id of its own.
    async fn create(&self, order: NewOrder, request: Request) -> Result<Order, StoreError>;

    /// Adds an item under an id of its own.
    async fn add_item(&self, order_id: OrderId, item: NewItem, request: Request) -> Result<Order, StoreError>;

    /// Changes the quantity of an item; the same number is a change too.
    async fn change_quantity(
        &self,
        order_id: OrderId,
        item_id: ItemId,
        quantity: Quantity,
        request: Request,
    ) -> Result<Order, StoreError> {
        self.change(order_id, Command::ChangeItemQuantity { item_id, quantity }, request).await
    }

    /// Removes an item.
    async fn remove_item(&self, order_id: OrderId, item_id: ItemId, request: Request) -> Result<Order, StoreError> {
        self.change(order_id, Command::RemoveItem { item_id }, request).await
    }

    /// Sets the delivery window, for the first time or again.
    async fn schedule(
        &self,
        order_id: OrderId,
        delivery_window: DeliveryWindow,
        request: Request,
    ) -> Result<Order, StoreError> {
        self.change(order_id, Command::Schedule { delivery_window }, request).await
    }

    /// Cancels the order for good.
    async fn cancel(&self, order_id: OrderId, request: Request) -> Result<Order, StoreError> {
        self.change(order_id, Command::Cancel, request).await
    }

    /// Makes any of these changes, as the domain names them: for callers that choose an item's id themselves.
    async fn change(&self, order_id: OrderId, command: Command, request: Request) -> Result<Order, StoreError>;

    /// Reads the order as it is now.
    async fn get(&self, order_id: OrderId) -> Result<Order, StoreError>;

    /// Lists a customer's orders, the newest first (by order id), [`ORDERS_PER_PAGE`](crate::ORDERS_PER_PAGE) at a time: the
    /// first page without a cursor, each further one with the cursor that came with the page before.
    ///
    /// Orders that are created meanwhile don't shift the pages. A page shows one moment; two pages
    /// may show two.
    async fn list_by_customer(&self, customer_id: CustomerId, cursor: Option<Cursor>) -> Result<OrderPage, StoreError>;
}
