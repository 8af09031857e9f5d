//! The thread that reads a stream.
//!
//! ```text
//!             ┌──────────────── thread "pg-replication" ───────────────┐
//!  walsender ─┼▶ transport ─▶ inbox ─▶ chunks of whole messages ───────┼─▶ queue ─▶ ReplicationStream::next
//!             │    ▲  (TLS)     pause while the stream is busy         │   ≤ AHEAD_BYTES    (the runtime)
//!             │    └── standby status updates ◀── Confirmer            │
//!             └───── waits for: the socket, room, the next update ─────┘
//! ```
//!
//! # Why a thread
//!
//! The walsender sends each message by itself: three of them for a transaction of one row. A reader that waits in a poll is
//! woken by each message, and each message passes through all of TCP, which costs the server three times what decoding
//! costs. Once the window of the connection is full, the kernel only queues. So a reader of a busy stream sleeps until the
//! window is full, and then takes everything that has arrived; a server on this machine gets a small window, which is full
//! soon. Measured on Linux 6.18 and PostgreSQL 18.6 over loopback, with rows of 400 bytes, as ratios of what
//! `pg_recvlogical` takes at 1 and 1,000 rows in a transaction: a window that the kernel chooses and pauses of 0.5 ms, 1.2 and
//! 1.1; a window of 64 KiB and pauses of 1.5 ms, 1.2 and 1.6; of 3 ms, 2.6 and 2.0.
//!
//! A runtime's task that sleeps gives no such pauses: its timer counts in milliseconds, and what keeps a worker busy delays it.
//!
//! # What it promises
//!
//! - **Pace**: on a quiet stream each message is read and handed over at once. [`Pace`] decides when a stream is busy; nothing
//!   else is measured, and nothing changes while the stream runs: window and pause follow from the kind of connection.
//! - **Bounds**: the thread reads at most [`AHEAD_BYTES`] ahead of the caller, or one message if that is larger. Then it stops
//!   reading until the caller has taken some of them, and the server waits.
//! - **Feedback** goes out at its interval, and at once when the server asks for it. It needs neither a caller that takes
//!   frames nor a free thread of the runtime. If the server does not accept it for `wal_sender_timeout`, the connection counts
//!   as lost.
//! - **Silence** of the server is measured only while the thread reads, and not while it waits for the caller.
//! - **End**: the thread ends within a pause after the stream is dropped, when the server ends the stream, and after any error,
//!   which is the last item of the queue. The connection closes with it. The thread waits only in its poll.

#[cfg(all(test, unix))]
mod tests;

use std::fmt;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::{BufMut as _, Bytes, BytesMut};
use mio::{Events, Poll, Token, Waker};
use postgres_protocol::message::backend::{COPY_DATA_TAG, READY_FOR_QUERY_TAG};
use postgres_protocol::message::frontend;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::error::ReplicationError;
use crate::feedback::Feedback;
use crate::frame::Head;
use crate::inbox::Inbox;
use crate::pace::Pace;
use crate::silence::{Overdue, Silence};
use crate::transport::Transport;

/// The most bytes that are read and not yet taken by the caller.
const AHEAD_BYTES: usize = 512 << 10;
const THREAD_NAME: &str = "pg-replication";
const SOCKET: Token = Token(0);
const WAKE: Token = Token(1);

/// How long each step may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReaderLimits {
    /// The longest silence of the server.
    pub(super) idle: Duration,
    /// The time between two updates.
    pub(super) feedback_interval: Duration,
    /// The longest time that an update may wait to be sent.
    pub(super) write: Duration,
}

/// The caller's end of the queue. The thread ends when it is dropped.
pub(super) struct Chunks {
    queue: UnboundedReceiver<Result<Bytes, ReplicationError>>,
    shared: Arc<Shared>,
}

/// The state that the thread and the caller share.
struct Shared {
    queued_bytes: AtomicUsize,
    is_closing: AtomicBool,
    waker: Waker,
}

impl Shared {
    fn wake(&self) {
        // An event counter fails only when the process has no memory left.
        if let Err(error) = self.waker.wake() {
            tracing::warn!(%error, "could not wake the reader of the replication stream; it goes on at its next deadline");
        }
    }
}

