//! Changes and reads on a connection to PostgreSQL.

use order_domain::{
    Command, Currency, CustomerId, EventType, MAX_ITEMS_PER_ORDER, NewOrder, Order, OrderEvent, OrderId, Version,
    create,
};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres, Row};
use uuid::Uuid;

use super::{row, statement};
use crate::sql::connection::OrderConnection;
use crate::sql::connection::sealed::Connection;
use crate::sql::fault::{Fault, OrUnreadable};
use crate::sql::requested_change::{Accepted, Operation, Outcome, RequestedChange, decide_request};

/// As PostgreSQL's `integer`.
const ITEMS_LIMIT: i32 = MAX_ITEMS_PER_ORDER as i32;

impl OrderConnection for PgConnection {}

impl Connection for PgConnection {
    async fn attempt(&mut self, requested: &RequestedChange, lock_timeout_ms: Option<u128>) -> Result<Outcome, Fault> {
        let lock_timeout_ms = lock_timeout_ms.map(|limit| limit.to_string());
        match &requested.operation {
            Operation::Create { order_id, order } => {
                attempt_to_create(self, requested, lock_timeout_ms, *order_id, order).await
            }
            Operation::Change { order_id, command } => {
                attempt_to_change(self, requested, lock_timeout_ms, *order_id, command).await
            }
        }
    }

    async fn lock(&mut self, order_id: OrderId) -> Result<(), Fault> {
        sqlx::query(statement::LOCK).bind(order_id.as_uuid()).execute(self).await?;
        Ok(())
    }

    async fn get(&mut self, order_id: OrderId) -> Result<Option<Order>, Fault> {
        let found = sqlx::query(statement::GET).bind(order_id.as_uuid()).fetch_optional(self).await?;
        found.map_or(Ok(None), |found| row::order(&found))
    }

    async fn get_at(&mut self, order_id: OrderId, version: Version) -> Result<Option<Order>, Fault> {
        let events =
            sqlx::query(statement::HISTORY).bind(order_id.as_uuid()).bind(version.get()).fetch_all(self).await?;
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
        let query = sqlx::query(statement::LIST).bind(customer_id.as_uuid());
        let found = query.bind(before.map(Uuid::from)).bind(limit).fetch_all(self).await?;
        found.iter().filter_map(|found| row::order(found).transpose()).collect()
    }

    async fn is_standby(&mut self) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar("select pg_catalog.pg_is_in_recovery()").fetch_one(self).await
    }

    async fn schema_version(&mut self) -> Result<i64, sqlx::Error> {
        super::migrate::schema_version(self).await
    }
}

/// Reads an event of the outbox; `None` if its payload was scrubbed.
fn event(row: &PgRow) -> Option<(Version, OrderEvent)> {
    let event_type: EventType = row::parsed(row, 1, "event type").ok()?;
    let payload = row.try_get::<&str, _>(2).ok()?;
    let event = OrderEvent::from_payload(event_type, &mut serde_json::Deserializer::from_str(payload)).ok()?;
    Some((row::version(row, 0).ok()?, event))
}

async fn attempt_to_create(
    connection: &mut PgConnection,
    requested: &RequestedChange,
    lock_timeout_ms: Option<String>,
    order_id: OrderId,
    order: &NewOrder,
) -> Result<Outcome, Fault> {
    const CREATED_VERSION: usize = 3;
    let event = create(order_id, order);
    let found = sqlx::query(statement::CREATE)
        .bind(order_id.as_uuid())
        .bind(requested.request_id())
        .bind(&requested.fingerprint)
        .bind(requested.event_id)
        .bind(requested.request.trace_context())
        .bind(order.customer_id().as_uuid())
        .bind(order.currency().as_str())
        .bind(payload(&event)?)
        .bind(lock_timeout_ms)
        .fetch_one(connection)
        .await?;
    if let Some(accepted) = accepted(&found, 0, None)? {
        return Ok(Outcome::AcceptedBefore(accepted));
    }
    let version = row::version(&found, CREATED_VERSION)?;
    Ok(Outcome::Done(Order::from_events([(version, event)]).or_unreadable("order")?))
}

