//! The seam between the store and its databases.

/// A connection, or the `&mut *tx` of a transaction, of a database that keeps orders: `PgConnection` and
/// `SqliteConnection`. Sealed: implemented in this crate alone.
pub trait OrderConnection: sealed::Connection {}

pub(crate) mod sealed {
    use std::future::Future;

    use order_domain::{CustomerId, Order, OrderId, Version};

    use crate::sql::fault::Fault;
    use crate::sql::requested_change::{Outcome, RequestedChange};

    /// The operations of the store on a connection.
    pub trait Connection: Send {
        /// Tries the change once, in the transaction that the connection is in.
        fn attempt(
            &mut self,
            requested: &RequestedChange,
            lock_timeout_ms: Option<u128>,
        ) -> impl Future<Output = Result<Outcome, Fault>> + Send;

        /// Locks the order until the transaction ends.
        fn lock(&mut self, order_id: OrderId) -> impl Future<Output = Result<(), Fault>> + Send;

        /// Reads the order as it is now.
        fn get(&mut self, order_id: OrderId) -> impl Future<Output = Result<Option<Order>, Fault>> + Send;

        /// Reads the order as this version left it; `None` if the outbox no longer tells.
        fn get_at(
            &mut self,
            order_id: OrderId,
            version: Version,
        ) -> impl Future<Output = Result<Option<Order>, Fault>> + Send;

        /// Lists at most `limit` orders of the customer with ids below `before`, the highest first.
        fn list(
            &mut self,
            customer_id: CustomerId,
            before: Option<OrderId>,
            limit: i64,
        ) -> impl Future<Output = Result<Vec<Order>, Fault>> + Send;

        /// Whether the server is a standby, which accepts no changes.
        fn is_standby(&mut self) -> impl Future<Output = Result<bool, sqlx::Error>> + Send;

        /// Reads the version of the store's tables; 0 without tables.
        fn schema_version(&mut self) -> impl Future<Output = Result<i64, sqlx::Error>> + Send;
    }
}
