//! The connection to the server during a stream: reads and writes that don't wait.

#[cfg(feature = "tls")]
use std::io::BufReader;
use std::io::{self, Read, Write};
use std::time::Duration;

use mio::net::TcpStream;
#[cfg(unix)]
use mio::net::UnixStream;
use mio::{Interest, Registry, Token};
#[cfg(feature = "tls")]
use tokio_rustls::rustls::ClientConnection;

use crate::socket::Socket;
use crate::tcp::is_local;

/// The size of the buffer for encrypted bytes.
#[cfg(feature = "tls")]
const ENCRYPTED_BYTES: usize = 64 << 10;
/// The pause between reads of a busy stream over a network.
const NETWORK_PAUSE: Duration = Duration::from_micros(500);
/// The same, where the server is on this machine: long enough for the window of such a connection to be full most of the time.
const LOCAL_PAUSE: Duration = Duration::from_millis(3);
/// A Unix socket holds some two hundred small messages: a longer pause would make the server wait too.
#[cfg(unix)]
const UNIX_PAUSE: Duration = Duration::from_micros(100);

/// A [`Socket`] outside of the runtime. A read or a write that would have to wait fails with `WouldBlock`.
pub(super) enum Transport {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
    #[cfg(feature = "tls")]
    Tls(Box<Tls>),
}

/// A TLS session and the connection under it.
#[cfg(feature = "tls")]
pub(super) struct Tls {
    session: ClientConnection,
    socket: BufReader<TcpStream>,
}

impl Transport {
    /// Takes the connection from the runtime.
    pub(super) fn from_runtime(socket: Socket) -> io::Result<Self> {
        Ok(match socket {
            Socket::Tcp(stream) => Self::Tcp(TcpStream::from_std(stream.into_std()?)),
            #[cfg(unix)]
            Socket::Unix(stream) => Self::Unix(UnixStream::from_std(stream.into_std()?)),
            #[cfg(feature = "tls")]
            Socket::Tls(stream) => {
                let (stream, session) = stream.into_inner();
                let socket = BufReader::with_capacity(ENCRYPTED_BYTES, TcpStream::from_std(stream.into_std()?));
                Self::Tls(Box::new(Tls { session, socket }))
            }
        })
    }

    /// Returns the pause between reads of a busy stream.
    pub(super) fn pause(&self) -> Duration {
        match self {
            #[cfg(unix)]
            Self::Unix(_) => UNIX_PAUSE,
            Self::Tcp(stream) => pause_of(stream),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => pause_of(tls.socket.get_ref()),
        }
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        match self {
            Self::Tcp(stream) => registry.register(stream, token, both),
            #[cfg(unix)]
            Self::Unix(stream) => registry.register(stream, token, both),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => registry.register(tls.socket.get_mut(), token, both),
        }
    }
}

fn pause_of(stream: &TcpStream) -> Duration {
    if is_local(stream.local_addr(), stream.peer_addr()) { LOCAL_PAUSE } else { NETWORK_PAUSE }
}

impl Read for Transport {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            #[cfg(unix)]
            Self::Unix(stream) => stream.read(buffer),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.read(buffer),
        }
    }
}

impl Write for Transport {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            #[cfg(unix)]
            Self::Unix(stream) => stream.write(bytes),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.session.writer().write(bytes),
        }
    }

    /// Sends what was written, and the messages of TLS itself.
    fn flush(&mut self) -> io::Result<()> {
        match self {
            #[cfg(feature = "tls")]
            Self::Tls(tls) => {
                while tls.session.wants_write() {
                    tls.session.write_tls(tls.socket.get_mut())?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(feature = "tls")]
impl Tls {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            // This also returns the end of the connection.
            match self.session.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
            self.session.read_tls(&mut self.socket)?;
            self.session.process_new_packets().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
    }
}
