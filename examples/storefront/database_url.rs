//! Which database the orders are in.

use std::fmt;
use std::path::{Path, PathBuf};

use sqlx::postgres::PgConnectOptions;

use crate::options::UsageError;

/// A database, as `DATABASE_URL` names it. What it shows of itself has no password.
#[derive(Clone)]
pub(crate) enum DatabaseUrl {
    /// A file.
    Sqlite {
        /// The whole URL.
        url: String,
        /// The file.
        file: PathBuf,
    },
    /// A server.
    Postgres {
        /// The whole URL, with the password.
        url: String,
        /// Where it is, without the password.
        place: String,
    },
}

impl DatabaseUrl {
    /// Reads a URL. Errors don't repeat it: it may hold a password.
    pub(crate) fn parse(url: &str) -> Result<Self, UsageError> {
        match url.split_once(':').map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest)) {
            Some((scheme, rest)) if scheme == "sqlite" => sqlite(url, rest),
            Some((scheme, _)) if matches!(&*scheme, "postgres" | "postgresql") => postgres(url),
            Some((scheme, _)) if is_scheme(&scheme) => Err(UsageError::new(format!(
                "DATABASE_URL: {scheme:?} is not a database that the storefront knows; use {FORMS}"
            ))),
            _ => Err(UsageError::new(format!("DATABASE_URL is not a URL; use {FORMS}"))),
        }
    }
}

const FORMS: &str = "sqlite:FILE or postgres://USER:PASSWORD@HOST:PORT/DATABASE";

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite { file, .. } => write!(f, "SQLite, the file {}", file.display()),
            Self::Postgres { place, .. } => write!(f, "PostgreSQL, {place}"),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

fn sqlite(url: &str, rest: &str) -> Result<DatabaseUrl, UsageError> {
    let file = rest.strip_prefix("//").unwrap_or(rest);
    let file = file.split_once('?').map_or(file, |(file, _)| file);
    if file.is_empty() || file == ":memory:" || rest.contains("mode=memory") {
        // Store and feed have connections of their own: to SQLite each would be another database.
        return Err(UsageError::new("DATABASE_URL: the storefront needs a SQLite file, like sqlite:storefront.db"));
    }
    Ok(DatabaseUrl::Sqlite { url: url.to_owned(), file: Path::new(file).to_owned() })
}

fn postgres(url: &str) -> Result<DatabaseUrl, UsageError> {
    let options: PgConnectOptions = url.parse().map_err(|error: sqlx::Error| {
        // sqlx's errors name the part that is wrong, never the URL; its cause says why.
        let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        UsageError::new(format!("DATABASE_URL is malformed: {cause}; use {FORMS}"))
    })?;
    let server = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
    let database = options.get_database().unwrap_or(options.get_username());
    let place = format!("database {database} on {server} as {}", options.get_username());
    Ok(DatabaseUrl::Postgres { url: url.to_owned(), place })
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_shown_without_its_password() {
        for url in
            ["postgres://shop:s3cret@db.example:5433/orders", "postgresql://db.example/x?user=shop&password=s3cret"]
        {
            let database = DatabaseUrl::parse(url).expect(url);
            for shown in [database.to_string(), format!("{database:?}")] {
                assert!(shown.contains("db.example") && shown.contains("shop"), "{shown}");
                assert!(!shown.contains("s3cret"), "{shown}");
            }
        }
    }

    #[test]
    fn a_sqlite_file_is_named_in_any_of_its_forms() {
        for url in ["sqlite:shop.db", "sqlite://shop.db", "SQLITE:shop.db", "sqlite:shop.db?mode=rwc"] {
            let shown = DatabaseUrl::parse(url).expect(url).to_string();
            assert_eq!(shown, "SQLite, the file shop.db");
        }
    }

    #[test]
    fn other_urls_are_refused_without_being_repeated() {
        for url in [
            "mysql://shop:s3cret@db/orders",
            "shop.db-s3cret",
            "postgres://shop:s3cret@db:99999/orders",
            "postgres://shop:s3cret@db:port/orders",
            "sqlite::memory:",
            "sqlite:",
            "sqlite:file?mode=memory",
            "//s3cret@db",
            "",
        ] {
            let refused = DatabaseUrl::parse(url).expect_err(url).to_string();
            assert!(refused.starts_with("DATABASE_URL"), "{refused}");
            assert!(!refused.contains("s3cret"), "{refused}");
        }
    }
}
