//! The way to the server once it streams: reads and writes that don't wait.

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

/// What came and is still encrypted is read in pieces of this size.
#[cfg(feature = "tls")]
const ENCRYPTED_BYTES: usize = 64 << 10;
/// How long a busy stream gathers. Much can wait in a connection over the network.
const NETWORK_PAUSE: Duration = Duration::from_micros(500);
/// A Unix socket holds some two hundred small messages: a longer pause would be the server's as well.
#[cfg(unix)]
const UNIX_PAUSE: Duration = Duration::from_micros(100);

/// The same ways as [`Socket`] has. Where a read or a write would have to wait, it fails with `WouldBlock`.
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
    /// Takes the connection from the runtime, which hears nothing of it from now on.
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

    /// How long a busy stream gathers before it is read.
    pub(super) fn pause(&self) -> Duration {
        match self {
            #[cfg(unix)]
            Self::Unix(_) => UNIX_PAUSE,
            _ => NETWORK_PAUSE,
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

    /// Sends what was written and encrypted, and what TLS has to say for itself.
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
            // The end of the connection comes from here too, as the session sees it.
            match self.session.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
            self.session.read_tls(&mut self.socket)?;
            self.session.process_new_packets().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
    }
}
