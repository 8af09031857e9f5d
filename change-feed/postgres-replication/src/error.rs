//! Why a server can't be used, by what the caller does next.

use std::borrow::Cow;
use std::error::Error;
use std::io;
use std::time::Duration;

use crate::server_error::ServerError;

/// Why a server or the connection to it can't be used, by what the caller does next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplicationError {
    /// Connect again after a while: the connection broke, or the server is away, busy, starting or ending.
    #[error("the connection to PostgreSQL is not usable at present: {what}")]
    Transient {
        /// What was tried.
        what: Cow<'static, str>,
        /// What came of it.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// Another connection reads the slot (55006). It is free when that one ends; see to it that only one relay
    /// is active.
    #[error("the replication slot is in use")]
    SlotInUse(#[source] ServerError),
    /// There is no such slot (42704): what it would have kept may be gone.
    #[error("the replication slot is missing")]
    SlotMissing(#[source] ServerError),
    /// A slot of this name is there already (42710).
    #[error("a replication slot of this name exists")]
    SlotExists(#[source] ServerError),
    /// There is no such publication (42704).
    #[error("the publication is missing")]
    PublicationMissing(#[source] ServerError),
    /// Something on the server isn't as this needs it (55000, 58P01, 0A000, 53400, 3D000): `wal_level`, a slot that
    /// was invalidated or belongs to another database, log that was removed, no slot left, no such database.
    #[error("the server isn't set up for this, or no longer")]
    Prerequisite(#[source] ServerError),
    /// The role may not do this (42501).
    #[error("the role lacks a privilege")]
    Denied(#[source] ServerError),
    /// The server doesn't take the role or its password (28P01, 28000), or asks for what can't be given.
    #[error("the server did not let the role in: {what}")]
    Authentication {
        /// What was not accepted.
        what: Cow<'static, str>,
        /// What the server said, where it said something.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// The connection can't be encrypted or the server not be trusted as `sslmode` demands.
    #[error("no TLS as demanded: {what}")]
    Tls {
        /// What is missing.
        what: Cow<'static, str>,
        /// What TLS said, where it came so far.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// What was asked for can't be: a malformed URL, a name that is none, what this release of the server lacks.
    #[error("{0}")]
    Unusable(Cow<'static, str>),
    /// The server refused for another reason.
    #[error("PostgreSQL refused")]
    Refused(#[source] ServerError),
    /// The server sent what the protocol doesn't allow here. Connect again; if it persists, this isn't PostgreSQL.
    #[error("unexpected message from the server: {0}")]
    Protocol(Cow<'static, str>),
}

impl ReplicationError {
    /// The server's code, where the server refused.
    pub fn sqlstate(&self) -> Option<&str> {
        self.server_error().map(ServerError::sqlstate)
    }

    /// What the server said, where the server refused.
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

    /// Whether the same may succeed on a new connection, with nobody's help.
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
    /// The one place that knows what the server's codes mean for a reader of a slot.
    fn from(error: ServerError) -> Self {
        let transient =
            |what: &'static str, error: ServerError| Self::Transient { what: what.into(), source: Some(error.into()) };
        let code = error.sqlstate();
        match (code, code.get(..2).unwrap_or_default()) {
            ("55006", _) => Self::SlotInUse(error),
            // The code is the same for a publication that is missing; only the routine tells.
            ("42704", _) if error.routine().is_some_and(|routine| routine.contains("publication")) => {
                Self::PublicationMissing(error)
            }
            ("42704", _) => Self::SlotMissing(error),
            ("42710", _) => Self::SlotExists(error),
            ("42501", _) => Self::Denied(error),
            ("55000" | "58P01" | "0A000" | "53400" | "3D000", _) => Self::Prerequisite(error),
            (_, "28") => Self::Authentication { what: "it was refused".into(), source: Some(error.into()) },
            ("53300", _) => transient("too many connections", error),
            ("57P01" | "57P02" | "57P03", _) => transient("the server is ending or starting", error),
            (_, "08" | "53" | "57" | "40") | ("55P03" | "25P03" | "58030", _) => {
                transient("the server could not go on", error)
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
