//! What the stores on SQL databases share, and each of them.

mod ask;
mod connection;
mod constraint;
mod fault;
mod in_transaction;
#[cfg(feature = "postgres")]
mod postgres;
mod runner;
#[cfg(feature = "sqlite")]
mod sqlite;
mod unreadable;

pub use connection::OrderConnection;
pub use constraint::violated_constraint;
pub use in_transaction::InTransaction;
#[cfg(feature = "postgres")]
pub use postgres::PostgresOrderStore;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteOrderStore;

/// The trait on the words of [`runner`], for each store of this crate.
macro_rules! order_store {
    ($store:ty) => {
        #[async_trait::async_trait]
        impl crate::OrderStore for $store {
            async fn create(
                &self,
                order: order_domain::NewOrder,
                request: crate::Request,
            ) -> Result<order_domain::Order, crate::StoreError> {
                crate::sql::runner::change(self, crate::sql::ask::Ask::create(order, request)).await
            }

            async fn add_item(
                &self,
                order_id: order_domain::OrderId,
                item: order_domain::NewItem,
                request: crate::Request,
            ) -> Result<order_domain::Order, crate::StoreError> {
                crate::sql::runner::change(self, crate::sql::ask::Ask::add_item(order_id, item, request)).await
            }

            async fn change(
                &self,
                order_id: order_domain::OrderId,
                command: order_domain::Command,
                request: crate::Request,
            ) -> Result<order_domain::Order, crate::StoreError> {
                crate::sql::runner::change(self, crate::sql::ask::Ask::change(order_id, command, request)).await
            }

            async fn get(&self, order_id: order_domain::OrderId) -> Result<order_domain::Order, crate::StoreError> {
                crate::sql::runner::get(self, order_id).await
            }

            async fn list_by_customer(
                &self,
                customer_id: order_domain::CustomerId,
                cursor: Option<crate::Cursor>,
            ) -> Result<crate::OrderPage, crate::StoreError> {
                crate::sql::runner::list_by_customer(self, customer_id, cursor).await
            }
        }
    };
}
use order_store;
