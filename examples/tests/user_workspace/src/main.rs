//! The snippets of the README, in a program of somebody who adds the crates.

use anyhow::bail;
use change_feed::outbox::{Event, Guard};
use change_feed::kafka::KafkaPublisher;
use change_feed::{FeedName, LogicalSource, Relay, RelayError, Router};
use order_domain::{Currency, CustomerId, Money, NewItem, NewOrder, Quantity, Sku};
use order_store::{OrderStore, PostgresOrderStore, Refusal, Request, StoreError};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

async fn place_an_order(database_url: String, customer: CustomerId) -> anyhow::Result<()> {
    let store = PostgresOrderStore::connect(&database_url).await?;
    store.migrate().await?;
    let order = store.create(NewOrder::new(customer, Currency::EUR), Request::new()).await?;
    let milk = NewItem::new(Sku::new("milk")?, Quantity::new(2)?, Money::from_minor(149, Currency::EUR)?);
    store.add_item(order.id(), milk.clone(), Request::new().expecting(order.version())).await?;
    store.cancel(order.id(), Request::new()).await?;
    match store.add_item(order.id(), milk, Request::new()).await {
        Err(StoreError::Refused(Refusal::OrderCancelled { at_version })) => println!("cancelled at {at_version}: nothing published"),
        answer => unreachable!("the database accepted {answer:?}"),
    }
    Ok(())
}

async fn run_a_relay(database_url: String, brokers: String, shutdown: impl Future<Output = ()> + Send) -> anyhow::Result<()> {
    let feed = FeedName::new("orders")?; // names slot, publication, transactional id and position topic
    let source = LogicalSource::builder(&database_url, &feed).outbox(order_store::outbox()).connect().await?;
    let publisher = KafkaPublisher::transactional(&brokers, &feed)?;
    let relay = Relay::new(feed, source, Router::to_topic("orders.events"), publisher);
    match relay.run(shutdown).await { // one future: await it, cancel it, supervise it
        Ok(stopped) => println!("stopped; published through {}", stopped.position),
        Err(RelayError::Fenced) => println!("another relay took over"),
        Err(RelayError::Closed { reason, remedy }) => bail!("{reason}; orders are safe; {remedy}"),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

async fn guard_tables_of_ones_own(mut connection: PgConnection, invoice_id: Uuid) -> anyhow::Result<()> {
    let payload = serde_json::json!({ "text": "milk" });
    let guard = Guard::new("invoices").key("invoice_id").version("version").children("invoice_lines", "invoice_id").outbox("invoice_events");
    guard.install(&mut connection).await?; // or guard.sql(Dialect::Postgres) for a migration tool
    let mut tx = connection.begin().await?;
    let version = guard.begin(&mut *tx, invoice_id).await?; // locks and steps
    sqlx::query("insert into invoice_lines (invoice_id, text) values ($1, 'milk')").bind(invoice_id).execute(&mut *tx).await?;
    guard.append(&mut *tx, Event::new("invoice.line_added.v1", invoice_id, version, &payload)).await?; // closes
    tx.commit().await?;
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (database_url, brokers) = (std::env::var("DATABASE_URL")?, std::env::var("KAFKA_BROKERS")?);
    place_an_order(database_url.clone(), CustomerId::from(Uuid::now_v7())).await?;
    guard_tables_of_ones_own(PgConnection::connect(&database_url).await?, Uuid::now_v7()).await?;
    run_a_relay(database_url, brokers, async { drop(tokio::signal::ctrl_c().await) }).await
}
