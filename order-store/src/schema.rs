//! The tables: their guard, their outbox and their migrations.

use change_feed::outbox::{Dialect, Guard, Outbox};

/// The version of the tables that this crate works with: the highest number of its migrations.
pub const SCHEMA_VERSION: i64 = 1;

/// A script that takes the tables to the next version. It is meant to run in one transaction, and writes its version
/// into `order_store_migrations` at its end.
///
/// The files are in the crate's folder `migrations`, for other migration tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Migration {
    /// The version that it takes the tables to.
    pub version: i64,
    /// The script.
    pub sql: &'static str,
}

/// Returns the scripts, in the order in which they run.
///
/// ```
/// use order_store::{Dialect, SCHEMA_VERSION, migrations};
///
/// let scripts = migrations(Dialect::Sqlite);
/// assert_eq!(scripts.last().map(|script| script.version), Some(SCHEMA_VERSION));
/// ```
#[must_use]
pub const fn migrations(dialect: Dialect) -> &'static [Migration] {
    match dialect {
        Dialect::Sqlite => &[Migration { version: 1, sql: include_str!("../migrations/sqlite/0001_orders.sql") }],
        _ => &[Migration { version: 1, sql: include_str!("../migrations/postgres/0001_orders.sql") }],
    }
}

/// Returns the guard of the store's tables: the database keeps its rules against every writer. The migrations hold its scripts.
///
/// ```
/// use change_feed::outbox::Rule;
///
/// assert_eq!(order_store::guard().constraint(Rule::IsFinal), "orders_is_final");
/// ```
#[must_use]
pub fn guard() -> Guard {
    Guard::new("orders")
        .key("order_id")
        .version("version")
        .final_state("status", "cancelled")
        .children("order_items", "order_id")
        .children_limit(order_domain::MAX_ITEMS_PER_ORDER as u32)
        .outbox("order_events")
        .version_key_declared()
}

/// Returns the store's outbox, for a source of a feed. Consumers see the type `item_added` as `order.item_added.v1`.
///
/// ```
/// assert_eq!(order_store::outbox().cloud_event_type("item_added"), "order.item_added.v1");
/// ```
#[must_use]
pub fn outbox() -> Outbox {
    guard().outbox_table().event_type_format("order.", ".v1")
}
