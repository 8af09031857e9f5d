//! Runs changes and reads on any store: retries, repeated requests, and errors in the caller's words.

use std::future::Future;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use order_domain::{CustomerId, Order, OrderId};
use sqlx::Pool;
use tracing::Instrument;

use crate::error::{Refusal, StoreError};
use crate::page::{Cursor, ORDERS_PER_PAGE, OrderPage};
use crate::schema::SCHEMA_VERSION;
use crate::sql::connection::sealed::Connection;
use crate::sql::constraint::is_raced;
use crate::sql::deadline::Deadline;
use crate::sql::fault::{Fault, Reaction, Stage, explain_unstarted};
use crate::sql::lease::Lease;
use crate::sql::requested_change::{Accepted, Outcome, RequestedChange};

/// Reads on a connection of the readers until the deadline. (A macro: no closure can say that its future borrows the
/// connection.)
macro_rules! read {
    ($store:expr, $deadline:expr, |$reader:ident| $read:expr) => {{
        $store.confirm()?;
        let mut lease = Lease::take($store.readers(), $deadline).await.map_err(unstarted)?;
        let answer = {
            let $reader = &mut **lease;
            $deadline.limit($read).await?
        };
        lease.settle(&answer);
        match answer {
            Ok(answer) => Ok(answer),
            Err(Fault::Final(error)) => Err(error),
            Err(Fault::Database(error)) => {
                let reaction = Reaction::to(&error, Stage::NotStarted);
                Err(explain($store, reaction, error, $deadline).await)
            }
        }
    }};
}
/// The number of attempts after the first one, while others are in the way.
const RETRIES: usize = 10;
const FIRST_PAUSE_MS: u64 = 1;
const LONGEST_PAUSE_MS: u64 = 100;

/// What a database adds to the common execution.
pub(crate) trait Store: Send + Sync {
    type Database: sqlx::Database<Connection: Connection>;

    /// Tries the change once, in a transaction of its own, until the deadline.
    fn attempt(
        &self,
        requested: &RequestedChange,
        deadline: Deadline,
    ) -> impl Future<Output = Result<Outcome, (Fault, Stage)>> + Send;

    /// The pool for reads.
    fn readers(&self) -> &Pool<Self::Database>;

    /// The longest that one request may take.
    fn patience(&self) -> Duration;

