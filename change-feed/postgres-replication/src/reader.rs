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
//! The walsender sends each message by itself: three of them for a transaction of one row. While the reader waits in a poll, or
//! the window of the connection is open, each runs through all of TCP and wakes the reader, which costs the server three
//! times what it costs to decode. If the reader sleeps for some hundred microseconds instead and then takes everything that
//! is there, nobody is woken, and while the window is full, the kernel only queues. Measured on Linux 6.18 and PostgreSQL
//! 18 with rows of 400 bytes, one in a transaction: 55,000 rows/s for a reader that wakes for what comes, 170,000 for one that
//! sleeps 500 µs. A runtime's timer has no pause below a millisecond, which is too long; a thread has.
//!
//! # What it promises
//!
//! - **Quiet**: what comes is read and handed over at once. **Busy** is a stream that [`Pace`] says is busy; nothing else is
//!   measured, and nothing of the kernel is tuned.
//! - **Bounds**: [`AHEAD_BYTES`] are read ahead of the caller, and one message where that is larger. Then nothing is read until
//!   the caller has taken some of it, and the server waits.
//! - **Feedback** goes out at its interval, at once when the server asks for it, whether the caller takes anything or not, and
//!   whether the runtime has a thread for it or not. A server that takes none for the time that it would wait itself is lost.
//! - **Silence** is measured while the thread reads. A caller that takes nothing is no silence of the server's.
//! - **End**: the thread ends when the stream is dropped, within a pause; when the server ends the stream; and after any error,
//!   which is the last thing in the queue. The connection ends with it. It never waits for anything but its poll.

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
use crate::silence::{Concern, Silence};
use crate::transport::Transport;

/// So much is read ahead of the caller.
const AHEAD_BYTES: usize = 512 << 10;
const THREAD_NAME: &str = "pg-replication";
const SOCKET: Token = Token(0);
const WAKE: Token = Token(1);

/// How long each step may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReaderLimits {
    /// The server may say nothing.
    pub(super) idle: Duration,
    /// Between two updates.
    pub(super) feedback_interval: Duration,
    /// An update may wait to be sent.
    pub(super) write: Duration,
}

/// The caller's end of the queue. The thread ends when it is dropped.
pub(super) struct Chunks {
    queue: UnboundedReceiver<Result<Bytes, ReplicationError>>,
    shared: Arc<Shared>,
}

/// What both sides see.
struct Shared {
    queued_bytes: AtomicUsize,
    is_closing: AtomicBool,
    waker: Waker,
}

impl Shared {
    fn wake(&self) {
        // An event counter fails only when the process has no memory left.
        if let Err(error) = self.waker.wake() {
            tracing::warn!(%error, "the reader of the replication stream can't be woken");
        }
    }
}

impl Chunks {
    /// The next whole messages. `None` after the last; nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, ReplicationError>> {
        let chunk = self.queue.recv().await;
        self.taken(chunk.as_ref());
        chunk
    }

    /// The same, if they are here already.
    #[inline]
    pub(super) fn next_queued(&mut self) -> Option<Result<Bytes, ReplicationError>> {
        let chunk = self.queue.try_recv().ok();
        self.taken(chunk.as_ref());
        chunk
    }

    /// Has the server told the last of what is confirmed, and that no more will come. It answers, and then the thread
    /// says goodbye.
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

/// What the thread owns.
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
    /// Since when the connection takes nothing.
    blocked_since: Option<Instant>,
    /// The server has been told that no more will come.
    has_finished: bool,
}

/// What reading came to.
enum Read {
    /// Nothing more is there.
    Emptied,
    /// More may be there.
    More,
    /// The server is ready for another command: the stream is over.
    Over,
}

/// Starts the thread. `come` is what was read of the stream before.
pub(super) fn spawn(
    transport: Transport,
    come: &[u8],
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
            inbox: Inbox::holding(come),
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
    start().map_err(|error| ReplicationError::lost("the reader of the stream can't be started", error))
}

impl Reader {
    fn run(mut self) {
        if let Err(error) = self.serve() {
            // A caller that is gone doesn't need it.
            let _ = self.queue.send(Err(error));
        }
    }

    /// Until the stream is over or nobody wants it any more.
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
                        self.say_goodbye();
                        return Ok(());
                    }
                }
            }
            let now = Instant::now();
            if is_ahead {
                self.silence.heard();
            }
            match self.silence.look(now) {
                Some(Concern::Ask) if !self.has_finished => self.report(true, now),
                Some(Concern::Lost) => {
                    return Err(ReplicationError::timed_out(
                        "waiting for a sign of life from the server",
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
            let lost = |error| ReplicationError::lost("waiting for the server failed", error);
            match self.poll.poll(&mut events, Some(self.next_look().saturating_duration_since(now))) {
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

    /// Reads until nothing more is there, or enough is, and hands it over.
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
                    // The server's last words came before the end.
                    self.hand_over()?;
                    return Err(ReplicationError::lost("the stream broke", error));
                }
            }
        }
    }

    /// Hands the whole messages over that have come. Whether the stream ends with them.
    fn hand_over(&mut self) -> Result<bool, ReplicationError> {
        let (mut wants_reply, mut is_over) = (false, false);
        let looked = loop {
            match self.inbox.look() {
                Ok(Some((COPY_DATA_TAG, body))) => match Head::read(body) {
                    Some(Head::Data { wal_end, .. }) => self.feedback.received(wal_end),
                    Some(Head::Keepalive(keepalive)) => {
                        self.feedback.received(keepalive.wal_end);
                        wants_reply |= keepalive.reply_requested;
                    }
                    // The caller says what is wrong with it.
                    None => {}
                },
                Ok(Some((tag, _))) => is_over |= tag == READY_FOR_QUERY_TAG,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        if let Some(chunk) = self.inbox.take() {
            self.shared.queued_bytes.fetch_add(chunk.len(), Ordering::AcqRel);
            // A caller that is gone is noticed next.
            let _ = self.queue.send(Ok(chunk));
        }
        if wants_reply && !self.has_finished {
            self.report(false, Instant::now());
        }
        looked.map(|()| is_over)
    }

    /// Writes an update, to be sent next. One that waits to be sent is enough.
    fn report(&mut self, wants_reply: bool, now: Instant) {
        if self.blocked_since.is_none() {
            self.feedback.put_status(wants_reply, &mut self.unsent);
        }
        self.feedback_at = now + self.limits.feedback_interval;
    }

    /// Sends what is due, as far as the connection takes it.
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
        let lost = |error| ReplicationError::lost("feedback could not be sent", error);
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

    /// When there is something to do although nothing comes.
    fn next_look(&self) -> Instant {
        match self.has_finished {
            true => self.silence.period_ends(),
            false => self.feedback_at.min(self.silence.period_ends()),
        }
    }

    /// The slot is free already.
    fn say_goodbye(&mut self) {
        let mut goodbye = BytesMut::new();
        frontend::terminate(&mut goodbye);
        self.unsent.put(goodbye);
        let _ = self.flush();
    }
}
