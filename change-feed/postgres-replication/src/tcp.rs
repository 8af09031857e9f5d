//! A TCP connection to the server.

use std::io;
use std::net::SocketAddr;
#[cfg(target_os = "linux")]
use std::os::fd::AsFd as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
#[cfg(target_os = "linux")]
use std::time::Instant;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::error::ReplicationError;
#[cfg(target_os = "linux")]
use crate::window::{NARROW_BYTES, Window, segments_received};

// A peer that vanished without a word is found out after 10 s + 3 x 5 s, also while a statement runs and the server
// rightly says nothing.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;

/// A TCP connection to the server.
pub(super) struct Tcp {
    stream: TcpStream,
    /// Of a server on the same machine.
    #[cfg(target_os = "linux")]
    window: Option<Window>,
}

impl Tcp {
    /// Connects to the first of the addresses that answers.
    pub(super) async fn connect(
        addresses: impl IntoIterator<Item = SocketAddr>,
        host: &str,
    ) -> Result<Self, ReplicationError> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            match TcpStream::connect(address).await.and_then(Self::prepare) {
                Ok(tcp) => return Ok(tcp),
                Err(error) => last = error,
            }
        }
        Err(ReplicationError::lost(format!("connecting to {host} failed"), last))
    }

    fn prepare(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE);
        #[cfg(any(target_os = "linux", target_os = "macos", target_os = "windows"))]
        let keepalive = keepalive.with_interval(KEEPALIVE_INTERVAL);
        #[cfg(any(target_os = "linux", target_os = "macos"))]
        let keepalive = keepalive.with_retries(KEEPALIVE_PROBES);
        let socket = SockRef::from(&stream);
        socket.set_tcp_keepalive(&keepalive)?;
        // Keepalive probes rest while something sent waits to be acknowledged.
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(KEEPALIVE_IDLE + KEEPALIVE_INTERVAL * KEEPALIVE_PROBES))?;
        #[cfg(target_os = "linux")]
        let is_local = stream.local_addr()?.ip() == stream.peer_addr()?.ip();
        #[cfg(target_os = "linux")]
        if is_local {
            socket.set_recv_buffer_size(NARROW_BYTES)?;
        }
        Ok(Self {
            #[cfg(target_os = "linux")]
            window: is_local.then(|| Window::new(Instant::now())),
            stream,
        })
    }

    /// Gives the window the size that suits what comes.
    #[cfg(target_os = "linux")]
    fn adapt_window(&mut self, bytes: usize) {
        let Some(window) = &mut self.window else { return };
        let segments = || segments_received(self.stream.as_fd()).ok();
        if let Some(size_bytes) = window.read(bytes, Instant::now, segments) {
            // Whatever its size, the stream goes on.
            let _ = SockRef::from(&self.stream).set_recv_buffer_size(size_bytes);
        }
    }
}

impl AsyncRead for Tcp {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let tcp = self.get_mut();
        #[cfg(target_os = "linux")]
        let before = buffer.filled().len();
        let read = Pin::new(&mut tcp.stream).poll_read(cx, buffer);
        #[cfg(target_os = "linux")]
        tcp.adapt_window(buffer.filled().len() - before);
        read
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    fn window_bytes(tcp: &Tcp) -> usize {
        SockRef::from(&tcp.stream).recv_buffer_size().expect("a size") / 2
    }

    #[tokio::test]
    async fn the_window_is_narrow_on_the_servers_own_machine_and_widens_for_large_pieces() {
        const PIECE_BYTES: usize = 256 << 10;
        let server = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = server.local_addr().expect("an address");
        let mut tcp = Tcp::connect([address], "localhost").await.expect("a connection");
        let (mut sender, _) = server.accept().await.expect("a connection");
        assert_eq!(window_bytes(&tcp), NARROW_BYTES);

        let long_ago = Instant::now().checked_sub(Duration::from_secs(1)).expect("the machine has run for a second");
        tcp.window = Some(Window::new(long_ago));
        let sending = tokio::spawn(async move {
            let piece = vec![0; PIECE_BYTES];
            while sender.write_all(&piece).await.is_ok() {}
        });
        let mut piece = vec![0; PIECE_BYTES];
        for _ in 0..8 {
            tcp.read_exact(&mut piece).await.expect("it is sent");
        }
        // No wider than what the system allows everybody.
        assert!(window_bytes(&tcp) > NARROW_BYTES, "{}", window_bytes(&tcp));
        drop(tcp);
        sending.await.expect("it does not panic");
    }
}
