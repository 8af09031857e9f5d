//! What the server hears of us while it streams.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::{BufMut as _, BytesMut};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::lsn::Lsn;

/// Times in the protocol count microseconds from 2000-01-01 UTC, which is so many seconds after 1970.
const EPOCH: Duration = Duration::from_secs(946_684_800);

/// Says what is durable. Clones speak of the same stream.
#[derive(Debug, Clone)]
pub struct Confirmer {
    state: Arc<State>,
}

impl Confirmer {
    /// Everything that commits before or at this place is durable with the caller, and the server may forget it. It hears
    /// so with the next feedback; this returns at once.
    ///
    /// A place before one that was confirmed, or before the start of the stream, is ignored.
    pub fn confirm(&self, through: Lsn) {
        self.state.confirmed.fetch_max(through.as_u64(), Ordering::Relaxed);
    }

    /// The furthest place that was confirmed; before the first, where the stream began.
    pub fn confirmed(&self) -> Lsn {
        self.state.confirmed.load(Ordering::Relaxed).into()
    }
}

/// What the reader and the task share.
#[derive(Debug)]
struct State {
    /// Where the stream began. The slot is not confirmed there: the server may have begun later.
    start: u64,
    received: AtomicU64,
    confirmed: AtomicU64,
    wants_reply: AtomicBool,
    due: Notify,
}

/// The task that tells the server regularly what was received and confirmed, whatever the reader does. It ends with this.
#[derive(Debug)]
pub(super) struct Feedback<W> {
    state: Arc<State>,
    closing: Option<oneshot::Sender<()>>,
    task: JoinHandle<io::Result<W>>,
}

impl<W: AsyncWrite + Unpin + Send + 'static> Feedback<W> {
    pub(super) fn begin(writer: W, start: Lsn, interval: Duration, write_limit: Duration) -> Self {
        let start = start.as_u64();
        let state = Arc::new(State {
            start,
            received: AtomicU64::new(start),
            confirmed: AtomicU64::new(start),
            wants_reply: AtomicBool::new(false),
            due: Notify::new(),
        });
        let (closing, closes) = oneshot::channel();
        let writing = write(writer, Arc::clone(&state), interval, write_limit, closes);
        Self { state, closing: Some(closing), task: tokio::spawn(writing) }
    }

    pub(super) fn confirmer(&self) -> Confirmer {
        Confirmer { state: Arc::clone(&self.state) }
    }

    /// The reader has come to this place.
    #[inline]
    pub(super) fn received(&self, through: Lsn) {
        // One reader only.
        if through.as_u64() > self.state.received.load(Ordering::Relaxed) {
            self.state.received.store(through.as_u64(), Ordering::Relaxed);
        }
    }

    /// The server waits for feedback.
    pub(super) fn is_due(&self) {
        self.state.due.notify_one();
    }

    /// Asks the server for a sign of life.
    pub(super) fn ask(&self) {
        self.state.wants_reply.store(true, Ordering::Relaxed);
        self.state.due.notify_one();
    }

    /// Tells the server the last of it and that no more will come, and gives the way back.
    pub(super) async fn finish(mut self) -> io::Result<W> {
        if let Some(closing) = self.closing.take() {
            // A task that has ended says why.
            let _ = closing.send(());
        }
        (&mut self.task).await.map_err(io::Error::other)?
    }
}

impl<W> Drop for Feedback<W> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn write<W: AsyncWrite + Unpin>(
    mut writer: W,
    state: Arc<State>,
    interval: Duration,
    limit: Duration,
    mut closes: oneshot::Receiver<()>,
) -> io::Result<W> {
    let mut regularly = tokio::time::interval(interval);
    regularly.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut out = BytesMut::new();
    loop {
        let is_closing = tokio::select! {
            _ = &mut closes => true,
            () = state.due.notified() => false,
            _ = regularly.tick() => false,
        };
        out.clear();
        state.put_status(&mut out);
        if is_closing {
            frontend::copy_done(&mut out);
        }
        let written = async { writer.write_all(&out).await.and(writer.flush().await) };
        match tokio::time::timeout(limit, written).await {
            Ok(written) => written?,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        }
        if is_closing {
            return Ok(writer);
        }
    }
}