impl Chunks {
    /// Waits for the next chunk of whole messages. `None` after the last one. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, ReplicationError>> {
        let chunk = self.queue.recv().await;
        self.taken(chunk.as_ref());
        chunk
    }

    /// Takes the next chunk if it has arrived already.
    #[inline]
    pub(super) fn next_queued(&mut self) -> Option<Result<Bytes, ReplicationError>> {
        let chunk = self.queue.try_recv().ok();
        self.taken(chunk.as_ref());
        chunk
    }

    /// Has the thread send the last confirmation and end the stream. After the server's answer it closes the connection.
    pub(super) fn finish(&self) {
        self.shared.is_closing.store(true, Ordering::Release);
        self.shared.wake();
    }

    fn taken(&self, chunk: Option<&Result<Bytes, ReplicationError>>) {
        let Some(Ok(chunk)) = chunk else { return };
        let before = self.shared.queued_bytes.fetch_sub(chunk.len(), Ordering::AcqRel);
        if before >= AHEAD_BYTES && before - chunk.len() < AHEAD_BYTES {
            self.shared.wake();
        }
    }
}

impl Drop for Chunks {
    fn drop(&mut self) {
        self.queue.close();
        self.shared.wake();
    }
}

impl fmt::Debug for Chunks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunks").finish_non_exhaustive()
    }
}

/// The state of the thread.
struct Reader {
    transport: Transport,
    inbox: Inbox,
    queue: UnboundedSender<Result<Bytes, ReplicationError>>,
    shared: Arc<Shared>,
    poll: Poll,
    pace: Pace,
    silence: Silence,
    feedback: Feedback,
    limits: ReaderLimits,
    /// When the next update is due.
    feedback_at: Instant,
    unsent: Vec<u8>,
    /// When the connection began to refuse writes, if it does.
    blocked_since: Option<Instant>,
    /// The end of the stream was sent to the server.
    has_finished: bool,
}

/// The result of reading.
enum Read {
    /// The socket is empty.
    Emptied,
    /// The socket may hold more.
    More,
    /// The server is ready for another command: the stream is over.
    Over,
}

/// Starts the thread. `received` holds the bytes of the stream that were read before.
pub(super) fn spawn(
    transport: Transport,
    received: &[u8],
    feedback: Feedback,
    limits: ReaderLimits,
) -> Result<Chunks, ReplicationError> {
    let start = || -> io::Result<Chunks> {
        let mut transport = transport;
        let poll = Poll::new()?;
        transport.register(poll.registry(), SOCKET)?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        let shared = Arc::new(Shared { queued_bytes: AtomicUsize::new(0), is_closing: AtomicBool::new(false), waker });
        let (queue, chunks) = unbounded_channel();
        let now = Instant::now();
        let reader = Reader {
            pace: Pace::new(transport.pause(), now),
            transport,
            inbox: Inbox::holding(received),
            queue,
            shared: Arc::clone(&shared),
            poll,
            silence: Silence::new(limits.idle, now),
            feedback,
            limits,
            feedback_at: now,
            unsent: Vec::new(),
            blocked_since: None,
            has_finished: false,
        };
        thread::Builder::new().name(THREAD_NAME.to_owned()).spawn(|| reader.run())?;
        Ok(Chunks { queue: chunks, shared })
    };
    start().map_err(|error| ReplicationError::lost("could not start the thread that reads the stream", error))
}

impl Reader {
    fn run(mut self) {
        if let Err(error) = self.serve() {
            // This fails if the stream was dropped, and then nobody needs the error.
            let _ = self.queue.send(Err(error));
        }
    }

