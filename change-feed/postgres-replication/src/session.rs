//! A session with the server: statements and their answers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;

use crate::authentication::authenticate;
use crate::cancellation::Canceller;
use crate::error::ReplicationError;
use crate::incoming::Incoming;
use crate::options::ConnectOptions;
use crate::rows::Rows;
use crate::server_error::ServerError;
use crate::socket::Socket;
use crate::tls_mode::SslMode;
use crate::wire::{Wire, within};

/// The settings of the session that shape values. pgoutput writes values by them, so readers need not know the server's own.
const VALUE_SETTINGS: [(&str, &str); 5] = [
    ("DateStyle", "ISO, YMD"),
    ("TimeZone", "UTC"),
    ("IntervalStyle", "postgres"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
];

/// A session with the server: statements and their answers.
pub(crate) struct Session {
    wire: Wire,
    options: Arc<ConnectOptions>,
    canceller: Canceller,
    server_major: u32,
    /// An answer was not read to its end, so that no further statement can be sent.
    is_abandoned: bool,
}

/// The parts of a session, for the stream that it becomes.
pub(super) struct SessionParts {
    pub(super) wire: Wire,
    pub(super) options: Arc<ConnectOptions>,
    pub(super) canceller: Canceller,
}

impl Session {
    pub(crate) async fn connect(options: Arc<ConnectOptions>) -> Result<Self, ReplicationError> {
        within(options.limits.connect, "connecting", async {
            match Self::attempt(&options, options.asks_for_tls_first()).await {
                // The server refused, perhaps because it insists on TLS.
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
                Message::BackendKeyData(body) => canceller.set_backend(body.process_id(), body.secret_key()),
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

    /// Runs one or several statements and returns the rows of the last result.
    ///
    /// The session is unusable after the limit, or when the future was dropped. At the limit the statement is cancelled
    /// on the server.
    pub(crate) async fn query_within(&mut self, statements: &str, limit: Duration) -> Result<Rows, ReplicationError> {
        self.send_statements(statements).await?;
        let answered = within(limit, "waiting for the server's answer", self.wire.rows()).await;
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

    /// Runs statements within the limit for answers.
    pub(crate) async fn query(&mut self, statements: &str) -> Result<Rows, ReplicationError> {
        self.query_within(statements, self.options.limits.answer).await
    }

    /// Sends statements. The session counts as abandoned until the answer was read to its end.
    pub(crate) async fn send_statements(&mut self, statements: &str) -> Result<(), ReplicationError> {
        if self.is_abandoned {
            let what = "an earlier call on this connection was not finished".into();
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

    /// Ends the session and waits until the server has closed the connection. What the session held, such as a slot, is
    /// free then.
    pub(crate) async fn close(mut self) {
        if self.is_abandoned {
            self.canceller.cancel().await;
        }
        let limit = self.options.limits.answer;
        let closed = within(limit, "closing", async {
            self.wire
                .send(|out| {
                    frontend::terminate(out);
                    Ok(())
                })
                .await?;
            // Reads and drops what still arrives, until the server closes the connection.
            while self.wire.incoming.fill().await.is_ok() {
                while self.wire.incoming.take()?.is_some() {}
            }
            Ok(())
        });
        if let Err(error) = closed.await {
            tracing::debug!(%error, "the connection to PostgreSQL broke while it was closed; the server notices later");
        }
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

/// Reads the release of a `server_version` such as `18.6` or `15.19 (Debian 15.19-1)`; 0 if it can't be read.
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
