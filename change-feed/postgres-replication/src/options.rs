//! The options of a connection.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use crate::error::ReplicationError;
use crate::password::Password;
use crate::settings::Settings;
use crate::tls_mode::{ChannelBinding, SslMode, TlsOptions};
use crate::url;

const CONNECT_LIMIT_MS: u64 = 10_000;
const ANSWER_LIMIT_MS: u64 = 30_000;
const IDLE_LIMIT_MS: u64 = 15_000;
const WAL_SENDER_TIMEOUT_MS: u64 = 10_000;
const FEEDBACK_INTERVAL_MS: u64 = 1_000;
/// The shortest limit that can be set.
const SHORTEST_MS: u64 = 50;

/// The options of a connection: the server, the role, and how long each step may take.
///
/// They are read from a URL, as libpq and sqlx read it: `postgres://user:password@host:port/database`, with the parameters
/// `sslmode`, `sslrootcert`, `sslcert`, `sslkey`, `channel_binding`, `host` (also the folder of a Unix socket),
/// `hostaddr`, `port`, `dbname`, `user`, `password`, `passfile`, `application_name`, `options` and
/// `connect_timeout`. What the URL leaves out comes from `PGHOST`, `PGPASSWORD` and the other variables of libpq, and
/// the password from libpq's password file. No output shows the password.
///
/// ```
/// use postgres_replication::ConnectOptions;
///
/// let options: ConnectOptions = "postgres://feed:secret@db.example/shop?sslmode=verify-full".parse()?;
/// assert!(!format!("{options:?}").contains("secret"));
/// # Ok::<(), postgres_replication::ReplicationError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct ConnectOptions {
    pub(super) host: Host,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) password: Option<Password>,
    pub(super) database: String,
    pub(super) application_name: String,
    pub(super) command_line: Option<String>,
    pub(super) tls: TlsOptions,
    pub(super) channel_binding: ChannelBinding,
    pub(super) cleartext_password: bool,
    pub(super) limits: Limits,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    /// A host, by its name; by its address where one is given.
    Network(String, Option<IpAddr>),
    /// The folder of a Unix socket.
    Socket(PathBuf),
}

/// How long each step may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) connect: Duration,
    pub(super) answer: Duration,
    pub(super) idle: Duration,
    pub(super) wal_sender_timeout: Duration,
    pub(super) feedback_interval: Duration,
}

impl ConnectOptions {
    /// Limits how long connecting may take, from the look-up of the host to the server's readiness: 10 s, unless set here or
    /// by `connect_timeout`.
    pub fn connect_limit(mut self, limit: Duration) -> Self {
        self.limits.connect = limit;
        self
    }

    /// Limits how long the server may take for an answer: 30 s, unless set.
    pub fn answer_limit(mut self, limit: Duration) -> Self {
        self.limits.answer = limit;
        self
    }

    /// Limits how long the server may send nothing on a stream: 15 s, unless set. After half of it the stream asks the server
    /// to answer. Without an answer the connection counts as lost.
    pub fn idle_limit(mut self, limit: Duration) -> Self {
        self.limits.idle = at_least_shortest(limit);
        self
    }

    /// Sets how long the server waits for a message of this client before it frees the slot (`wal_sender_timeout` of this
    /// connection): 10 s, unless set.
    ///
    /// This bounds how long a client that is frozen or cut off keeps others from the slot. When the client's process ends,
    /// the server frees the slot at once.
    pub fn wal_sender_timeout(mut self, timeout: Duration) -> Self {
        self.limits.wal_sender_timeout = at_least_shortest(timeout);
        self
    }

    /// Sets the interval at which the server receives what is durable: one second, unless set, and at most a quarter of
    /// [`wal_sender_timeout`](Self::wal_sender_timeout).
    pub fn feedback_interval(mut self, interval: Duration) -> Self {
        self.limits.feedback_interval = at_least_shortest(interval);
        self
    }

    /// Sets the name under which the server shows this connection (`pg_stat_activity`): `change-feed`, unless set.
    pub fn application_name(mut self, name: impl Into<String>) -> Self {
        self.application_name = name.into();
        self
    }

    /// Allows the password in clear text over an unencrypted connection, to a server that asks for it (`password` in
    /// `pg_hba.conf`). Refused, unless set. TLS and Unix sockets always allow it.
    pub fn allow_cleartext_password(mut self, allow: bool) -> Self {
        self.cleartext_password = allow;
        self
    }

    /// Returns the name of the database.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Returns the interval of the feedback.
    pub(super) fn effective_feedback_interval(&self) -> Duration {
        self.limits.feedback_interval.min(self.limits.wal_sender_timeout / 4)
    }

