//! The connections that the store works on: one small seam, with an implementation for each database.

/// A connection, or the `&mut *tx` of a transaction, of a database that keeps orders: `PgConnection` and
/// `SqliteConnection`. Sealed: nobody else implements it.
pub trait OrderConnection: sealed::Connection {}

pub(crate) mod sealed {
    use std::future::Future;

    use order_domain::{CustomerId, Order, OrderId, Version};

    use crate::sql::ask::{Ask, Outcome};
    use crate::sql::fault::Fault;

    /// What the store asks of a connection.
    pub trait Connection: Send {
        /// Tries the change once, in the transaction that the connection is in.
        fn attempt(&mut self, ask: &Ask) -> impl Future<Output = Result<Outcome, Fault>> + Send;

        /// Waits until nobody else changes the order, and keeps it so until the transaction ends.
        fn lock(&mut self, order_id: OrderId) -> impl Future<Output = Result<(), Fault>> + Send;

        /// The order as it is now.
        fn get(&mut self, order_id: OrderId) -> impl Future<Output = Result<Option<Order>, Fault>> + Send;

        /// The order as this version left it; none if the outbox doesn't tell.
        fn get_at(
            &mut self,
            order_id: OrderId,
            version: Version,
        ) -> impl Future<Output = Result<Option<Order>, Fault>> + Send;

        /// At most `limit` orders of the customer with ids below `before`, the highest first.
        fn list(
            &mut self,
            customer_id: CustomerId,
            before: Option<OrderId>,
            limit: i64,
        ) -> impl Future<Output = Result<Vec<Order>, Fault>> + Send;

        /// The version of the store's tables; 0 where there are none.
        fn schema_version(&mut self) -> impl Future<Output = Result<i64, sqlx::Error>> + Send;
    }
}