impl State {
    /// *Standby status update*, in CopyData.
    fn put_status(&self, out: &mut BytesMut) {
        let confirmed = self.confirmed.load(Ordering::Relaxed);
        let flushed = if confirmed > self.start { confirmed } else { Lsn::INVALID.as_u64() };
        let received = self.received.load(Ordering::Relaxed).max(confirmed);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + EPOCH).unwrap_or_default();
        out.put_u8(b'd');
        out.put_u32(4 + 1 + 4 * 8 + 1);
        out.put_u8(b'r');
        for number in [received, flushed, flushed, u64::try_from(now.as_micros()).unwrap_or_default()] {
            out.put_u64(number);
        }
        out.put_u8(u8::from(self.wants_reply.swap(false, Ordering::Relaxed)));
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    const STATUS_BYTES: usize = 5 + 34;

    struct Status {
        received: u64,
        flushed: u64,
        asks: bool,
    }

    async fn next_status(server: &mut tokio::io::DuplexStream) -> Status {
        let mut bytes = [0; STATUS_BYTES];
        server.read_exact(&mut bytes).await.expect("feedback");
        assert_eq!((bytes[0], bytes[5]), (b'd', b'r'));
        let number = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        assert_eq!(number(14), number(22), "flushed and applied are the same to us");
        Status { received: number(6), flushed: number(14), asks: bytes[STATUS_BYTES - 1] == 1 }
    }

    fn begin(start: u64) -> (Feedback<tokio::io::DuplexStream>, tokio::io::DuplexStream) {
        let (ours, servers) = tokio::io::duplex(1 << 16);
        let long = Duration::from_secs(3600);
        (Feedback::begin(ours, Lsn::new(start), long, long), servers)
    }

    #[tokio::test]
    async fn the_start_is_not_confirmed_and_nothing_goes_back() {
        let (feedback, mut server) = begin(100);
        let confirmer = feedback.confirmer();
        let status = next_status(&mut server).await;
        assert_eq!((status.received, status.flushed), (100, 0));
        for (confirmed, expected) in [(50, 0), (120, 120), (110, 120), (130, 130)] {
            confirmer.confirm(Lsn::new(confirmed));
            feedback.is_due();
            assert_eq!(next_status(&mut server).await.flushed, expected, "after confirming {confirmed}");
        }
        assert_eq!(confirmer.confirmed(), Lsn::new(130));
    }

    #[tokio::test]
    async fn a_sign_of_life_is_asked_for_once() {
        let (feedback, mut server) = begin(0);
        assert!(!next_status(&mut server).await.asks);
        feedback.ask();
        assert!(next_status(&mut server).await.asks);
        feedback.is_due();
        assert!(!next_status(&mut server).await.asks);
    }

    #[tokio::test]
    async fn the_last_confirmation_goes_before_the_end() {
        let (feedback, mut server) = begin(1);
        next_status(&mut server).await;
        feedback.confirmer().confirm(Lsn::new(9));
        drop(feedback.finish().await.expect("the way back"));
        assert_eq!(next_status(&mut server).await.flushed, 9);
        let mut rest = Vec::new();
        server.read_to_end(&mut rest).await.expect("the rest");
        assert_eq!(rest, [b'c', 0, 0, 0, 4]);
    }

    #[tokio::test]
    async fn a_server_that_takes_nothing_ends_the_task() {
        let (ours, _server) = tokio::io::duplex(8);
        let short = Duration::from_millis(20);
        let feedback = Feedback::begin(ours, Lsn::new(1), short, short);
        let error = feedback.finish().await.expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
