//! Connections to the server: how they are set up, how long they may take, and what their errors mean.

use std::future::Future;
use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{ConnectOptions as _, Connection as _};

use super::database_url::DatabaseUrl;
use super::sqlstate;
use crate::feed::identity::FeedName;
use crate::source::SourceError;

/// What every connection sets for its session.
///
/// - `jit`: compiling a plan takes longer than running any statement of ours.
/// - `row_security`: a policy that hides rows would lose events in silence; `off` makes it an error.
/// - `synchronous_commit`: what the feed itself writes to take the log to the disk has to wait for it.
/// - The keepalives: the server notices within half a minute that this machine is gone.
/// - What a role or database may set by default for others: read-only transactions, and limits that end a session of ours in
///   the middle. Not every version knows each limit, so they are looked up.
const SESSION: &str = "
set jit = off;
set row_security = off;
set synchronous_commit = on;
set tcp_keepalives_idle = 10;
set tcp_keepalives_interval = 5;
set tcp_keepalives_count = 3;
set tcp_user_timeout = 25000;
set default_transaction_read_only = off;
set default_transaction_isolation = 'read committed';
select set_config(name, '0', false) from pg_catalog.pg_settings
    where name in ('transaction_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout');
";

/// Added to the statement's own time-out before the server counts as dead.
const GRACE_MS: u64 = 2_000;

/// What to do about a standby at the feed's address.
pub(crate) const STANDBY_REMEDY: &str = "give the feed the address of the primary, or all addresses: \
     postgres://user:password@one:5432,two:5432/database?target_session_attrs=read-write finds the primary";

/// A server, at one or several addresses, and how long it may take to answer.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    addresses: Arc<[PgConnectOptions]>,
    /// The address that answered last.
    current: Arc<AtomicUsize>,
    /// Whether a standby is passed over.
    wants_primary: bool,
    answer_timeout: Duration,
    /// Settings of a session beyond [`SESSION`], as statements.
    settings: &'static str,
}

impl Server {
    /// The server and database of a URL. The sessions carry the feed's name.
    pub(crate) fn new(
        database_url: &str,
        feed: &FeedName,
        answer_timeout: Duration,
        settings: &'static str,
    ) -> Result<Self, SourceError> {
        let database_url = DatabaseUrl::parse(database_url)?;
        let addresses = database_url.addresses().iter().map(|url| {
            let options = PgConnectOptions::from_str(url).map_err(|error| {
                fatal(
                    "the database's URL is malformed",
                    "write it as postgres://user:password@host:port/database",
                    error,
                )
            })?;
            Ok(with_tls_as_libpq(options)?.application_name(&application_name(feed)))
        });
        Ok(Self {
            addresses: addresses.collect::<Result<_, SourceError>>()?,
            current: Arc::default(),
            wants_primary: database_url.wants_primary(),
            answer_timeout,
            settings,
        })
    }

    /// The place of the address that answered last among those of the URL.
    #[cfg(feature = "logical")]
    pub(crate) fn current_address(&self) -> usize {
        self.current.load(Ordering::Relaxed)
    }

    /// Opens a connection and sets it up. The server ends it when it has been silent for `silence`; `None` lets
    /// it be silent for ever.
    ///
    /// Of several addresses it takes the first that answers, beginning with the one that answered last.
    pub(crate) async fn connect(&self, silence: Option<Duration>) -> Result<PgConnection, SourceError> {
        let first = self.current.load(Ordering::Relaxed);
        let mut failure: Option<SourceError> = None;
        for attempt in 0..self.addresses.len() {
            let address = (first + attempt) % self.addresses.len();
            match self.connect_to(&self.addresses[address], silence).await {
                Ok(connection) => {
                    self.current.store(address, Ordering::Relaxed);
                    return Ok(connection);
                }
                // What does not pass is the error to show.
                Err(error) if failure.is_none() || !matches!(error, SourceError::Transient(_)) => failure = Some(error),
                Err(_) => {}
            }
        }
        Err(failure.unwrap_or_else(|| SourceError::transient("the URL names no address")))
    }

