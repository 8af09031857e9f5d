//! The names of constraints.

use change_feed::outbox::Rule;

/// The constraints that a change of this crate can run into when another change of the same order overtakes it. The next
/// attempt sees the other one's change, and returns the domain's refusal.
const RACED: [&str; 6] = [
    "orders_version_has_event",
    "orders_is_final",
    "orders_scheduled_has_items",
    "order_items_pkey",
    "order_items_limit",
    "order_requests_pkey",
];

/// Returns the name of the constraint that refused: the same name on PostgreSQL and SQLite.
///
/// ```
/// assert_eq!(order_store::violated_constraint(&sqlx::Error::RowNotFound), None);
/// ```
///
/// For programs that write with SQL of their own beside the store; the crate's documentation lists the names. A column
/// that has to have a value is `<table>_<column>_not_null`.
#[must_use]
pub fn violated_constraint(error: &sqlx::Error) -> Option<String> {
    let database = error.as_database_error()?;
    change_feed::outbox::violated_constraint(error)
        .or_else(|| not_null(error))
        .or_else(|| of_sqlite(database.message()))
}

/// Whether the constraint may have been violated only because another change came first.
pub(crate) fn is_raced(constraint: &str) -> bool {
    RACED.contains(&constraint)
}

/// PostgreSQL reports table and column only, not the name (which 17 and below don't have).
fn not_null(error: &sqlx::Error) -> Option<String> {
    #[cfg(feature = "postgres")]
    {
        let database = error.as_database_error()?.try_downcast_ref::<sqlx::postgres::PgDatabaseError>()?;
        if database.code() == "23502" {
            return Some(format!("{}_{}_not_null", database.table()?, database.column()?));
        }
    }
    let _ = error;
    None
}

/// SQLite names the columns of a key instead of the key, and neither of a foreign key. The tables have one: from an
/// order's version to its event.
fn of_sqlite(message: &str) -> Option<String> {
    if message == "FOREIGN KEY constraint failed" {
        return Some(crate::schema::guard().constraint(Rule::VersionHasEvent));
    }
    if let Some(column) = message.strip_prefix("NOT NULL constraint failed: ") {
        return Some(format!("{}_not_null", column.replace('.', "_")));
    }
    let columns = message.strip_prefix("UNIQUE constraint failed: ")?;
    let key = match columns {
        "orders.order_id" => "orders_pkey",
        "order_items.order_id, order_items.item_id" => "order_items_pkey",
        "order_requests.request_id" => "order_requests_pkey",
        "order_store_migrations.version" => "order_store_migrations_pkey",
        _ => columns,
    };
    Some(key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_is_told_the_names_of_its_keys() {
        let known = [
            ("UNIQUE constraint failed: order_items.order_id, order_items.item_id", "order_items_pkey"),
            ("UNIQUE constraint failed: order_requests.request_id", "order_requests_pkey"),
            ("NOT NULL constraint failed: orders.currency", "orders_currency_not_null"),
            ("FOREIGN KEY constraint failed", "orders_version_has_event"),
        ];
        for (message, name) in known {
            assert_eq!(of_sqlite(message).as_deref(), Some(name));
        }
        assert_eq!(of_sqlite("database is locked"), None);
    }
}