async fn attempt_to_change(
    connection: &mut PgConnection,
    requested: &RequestedChange,
    lock_timeout_ms: Option<String>,
    order_id: OrderId,
    command: &Command,
) -> Result<Outcome, Fault> {
    const STEPPED_VERSION: usize = row::ORDER_COLUMNS + 3;
    let found = change(requested, lock_timeout_ms, order_id, command)?.fetch_one(connection).await?;
    let before = row::order(&found)?;
    let Some(version) = found.try_get::<Option<i64>, _>(STEPPED_VERSION)? else {
        return match accepted(&found, row::ORDER_COLUMNS, before.as_ref())? {
            Some(accepted) => Ok(Outcome::AcceptedBefore(accepted)),
            None => Ok(match decide_request(before.as_ref(), command, &requested.request) {
                Err(refusal) => Outcome::Refused(refusal),
                Ok(_) => Outcome::Overtaken,
            }),
        };
    };
    match before {
        Some(mut order) if order.version().next().map(Version::get) == Some(version) => {
            // What the database accepted, the domain accepts: one specification.
            let event = decide_request(Some(&order), command, &requested.request).or_unreadable("order")?;
            order.apply(&event).or_unreadable("order")?;
            Ok(Outcome::Done(order))
        }
        _ => Ok(Outcome::Done(row::order_afresh(&found, STEPPED_VERSION)?)),
    }
}

/// Binds the parameters of the change to its statement.
fn change<'q>(
    requested: &'q RequestedChange,
    lock_timeout_ms: Option<String>,
    order_id: OrderId,
    command: &'q Command,
) -> Result<Query<'q, Postgres, PgArguments>, Fault> {
    let query = sqlx::query(statement::of(command))
        .bind(Uuid::from(order_id))
        .bind(requested.request.expected_version().map(Version::get))
        .bind(requested.request_id())
        .bind(&requested.fingerprint)
        .bind(requested.event_id)
        .bind(requested.request.trace_context())
        .bind(lock_timeout_ms);
    Ok(match command {
        Command::AddItem { item_id, item } => query
            .bind(item_id.as_uuid())
            .bind(item.sku().as_str())
            .bind(i32::from(item.quantity()))
            .bind(item.unit_price_minor())
            .bind(item.currency().map(Currency::as_str))
            .bind(ITEMS_LIMIT),
        Command::ChangeItemQuantity { item_id, quantity } => query.bind(item_id.as_uuid()).bind(i32::from(*quantity)),
        Command::RemoveItem { item_id } => query.bind(item_id.as_uuid()),
        Command::Schedule { delivery_window } => {
            let event = OrderEvent::Scheduled { order_id, delivery_window: *delivery_window };
            query.bind(delivery_window.starts_at()).bind(delivery_window.ends_at()).bind(payload(&event)?)
        }
        Command::Cancel => query.bind(payload(&OrderEvent::Cancelled { order_id })?),
    })
}

fn payload(event: &OrderEvent) -> Result<String, Fault> {
    Ok(serde_json::to_string(event).or_unreadable("payload")?)
}

/// Reads the request that was accepted before, in three columns from `first` on.
fn accepted(row: &PgRow, first: usize, present: Option<&Order>) -> Result<Option<Accepted>, Fault> {
    let Some(fingerprint) = row.try_get::<Option<String>, _>(first + 2)? else {
        return Ok(None);
    };
    let order_id = OrderId::from(row.try_get::<Uuid, _>(first)?);
    let version = row::version(row, first + 1)?;
    let present = present.filter(|order| order.id() == order_id).cloned();
    Ok(Some(Accepted { order_id, version, fingerprint, present }))
}