    fn from_settings(settings: &Settings) -> Result<Self, ReplicationError> {
        let host = settings.host_or_default();
        let user = settings.user_or_default()?;
        // The server's own default.
        let database = settings.database.clone().unwrap_or_else(|| user.clone());
        let password = settings.password.clone().or_else(|| settings.password_from_file(&host, &user, &database));
        let connect = settings.connect_limit.unwrap_or(Duration::from_millis(CONNECT_LIMIT_MS));
        if settings.client_certificate.is_some() != settings.client_key.is_some() {
            return Err(ReplicationError::unusable(
                "sslcert and sslkey belong together, and only one of them was given; give both, or none",
            ));
        }
        let options = Self {
            host: match host.starts_with('/') {
                true => Host::Socket(host.into()),
                false => Host::Network(host, settings.address),
            },
            port: settings.port_or_default(),
            user,
            password,
            database,
            application_name: settings.application_name.clone().unwrap_or_else(|| "change-feed".to_owned()),
            command_line: settings.options.clone(),
            tls: TlsOptions {
                mode: settings.ssl_mode.unwrap_or_default(),
                root_certificates: settings.root_certificates.clone(),
                client_certificate: settings.client_certificate.clone(),
                client_key: settings.client_key.clone(),
            },
            channel_binding: settings.channel_binding.unwrap_or_default(),
            cleartext_password: false,
            limits: Limits {
                connect,
                answer: Duration::from_millis(ANSWER_LIMIT_MS),
                idle: Duration::from_millis(IDLE_LIMIT_MS),
                wal_sender_timeout: Duration::from_millis(WAL_SENDER_TIMEOUT_MS),
                feedback_interval: Duration::from_millis(FEEDBACK_INTERVAL_MS),
            },
        };
        options.check_no_zero_bytes().map(|()| options)
    }

    /// Refuses zero bytes, which would end a text of the protocol.
    fn check_no_zero_bytes(&self) -> Result<(), ReplicationError> {
        let texts = [Some(&self.user), Some(&self.database), Some(&self.application_name), self.command_line.as_ref()];
        let password_has = self.password.as_ref().is_some_and(|password| password.as_bytes().contains(&0));
        if password_has || texts.into_iter().flatten().any(|text| text.contains('\0')) {
            return Err(ReplicationError::unusable(
                "the user, password, database, application_name or options of the connection contain a zero byte; remove it",
            ));
        }
        Ok(())
    }
}

fn at_least_shortest(duration: Duration) -> Duration {
    duration.max(Duration::from_millis(SHORTEST_MS))
}

impl FromStr for ConnectOptions {
    type Err = ReplicationError;

    /// Reads a URL. No error repeats it.
    fn from_str(text: &str) -> Result<Self, ReplicationError> {
        let mut settings = Settings::from_environment()?;
        url::apply(text, &mut settings)?;
        Self::from_settings(&settings)
    }
}

impl Host {
    /// Returns the path of the socket in the folder.
    pub(super) fn socket_file(folder: &Path, port: u16) -> PathBuf {
        folder.join(format!(".s.PGSQL.{port}"))
    }
}

impl ConnectOptions {
    /// Whether the first message asks the server for TLS.
    pub(super) fn asks_for_tls_first(&self) -> bool {
        match self.tls.mode {
            SslMode::Disable | SslMode::Allow => false,
            SslMode::Prefer => cfg!(feature = "tls"),
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use sqlx::postgres::{PgConnectOptions, PgSslMode};

    use super::*;

    #[test]
    fn a_url_means_to_us_what_it_means_to_sqlx() {
        let urls = [
            "postgres://u:p@h:6000/d",
            "postgres://u@h/d",
            "postgresql://u:p%20p@[::1]:7000/d%2Fe",
            "postgres://u@%2Frun%2Fpg/d",
            "postgres://u:p@h/d?host=/run/pg&port=7000",
            "postgres://u:p@h/d?sslmode=verify-ca&application_name=a%20b",
            "postgres://user@host:p@ss@h:1/d",
            "postgres://x@h/d?user=u&dbname=e&host=i&password=q",
            "postgres://u@h/d?options=-c%20a%3D1&options[b]=2%203",
            "postgres://u@h//d",
        ];
        for url in urls {
            let ours: ConnectOptions = url.parse().expect(url);
            let theirs: PgConnectOptions = url.parse().expect(url);
            assert_eq!(ours.user, theirs.get_username(), "{url}");
            assert_eq!(ours.port, theirs.get_port(), "{url}");
            assert_eq!(Some(ours.database.as_str()), theirs.get_database(), "{url}");
            match (&ours.host, theirs.get_socket()) {
                (Host::Socket(folder), Some(socket)) => assert_eq!(folder, socket, "{url}"),
                (Host::Network(host, _), None) => assert_eq!(host, theirs.get_host().trim_matches(['[', ']']), "{url}"),
                (ours, theirs) => panic!("{url}: {ours:?} and {theirs:?}"),
            }
            if let Some(name) = theirs.get_application_name() {
                assert_eq!(ours.application_name, name, "{url}");
            }
            assert_eq!(ours.command_line.as_deref(), theirs.get_options(), "{url}");
            let verifies = matches!(theirs.get_ssl_mode(), PgSslMode::VerifyCa);
            assert_eq!(ours.tls.mode == SslMode::VerifyCa, verifies, "{url}");
        }
    }

    #[test]
    fn the_password_does_not_show() {
        let options: ConnectOptions = "postgres://u:hidden@h/d?password=hidden2".parse().expect("a URL");
        assert!(!format!("{options:?} {options:#?}").contains("hidden"));
    }

    #[test]
    fn a_zero_byte_and_a_certificate_without_its_key_are_refused() {
        for url in ["postgres://u:p%00@h/d", "postgres://u%00@h/d", "postgres://u@h/d?sslcert=x"] {
            assert!(matches!(url.parse::<ConnectOptions>(), Err(ReplicationError::Unusable(_))), "{url}");
        }
    }

    #[test]
    fn the_feedback_is_more_frequent_than_the_server_waits() {
        let options: ConnectOptions = "postgres://u@h/d".parse().expect("a URL");
        let options = options.wal_sender_timeout(Duration::from_millis(400)).feedback_interval(Duration::from_secs(9));
        assert_eq!(options.effective_feedback_interval(), Duration::from_millis(100));
    }
}
