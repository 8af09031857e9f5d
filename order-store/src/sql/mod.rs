//! The stores on SQL databases, and what they share.

mod connection;
mod constraint;
mod deadline;
mod execution;
mod fault;
mod in_transaction;
mod lease;
#[cfg(feature = "postgres")]
mod postgres;
mod requested_change;
#[cfg(feature = "sqlite")]
mod sqlite;

pub use connection::OrderConnection;
pub use constraint::violated_constraint;
pub use in_transaction::InTransaction;
#[cfg(feature = "postgres")]
pub use postgres::PostgresOrderStore;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteOrderStore;

/// Implements the trait for a store of this crate.
macro_rules! order_store {
    ($store:ty) => {
        #[async_trait::async_trait]
        impl crate::store::OrderStore for $store {
            async fn create(
                &self,
                order: order_domain::NewOrder,
                request: crate::request::Request,
            ) -> Result<order_domain::Order, crate::error::StoreError> {
                crate::sql::execution::change(
                    self,
                    crate::sql::requested_change::RequestedChange::create(order, request),
                )
                .await
            }

            async fn add_item(
                &self,
                order_id: order_domain::OrderId,
                item: order_domain::NewItem,
                request: crate::request::Request,
            ) -> Result<order_domain::Order, crate::error::StoreError> {
                crate::sql::execution::change(
                    self,
                    crate::sql::requested_change::RequestedChange::add_item(order_id, item, request),
                )
                .await
            }

            async fn change(
                &self,
                order_id: order_domain::OrderId,
                command: order_domain::Command,
                request: crate::request::Request,
            ) -> Result<order_domain::Order, crate::error::StoreError> {
                crate::sql::execution::change(
                    self,
                    crate::sql::requested_change::RequestedChange::change(order_id, command, request),
                )
                .await
            }

            async fn get(
                &self,
                order_id: order_domain::OrderId,
            ) -> Result<order_domain::Order, crate::error::StoreError> {
                crate::sql::execution::get(self, order_id).await
            }

            async fn list_by_customer(
                &self,
                customer_id: order_domain::CustomerId,
                cursor: Option<crate::page::Cursor>,
            ) -> Result<crate::page::OrderPage, crate::error::StoreError> {
                crate::sql::execution::list_by_customer(self, customer_id, cursor).await
            }
        }
    };
}
use order_store;
