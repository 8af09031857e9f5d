//! The messages that a client and a server exchange before a stream.

use std::future::Future;
use std::io;
use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::message::backend::Message;
use tokio::io::AsyncWriteExt as _;

use crate::error::ReplicationError;
use crate::incoming::Incoming;
use crate::rows::Rows;
use crate::server_error::ServerError;
use crate::socket::Socket;

/// A connection to the server, as messages in both directions.
pub(crate) struct Wire {
    pub(super) incoming: Incoming<Socket>,
}

impl Wire {
    pub(super) fn is_private(&self) -> bool {
        self.incoming.get_ref().is_private()
    }

    pub(super) fn certificate_hash(&self) -> Option<Vec<u8>> {
        self.incoming.get_ref().certificate_hash()
    }

    pub(super) async fn send(
        &mut self,
        write: impl FnOnce(&mut BytesMut) -> io::Result<()>,
    ) -> Result<(), ReplicationError> {
        let mut out = BytesMut::new();
        write(&mut out).map_err(|error| ReplicationError::unusable(error.to_string()))?;
        let socket = self.incoming.get_mut();
        let sent = async { socket.write_all(&out).await.and(socket.flush().await) };
        sent.await.map_err(|error| ReplicationError::lost("could not send to the server", error))
    }

    /// Returns the next message, and logs the notices before it.
    pub(super) async fn message(&mut self) -> Result<Message, ReplicationError> {
        loop {
            match self.incoming.parse()? {
                Some(Message::NoticeResponse(body)) => {
                    let notice = ServerError::read(body.fields());
                    tracing::debug!(%notice, "notice from PostgreSQL");
                }
                Some(message) => return Ok(message),
                None => self.incoming.fill().await?,
            }
        }
    }

    /// Reads the answers to statements, until the server is ready for the next one. Returns the rows of the last result, or
    /// the error that the server sent.
    pub(super) async fn rows(&mut self) -> Result<Result<Rows, ServerError>, ReplicationError> {
        let mut rows = Rows::default();
        let mut refused = None;
        loop {
            match self.message().await? {
                Message::RowDescription(body) => rows = Rows::described(&body)?,
                Message::DataRow(body) => rows.push(&body)?,
                Message::ErrorResponse(body) => {
                    let error = ServerError::read(body.fields());
                    if error.is_final() {
                        return Ok(Err(error));
                    }
                    refused = Some(error);
                }
                Message::ReadyForQuery(_) => return Ok(refused.map_or(Ok(rows), Err)),
                Message::CopyInResponse(_) | Message::CopyOutResponse(_) | Message::CopyData(_) => {
                    return Err(ReplicationError::protocol("COPY data in place of rows"));
                }
                _ => {}
            }
        }
    }
}

/// Waits within a limit. `what` begins the error's sentence "… took longer than … ms".
pub(super) async fn within<T>(
    limit: Duration,
    what: &str,
    wait: impl Future<Output = Result<T, ReplicationError>>,
) -> Result<T, ReplicationError> {
    match tokio::time::timeout(limit, wait).await {
        Ok(done) => done,
        Err(_) => Err(ReplicationError::timed_out(what, limit)),
    }
}
