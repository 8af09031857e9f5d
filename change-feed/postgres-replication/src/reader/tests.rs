//! The thread, with a server that is played.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::*;
use crate::Lsn;

const LONG: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(200);
const STATUS_BYTES: usize = 5 + 34;
const QUIET: ReaderLimits = ReaderLimits { idle: LONG, feedback_interval: LONG, write: LONG };

/// The server's end of the connection, and the caller's of the queue.
fn begin(limits: ReaderLimits, received: &[u8]) -> (UnixStream, Chunks) {
    let (server, ours) = UnixStream::pair().expect("two sockets");
    server.set_read_timeout(Some(Duration::from_secs(60))).expect("an open socket");
    (server, begin_on(ours, limits, received))
}

fn begin_on(ours: UnixStream, limits: ReaderLimits, received: &[u8]) -> Chunks {
    ours.set_nonblocking(true).expect("an open socket");
    let transport = Transport::Unix(mio::net::UnixStream::from_std(ours));
    spawn(transport, received, Feedback::new(Lsn::new(7)), limits).expect("a thread")
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("short").to_be_bytes();
    [&[tag][..], &length, body].concat()
}

fn keepalive(wal_end: u64, wants_reply: bool) -> Vec<u8> {
    let end = wal_end.to_be_bytes();
    message(b'd', &[b"k", &end[..], &[0; 8], &[u8::from(wants_reply)]].concat())
}

/// What the server hears next: what was received, and whether an answer is wanted.
fn status(server: &mut UnixStream) -> (u64, bool) {
    let mut bytes = [0; STATUS_BYTES];
    server.read_exact(&mut bytes).expect("an update");
    assert_eq!((bytes[0], bytes[5]), (b'd', b'r'));
    (u64::from_be_bytes(bytes[6..14].try_into().expect("eight bytes")), bytes[STATUS_BYTES - 1] == 1)
}

/// Everything that comes until the thread ends, and how it ended.
async fn rest(chunks: &mut Chunks) -> (Vec<u8>, Option<ReplicationError>) {
    let mut bytes = Vec::new();
    loop {
        match chunks.next().await {
            Some(Ok(chunk)) => bytes.extend_from_slice(&chunk),
            Some(Err(error)) => return (bytes, Some(error)),
            None => return (bytes, None),
        }
    }
}

#[tokio::test]
async fn messages_come_whole_from_single_bytes_and_from_what_came_before() {
    let bytes = [keepalive(8, false), message(b'N', b"note"), keepalive(9, false)].concat();
    let (mut server, mut chunks) = begin(QUIET, &bytes[..3]);
    for byte in &bytes[3..] {
        server.write_all(&[*byte]).expect("it is read");
    }
    drop(server);
    let (read, error) = rest(&mut chunks).await;
    assert_eq!(read, bytes);
    assert!(error.expect("the connection broke").is_transient());
}

#[test]
fn a_thread_whose_stream_is_dropped_ends_and_closes_the_connection() {
    let (mut server, chunks) = begin(QUIET, &[]);
    status(&mut server);
    drop(chunks);
    assert_eq!(server.read(&mut [0; 8]).expect("the end"), 0);
}

#[tokio::test]
async fn a_caller_that_takes_nothing_stops_the_reading_and_not_the_feedback() {
    let limits = ReaderLimits { feedback_interval: SHORT, ..QUIET };
    let (mut server, mut chunks) = begin(limits, &[]);
    server.set_write_timeout(Some(SHORT)).expect("an open socket");
    let piece = message(b'd', &[b'x'; 100_000]);
    let mut sent = Vec::new();
    let blocked = loop {
        match server.write(&piece[sent.len() % piece.len()..]) {
            Ok(bytes) => sent.extend_from_slice(&piece[sent.len() % piece.len()..][..bytes]),
            Err(error) => break error,
        }
        assert!(sent.len() < 100 << 20, "everything is read");
    };
    assert_eq!(blocked.kind(), io::ErrorKind::WouldBlock);
    let ahead = chunks.shared.queued_bytes.load(Ordering::Acquire);
    assert!((AHEAD_BYTES..AHEAD_BYTES + (256 << 10)).contains(&ahead), "{ahead}");
    for _ in 0..5 {
        status(&mut server);
    }
    // All of it comes as soon as it is taken.
    let rest_of_piece = piece[sent.len() % piece.len()..].to_vec();
    let sending = std::thread::spawn(move || {
        server.set_write_timeout(None).expect("an open socket");
        server.write_all(&rest_of_piece).expect("it is read");
        server
    });
    let mut taken = 0;
    while taken < sent.len().next_multiple_of(piece.len()) {
        taken += chunks.next().await.expect("more comes").expect("no fault").len();
    }
    drop(sending.join().expect("no panic"));
}

#[test]
fn a_server_that_asks_is_answered_though_nobody_takes_anything() {
    let (mut server, _chunks) = begin(QUIET, &[]);
    assert_eq!(status(&mut server), (7, false));
    for place in [20, 30] {
        server.write_all(&keepalive(place, true)).expect("it is read");
        assert_eq!(status(&mut server), (place, false));
    }
}

#[tokio::test]
async fn a_server_that_is_silent_is_asked_and_then_lost() {
    let (mut server, mut chunks) = begin(ReaderLimits { idle: SHORT, ..QUIET }, &[]);
    assert_eq!(status(&mut server), (7, false));
    assert_eq!(status(&mut server), (7, true));
    let error = rest(&mut chunks).await.1.expect("it is lost");
    assert!(error.is_transient(), "{error:?}");
    assert_eq!(server.read(&mut [0; 8]).expect("the end"), 0);
}

#[tokio::test]
async fn a_server_that_takes_no_feedback_is_lost() {
    let (_server, ours) = UnixStream::pair().expect("two sockets");
    ours.set_nonblocking(true).expect("an open socket");
    while (&ours).write(&[0; 1 << 16]).is_ok() {}
    let limits = ReaderLimits { write: SHORT, feedback_interval: SHORT, ..QUIET };
    let error = rest(&mut begin_on(ours, limits, &[])).await.1.expect("it is lost");
    assert!(error.is_transient(), "{error:?}");
}

#[tokio::test]
async fn the_last_words_come_before_the_end() {
    let last = message(b'E', b"SFATAL\0\0");
    let (mut server, mut chunks) = begin(QUIET, &[]);
    server.write_all(&last).expect("it is read");
    drop(server);
    let (read, error) = rest(&mut chunks).await;
    assert_eq!(read, last);
    assert!(error.is_some());
}

#[tokio::test]
async fn a_stream_is_ended_in_order() {
    let (mut server, mut chunks) = begin(QUIET, &[]);
    status(&mut server);
    chunks.finish();
    status(&mut server);
    let mut done = [0; 5];
    server.read_exact(&mut done).expect("no more will come");
    assert_eq!(done, *b"c\0\0\0\x04");
    let answer = [message(b'c', b""), message(b'C', b"COPY 0\0"), message(b'Z', b"I")].concat();
    server.write_all(&answer).expect("it is read");
    let (read, error) = rest(&mut chunks).await;
    assert_eq!(read, answer);
    assert!(error.is_none(), "{error:?}");
    let mut goodbye = Vec::new();
    server.read_to_end(&mut goodbye).expect("the end");
    assert_eq!(goodbye, *b"X\0\0\0\x04");
}
