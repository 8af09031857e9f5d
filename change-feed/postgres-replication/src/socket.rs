//! The connection to the server: TCP, a Unix socket, or TLS over TCP.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

use crate::error::ReplicationError;
use crate::options::{ConnectOptions, Host};
use crate::tcp;
#[cfg(feature = "tls")]
use crate::tls::{self, TlsStream};

/// The connection to the server.
pub(super) enum Socket {
    /// Over the network, unencrypted.
    Tcp(TcpStream),
    /// On this machine.
    #[cfg(unix)]
    Unix(UnixStream),
    /// Over the network, encrypted.
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream>),
}

impl Socket {
    /// Connects, and asks for TLS if `with_tls`.
    pub(super) async fn connect(options: &ConnectOptions, with_tls: bool) -> Result<Self, ReplicationError> {
        match &options.host {
            #[cfg(unix)]
            Host::Socket(folder) => {
                let file = Host::socket_file(folder, options.port);
                let connected = UnixStream::connect(&file).await;
                let what = || format!("could not connect to {}", file.display());
                connected.map(Self::Unix).map_err(|error| ReplicationError::lost(what(), error))
            }
            #[cfg(not(unix))]
            Host::Socket(_) => Err(ReplicationError::unusable("this system has no Unix sockets; name a host")),
            Host::Network(name, address) => {
                let stream = match address {
                    Some(address) => tcp::connect([SocketAddr::new(*address, options.port)], name).await?,
                    None => {
                        let found = tokio::net::lookup_host((name.as_str(), options.port)).await;
                        let what = || format!("could not look up the host {name}");
                        tcp::connect(found.map_err(|error| ReplicationError::lost(what(), error))?, name).await?
                    }
                };
                match with_tls {
                    true => Self::encrypt(stream, name, options).await,
                    false => Ok(Self::Tcp(stream)),
                }
            }
        }
    }

    /// Whether only the server can read what is sent.
    pub(super) fn is_private(&self) -> bool {
        !matches!(self, Self::Tcp(_))
    }

    /// The hash of the server's certificate that a password exchange is bound to (RFC 5929, tls-server-end-point).
    pub(super) fn certificate_hash(&self) -> Option<Vec<u8>> {
        match self {
            #[cfg(feature = "tls")]
            Self::Tls(stream) => tls::certificate_hash(stream),
            _ => None,
        }
    }

    /// Asks for TLS (*SSL Session Encryption* in *Message Flow*). Reads exactly one byte as the answer, so that unencrypted bytes
    /// which an attacker has put after it are never taken for the server's.
    async fn encrypt(mut stream: TcpStream, host: &str, options: &ConnectOptions) -> Result<Self, ReplicationError> {
        if !cfg!(feature = "tls") {
            return Err(ReplicationError::tls("this program is built without TLS; build it with the feature `tls`"));
        }
        let asking = |error| ReplicationError::lost("could not ask the server for TLS", error);
        let mut request = BytesMut::new();
        frontend::ssl_request(&mut request);
        stream.write_all(&request).await.map_err(asking)?;
        match stream.read_u8().await.map_err(asking)? {
            b'S' => Self::handshake(stream, host, options).await,
            b'N' if options.tls.mode.is_demanded() => {
                Err(ReplicationError::tls("sslmode demands it, and the server does not offer it"))
            }
            b'N' => Ok(Self::Tcp(stream)),
            b'E' => {
                Err(ReplicationError::Transient { what: "the server could not start a session".into(), source: None })
            }
            _ => Err(ReplicationError::protocol(
                "it answered the request for TLS with an unknown byte; is this PostgreSQL?",
            )),
        }
    }

    #[cfg(feature = "tls")]
    async fn handshake(stream: TcpStream, host: &str, options: &ConnectOptions) -> Result<Self, ReplicationError> {
        tls::handshake(stream, host, &options.tls).await.map(|stream| Self::Tls(Box::new(stream)))
    }

    #[cfg(not(feature = "tls"))]
    async fn handshake(_: TcpStream, _: &str, _: &ConnectOptions) -> Result<Self, ReplicationError> {
        Err(ReplicationError::tls("this program is built without TLS; build it with the feature `tls`"))
    }
}

/// Calls the same method on each kind of socket.
macro_rules! each {
    ($socket:expr, $stream:ident => $call:expr) => {
        match $socket {
            Socket::Tcp($stream) => $call,
            #[cfg(unix)]
            Socket::Unix($stream) => $call,
            #[cfg(feature = "tls")]
            Socket::Tls($stream) => $call,
        }
    };
}

impl AsyncRead for Socket {
    #[inline]
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(cx))
    }
}
