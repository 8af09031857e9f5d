//! The stream of a replication slot.

use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use postgres_protocol::message::backend::{
    COMMAND_COMPLETE_TAG, COPY_DATA_TAG, COPY_DONE_TAG, ERROR_RESPONSE_TAG, Message, NOTICE_RESPONSE_TAG,
    PARAMETER_STATUS_TAG,
};

use crate::cancellation::Canceller;
use crate::error::ReplicationError;
use crate::feedback::{Confirmer, Feedback};
use crate::frame::Frame;
use crate::inbox::split_message;
use crate::lsn::Lsn;
use crate::quoting::{literal, publication_names, slot_name};
use crate::reader::{self, Chunks, ReaderLimits};
use crate::server_error::ServerError;
use crate::session::SessionParts;
use crate::transport::Transport;
use crate::wire::within;

/// The server ends a stream between two transactions. A transaction that takes it longer than this to send is cancelled.
const PATIENCE: Duration = Duration::from_secs(1);
const QUERY_CANCELED: &str = "57014";

/// The options of a stream, for pgoutput.
///
/// The protocol version is 1: the server sends each transaction whole, after its commit, with values as text.
#[derive(Debug, Clone)]
#[must_use]
pub struct StartOptions {
    publications: Vec<String>,
    has_messages: bool,
}

impl StartOptions {
    /// Streams what these publications publish, without logical messages.
    pub fn new<I>(publications: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        Self { publications: publications.into_iter().map(Into::into).collect(), has_messages: false }
    }

    /// Whether to stream the messages of `pg_logical_emit_message` too. The transaction that wrote a message may have rolled
    /// back if the message is not transactional.
    pub fn messages(mut self, are_wanted: bool) -> Self {
        self.has_messages = are_wanted;
        self
    }

    /// Names and values of pgoutput's options.
    pub(crate) fn plugin_options(&self) -> Result<Vec<(&'static str, String)>, ReplicationError> {
        let mut options =
            vec![("proto_version", "1".to_owned()), ("publication_names", publication_names(&self.publications)?)];
        if self.has_messages {
            options.push(("messages", "true".to_owned()));
        }
        Ok(options)
    }

    pub(super) fn statement(&self, slot: &str, after: Lsn) -> Result<String, ReplicationError> {
        let slot = slot_name(slot)?;
        let options = self.plugin_options()?;
        let options: Vec<_> = options.iter().map(|(name, value)| format!("{name} {}", literal(value))).collect();
        Ok(format!("START_REPLICATION SLOT {slot} LOGICAL {after} ({})", options.join(", ")))
    }
}

/// The stream of a replication slot.
///
/// A thread of its own reads the connection.
///
/// - **Bounds**: the thread reads at most 768 KiB ahead of the caller, or one frame if that is larger. Then it waits until the
///   caller takes frames, and the server waits too.
/// - **Feedback** goes out regularly, and at once when the server asks for it, also while the caller takes no frames and while
///   the runtime is blocked.
/// - **Silence**: a server that sends nothing for half of [`idle_limit`](super::ConnectOptions::idle_limit) is asked to answer.
///   Without an answer, [`next`](Self::next) fails. Time in which the thread waits for the caller does not count.
/// - **Pauses**: a stream above 4 MB/s is read every 0.5 ms, or every 0.1 ms over a Unix socket, so that one wake-up serves
///   many messages. A slower stream is read at once.
/// - **Cancellation**: dropping the future of [`next`](Self::next) loses nothing.
/// - Dropping the stream ends the thread and the connection; the server frees the slot when it notices.
///   [`close`](Self::close) waits for that.
pub struct ReplicationStream {
    chunks: Chunks,
    /// Frames that were read and not taken yet.
    chunk: Bytes,
    confirmer: Confirmer,
    canceller: Canceller,
    answer_limit: Duration,
    has_ended: bool,
}

impl ReplicationStream {
    pub(super) fn begin(parts: SessionParts, start: Lsn) -> Result<Self, ReplicationError> {
        let limits = ReaderLimits {
            idle: parts.options.limits.idle,
            feedback_interval: parts.options.effective_feedback_interval(),
            write: parts.options.limits.wal_sender_timeout,
        };
        let (socket, received) = parts.wire.incoming.into_parts();
        let transport = Transport::from_runtime(socket)
            .map_err(|error| ReplicationError::lost("could not take the connection from the runtime", error))?;
        let feedback = Feedback::new(start);
        Ok(Self {
            confirmer: feedback.confirmer(),
            chunks: reader::spawn(transport, &received, feedback, limits)?,
            chunk: Bytes::new(),
            canceller: parts.canceller,
            answer_limit: parts.options.limits.answer,
            has_ended: false,
        })
    }

    /// Waits for the next frame.
    ///
    /// # Errors
    ///
    /// The server's error, or [`Transient`](ReplicationError::Transient) when the connection broke or the server sent nothing
    /// for too long. The stream has ended then, and every further call fails.
    pub async fn next(&mut self) -> Result<Frame, ReplicationError> {
        loop {
            if let Some(frame) = self.next_buffered()? {
                return Ok(frame);
            }
            if self.has_ended {
                return Err(stream_ended());
            }
            let chunk = self.chunks.next().await;
            self.begin_chunk(chunk)?;
        }
    }