    /// Reads and sends until the stream ends or is dropped.
    fn serve(&mut self) -> Result<(), ReplicationError> {
        let mut events = Events::with_capacity(4);
        let mut is_readable = true;
        while !self.queue.is_closed() {
            let is_ahead = self.is_ahead();
            let mut pause = None;
            if is_readable && !is_ahead {
                match self.read()? {
                    Read::Emptied => {
                        pause = self.pace.emptied(Instant::now());
                        is_readable = false;
                    }
                    Read::More => {}
                    Read::Over => {
                        self.terminate();
                        return Ok(());
                    }
                }
            }
            let now = Instant::now();
            if is_ahead {
                self.silence.heard();
            }
            match self.silence.check(now) {
                Some(Overdue::RequestReply) if !self.has_finished => self.report(true, now),
                Some(Overdue::Lost) => {
                    return Err(ReplicationError::timed_out(
                        "waiting for any message from the server",
                        self.limits.idle,
                    ));
                }
                _ => {}
            }
            self.send(now)?;
            if let Some(pause) = pause {
                thread::sleep(pause);
                is_readable = true;
                continue;
            }
            if is_readable && !self.is_ahead() {
                continue;
            }
            let lost = |error| ReplicationError::lost("could not wait for the socket", error);
            match self.poll.poll(&mut events, Some(self.next_deadline().saturating_duration_since(now))) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(lost(error)),
                _ => {}
            }
            is_readable |= events.iter().any(|event| event.token() == SOCKET && event.is_readable());
        }
        Ok(())
    }

    /// Whether the caller has to take something before more is read.
    fn is_ahead(&self) -> bool {
        self.shared.queued_bytes.load(Ordering::Acquire) >= AHEAD_BYTES
    }

    /// Reads until the socket is empty or the inbox is full, and hands the messages over.
    fn read(&mut self) -> Result<Read, ReplicationError> {
        loop {
            match self.inbox.fill(&mut self.transport) {
                Ok(bytes) => {
                    self.pace.read(bytes);
                    self.silence.heard();
                    if self.inbox.is_full() {
                        return Ok(if self.hand_over()? { Read::Over } else { Read::More });
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(if self.hand_over()? { Read::Over } else { Read::Emptied });
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    // The server may have sent an error before it closed the connection.
                    self.hand_over()?;
                    return Err(ReplicationError::lost("could not read the stream", error));
                }
            }
        }
    }

    /// Hands over the whole messages that have arrived. Returns whether the stream ends with them.
    fn hand_over(&mut self) -> Result<bool, ReplicationError> {
        let (mut wants_reply, mut is_over) = (false, false);
        let seen = loop {
            match self.inbox.next_message() {
                Ok(Some((COPY_DATA_TAG, body))) => match Head::read(body) {
                    Some(Head::Data { wal_end, .. }) => self.feedback.received(wal_end),
                    Some(Head::Keepalive(keepalive)) => {
                        self.feedback.received(keepalive.wal_end);
                        wants_reply |= keepalive.reply_requested;
                    }
                    // The caller reads the frame again, and makes the error.
                    None => {}
                },
                Ok(Some((tag, _))) => is_over |= tag == READY_FOR_QUERY_TAG,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        if let Some(chunk) = self.inbox.take_seen() {
            self.shared.queued_bytes.fetch_add(chunk.len(), Ordering::AcqRel);
            // If the stream was dropped, `serve` notices it next.
            let _ = self.queue.send(Ok(chunk));
        }
        if wants_reply && !self.has_finished {
            self.report(false, Instant::now());
        }
        seen.map(|()| is_over)
    }

    /// Queues an update to be sent next, unless one waits to be sent already.
    fn report(&mut self, wants_reply: bool, now: Instant) {
        if self.blocked_since.is_none() {
            self.feedback.put_status(wants_reply, &mut self.unsent);
        }
        self.feedback_at = now + self.limits.feedback_interval;
    }

    /// Sends what is due, as far as the connection accepts it.
    fn send(&mut self, now: Instant) -> Result<(), ReplicationError> {
        if !self.has_finished && self.shared.is_closing.load(Ordering::Acquire) {
            self.feedback.put_status(false, &mut self.unsent);
            let mut done = BytesMut::new();
            frontend::copy_done(&mut done);
            self.unsent.put(done);
            self.has_finished = true;
        }
        if !self.has_finished && now >= self.feedback_at {
            self.report(false, now);
        }
        let lost = |error| ReplicationError::lost("could not send feedback", error);
        match self.flush() {
            Ok(()) => self.blocked_since = None,
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(lost(error)),
            Err(_) => {
                let since = *self.blocked_since.get_or_insert(now);
                if now.saturating_duration_since(since) >= self.limits.write {
                    return Err(lost(io::ErrorKind::TimedOut.into()));
                }
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            let bytes = self.transport.write(&self.unsent)?;
            self.unsent.drain(..bytes);
        }
        self.transport.flush()
    }

    /// Returns when the next update or the next check of silence is due.
    fn next_deadline(&self) -> Instant {
        match self.has_finished {
            true => self.silence.period_ends(),
            false => self.feedback_at.min(self.silence.period_ends()),
        }
    }

    /// Ends the session. The server has freed the slot already, so a failure here changes nothing.
    fn terminate(&mut self) {
        let mut terminate = BytesMut::new();
        frontend::terminate(&mut terminate);
        self.unsent.put(terminate);
        let _ = self.flush();
    }
}
