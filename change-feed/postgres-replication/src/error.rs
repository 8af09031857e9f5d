//! Errors of a replication connection, by what the caller does next.

use std::borrow::Cow;
use std::error::Error;
use std::io;
use std::time::Duration;

use crate::server_error::ServerError;

/// An error of a replication connection, named for what the caller does next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplicationError {
    /// Connect again after a while: the connection broke, or the server can't be reached, is busy, starts or shuts down.
    #[error("the connection to PostgreSQL failed: {what}")]
    Transient {
        /// What failed.
        what: Cow<'static, str>,
        /// The cause, where one is known.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// Another connection reads the slot (55006). The slot is free when that connection ends.
    #[error("the replication slot is in use")]
    SlotInUse(#[source] ServerError),
    /// The slot does not exist (42704). Changes that it would have kept may be gone.
    #[error("the replication slot does not exist")]
    SlotMissing(#[source] ServerError),
    /// A slot of this name exists already (42710).
    #[error("a replication slot of this name exists already")]
    SlotExists(#[source] ServerError),
    /// The publication does not exist (42704).
    #[error("the publication does not exist")]
    PublicationMissing(#[source] ServerError),
    /// The server is not set up for this (55000, 58P01, 0A000, 53400, 3D000): `wal_level`, a slot that
    /// was invalidated or belongs to another database, log that was removed, no slot left, a
    /// database that does not exist.
    #[error("the server is not set up for this")]
    Prerequisite(#[source] ServerError),
    /// The role may not do this (42501).
    #[error("the role lacks a privilege")]
    Denied(#[source] ServerError),
    /// The server refused the role or its password (28P01, 28000), or asks for something that this client can't give.
    #[error("authentication failed: {what}")]
    Authentication {
        /// What failed, and what to do.
        what: Cow<'static, str>,
        /// The server's answer, where it sent one.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// The connection can't be encrypted, or the server can't be verified, as `sslmode` demands.
    #[error("TLS failed: {what}")]
    Tls {
        /// What failed.
        what: Cow<'static, str>,
        /// The error of TLS, where there was a handshake.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// The request can't be fulfilled: a malformed URL, an invalid name, a feature that this release of the server lacks.
    #[error("{0}")]
    Unusable(Cow<'static, str>),
    /// The server refused for another reason.
    #[error("PostgreSQL refused the statement")]
    Refused(#[source] ServerError),
    /// The server sent something that the protocol doesn't allow here. Connect again; if it happens again, the server is not
    /// PostgreSQL.
    #[error("the server broke the protocol: {0}")]
    Protocol(Cow<'static, str>),
}

impl ReplicationError {
    /// The SQLSTATE, if the server sent an error.
    pub fn sqlstate(&self) -> Option<&str> {
        self.server_error().map(ServerError::sqlstate)
    }

    /// The server's error, if it sent one.
    pub fn server_error(&self) -> Option<&ServerError> {
        match self {
            Self::SlotInUse(error)
            | Self::SlotMissing(error)
            | Self::SlotExists(error)
            | Self::PublicationMissing(error)
            | Self::Prerequisite(error)
            | Self::Denied(error)
            | Self::Refused(error) => Some(error),
            Self::Transient { source, .. } | Self::Authentication { source, .. } | Self::Tls { source, .. } => {
                source.as_deref()?.downcast_ref()
            }
            Self::Unusable(_) | Self::Protocol(_) => None,
        }
    }

    /// Whether the same call may succeed on a new connection, without anybody's help.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Transient { .. } | Self::Protocol(_))
    }

    pub(super) fn lost(what: impl Into<Cow<'static, str>>, source: io::Error) -> Self {
        Self::Transient { what: what.into(), source: Some(source.into()) }
    }

    pub(crate) fn timed_out(what: &str, limit: Duration) -> Self {
        let limit = limit.as_millis();
        Self::Transient { what: format!("{what} took longer than {limit} ms").into(), source: None }
    }

    pub(super) fn unusable(what: impl Into<Cow<'static, str>>) -> Self {
        Self::Unusable(what.into())
    }

    pub(crate) fn protocol(what: impl Into<Cow<'static, str>>) -> Self {
        Self::Protocol(what.into())
    }

    pub(super) fn tls(what: impl Into<Cow<'static, str>>) -> Self {
        Self::Tls { what: what.into(), source: None }
    }
}

impl From<ServerError> for ReplicationError {
    /// Classifies the server's codes, for all of this crate.
    fn from(error: ServerError) -> Self {
        let transient =
            |what: &'static str, error: ServerError| Self::Transient { what: what.into(), source: Some(error.into()) };
        let code = error.sqlstate();
        match (code, code.get(..2).unwrap_or_default()) {
            ("55006", _) => Self::SlotInUse(error),
            // A missing publication has the same code; only the routine differs.
            ("42704", _) if error.routine().is_some_and(|routine| routine.contains("publication")) => {
                Self::PublicationMissing(error)
            }
            ("42704", _) => Self::SlotMissing(error),
            ("42710", _) => Self::SlotExists(error),
            ("42501", _) => Self::Denied(error),
            ("55000" | "58P01" | "0A000" | "53400" | "3D000", _) => Self::Prerequisite(error),
            (_, "28") => Self::Authentication {
                what: "the server refused the role or its password".into(),
                source: Some(error.into()),
            },
            ("53300", _) => transient("the server has no connection left", error),
            ("57P01" | "57P02" | "57P03", _) => transient("the server shuts down or starts", error),
            (_, "08" | "53" | "57" | "40") | ("55P03" | "25P03" | "58030", _) => {
                transient("the server broke off", error)
            }
            _ => Self::Refused(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::server_error::example;
    use super::*;

    fn of(code: &str, routine: &str) -> ReplicationError {
        example(&[(b'V', "ERROR"), (b'C', code), (b'M', "no"), (b'R', routine)]).into()
    }

    #[test]
    fn each_code_leads_to_its_next_move() {
        let transient = ["57P01", "57P02", "57P03", "53300", "08006", "40001", "57014", "53100"];
        for code in transient {
            assert!(of(code, "").is_transient(), "{code}");
        }
        assert!(matches!(of("55006", ""), ReplicationError::SlotInUse(_)));
        assert!(matches!(of("42704", "ReplicationSlotAcquire"), ReplicationError::SlotMissing(_)));
        assert!(matches!(of("42704", "get_publication_oid"), ReplicationError::PublicationMissing(_)));
        assert!(matches!(of("42710", ""), ReplicationError::SlotExists(_)));
        assert!(matches!(of("42501", ""), ReplicationError::Denied(_)));
        for code in ["28P01", "28000"] {
            assert!(matches!(of(code, ""), ReplicationError::Authentication { .. }), "{code}");
        }
        for code in ["55000", "58P01", "53400", "3D000"] {
            assert!(matches!(of(code, ""), ReplicationError::Prerequisite(_)), "{code}");
        }
        assert!(matches!(of("42601", ""), ReplicationError::Refused(_)));
    }

    #[test]
    fn the_code_is_kept_whatever_the_next_move() {
        for code in ["57P01", "55006", "42704", "42501", "55000", "28P01", "22023", ""] {
            assert_eq!(of(code, "").sqlstate(), Some(code));
        }
        assert_eq!(ReplicationError::protocol("x").sqlstate(), None);
    }
}