    async fn connect_to(
        &self,
        options: &PgConnectOptions,
        silence: Option<Duration>,
    ) -> Result<PgConnection, SourceError> {
        let options = options.clone().disable_statement_logging();
        let settings = self.settings;
        let (answer_ms, silence_ms) = (self.answer_timeout.as_millis(), silence.unwrap_or_default().as_millis());
        let set_up =
            format!("{SESSION}{settings}set statement_timeout = {answer_ms}; set idle_session_timeout = {silence_ms};");
        let wants_primary = self.wants_primary;
        let connected = self.answer(async {
            let mut connection = PgConnection::connect_with(&options).await?;
            sqlx::raw_sql(sqlx::AssertSqlSafe(set_up)).execute(&mut connection).await?;
            let is_standby = wants_primary
                && sqlx::query_scalar("select pg_catalog.pg_is_in_recovery()").fetch_one(&mut connection).await?;
            Ok((connection, is_standby))
        });
        match connected.await? {
            (_, true) => Err(standby()),
            (connection, false) => Ok(connection),
        }
    }

    /// Waits for the server's answer, for a limited time.
    pub(crate) async fn answer<T>(
        &self,
        answer: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, SourceError> {
        let limit = self.answer_timeout + Duration::from_millis(GRACE_MS);
        match tokio::time::timeout(limit, answer).await {
            Ok(answer) => answer.map_err(classify),
            Err(_) => Err(SourceError::transient(format!("the server did not answer within {} ms", limit.as_millis()))),
        }
    }
}

/// The name of the server's sessions of a feed.
pub(crate) fn application_name(feed: &FeedName) -> String {
    format!("change-feed {feed}")
}

/// A standby at the address of a feed that has begun.
pub(crate) fn standby() -> SourceError {
    SourceError::transient(format!("the server is a standby, as it is during a fail-over; {STANDBY_REMEDY}"))
}

/// With a root certificate `require` means `verify-ca`, as it does for PostgreSQL's own clients: a URL that names an authority
/// must not send a password to a server of another one. And a Unix socket needs no TLS, whatever is demanded.
fn with_tls_as_libpq(options: PgConnectOptions) -> Result<PgConnectOptions, SourceError> {
    if options.get_socket().is_some() {
        return Ok(options.ssl_mode(PgSslMode::Disable));
    }
    let url = options.to_url_lossy();
    let Some((_, root)) = url.query_pairs().find(|(name, _)| name == "sslrootcert") else {
        return Ok(options);
    };
    // An attempt to connect would report a missing file as a server that is away.
    if let Some(file) = root.strip_prefix("file: ") {
        std::fs::metadata(file).map_err(|error| {
            fatal("the root certificate of the database's URL can't be read", "correct its sslrootcert", error.into())
        })?;
    }
    Ok(match options.get_ssl_mode() {
        PgSslMode::Require => options.ssl_mode(PgSslMode::VerifyCa),
        _ => options,
    })
}

/// Maps an error of the server to what the feed does about it.
fn classify(error: sqlx::Error) -> SourceError {
    let remedy = match &error {
        sqlx::Error::Database(refusal) => match sqlstate::remedy(refusal.code().as_deref().unwrap_or_default()) {
            Some(remedy) => remedy,
            None => return SourceError::transient(error),
        },
        sqlx::Error::Tls(_) | sqlx::Error::Configuration(_) => "correct the database's URL or its certificates",
        // What the handshake of TLS finds wrong with a certificate comes as an error of the connection.
        sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            "correct the database's URL or its certificates"
        }
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnIndexOutOfBounds { .. } => {
            "give the outbox the columns that change_feed::outbox::Guard makes"
        }
        _ => return SourceError::transient(error),
    };
    fatal("the database refused the feed", remedy, error)
}

/// A stop that keeps the database's own error.
pub(crate) fn fatal(what: impl Into<String>, remedy: impl Into<String>, source: sqlx::Error) -> SourceError {
    SourceError::Fatal { what: what.into(), remedy: remedy.into(), source: Some(Box::new(source)) }
}
