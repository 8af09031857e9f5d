//! A TCP connection to the server.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use crate::error::ReplicationError;

// A server that vanished is noticed after 10 s + 3 x 5 s, also while a statement runs and the server rightly sends nothing.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;
/// How much a server on this machine may send ahead.
///
/// While the window has room, the kernel takes each small message of the walsender through all of TCP by itself. Once it is
/// full, messages gather on the server's side and go as one. Left alone, the kernel lets the window grow to megabytes, which
/// no pause fills. Over a network the window must hold what is on its way, so there it is the kernel's to choose.
const LOCAL_WINDOW_BYTES: usize = 64 << 10;

/// Connects to the first address that answers.
pub(super) async fn connect(
    addresses: impl IntoIterator<Item = SocketAddr>,
    host: &str,
) -> Result<TcpStream, ReplicationError> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in addresses {
        match TcpStream::connect(address).await.and_then(prepare) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(ReplicationError::lost(format!("could not connect to {host}"), last))
}

fn prepare(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE);
    #[cfg(any(target_os = "linux", target_os = "macos", target_os = "windows"))]
    let keepalive = keepalive.with_interval(KEEPALIVE_INTERVAL);
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    let keepalive = keepalive.with_retries(KEEPALIVE_PROBES);
    let socket = SockRef::from(&stream);
    socket.set_tcp_keepalive(&keepalive)?;
    if is_local(stream.local_addr(), stream.peer_addr()) {
        socket.set_recv_buffer_size(LOCAL_WINDOW_BYTES)?;
    }
    // No keepalive probe is sent while sent data waits to be acknowledged, so that wait has the same limit.
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(KEEPALIVE_IDLE + KEEPALIVE_INTERVAL * KEEPALIVE_PROBES))?;
    Ok(stream)
}

/// Whether both ends of a connection are on this machine.
pub(super) fn is_local(ours: io::Result<SocketAddr>, theirs: io::Result<SocketAddr>) -> bool {
    matches!((ours, theirs), (Ok(ours), Ok(theirs)) if ours.ip() == theirs.ip())
}
