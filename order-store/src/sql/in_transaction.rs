//! Changes inside a transaction of the caller's.

use order_domain::{Command, CustomerId, DeliveryWindow, ItemId, NewItem, NewOrder, Order, OrderId, Quantity};

use crate::error::StoreError;
use crate::page::{Cursor, OrderPage};
use crate::request::Request;
use crate::sql::connection::OrderConnection;
use crate::sql::constraint::is_raced;
use crate::sql::execution::{self, Overtaken};
use crate::sql::fault::{Fault, Reaction, Stage};
use crate::sql::requested_change::{Operation, Outcome, RequestedChange};

/// The changes and reads of [`OrderStore`](crate::OrderStore) inside a transaction of the caller's, together with the
/// caller's own writes: all commit, or nothing does.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn example(pool: &sqlx::SqlitePool, order_id: order_domain::OrderId) -> Result<(), Box<dyn std::error::Error>> {
/// use order_store::{InTransaction, Request};
///
/// let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
/// InTransaction::new(&mut *tx).cancel(order_id, Request::new()).await?;
/// sqlx::query("insert into refunds (order_id) values ($1)").bind(order_id.to_string()).execute(&mut *tx).await?;
/// tx.commit().await?;
/// # Ok(())
/// # }
/// ```
///
/// - A change takes two round trips: the first locks the order until the transaction ends. Two transactions that change
///   the same orders should do so in the same sequence, or one of them may be refused as a deadlock.
/// - After [`StoreError::Refused`] the transaction goes on, and nothing of the refused change is in it; but for
///   [`Refusal::Violation`](crate::Refusal), after which PostgreSQL only rolls back. After any other error, roll back.
/// - Nothing is tried again here: [`StoreError::Conflict`] asks for the whole transaction again.
/// - A request id counts once the transaction commits.
/// - On SQLite begin with `BEGIN IMMEDIATE`, on a connection with `foreign_keys=ON` (sqlx's default).
/// - A future that was dropped leaves the transaction with an unknown part of the change: roll it back.
#[derive(Debug)]
pub struct InTransaction<'c, C> {
    connection: &'c mut C,
}

impl<'c, C: OrderConnection> InTransaction<'c, C> {
    /// Works on the connection of a transaction: `&mut *tx`.
    pub const fn new(connection: &'c mut C) -> Self {
        Self { connection }
    }

    /// See [`OrderStore::create`](crate::OrderStore::create).
    ///
    /// # Errors
    /// [`StoreError`] says what to do next.
    pub async fn create(&mut self, order: NewOrder, request: Request) -> Result<Order, StoreError> {
        self.answer(RequestedChange::create(order, request)).await
    }

    /// See [`OrderStore::add_item`](crate::OrderStore::add_item).
    ///
    /// # Errors
    /// [`StoreError`] says what to do next.
    pub async fn add_item(&mut self, order_id: OrderId, item: NewItem, request: Request) -> Result<Order, StoreError> {
        self.answer(RequestedChange::add_item(order_id, item, request)).await
    }

    /// See [`OrderStore::change_quantity`](crate::OrderStore::change_quantity).
    ///
    /// # Errors
    /// [`StoreError`] says what to do next.
    pub async fn change_quantity(
        &mut self,
        order_id: OrderId,
        item_id: ItemId,
        quantity: Quantity,
        request: Request,
    ) -> Result<Order, StoreError> {
        self.change(order_id, Command::ChangeItemQuantity { item_id, quantity }, request).await
    }

    /// See [`OrderStore::remove_item`](crate::OrderStore::remove_item).
    ///
    /// # Errors
    /// [`StoreError`] says what to do next.
    pub async fn remove_item(
        &mut self,
        order_id: OrderId,
        item_id: ItemId,
        request: Request,
    ) -> Result<Order, StoreError> {
        self.change(order_id, Command::RemoveItem { item_id }, request).await
    }

    /// See [`OrderStore::schedule`](crate::OrderStore::schedule).
    ///
    /// # Errors
    /// [`StoreError`] says what to do next.
    pub async fn schedule(
        &mut self,
        order_id: OrderId,
        delivery_window: DeliveryWindow,
        request: Request,
    ) -> Result<Order, StoreError> {
        self.change(order_id, Command::Schedule { delivery_window }, request).await
    }

    /// See [`OrderStore::cancel`](crate::OrderStore::cancel).
    ///
    /// # Errors
    /// [`StoreError`] says what to do next.
    pub async fn cancel(&mut self, order_id: OrderId, request: Request) -> Result<Order, StoreError> {
        self.change(order_id, Command::Cancel, request).await
    }

    /// See [`OrderStore::change`](crate::OrderStore::change).
    ///
    /// # Errors
    /// [`StoreError`] says what to do next.
    pub async fn change(&mut self, order_id: OrderId, command: Command, request: Request) -> Result<Order, StoreError> {
        self.answer(RequestedChange::change(order_id, command, request)).await
    }

    /// See [`OrderStore::get`](crate::OrderStore::get). The order as this transaction sees it.
    ///
    /// # Errors
    /// [`StoreError`] says what to do next.
    pub async fn get(&mut self, order_id: OrderId) -> Result<Order, StoreError> {
        execution::existing(self.connection, order_id).await.map_err(explain)
    }

    /// See [`OrderStore::list_by_customer`](crate::OrderStore::list_by_customer).
    ///
    /// # Errors
    /// [`StoreError`] says what to do next.
    pub async fn list_by_customer(
        &mut self,
        customer_id: CustomerId,
        cursor: Option<Cursor>,
    ) -> Result<OrderPage, StoreError> {
        execution::page(self.connection, customer_id, cursor).await.map_err(explain)
    }

    async fn answer(&mut self, requested: RequestedChange) -> Result<Order, StoreError> {
        if let Operation::Change { order_id, .. } = requested.operation {
            // Nobody can change it between the attempt's read and its write.
            self.connection.lock(order_id).await.map_err(explain)?;
        }
        match self.connection.attempt(&requested, None).await.map_err(explain)? {
            Outcome::Done(order) => Ok(order),
            Outcome::Refused(refusal) => Err(refusal.into()),
            Outcome::AcceptedBefore(accepted) => {
                execution::first_answer(self.connection, &requested, accepted).await.map_err(explain)
            }
            Outcome::Overtaken => Err(StoreError::Conflict { source: Overtaken.into() }),
        }
    }
}

/// Nothing is in flight here: only the caller commits.
fn explain(fault: Fault) -> StoreError {
    match fault {
        Fault::Final(error) => error,
        Fault::Database(error) => match Reaction::to(&error, Stage::NotStarted) {
            Reaction::Again => StoreError::Conflict { source: error.into() },
            Reaction::Refused(constraint) if is_raced(&constraint) => StoreError::Conflict { source: error.into() },
            reaction => reaction.explain(error),
        },
    }
}
