//! What every store does around an attempt: trying again, answering again, and saying what went wrong.

use std::future::Future;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use order_domain::{CustomerId, Order, OrderId};
use sqlx::Pool;
use sqlx::pool::PoolConnection;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tracing::Instrument;

use crate::schema::SCHEMA_VERSION;
use crate::sql::ask::{Accepted, Ask, Outcome};
use crate::sql::connection::sealed::Connection;
use crate::sql::constraint::is_raced;
use crate::sql::fault::{At, Fault, Move};
use crate::{Cursor, ORDERS_PER_PAGE, OrderPage, Refusal, StoreError};

/// How often a change is tried again that others were in the way of.
const RETRIES: usize = 10;
const FIRST_PAUSE_MS: u64 = 1;
const LONGEST_PAUSE_MS: u64 = 100;

/// A store of orders, as its database makes it.
pub(crate) trait Store: Send + Sync {
    type Database: sqlx::Database<Connection: Connection>;

    /// Tries the change once, in a transaction of its own.
    fn attempt(&self, ask: &Ask) -> impl Future<Output = Result<Outcome, (Fault, At)>> + Send;

    /// Where to read.
    fn readers(&self) -> &Pool<Self::Database>;

    /// The longest that the database may take for one answer.
    fn patience(&self) -> Duration;
}

pub(crate) async fn change<S: Store>(store: &S, ask: Ask) -> Result<Order, StoreError> {
    let span = tracing::debug_span!(target: "order_store", "change", kind = ask.name(), order_id = %ask.order_id());
    async {
        let answer = until_answered(store, &ask).await;
        match &answer {
            Ok(order) => tracing::debug!(target: "order_store", version = order.version().get(), "done"),
            Err(StoreError::Refused(refusal)) => tracing::debug!(target: "order_store", %refusal, "refused"),
            Err(error) => tracing::warn!(target: "order_store", %error, "failed"),
        }
        answer
    }
    .instrument(span)
    .await
}

async fn until_answered<S: Store>(store: &S, ask: &Ask) -> Result<Order, StoreError> {
    let mut pauses = ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(FIRST_PAUSE_MS))
        .with_max_delay(Duration::from_millis(LONGEST_PAUSE_MS))
        .with_max_times(RETRIES)
        .with_jitter()
        .build();
    // Whoever was overtaken has seen the other one commit: the first time there is nothing to wait for.
    let mut pause = Duration::ZERO;
    loop {
        let in_the_way: crate::Source = match store.attempt(ask).await {
            Ok(Outcome::Done(order)) => return Ok(order),
            Ok(Outcome::Refused(refusal)) => return Err(refusal.into()),
            Ok(Outcome::AcceptedBefore(accepted)) => {
                let mut connection = reader(store).await?;
                let answer = timeout(store.patience(), first_answer(&mut *connection, ask, accepted)).await;
                return settled::<S, _>(connection, answer).await;
            }
            Ok(Outcome::Overtaken) => Overtaken.into(),
            Err((Fault::Told(error), _)) => return Err(error),
            Err((Fault::Database(error), at)) => match Move::after(&error, at) {
                Move::Again => error.into(),
                Move::Refused(constraint) if is_raced(&constraint) => error.into(),
                Move::OtherSchema => return Err(told(&mut *reader(store).await?, error, at).await),
                next => return Err(next.told(error)),
            },
        };
        tracing::debug!(target: "order_store", reason = %in_the_way, "again");
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        pause = pauses.next().ok_or(StoreError::Unavailable { source: in_the_way })?;
    }
}

/// Others changed the order each time while this change waited for it.
#[derive(Debug, thiserror::Error)]
#[error("other changes of the order came first")]
pub(crate) struct Overtaken;

