//! Connections to the server: how they are set up, how long they may take, and what their errors mean.

use std::future::Future;
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::feed::identity::FeedName;
use crate::source::SourceError;

/// What every connection asks of its session.
///
/// - `jit`: compiling a plan takes longer than running any statement of ours.
/// - `row_security`: a policy that hides rows would lose events in silence; `off` makes it an error.
/// - `synchronous_commit`: what the feed itself writes to take the log to the disk has to wait for it.
/// - The keepalives: the server notices within half a minute that this machine is gone.
const SESSION: &str = "
set jit = off;
set row_security = off;
set synchronous_commit = on;
set tcp_keepalives_idle = 10;
set tcp_keepalives_interval = 5;
set tcp_keepalives_count = 3;
set tcp_user_timeout = 25000;
";

/// What the server is given beyond the statement's own time-out before it counts as dead.
const GRACE_MS: u64 = 2_000;

/// A server, and how long it may take to answer.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    options: PgConnectOptions,
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
        let options = PgConnectOptions::from_str(database_url).map_err(|error| {
            fatal("the database's URL is malformed", "write it as postgres://user:password@host:port/database", error)
        })?;
        let options = with_tls_as_libpq(options)?.application_name(&format!("change-feed {feed}"));
        Ok(Self { options, answer_timeout, settings })
    }

    /// A connection that is set up. The server ends it when it has been silent for `silence`; `None` lets
    /// it be silent for ever.
    pub(crate) async fn connect(&self, silence: Option<Duration>) -> Result<PgConnection, SourceError> {
        let options = self.options.clone().disable_statement_logging();
        let settings = self.settings;
        let (answer_ms, silence_ms) = (self.answer_timeout.as_millis(), silence.unwrap_or_default().as_millis());
        let set_up =
            format!("{SESSION}{settings}set statement_timeout = {answer_ms}; set idle_session_timeout = {silence_ms};");
        self.answer(async {
            let mut connection = PgConnection::connect_with(&options).await?;
            sqlx::raw_sql(sqlx::AssertSqlSafe(set_up)).execute(&mut connection).await?;
            Ok(connection)
        })
        .await
    }

    /// The answer of the server, or the error that says what to do without one.
    pub(crate) async fn answer<T>(
        &self,
        asked: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, SourceError> {
        let limit = self.answer_timeout + Duration::from_millis(GRACE_MS);
        match tokio::time::timeout(limit, asked).await {
            Ok(answer) => answer.map_err(judge),
            Err(_) => Err(SourceError::transient(format!("the server did not answer within {} ms", limit.as_millis()))),
        }
    }
}

/// With a root certificate `require` means `verify-ca`, as it does for PostgreSQL's own clients: who names an authority
/// does not want to send a password to a server of another one. And a Unix socket needs no TLS, whatever is demanded.
fn with_tls_as_libpq(options: PgConnectOptions) -> Result<PgConnectOptions, SourceError> {
    if options.get_socket().is_some() {
        return Ok(options.ssl_mode(PgSslMode::Disable));
    }
    let url = options.to_url_lossy();
    let Some((_, root)) = url.query_pairs().find(|(name, _)| name == "sslrootcert") else {
        return Ok(options);
    };
    // An attempt to connect would say of a missing file what it says of a server that is away.
    if let Some(file) = root.strip_prefix("file: ") {
        std::fs::metadata(file).map_err(|error| {
            fatal("the root certificate of the database's URL can't be read", "mend its sslrootcert", error.into())
        })?;
    }
    Ok(match options.get_ssl_mode() {
        PgSslMode::Require => options.ssl_mode(PgSslMode::VerifyCa),
        _ => options,
    })
}

/// What an error of the server means for the feed. The codes are those of the manual's appendix A.
fn judge(error: sqlx::Error) -> SourceError {
    let remedy = match &error {
        sqlx::Error::Database(refusal) => match refusal.code().as_deref().unwrap_or_default() {
            "42501" => "grant the feed's role what it lacks: SELECT on the outbox, and USAGE on its schema",
            "42P01" | "42703" | "3F000" => "install the outbox (see change_feed::outbox::Guard), or name the right one",
            "28000" | "28P01" => "give the feed a role and a password that this server accepts",
            "3D000" => "name a database that exists",
            // The rest of class 42: the server does not understand the statement, and never will.
            code if code.starts_with("42") => {
                "use PostgreSQL 14 or later; if it is, report this as a fault of change-feed"
            }
            _ => return SourceError::transient(error),
        },
        sqlx::Error::Tls(_) | sqlx::Error::Configuration(_) => "mend the database's URL or its certificates",
        // What the handshake of TLS finds wrong with a certificate comes as an error of the connection.
        sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            "mend the database's URL or its certificates"
        }
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnIndexOutOfBounds { .. } => {
            "give the outbox the columns that change_feed::outbox::Guard makes"
        }
        _ => return SourceError::transient(error),
    };
    fatal("the database refused the feed", remedy, error)
}

/// A stop that keeps what the database said.
pub(crate) fn fatal(what: impl Into<String>, remedy: impl Into<String>, source: sqlx::Error) -> SourceError {
    SourceError::Fatal { what: what.into(), remedy: remedy.into(), source: Some(Box::new(source)) }
}
