//! How much a server on the same machine may send ahead.
//!
//! Over loopback the kernel sends each small message of the walsender by itself as long as the window of the connection
//! has room, which costs the server as much as decoding. While the window is full they gather, and go as one. So a small
//! window is the quicker one for a stream of small transactions, or for a reader that keeps up; for a reader that doesn't,
//! large transactions gather by themselves, and a wide window spares both sides half of their wake-ups.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::time::{Duration, Instant};

/// Linux doubles what it is given, for its own needs: the window is what is asked for.
pub(super) const NARROW_BYTES: usize = 64 << 10;
const WIDE_BYTES: usize = 256 << 10;
/// What came is looked at after each so many bytes.
const LOOK_BYTES: u64 = 1 << 20;
/// Segments that are smaller on average were not gathered.
const SMALL_SEGMENT_BYTES: u64 = 16 << 10;
/// A wide window is tried after so long; each time that it doesn't suit, four times as long passes before the next.
const MIN_NARROW: Duration = Duration::from_millis(300);
const MAX_NARROW: Duration = Duration::from_secs(20);

/// Whether the window should be narrow or wide.
#[derive(Debug)]
pub(super) struct Window {
    is_wide: bool,
    /// It stays narrow until then.
    narrow_until: Instant,
    /// How long it stays narrow the next time.
    narrow_for: Duration,
    /// Received since the last look.
    bytes: u64,
    /// All that had been received by the last look; they begin again at 0 behind the largest number.
    segments: u32,
}

impl Window {
    /// A narrow one.
    pub(super) fn new(now: Instant) -> Self {
        Self { is_wide: false, narrow_until: now + MIN_NARROW, narrow_for: MIN_NARROW, bytes: 0, segments: 0 }
    }

    /// So many bytes were read. The size that the window should have from now on, where that is another one;
    /// `segments` tells how many have come on the connection so far.
    pub(super) fn read(
        &mut self,
        bytes: usize,
        now: impl FnOnce() -> Instant,
        segments: impl FnOnce() -> Option<u32>,
    ) -> Option<usize> {
        self.bytes += bytes as u64;
        if self.bytes < LOOK_BYTES {
            return None;
        }
        let bytes = std::mem::take(&mut self.bytes);
        let segments = segments()?;
        let came: u32 = segments.wrapping_sub(std::mem::replace(&mut self.segments, segments));
        let are_small = bytes < u64::from(came) * SMALL_SEGMENT_BYTES;
        match self.is_wide {
            true if are_small => {
                self.is_wide = false;
                self.narrow_until = now() + self.narrow_for;
                self.narrow_for = MAX_NARROW.min(self.narrow_for * 4);
                Some(NARROW_BYTES)
            }
            false if now() >= self.narrow_until => {
                self.is_wide = true;
                Some(WIDE_BYTES)
            }
            true => {
                self.narrow_for = MIN_NARROW;
                None
            }
            false => None,
        }
    }
}

/// How many segments with data have come on this connection (`tcpi_data_segs_in`, since Linux 4.6).
pub(super) fn segments_received(socket: BorrowedFd<'_>) -> io::Result<u32> {
    // SAFETY: a structure of numbers, for which zero is a value.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut info_bytes = libc::socklen_t::try_from(size_of_val(&info)).unwrap_or_default();
    // SAFETY: the socket is open as long as it is borrowed, and the kernel writes at most as many bytes as there are. What
    // an older one doesn't know stays zero.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut info_bytes,
        )
    };
    if answer == 0 { Ok(info.tcpi_data_segs_in) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd as _;

    use super::*;

    /// A connection on which time passes and segments come.
    struct Connection {
        window: Window,
        now: Instant,
        segments: u32,
    }

    impl Connection {
        fn new() -> Self {
            let now = Instant::now();
            // They begin again at 0 soon.
            Self { window: Window { segments: u32::MAX - 10, ..Window::new(now) }, now, segments: u32::MAX - 10 }
        }

        /// As much as is looked at, in segments of this size.
        fn receive(&mut self, segment_bytes: u64) -> Option<usize> {
            self.segments = self.segments.wrapping_add(u32::try_from(LOOK_BYTES / segment_bytes).expect("not so many"));
            let (now, segments) = (self.now, self.segments);
            self.window.read(usize::try_from(LOOK_BYTES).expect("it fits"), || now, || Some(segments))
        }

        /// How long it takes until a wide window is tried, while much comes.
        fn until_wide(&mut self) -> Duration {
            let start = self.now;
            while self.receive(60_000).is_none() {
                self.now += Duration::from_millis(10);
            }
            self.now - start
        }
    }

    #[test]
    fn a_wide_window_stays_while_what_comes_is_gathered() {
        let mut connection = Connection::new();
        assert_eq!(connection.until_wide(), MIN_NARROW);
        assert_eq!(connection.receive(60_000), None);
        assert_eq!(connection.receive(500), Some(NARROW_BYTES));
    }

    #[test]
    fn a_wide_window_that_does_not_suit_is_tried_less_and_less_often() {
        let mut connection = Connection::new();
        connection.until_wide();
        let mut pauses = Vec::new();
        for _ in 0..6 {
            assert_eq!(connection.receive(500), Some(NARROW_BYTES));
            pauses.push(connection.until_wide().as_millis());
        }
        assert_eq!(pauses, [300, 1_200, 4_800, 19_200, 20_000, 20_000]);
        assert_eq!(connection.receive(60_000), None);
        assert_eq!(connection.receive(500), Some(NARROW_BYTES));
        assert_eq!(connection.until_wide(), MIN_NARROW);
    }

    #[test]
    fn where_the_kernel_does_not_tell_the_window_stays_narrow() {
        let mut window = Window::new(Instant::now());
        let late = || Instant::now() + Duration::from_secs(60);
        assert_eq!(window.read(usize::MAX, late, || None), None);
    }

    #[test]
    fn the_kernel_tells_how_many_segments_came() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let mut sender = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
        let (mut receiver, _) = listener.accept().expect("it connected");
        sender.set_nodelay(true).expect("a connection");
        for number in 1..=3_u8 {
            sender.write_all(&[number]).expect("a connection");
            let mut received = [0];
            receiver.read_exact(&mut received).expect("a connection");
            assert_eq!(segments_received(receiver.as_fd()).expect("a kernel that knows"), u32::from(number));
        }
    }
}
