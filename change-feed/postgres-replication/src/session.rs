//! A session with the server, between statements.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;
use tokio::io::AsyncWriteExt as _;

use crate::authentication::authenticate;
use crate::cancellation::Canceller;
use crate::error::ReplicationError;
use crate::incoming::Incoming;
use crate::options::ConnectOptions;
use crate::rows::Rows;
use crate::server_error::ServerError;
use crate::socket::Socket;
use crate::tls_mode::SslMode;

/// pgoutput writes values as the session says: these can be read without knowing the server's settings.
const VALUE_SETTINGS: [(&str, &str); 5] = [
    ("DateStyle", "ISO, YMD"),
    ("TimeZone", "UTC"),
    ("IntervalStyle", "postgres"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
];

/// A session with the server, between statements.
pub(crate) struct Session {
    wire: Wire,
    options: Arc<ConnectOptions>,
    canceller: Canceller,
    server_major: u32,
    /// An answer has not been read to its end: nothing else can be asked.
    is_abandoned: bool,
}

/// What becomes of a session that is given away.
pub(super) struct SessionParts {
    pub(super) wire: Wire,
    pub(super) options: Arc<ConnectOptions>,
    pub(super) canceller: Canceller,
}

impl Session {
    pub(crate) async fn connect(options: Arc<ConnectOptions>) -> Result<Self, ReplicationError> {
        within(options.limits.connect, "connecting", async {
            match Self::attempt(&options, options.asks_for_tls_first()).await {
                // The server said no: it may insist on TLS.
                Err(ReplicationError::Authentication { source: Some(_), .. })
                    if options.tls.mode == SslMode::Allow && cfg!(feature = "tls") =>
                {
                    Self::attempt(&options, true).await
                }
                attempted => attempted,
            }
        })
        .await
    }

    async fn attempt(options: &Arc<ConnectOptions>, with_tls: bool) -> Result<Self, ReplicationError> {
        let mut wire = Wire { incoming: Incoming::new(Socket::connect(options, with_tls).await?) };
        wire.send(|out| startup(options, out)).await?;
        authenticate(&mut wire, options).await?;
        let mut server_major = 0;
        let mut canceller = Canceller::new(Arc::clone(options), with_tls);
        loop {
            match wire.message().await? {
                Message::ParameterStatus(body) if matches!(body.name(), Ok("server_version")) => {
                    server_major = major(body.value().unwrap_or_default());
                }
                Message::BackendKeyData(body) => canceller.aim(body.process_id(), body.secret_key()),
                Message::ReadyForQuery(_) => break,
                Message::ErrorResponse(body) => return Err(ServerError::read(body.fields()).into()),
                _ => {}
            }
        }
        tracing::debug!(server_major, private = wire.is_private(), "connected to PostgreSQL");
        Ok(Self { wire, options: Arc::clone(options), canceller, server_major, is_abandoned: false })
    }

    pub(crate) fn server_major(&self) -> u32 {
        self.server_major
    }

    /// The rows of the last result of one or several statements.
    ///
    /// Dropping the future, or running into the limit, leaves the session unusable; at the limit the server is told
    /// to give the statement up.
    pub(crate) async fn query(&mut self, statements: &str, limit: Duration) -> Result<Rows, ReplicationError> {
        self.begin(statements).await?;
        let answered = within(limit, "the server's answer", self.wire.rows()).await;
        match answered {
            Ok(answer) => {
                self.is_abandoned = answer.as_ref().is_err_and(ServerError::is_final);
                Ok(answer?)
            }
            Err(error) => {
                self.canceller.cancel().await;
                Err(error)
            }
        }
    }

    /// The same, within the limit for answers.
    pub(crate) async fn ask(&mut self, statements: &str) -> Result<Rows, ReplicationError> {
        self.query(statements, self.options.limits.answer).await
    }

    /// Sends statements; whoever does so reads the answer to its end and then says so.
    pub(crate) async fn begin(&mut self, statements: &str) -> Result<(), ReplicationError> {
        if self.is_abandoned {
            let what = "an earlier statement on this connection was abandoned".into();
            return Err(ReplicationError::Transient { what, source: None });
        }
        self.is_abandoned = true;
        let limit = self.options.limits.answer;
        within(limit, "sending a statement", self.wire.send(|out| frontend::query(statements, out))).await
    }

    pub(crate) fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    pub(crate) fn options(&self) -> &ConnectOptions {
        &self.options
    }

    pub(super) fn into_parts(self) -> SessionParts {
        SessionParts { wire: self.wire, options: self.options, canceller: self.canceller }
    }

    /// Says goodbye and waits until the server has closed the connection: whatever it held is free then.
    pub(crate) async fn close(mut self) {
        if self.is_abandoned {
            self.canceller.cancel().await;
        }
        let limit = self.options.limits.answer;
        let said = within(limit, "closing", async {
            self.wire
                .send(|out| {
                    frontend::terminate(out);
                    Ok(())
                })
                .await?;
            // What still comes is of no interest, only that nothing does any more.
            while self.wire.incoming.fill().await.is_ok() {
                while self.wire.incoming.take()?.is_some() {}
            }
            Ok(())
        });
        if let Err(error) = said.await {
            tracing::debug!(%error, "the connection to PostgreSQL did not end in order");
        }
    }
}

/// Messages in both directions.
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
        sent.await.map_err(|error| ReplicationError::lost("sending to the server failed", error))
    }

    /// The next message that is no notice.
    pub(super) async fn message(&mut self) -> Result<Message, ReplicationError> {
        loop {
            match self.incoming.parse()? {
                Some(Message::NoticeResponse(body)) => {
                    let notice = ServerError::read(body.fields());
                    tracing::debug!(%notice, "PostgreSQL noted");
                }
                Some(message) => return Ok(message),
                None => self.incoming.fill().await?,
            }
        }
    }

    /// The rows of the last result, or the error that the server sent, once it is ready for the next statement.
    async fn rows(&mut self) -> Result<Result<Rows, ServerError>, ReplicationError> {
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
                    return Err(ReplicationError::protocol("a copy where rows were asked for"));
                }
                _ => {}
            }
        }
    }
}

/// Bounds a wait.
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

fn startup(options: &ConnectOptions, out: &mut BytesMut) -> io::Result<()> {
    let wal_sender_timeout = options.limits.wal_sender_timeout.as_millis().to_string();
    let mut parameters = vec![
        ("user", options.user.as_str()),
        ("database", options.database.as_str()),
        ("application_name", options.application_name.as_str()),
        ("client_encoding", "UTF8"),
        ("replication", "database"),
        ("wal_sender_timeout", wal_sender_timeout.as_str()),
    ];
    parameters.extend(VALUE_SETTINGS);
    parameters.extend(options.command_line.as_deref().map(|options| ("options", options)));
    frontend::startup_message(parameters, out)
}

/// The release of a `server_version` such as `18.6` or `15.19 (Debian 15.19-1)`; 0 if it can't be read.
fn major(version: &str) -> u32 {
    let digits = version.split(|character: char| !character.is_ascii_digit()).next();
    digits.and_then(|digits| digits.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_is_read_from_any_spelling_of_the_version() {
        let spellings = [("18.6", 18), ("15.19 (Debian 15.19-1.pgdg120+1)", 15), ("19devel", 19), ("?", 0), ("", 0)];
        for (text, release) in spellings {
            assert_eq!(major(text), release, "{text}");
        }
    }
}