/// What the first request of this id was answered, if it asked for the same.
pub(crate) async fn first_answer<C: Connection>(
    connection: &mut C,
    ask: &Ask,
    accepted: Accepted,
) -> Result<Order, Fault> {
    let Accepted { order_id, version, fingerprint, present } = accepted;
    if fingerprint != ask.fingerprint {
        return Err(StoreError::from(Refusal::RequestIdReused).into());
    }
    if let Some(present) = present.filter(|order| order.version() == version) {
        return Ok(present);
    }
    match connection.get_at(order_id, version).await? {
        Some(order) => Ok(order),
        None => existing(connection, order_id).await,
    }
}

pub(crate) async fn get<S: Store>(store: &S, order_id: OrderId) -> Result<Order, StoreError> {
    let mut connection = reader(store).await?;
    let answer = timeout(store.patience(), existing(&mut *connection, order_id)).await;
    settled::<S, _>(connection, answer).await
}

pub(crate) async fn existing<C: Connection>(connection: &mut C, order_id: OrderId) -> Result<Order, Fault> {
    let order = connection.get(order_id).await?;
    order.ok_or_else(|| StoreError::from(Refusal::OrderNotFound).into())
}

pub(crate) async fn list_by_customer<S: Store>(
    store: &S,
    customer_id: CustomerId,
    cursor: Option<Cursor>,
) -> Result<OrderPage, StoreError> {
    let mut connection = reader(store).await?;
    let answer = timeout(store.patience(), page(&mut *connection, customer_id, cursor)).await;
    settled::<S, _>(connection, answer).await
}

/// One order more than a page has tells whether there is a next one.
pub(crate) async fn page<C: Connection>(
    connection: &mut C,
    customer_id: CustomerId,
    cursor: Option<Cursor>,
) -> Result<OrderPage, Fault> {
    let before = cursor.map(|cursor| cursor.order_id());
    let limit = i64::try_from(ORDERS_PER_PAGE + 1).unwrap_or(i64::MAX);
    let mut orders = connection.list(customer_id, before, limit).await?;
    let more = orders.len() > ORDERS_PER_PAGE;
    orders.truncate(ORDERS_PER_PAGE);
    let next = orders.last().filter(|_| more).map(|last| Cursor::after(last.id()));
    Ok(OrderPage::new(orders, next))
}

async fn reader<S: Store>(store: &S) -> Result<PoolConnection<S::Database>, StoreError> {
    store.readers().acquire().await.map_err(|error| Move::after(&error, At::Safe).told(error))
}

/// The answer to something that was read. A connection that didn't answer in time is given up: its answer may still come.
async fn settled<S: Store, T>(
    mut connection: PoolConnection<S::Database>,
    answer: Result<Result<T, Fault>, Elapsed>,
) -> Result<T, StoreError> {
    match answer {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(Fault::Told(error))) => Err(error),
        Ok(Err(Fault::Database(error))) => Err(told(&mut *connection, error, At::Safe).await),
        Err(elapsed) => {
            drop(connection.detach());
            Err(StoreError::unavailable(elapsed))
        }
    }
}

/// The error in the caller's words, with a look at the tables where they may be the reason.
pub(crate) async fn told<C: Connection>(connection: &mut C, error: sqlx::Error, at: At) -> StoreError {
    let next = Move::after(&error, at);
    if next == Move::OtherSchema
        && let Ok(found) = connection.schema_version().await
        && found != SCHEMA_VERSION
    {
        return StoreError::SchemaVersion { found, expected: SCHEMA_VERSION };
    }
    next.told(error)
}

impl Move {
    /// The error in the caller's words.
    pub(crate) fn told(self, error: sqlx::Error) -> StoreError {
        match self {
            Self::Again | Self::Later => StoreError::unavailable(error),
            Self::FindOut => StoreError::unknown(error),
            Self::Refused(constraint) => Refusal::Violation { constraint }.into(),
            Self::OtherSchema | Self::Mend => StoreError::Setup { source: error.into() },
        }
    }
}

/// A newer program's tables are refused. Older ones are to be migrated.
pub(crate) fn known(found: i64) -> Result<(), StoreError> {
    if found > SCHEMA_VERSION {
        return Err(StoreError::SchemaVersion { found, expected: SCHEMA_VERSION });
    }
    Ok(())
}