    /// Takes the next frame if it has arrived already, without waiting.
    ///
    /// # Errors
    ///
    /// Those of [`next`](Self::next).
    #[inline]
    pub fn next_buffered(&mut self) -> Result<Option<Frame>, ReplicationError> {
        loop {
            match split_message(&mut self.chunk) {
                Some((COPY_DATA_TAG, body)) => return self.frame(body).map(Some),
                Some((NOTICE_RESPONSE_TAG | PARAMETER_STATUS_TAG, _)) => {}
                Some((tag, body)) => return Err(self.end(tag, body)),
                None => match self.chunks.next_queued() {
                    Some(chunk) => self.begin_chunk(Some(chunk))?,
                    None => return Ok(None),
                },
            }
        }
    }

    /// Returns the handle that confirms what is durable.
    pub fn confirmer(&self) -> Confirmer {
        self.confirmer.clone()
    }

    /// Ends the stream and the connection. When this returns without an error, the server has received the last
    /// confirmation and the slot is free.
    ///
    /// Frames that were not taken are dropped. If the server is still sending a transaction after a second, it is cancelled.
    /// After a stream that ended with an error this does nothing: the server frees the slot when it notices.
    ///
    /// # Errors
    ///
    /// [`Transient`](ReplicationError::Transient) if the connection is lost: the server frees the slot when it notices.
    pub async fn close(self) -> Result<(), ReplicationError> {
        let Self { mut chunks, canceller, answer_limit, has_ended, .. } = self;
        if has_ended {
            return Ok(());
        }
        within(answer_limit, "ending the stream", async {
            chunks.finish();
            let mut drain = std::pin::pin!(drain(&mut chunks));
            match tokio::time::timeout(PATIENCE, &mut drain).await {
                Ok(drained) => drained,
                Err(_) => {
                    canceller.cancel().await;
                    drain.await
                }
            }
        })
        .await
    }

    #[inline]
    fn frame(&mut self, body: Bytes) -> Result<Frame, ReplicationError> {
        Frame::read(body).inspect_err(|_| self.has_ended = true)
    }

    fn begin_chunk(&mut self, chunk: Option<Result<Bytes, ReplicationError>>) -> Result<(), ReplicationError> {
        let chunk = chunk.unwrap_or_else(|| Err(stream_ended()));
        self.chunk = chunk.inspect_err(|_| self.has_ended = true)?;
        Ok(())
    }

    /// Ends the stream with the error that this message means.
    #[cold]
    fn end(&mut self, tag: u8, body: Bytes) -> ReplicationError {
        self.has_ended = true;
        match tag {
            ERROR_RESPONSE_TAG => error_in(body),
            // The server shuts down in order.
            COPY_DONE_TAG | COMMAND_COMPLETE_TAG => {
                ReplicationError::Transient { what: "the server ended the stream".into(), source: None }
            }
            _ => ReplicationError::protocol("it sent a message that does not belong to a stream"),
        }
    }
}

fn stream_ended() -> ReplicationError {
    ReplicationError::Transient { what: "the stream has ended".into(), source: None }
}

/// Reads until the server has ended the stream and the thread has ended the session.
async fn drain(chunks: &mut Chunks) -> Result<(), ReplicationError> {
    while let Some(chunk) = chunks.next().await {
        let mut chunk = chunk?;
        while let Some((tag, body)) = split_message(&mut chunk) {
            if tag == ERROR_RESPONSE_TAG {
                let error = error_in(body);
                if error.sqlstate() != Some(QUERY_CANCELED) {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

fn error_in(body: Bytes) -> ReplicationError {
    // Message::parse needs the whole message, with its tag and length.
    let mut message = BytesMut::with_capacity(body.len() + 5);
    message.extend_from_slice(&[ERROR_RESPONSE_TAG]);
    message.extend_from_slice(&u32::try_from(body.len() + 4).unwrap_or_default().to_be_bytes());
    message.extend_from_slice(&body);
    match Message::parse(&mut message) {
        Ok(Some(Message::ErrorResponse(body))) => ServerError::read(body.fields()).into(),
        _ => ReplicationError::protocol("it sent a malformed error"),
    }
}

impl fmt::Debug for ReplicationStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplicationStream").field("confirmed", &self.confirmer().confirmed()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_quotes_what_it_is_given() {
        let options = StartOptions::new(["a", "it's \"b\""]).messages(true);
        assert_eq!(
            options.statement("orders", Lsn::new(0x16_B374_D848)).expect("a command"),
            "START_REPLICATION SLOT \"orders\" LOGICAL 16/B374D848 (proto_version '1', \
             publication_names '\"a\",\"it''s \"\"b\"\"\"', messages 'true')"
        );
        assert!(options.statement("orders\" x", Lsn::INVALID).is_err());
        assert!(StartOptions::new([""; 0]).statement("orders", Lsn::INVALID).is_err());
    }
}
