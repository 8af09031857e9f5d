//! The guard on your own tables: invoices and their lines. The database keeps the rules for every writer: an invoice
//! changes only together with its event, and never once it is paid.
//!
//! ```sh
//! cargo run --example own_tables
//! ```

use change_feed::outbox::{Event, Guard, KeyType, violated_constraint};
use serde_json::json;
use sqlx::SqlitePool;

const TABLES: &str = "
    create table invoices (
        invoice_id integer primary key,
        version integer not null,
        status text not null default 'draft' check (status in ('draft', 'paid')));
    create table invoice_lines (
        invoice_id integer not null references invoices,
        line integer not null,
        text text not null,
        primary key (invoice_id, line));";

/// Statements that another program, or a person at a prompt, may try.
const ATTEMPTS: [(&str, &str); 4] = [
    ("a line without a step", "insert into invoice_lines values (1, 2, 'bread')"),
    ("a step without an event", "update invoices set version = version + 1 where invoice_id = 1"),
    ("a paid invoice made a draft again", "update invoices set status = 'draft' where invoice_id = 2"),
    (
        "an event nobody asked for",
        "insert into invoice_events (invoice_id, version, event_type, payload) values (1, 9, 'x', '{}')",
    ),
];

/// SQLite does not name the foreign key that failed. PostgreSQL names it: `invoices_version_has_event`.
const FOREIGN_KEY: &str = "the foreign key from a version to its event";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let pool = SqlitePool::connect(&format!("sqlite:{}?mode=rwc", folder.path().join("invoices.db").display())).await?;
    sqlx::raw_sql(TABLES).execute(&pool).await?;
    let guard = Guard::new("invoices")
        .key("invoice_id")
        .key_type(KeyType::BigInt)
        .final_state("status", "paid")
        .children("invoice_lines", "invoice_id")
        .outbox("invoice_events");
    guard.install(&mut *pool.acquire().await?).await?;

    for invoice_id in [1, 2] {
        let mut tx = pool.begin().await?;
        sqlx::query("insert into invoices (invoice_id, version) values (?, 1)")
            .bind(invoice_id)
            .execute(&mut *tx)
            .await?;
        guard.append(&mut *tx, Event::new("invoice.created.v1", invoice_id, 1, &json!({}))).await?;
        let version = guard.begin(&mut *tx, invoice_id).await?;
        sqlx::query("insert into invoice_lines values (?, 1, 'milk')").bind(invoice_id).execute(&mut *tx).await?;
        let line = json!({ "line": 1, "text": "milk" });
        guard.append(&mut *tx, Event::new("invoice.line_added.v1", invoice_id, version, &line)).await?;
        tx.commit().await?;
    }
    let mut tx = pool.begin().await?;
    sqlx::query("update invoices set version = version + 1, status = 'paid' where invoice_id = 2")
        .execute(&mut *tx)
        .await?;
    guard.append(&mut *tx, Event::new("invoice.paid.v1", 2, 3, &json!({}))).await?;
    tx.commit().await?;

    for (what, sql) in ATTEMPTS {
        match sqlx::query(sql).execute(&pool).await {
            Ok(_) => println!("{what}: accepted"),
            Err(error) => {
                println!("{what}: refused by {}", violated_constraint(&error).as_deref().unwrap_or(FOREIGN_KEY));
            }
        }
    }
    let events: Vec<(i64, i64, String)> =
        sqlx::query_as("select invoice_id, version, event_type from invoice_events order by sequence")
            .fetch_all(&pool)
            .await?;
    for (invoice_id, version, event_type) in events {
        println!("invoice {invoice_id} version {version}: {event_type}");
    }
    Ok(())
}
