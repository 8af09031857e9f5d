//! Changes and reads on a connection to SQLite.

use chrono::{DateTime, SecondsFormat, Utc};
use order_domain::{CustomerId, DeliveryWindow, EventType, NewOrder, Order, OrderEvent, OrderId, Version, create};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::statement;
use crate::sql::connection::OrderConnection;
use crate::sql::connection::sealed::Connection;
use crate::sql::fault::{Fault, OrUnreadable};
use crate::sql::requested_change::{Accepted, Operation, Outcome, RequestedChange, decide_request};

impl OrderConnection for SqliteConnection {}

impl Connection for SqliteConnection {
    async fn attempt(&mut self, requested: &RequestedChange, _: Option<u128>) -> Result<Outcome, Fault> {
        let found = sqlx::query(statement::BEFORE)
            .bind(requested.order_id().to_string())
            .bind(requested.request_id())
            .fetch_one(&mut *self)
            .await?;
        let before = found.try_get::<Option<&str>, _>(0)?.map(order).transpose()?;
        if let Some(accepted) = accepted(&found, before.as_ref())? {
            return Ok(Outcome::AcceptedBefore(accepted));
        }
        match (&requested.operation, before) {
            (Operation::Create { order_id, order }, _) => create_order(self, requested, *order_id, order).await,
            (Operation::Change { command, .. }, before) => {
                match decide_request(before.as_ref(), command, &requested.request) {
                    Ok(event) => change_order(self, requested, before, event).await,
                    Err(refusal) => Ok(Outcome::Refused(refusal)),
                }
            }
        }
    }

    /// Does nothing: a transaction that was begun as `IMMEDIATE` holds SQLite's only lock.
    async fn lock(&mut self, _: OrderId) -> Result<(), Fault> {
        Ok(())
    }

    async fn get(&mut self, order_id: OrderId) -> Result<Option<Order>, Fault> {
        let found = sqlx::query(statement::GET).bind(order_id.to_string()).fetch_optional(self).await?;
        found.map(|found| order(found.try_get(0)?)).transpose()
    }

    async fn get_at(&mut self, order_id: OrderId, version: Version) -> Result<Option<Order>, Fault> {
        let events =
            sqlx::query(statement::HISTORY).bind(order_id.to_string()).bind(version.get()).fetch_all(self).await?;
        let history: Option<Vec<_>> = events.iter().map(event).collect();
        let order = history.and_then(|history| Order::from_events(history).ok());
        Ok(order.filter(|order| order.version() == version))
    }

    async fn list(
        &mut self,
        customer_id: CustomerId,
        before: Option<OrderId>,
        limit: i64,
    ) -> Result<Vec<Order>, Fault> {
        let query = sqlx::query(statement::LIST).bind(customer_id.to_string());
        let found = query.bind(before.map(|id| id.to_string())).bind(limit).fetch_all(self).await?;
        found.iter().map(|found| order(found.try_get(0)?)).collect()
    }

    async fn is_standby(&mut self) -> Result<bool, sqlx::Error> {
        Ok(false)
    }

    async fn schema_version(&mut self) -> Result<i64, sqlx::Error> {
        super::migrate::schema_version(self).await
    }
}

fn order(json: &str) -> Result<Order, Fault> {
    Ok(serde_json::from_str(json).or_unreadable("order")?)
}

/// Reads an event of the outbox; `None` if its payload was scrubbed.
fn event(row: &SqliteRow) -> Option<(Version, OrderEvent)> {
    let version = Version::new(row.try_get::<i64, _>(0).ok()?).ok()?;
    let event_type: EventType = row.try_get::<&str, _>(1).ok()?.parse().ok()?;
    let payload = row.try_get::<&str, _>(2).ok()?;
    let event = OrderEvent::from_payload(event_type, &mut serde_json::Deserializer::from_str(payload)).ok()?;
    Some((version, event))
}

/// Reads the request that was accepted before.
fn accepted(row: &SqliteRow, present: Option<&Order>) -> Result<Option<Accepted>, Fault> {
    let Some(fingerprint) = row.try_get::<Option<String>, _>(3)? else {
        return Ok(None);
    };
    let order_id: OrderId = row.try_get::<&str, _>(1)?.parse::<OrderId>().or_unreadable("request")?;
    let version = Version::new(row.try_get::<i64, _>(2)?).or_unreadable("request")?;
    let present = present.filter(|order| order.id() == order_id).cloned();
    Ok(Some(Accepted { order_id, version, fingerprint, present }))
}

