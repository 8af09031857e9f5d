//! The stream of a replication slot.

use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use postgres_protocol::message::backend::{
    COMMAND_COMPLETE_TAG, COPY_DATA_TAG, COPY_DONE_TAG, ERROR_RESPONSE_TAG, Message, NOTICE_RESPONSE_TAG,
    PARAMETER_STATUS_TAG, READY_FOR_QUERY_TAG,
};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncWriteExt as _, ReadHalf, WriteHalf};

use crate::cancellation::Canceller;
use crate::error::ReplicationError;
use crate::feedback::{Confirmer, Feedback};
use crate::frame::Frame;
use crate::incoming::Incoming;
use crate::lsn::Lsn;
use crate::pauses::Pauses;
use crate::quoting::{literal, publication_names, slot_name};
use crate::server_error::ServerError;
use crate::session::{SessionParts, within};
use crate::silence::{Concern, Silence};
use crate::socket::Socket;

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
/// - **Bounds**: what the socket gave in one read, up to 256 KiB, or one frame if that is larger. Nothing is read while
///   nobody takes frames; the server waits.
/// - **Feedback** goes out regularly from a task of its own, at once when the server asks for it, also while nobody takes
///   frames. It needs a thread of the runtime that isn't blocked.
/// - **Silence**: while somebody waits, a server that says nothing for half of
///   [`idle_limit`](super::ConnectOptions::idle_limit) is asked for a sign of life, and one that gives none is an error.
/// - **Pauses**: a stream that gives more than 16 MB/s is read a millisecond later, or a tenth of that over a Unix socket, so
///   that one wake-up of both sides serves many messages. The tenth is slept by the thread of the runtime.
/// - **Cancellation**: dropping the future of [`next`](Self::next) loses nothing.
/// - Dropping the stream ends the connection; the server gives the slot free when it notices. [`close`](Self::close) waits
///   for that.
pub struct ReplicationStream {
    incoming: Incoming<ReadHalf<Socket>>,
    feedback: Feedback<WriteHalf<Socket>>,
    silence: Silence,
    pauses: Pauses,
    canceller: Canceller,
    idle_limit: Duration,
    answer_limit: Duration,
    has_ended: bool,
}

impl ReplicationStream {
    pub(super) fn begin(parts: SessionParts, start: Lsn) -> Self {
        let limits = parts.options.limits;
        let pauses = Pauses::new(parts.wire.incoming.get_ref().pause(), Instant::now());
        let (incoming, writer) = parts.wire.incoming.split(tokio::io::split);
        let interval = parts.options.effective_feedback_interval();
        Self {
            incoming,
            feedback: Feedback::begin(writer, start, interval, limits.wal_sender_timeout),
            silence: Silence::new(limits.idle),
            pauses,
            canceller: parts.canceller,
            idle_limit: limits.idle,
            answer_limit: limits.answer,
            has_ended: false,
        }
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
            self.fill().await?;
        }
    }

    /// The next frame if it is here already: no waiting, no system call.
    ///
    /// # Errors
    ///
    /// Those of [`next`](Self::next).
    #[inline]
    pub fn next_buffered(&mut self) -> Result<Option<Frame>, ReplicationError> {
        loop {
            match self.incoming.take() {
                Ok(Some((COPY_DATA_TAG, body))) => return self.frame(body).map(Some),
                Ok(Some((NOTICE_RESPONSE_TAG | PARAMETER_STATUS_TAG, _))) => {}
                Ok(Some((tag, body))) => return Err(self.ended(tag, body)),
                Ok(None) => return Ok(None),
                Err(error) => {
                    self.has_ended = true;
                    return Err(error);
                }
            }
        }
    }

    /// Reads once more without waiting, if the last read was so large that more may be there. Whether something was.
    ///
    /// # Errors
    ///
    /// Those of [`next`](Self::next).
    pub async fn read_on(&mut self) -> Result<bool, ReplicationError> {
        if self.has_ended || !self.pauses.was_large() {
            return Ok(false);
        }
        poll_fn(|context| match self.poll_read(context) {
            Poll::Ready(read) => Poll::Ready(read.map(|()| true)),
            Poll::Pending => Poll::Ready(Ok(false)),
        })
        .await
    }

    /// The handle by which what is durable is confirmed.
    pub fn confirmer(&self) -> Confirmer {
        self.feedback.confirmer()
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
        let Self { mut incoming, feedback, canceller, answer_limit, has_ended, .. } = self;
        if has_ended {
            return Ok(());
        }
        within(answer_limit, "ending the stream", async {
            let lost = |error| ReplicationError::lost("the last confirmation could not be sent", error);
            let mut writer = feedback.finish().await.map_err(lost)?;
            let mut drain = std::pin::pin!(drain(&mut incoming));
            match tokio::time::timeout(PATIENCE, &mut drain).await {
                Ok(drained) => drained?,
                Err(_) => {
                    canceller.cancel().await;
                    drain.await?;
                }
            }
            let mut goodbye = BytesMut::new();
            frontend::terminate(&mut goodbye);
            // The slot is free already.
            let _ = writer.write_all(&goodbye).await.and(writer.shutdown().await);
            Ok(())
        })
        .await
    }

    #[inline]
    fn frame(&mut self, body: Bytes) -> Result<Frame, ReplicationError> {
        let frame = Frame::read(body).inspect_err(|_| self.has_ended = true)?;
        match &frame {
            Frame::Data(data) => self.feedback.received(data.wal_end),
            Frame::Keepalive(keepalive) => {
                self.feedback.received(keepalive.wal_end);
                if keepalive.reply_requested {
                    self.feedback.is_due();
                }
            }
        }
        Ok(frame)
    }

    /// Reads once, and watches over the silence meanwhile.
    async fn fill(&mut self) -> Result<(), ReplicationError> {
        if self.has_ended {
            return Err(ReplicationError::Transient { what: "the stream has ended".into(), source: None });
        }
        self.pauses.wait().await;
        poll_fn(|context| {
            if let Poll::Ready(read) = self.poll_read(context) {
                return Poll::Ready(read);
            }
            loop {
                match std::task::ready!(self.silence.poll(context)) {
                    Concern::Ask => self.feedback.ask(),
                    Concern::Lost => {
                        let what = "waiting for a sign of life from the server";
                        return Poll::Ready(Err(ReplicationError::timed_out(what, self.idle_limit)));
                    }
                }
            }
        })
        .await
        .inspect_err(|_| self.has_ended = true)
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ReplicationError>> {
        let before = self.incoming.len();
        self.incoming.poll_fill(context).map(|read| {
            self.silence.heard();
            self.pauses.read(self.incoming.len().saturating_sub(before), Instant::now());
            read.map_err(|error| {
                self.has_ended = true;
                ReplicationError::lost("the stream broke", error)
            })
        })
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

/// Reads on until the server is ready for another command, or has closed the connection.
async fn drain(incoming: &mut Incoming<ReadHalf<Socket>>) -> Result<(), ReplicationError> {
    loop {
        match incoming.take()? {
            Some((READY_FOR_QUERY_TAG, _)) => return Ok(()),
            Some((ERROR_RESPONSE_TAG, body)) => {
                let error = error_in(body);
                if error.sqlstate() != Some(QUERY_CANCELED) {
                    return Err(error);
                }
            }
            Some(_) => {}
            None => incoming.fill().await?,
        }
    }
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
