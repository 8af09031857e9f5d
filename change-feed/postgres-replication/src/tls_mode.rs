//! How the connection is protected: `sslmode` and `channel_binding`.

use std::path::PathBuf;
use std::str::FromStr;

/// Whether TLS is demanded and the server verified, like libpq's `sslmode`. Without effect on a Unix socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SslMode {
    /// No TLS.
    Disable,
    /// TLS only if the server refuses a connection without it.
    Allow,
    /// TLS if the server offers it; the server is not verified.
    #[default]
    Prefer,
    /// TLS; the server is verified, as with `verify-ca`, only where `sslrootcert` is given.
    Require,
    /// TLS, with a server certificate that a trusted authority has signed.
    VerifyCa,
    /// TLS, with a server certificate that a trusted authority has signed for the host of the URL.
    VerifyFull,
}

impl SslMode {
    pub(super) fn is_demanded(self) -> bool {
        matches!(self, Self::Require | Self::VerifyCa | Self::VerifyFull)
    }
}

impl FromStr for SslMode {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "disable" => Ok(Self::Disable),
            "allow" => Ok(Self::Allow),
            "prefer" => Ok(Self::Prefer),
            "require" => Ok(Self::Require),
            "verify-ca" => Ok(Self::VerifyCa),
            "verify-full" => Ok(Self::VerifyFull),
            _ => Err(()),
        }
    }
}

/// Whether the password exchange is bound to the TLS connection (SCRAM-SHA-256-PLUS), like libpq's `channel_binding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// Where the server offers it and its certificate allows it.
    #[default]
    Prefer,
    /// Always. This detects an attacker in between even where the certificate is not verified.
    Require,
}

impl FromStr for ChannelBinding {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "disable" => Ok(Self::Disable),
            "prefer" => Ok(Self::Prefer),
            "require" => Ok(Self::Require),
            _ => Err(()),
        }
    }
}

/// The options of TLS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct TlsOptions {
    pub(super) mode: SslMode,
    pub(super) root_certificates: Option<PathBuf>,
    pub(super) client_certificate: Option<PathBuf>,
    pub(super) client_key: Option<PathBuf>,
}