async fn create_order(
    connection: &mut SqliteConnection,
    requested: &RequestedChange,
    order_id: OrderId,
    order: &NewOrder,
) -> Result<Outcome, Fault> {
    sqlx::query(statement::CREATE)
        .bind(order_id.to_string())
        .bind(order.customer_id().to_string())
        .bind(order.currency().as_str())
        .execute(&mut *connection)
        .await?;
    let event = create(order_id, order);
    append(connection, requested, Version::FIRST, &event).await?;
    Ok(Outcome::Done(Order::from_events([(Version::FIRST, event)]).or_unreadable("order")?))
}

async fn change_order(
    connection: &mut SqliteConnection,
    requested: &RequestedChange,
    before: Option<Order>,
    event: OrderEvent,
) -> Result<Outcome, Fault> {
    // Without an order there is no event, since nothing was decided.
    let Some(mut order) = before else { return Ok(Outcome::Overtaken) };
    order.apply(&event).or_unreadable("order")?;
    step(connection, &order, &event).await?;
    change_items(connection, &event).await?;
    append(connection, requested, order.version(), &event).await?;
    Ok(Outcome::Done(order))
}

async fn step(connection: &mut SqliteConnection, order: &Order, event: &OrderEvent) -> Result<(), Fault> {
    let (order_id, version) = (order.id().to_string(), order.version().get());
    let query = match event {
        OrderEvent::Scheduled { .. } | OrderEvent::Cancelled { .. } => {
            let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Micros, true);
            let window = order.delivery_window();
            sqlx::query(statement::STEP_WITH_STATUS)
                .bind(order_id)
                .bind(version)
                .bind(order.status().as_str())
                .bind(window.as_ref().map(DeliveryWindow::starts_at).map(time))
                .bind(window.as_ref().map(DeliveryWindow::ends_at).map(time))
        }
        _ => sqlx::query(statement::STEP).bind(order_id).bind(version),
    };
    query.execute(connection).await?;
    Ok(())
}

async fn change_items(connection: &mut SqliteConnection, event: &OrderEvent) -> Result<(), Fault> {
    let order_id = event.order_id().to_string();
    let query = match event {
        OrderEvent::ItemAdded { item, .. } => sqlx::query(statement::ADD_ITEM)
            .bind(order_id)
            .bind(item.id().to_string())
            .bind(item.sku().to_string())
            .bind(i64::from(item.quantity()))
            .bind(item.unit_price().minor()),
        OrderEvent::ItemQuantityChanged { item, .. } => sqlx::query(statement::CHANGE_QUANTITY)
            .bind(order_id)
            .bind(item.id().to_string())
            .bind(i64::from(item.quantity())),
        OrderEvent::ItemRemoved { item, .. } => {
            sqlx::query(statement::REMOVE_ITEM).bind(order_id).bind(item.id().to_string())
        }
        OrderEvent::Created { .. } | OrderEvent::Scheduled { .. } | OrderEvent::Cancelled { .. } => return Ok(()),
    };
    query.execute(connection).await?;
    Ok(())
}

/// Closes the version, and remembers the request.
async fn append(
    connection: &mut SqliteConnection,
    requested: &RequestedChange,
    version: Version,
    event: &OrderEvent,
) -> Result<(), Fault> {
    let order_id = event.order_id().to_string();
    sqlx::query(statement::APPEND)
        .bind(requested.event_id.to_string())
        .bind(&order_id)
        .bind(version.get())
        .bind(event.event_type().as_str())
        .bind(serde_json::to_string(event).or_unreadable("payload")?)
        .bind(requested.request.trace_context())
        .execute(&mut *connection)
        .await?;
    if let Some(request_id) = requested.request_id() {
        sqlx::query(statement::ACCEPT)
            .bind(request_id)
            .bind(order_id)
            .bind(version.get())
            .bind(&requested.fingerprint)
            .execute(connection)
            .await?;
    }
    Ok(())
}
