//! How much the connection is to be protected.

use std::path::PathBuf;
use std::str::FromStr;

/// How much of TLS is demanded, as libpq's `sslmode`. Without effect on a Unix socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SslMode {
    /// None.
    Disable,
    /// None, unless the server insists.
    Allow,
    /// If the server offers it; the server isn't verified.
    #[default]
    Prefer,
    /// TLS; the server is verified, as with `verify-ca`, only where `sslrootcert` is given.
    Require,
    /// TLS, with a server certificate that a trusted authority has signed.
    VerifyCa,
    /// The same, and the certificate is for the host that was named.
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

/// Whether the password exchange is bound to the TLS connection (SCRAM-SHA-256-PLUS), as libpq's `channel_binding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// Where the server offers it and its certificate allows it.
    #[default]
    Prefer,
    /// Always: nobody else is let between, even with a certificate that isn't verified.
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

/// What TLS is to use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct TlsOptions {
    pub(super) mode: SslMode,
    pub(super) root_certificates: Option<PathBuf>,
    pub(super) client_certificate: Option<PathBuf>,
    pub(super) client_key: Option<PathBuf>,
}