    /// Checks that the database is still the one that was opened.
    fn confirm(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Makes the change, and logs the outcome.
pub(crate) async fn change<S: Store>(store: &S, requested: RequestedChange) -> Result<Order, StoreError> {
    let (kind, order_id) = (requested.name(), requested.order_id());
    let span = tracing::debug_span!(target: "order_store", "change", kind, %order_id);
    async {
        let answer = retry(store, &requested, Deadline::after(store.patience())).await;
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

/// Why an attempt changed nothing, and another one may succeed.
#[derive(Debug, thiserror::Error)]
enum Obstacle {
    #[error(transparent)]
    Overtaken(#[from] Overtaken),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Other changes of the order were made while this one waited for it.
#[derive(Debug, thiserror::Error)]
#[error("other changes of the order came first")]
pub(crate) struct Overtaken;

async fn retry<S: Store>(store: &S, requested: &RequestedChange, deadline: Deadline) -> Result<Order, StoreError> {
    let mut pauses = ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(FIRST_PAUSE_MS))
        .with_max_delay(Duration::from_millis(LONGEST_PAUSE_MS))
        .with_max_times(RETRIES)
        .with_jitter()
        .build();
    // The first retry comes at once: the change that was in the way is over by then.
    let mut pause = Duration::ZERO;
    loop {
        store.confirm()?;
        let obstacle = match store.attempt(requested, deadline).await {
            Ok(Outcome::Done(order)) => return Ok(order),
            Ok(Outcome::Refused(refusal)) => return Err(refusal.into()),
            Ok(Outcome::AcceptedBefore(accepted)) => {
                return read!(store, deadline, |reader| first_answer(reader, requested, accepted));
            }
            Ok(Outcome::Overtaken) => Overtaken.into(),
            Err((Fault::Final(error), _)) => return Err(error),
            Err((Fault::Database(error), stage)) => match Reaction::to(&error, stage) {
                // A connection from before a fail-over stays read-only: the next attempt is on another one.
                Reaction::Again | Reaction::CheckReadOnly => error.into(),
                Reaction::Refused(constraint) if is_raced(&constraint) => error.into(),
                reaction => return Err(explain(store, reaction, error, deadline).await),
            },
        };
        tracing::debug!(target: "order_store", reason = %obstacle, "again");
        let Some(next_pause) = pauses.next() else {
            return Err(match obstacle {
                Obstacle::Database(error) if Reaction::to(&error, Stage::NotStarted) == Reaction::CheckReadOnly => {
                    explain(store, Reaction::CheckReadOnly, error, deadline).await
                }
                obstacle => StoreError::unavailable(obstacle),
            });
        };
        if !pause.is_zero() {
            deadline.limit(tokio::time::sleep(pause)).await?;
        }
        pause = next_pause;
    }
}

/// Returns the answer to the first request of this id, if it asked for the same.
pub(crate) async fn first_answer<C: Connection>(
    connection: &mut C,
    requested: &RequestedChange,
    accepted: Accepted,
) -> Result<Order, Fault> {
    let Accepted { order_id, version, fingerprint, present } = accepted;
    if fingerprint != requested.fingerprint {
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

/// Reads an order.
pub(crate) async fn get<S: Store>(store: &S, order_id: OrderId) -> Result<Order, StoreError> {
    let deadline = Deadline::after(store.patience());
    read!(store, deadline, |reader| existing(reader, order_id))
}

/// Reads an order, which has to exist.
pub(crate) async fn existing<C: Connection>(connection: &mut C, order_id: OrderId) -> Result<Order, Fault> {
    let order = connection.get(order_id).await?;
    order.ok_or_else(|| StoreError::from(Refusal::OrderNotFound).into())
}

/// Reads a page of a customer's orders.
pub(crate) async fn list_by_customer<S: Store>(
    store: &S,
    customer_id: CustomerId,
    cursor: Option<Cursor>,
) -> Result<OrderPage, StoreError> {
    let deadline = Deadline::after(store.patience());
    read!(store, deadline, |reader| page(reader, customer_id, cursor))
}

/// Fetches one extra row to detect a next page.
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

/// Explains an error in the caller's words, after a look at the database if that helps.
async fn explain<S: Store>(store: &S, reaction: Reaction, error: sqlx::Error, deadline: Deadline) -> StoreError {
    match look(store, &reaction, deadline).await {
        Some(found) => found,
        None => reaction.explain(error),
    }
}

async fn look<S: Store>(store: &S, reaction: &Reaction, deadline: Deadline) -> Option<StoreError> {
    if !matches!(reaction, Reaction::CheckSchema | Reaction::CheckReadOnly) {
        return None;
    }
    let mut lease = Lease::take(store.readers(), deadline).await.ok()?;
    let found = if *reaction == Reaction::CheckSchema {
        deadline.limit(lease.schema_version()).await.ok()?.map(other_schema)
    } else {
        deadline.limit(lease.is_standby()).await.ok()?.map(|standby| Some(read_only(standby)))
    };
    let found = found.map_err(Fault::from);
    lease.settle(&found);
    found.ok().flatten()
}

fn other_schema(found: i64) -> Option<StoreError> {
    (found != SCHEMA_VERSION).then_some(StoreError::SchemaVersion { found, expected: SCHEMA_VERSION })
}

/// Why every transaction is read-only.
#[derive(Debug, thiserror::Error)]
enum ReadOnly {
    #[error("the server is a standby")]
    Standby,
    #[error(
        "the transactions of this role are read-only: set default_transaction_read_only to off for the role, the \
         database and the server"
    )]
    Setting,
}

fn read_only(standby: bool) -> StoreError {
    if standby {
        StoreError::unavailable(ReadOnly::Standby)
    } else {
        StoreError::Setup { source: ReadOnly::Setting.into() }
    }
}

fn unstarted(fault: Fault) -> StoreError {
    match fault {
        Fault::Final(error) => error,
        Fault::Database(error) => explain_unstarted(error),
    }
}

/// Refuses the tables of a newer program. Older tables have to be migrated.
pub(crate) fn not_newer(found: i64) -> Result<(), StoreError> {
    if found > SCHEMA_VERSION {
        return Err(StoreError::SchemaVersion { found, expected: SCHEMA_VERSION });
    }
    Ok(())
}

/// Forgets requests batch by batch, until a batch finds none. Returns their number.
pub(crate) async fn forget<F>(mut batch: impl FnMut() -> F) -> Result<u64, StoreError>
where
    F: Future<Output = Result<u64, sqlx::Error>>,
{
    let mut forgotten = 0;
    loop {
        match batch().await.map_err(explain_unstarted)? {
            0 => return Ok(forgotten),
            more => forgotten += more,
        }
    }
}
