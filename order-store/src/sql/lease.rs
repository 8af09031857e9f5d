//! A connection of a pool while its state is not known.

use std::ops::{Deref, DerefMut};

use sqlx::pool::PoolConnection;
use sqlx::{Database, Pool};

use crate::sql::deadline::Deadline;
use crate::sql::fault::{Fault, explain_unstarted, leaves_connection_usable};

/// A connection of a pool that is closed when it is dropped, unless it was given back in a known state.
///
/// A future that is dropped in the middle of a statement leaves an answer on its way, or a transaction that is open: the
/// connection's next user would wait for it, or find it. The server notices that the connection is gone and stops.
pub(crate) struct Lease<DB: Database>(Option<PoolConnection<DB>>);

impl<DB: Database> Lease<DB> {
    /// Takes a connection out of the pool.
    pub(crate) async fn take(pool: &Pool<DB>, deadline: Deadline) -> Result<Self, Fault> {
        match deadline.limit(pool.acquire()).await {
            Ok(Ok(connection)) => Ok(Self(Some(connection))),
            Ok(Err(error)) => Err(explain_unstarted(error).into()),
            Err(timed_out) => Err(Fault::Final(timed_out.into())),
        }
    }

    /// Gives the connection back, if the answer left it in a known state.
    pub(crate) fn settle<T>(mut self, answer: &Result<T, Fault>) {
        if !matches!(answer, Err(Fault::Database(error)) if !leaves_connection_usable(error)) {
            drop(self.0.take());
        }
    }
}

impl<DB: Database> Drop for Lease<DB> {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(connection.detach());
        }
    }
}

impl<DB: Database> Deref for Lease<DB> {
    type Target = PoolConnection<DB>;

    fn deref(&self) -> &Self::Target {
        self.0.as_ref().unwrap_or_else(|| unreachable!("only `settle` and `drop` take the connection, at the end"))
    }
}

impl<DB: Database> DerefMut for Lease<DB> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.0.as_mut().unwrap_or_else(|| unreachable!("only `settle` and `drop` take the connection, at the end"))
    }
}
