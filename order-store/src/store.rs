//! The trait that speaks the user's words.

use async_trait::async_trait;
use order_domain::{Command, CustomerId, DeliveryWindow, ItemId, NewItem, NewOrder, Order, OrderId, Quantity};

use crate::error::StoreError;
use crate::page::{Cursor, OrderPage};
use crate::request::Request;

/// Keeps orders. The database says yes or no; what it said yes to has its event in the outbox.
///
/// # Answers
/// A change answers the order exactly as the change left it. Nothing refused, failed or rolled back has changed
/// anything. [`StoreError`] says what to do next.
///
/// # Refusals
/// A cancelled order is told as such before anything else about the request is, then a version other than the one
/// expected, then what [`order_domain::decide`] says, in its order.
///
/// # Repeated requests
/// A change with a [`RequestId`](crate::RequestId) that was accepted before isn't done again: it answers the order as
/// the first one left it, even if it was cancelled since. (Where the outbox no longer keeps that far back: the order as
/// it is now.) An id that was accepted for another change is [`Refusal::RequestIdReused`](crate::Refusal). The expected
/// version and the trace context don't count as part of the change. A refused request leaves no trace: the same id asks
/// anew.
///
/// # Cancellation
/// Dropping the future of a change leaves its outcome unknown, as after [`StoreError::Unknown`]; the same request id
/// finds out. It never leaves half a change.
///
/// # Concurrency
/// Changes of one order happen one after another, whoever makes them; changes of different orders don't wait for one
/// another.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait OrderStore: Send + Sync {
    /// Creates an order, open and without items, under an id of its own.
    async fn create(&self, order: NewOrder, request: Request) -> Result<Order, StoreError>;

    /// Adds an item under an id of its own.
    async fn add_item(&self, order_id: OrderId, item: NewItem, request: Request) -> Result<Order, StoreError>;

    /// Changes how many pieces of an item are ordered; to the number that it has already is a change too.
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

    /// Agrees on a delivery window, or on another one.
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

    /// Does any of these changes, as the domain names them: for callers that choose an item's id themselves.
    async fn change(&self, order_id: OrderId, command: Command, request: Request) -> Result<Order, StoreError>;

    /// The order as it is now.
    async fn get(&self, order_id: OrderId) -> Result<Order, StoreError>;

    /// A customer's orders, the newest first (by order id), [`ORDERS_PER_PAGE`](crate::ORDERS_PER_PAGE) at a time: the
    /// first page without a cursor, each further one with the cursor that came with the page before.
    ///
    /// Orders that are created meanwhile don't shift the pages. Each order is one moment's, a page is one moment's too,
    /// and two pages are two moments.
    async fn list_by_customer(&self, customer_id: CustomerId, cursor: Option<Cursor>) -> Result<OrderPage, StoreError>;
}
