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
use crate::session::{SessionParts, within};
use crate::transport::Transport;

/// The server ends a stream between two transactions. One that takes longer to send than this is given up.
const PATIENCE: Duration = Duration::from_secs(1);
const QUERY_CANCELED: &str = "57014";

/// What pgoutput is told at the start.
///
/// The protocol is version 1: a transaction comes when it has committed, whole, with its values as text.
#[derive(Debug, Clone)]
#[must_use]
pub struct StartOptions {
    publications: Vec<String>,
    has_messages: bool,
}

impl StartOptions {
    /// What these publications publish, and no logical messages.
    pub fn new<I>(publications: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        Self { publications: publications.into_iter().map(Into::into).collect(), has_messages: false }
    }

    /// Whether what `pg_logical_emit_message` wrote comes too. Of a message that is not transactional, the writer's
    /// transaction may have rolled back.
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
/// - **Bounds**: 768 KiB are read ahead of the caller, or one frame if that is larger. Nothing more is read while nobody takes
///   frames; the server waits.
/// - **Feedback** goes out regularly, at once when the server asks for it, also while nobody takes frames and while the
///   runtime is blocked.
/// - **Silence**: while there is room to read, a server that says nothing for half of
///   [`idle_limit`](super::ConnectOptions::idle_limit) is asked for a sign of life, and one that gives none is an error.
/// - **Pauses**: a stream that gives more than 4 MB/s is read every half of a millisecond, or every tenth over a Unix socket,
///   so that one wake-up serves many messages. What comes more slowly is read at once.
/// - **Cancellation**: dropping the future of [`next`](Self::next) loses nothing.
/// - Dropping the stream ends the thread and the connection; the server gives the slot free when it notices.
///   [`close`](Self::close) waits for that.
pub struct ReplicationStream {
    chunks: Chunks,
    /// Frames that are here.
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
        let (socket, come) = parts.wire.incoming.into_parts();
        let transport = Transport::from_runtime(socket)
            .map_err(|error| ReplicationError::lost("the runtime doesn't give the connection away", error))?;
        let feedback = Feedback::new(start);
        Ok(Self {
            confirmer: feedback.confirmer(),
            chunks: reader::spawn(transport, &come, feedback, limits)?,
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
    /// What the server said, or [`Transient`](ReplicationError::Transient) when the connection broke or fell silent. The
    /// stream has ended then, and every further call fails.
    pub async fn next(&mut self) -> Result<Frame, ReplicationError> {
        loop {
            if let Some(frame) = self.next_buffered()? {
                return Ok(frame);
            }
            if self.has_ended {
                return Err(over());
            }
            let chunk = self.chunks.next().await;
            self.begin_chunk(chunk)?;
        }
    }

    /// The next frame if it is here already: no waiting.
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
                Some((tag, body)) => return Err(self.ended(tag, body)),
                None => match self.chunks.next_queued() {
                    Some(chunk) => self.begin_chunk(Some(chunk))?,
                    None => return Ok(None),
                },
            }
        }
    }

    /// The handle by which what is durable is confirmed.
    pub fn confirmer(&self) -> Confirmer {
        self.confirmer.clone()
    }

    /// Ends the stream and the connection. When this returns without an error, the server has heard the last
    /// confirmation and the slot is free.
    ///
    /// Frames that were not taken are dropped. A transaction that the server is in the middle of sending is given up
    /// after a second. A stream that has ended with an error has nothing left to end: its slot is free when the server
    /// has noticed.
    ///
    /// # Errors
    ///
    /// [`Transient`](ReplicationError::Transient) if the connection is lost: the slot is free when the server notices.
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
        let chunk = chunk.unwrap_or_else(|| Err(over()));
        self.chunk = chunk.inspect_err(|_| self.has_ended = true)?;
        Ok(())
    }

    /// Why there are no more frames.
    #[cold]
    fn ended(&mut self, tag: u8, body: Bytes) -> ReplicationError {
        self.has_ended = true;
        match tag {
            ERROR_RESPONSE_TAG => error_in(body),
            // An orderly shutdown of the server ends so.
            COPY_DONE_TAG | COMMAND_COMPLETE_TAG => {
                ReplicationError::Transient { what: "the server ended the stream".into(), source: None }
            }
            _ => ReplicationError::protocol("a message that has no place in a stream"),
        }
    }
}

fn over() -> ReplicationError {
    ReplicationError::Transient { what: "the stream has ended".into(), source: None }
}

/// Reads on until the server is ready for another command and the thread has said goodbye.
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
    // The fields are read by the crate that knows the protocol, from the message as it came.
    let mut message = BytesMut::with_capacity(body.len() + 5);
    message.extend_from_slice(&[ERROR_RESPONSE_TAG]);
    message.extend_from_slice(&u32::try_from(body.len() + 4).unwrap_or_default().to_be_bytes());
    message.extend_from_slice(&body);
    match Message::parse(&mut message) {
        Ok(Some(Message::ErrorResponse(body))) => ServerError::read(body.fields()).into(),
        _ => ReplicationError::protocol("a malformed error"),
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
