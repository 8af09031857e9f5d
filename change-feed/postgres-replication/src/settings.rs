//! The settings of a connection, from libpq's variables and password file; a URL overrides them.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::ReplicationError;
use crate::password::Password;
use crate::tls_mode::{ChannelBinding, SslMode};

const DEFAULT_PORT: u16 = 5432;
/// Where servers put their socket: on Debian, with Homebrew, and by PostgreSQL's own default.
const SOCKET_FOLDERS: [&str; 3] = ["/var/run/postgresql", "/private/tmp", "/tmp"];

/// The settings that the environment and the URL give. Defaults are not filled in yet.
#[derive(Debug, Default)]
pub(super) struct Settings {
    pub(super) host: Option<String>,
    pub(super) address: Option<IpAddr>,
    pub(super) port: Option<u16>,
    pub(super) user: Option<String>,
    pub(super) password: Option<Password>,
    pub(super) password_file: Option<PathBuf>,
    pub(super) database: Option<String>,
    pub(super) application_name: Option<String>,
    pub(super) options: Option<String>,
    pub(super) ssl_mode: Option<SslMode>,
    pub(super) root_certificates: Option<PathBuf>,
    pub(super) client_certificate: Option<PathBuf>,
    pub(super) client_key: Option<PathBuf>,
    pub(super) channel_binding: Option<ChannelBinding>,
    pub(super) connect_limit: Option<Duration>,
}

impl Settings {
    /// Reads the variables of libpq.
    pub(super) fn from_environment() -> Result<Self, ReplicationError> {
        Self::from_variables(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ReplicationError> {
        let wrong = |name: &str| {
            ReplicationError::unusable(format!(
                "the environment variable {name} has an invalid value; correct or unset it"
            ))
        };
        let address = variable("PGHOSTADDR").map(|text| text.parse().map_err(|_| wrong("PGHOSTADDR")));
        let port = variable("PGPORT").map(|text| text.parse().map_err(|_| wrong("PGPORT")));
        let timeout_s = variable("PGCONNECT_TIMEOUT").map(|text| text.parse().map_err(|_| wrong("PGCONNECT_TIMEOUT")));
        let ssl_mode = variable("PGSSLMODE").map(|text| text.parse().map_err(|()| wrong("PGSSLMODE")));
        let binding = variable("PGCHANNELBINDING").map(|text| text.parse().map_err(|()| wrong("PGCHANNELBINDING")));
        Ok(Self {
            host: variable("PGHOST"),
            address: address.transpose()?,
            port: port.transpose()?,
            user: variable("PGUSER"),
            password: variable("PGPASSWORD").map(Password::new),
            password_file: variable("PGPASSFILE").map(PathBuf::from),
            database: variable("PGDATABASE"),
            application_name: variable("PGAPPNAME"),
            options: variable("PGOPTIONS"),
            ssl_mode: ssl_mode.transpose()?,
            root_certificates: variable("PGSSLROOTCERT").map(PathBuf::from),
            client_certificate: variable("PGSSLCERT").map(PathBuf::from),
            client_key: variable("PGSSLKEY").map(PathBuf::from),
            channel_binding: binding.transpose()?,
            connect_limit: timeout_s.transpose()?.and_then(connect_limit),
        })
    }

    /// Adds to the options of the server's command line.
    pub(super) fn add_options(&mut self, more: &str) {
        match &mut self.options {
            Some(options) => {
                options.push(' ');
                options.push_str(more);
            }
            unset => *unset = Some(more.to_owned()),
        }
    }

    pub(super) fn port_or_default(&self) -> u16 {
        self.port.unwrap_or(DEFAULT_PORT)
    }

    /// Returns the host: the one that is set, else the folder of a server's socket if there is one, else `localhost`.
    pub(super) fn host_or_default(&self) -> String {
        let socket = format!(".s.PGSQL.{}", self.port_or_default());
        let here = || SOCKET_FOLDERS.iter().find(|folder| Path::new(folder).join(&socket).exists());
        match (&self.host, self.address) {
            (Some(host), _) => host.clone(),
            (None, Some(address)) => address.to_string(),
            (None, None) => here().map_or("localhost", |folder| folder).to_owned(),
        }
    }

    /// Returns the user: the one that is set, else the user who runs this program.
    pub(super) fn user_or_default(&self) -> Result<String, ReplicationError> {
        if let Some(user) = &self.user {
            return Ok(user.clone());
        }
        whoami::username().map_err(|_| {
            ReplicationError::unusable(
                "no user is given, and the system's own name of the user is unknown; name one in the URL or in PGUSER",
            )
        })
    }

    /// Looks this connection's password up in the password file. As in libpq, a file that others may read is ignored.
    pub(super) fn password_from_file(&self, host: &str, user: &str, database: &str) -> Option<Password> {
        let path = self.password_file.clone().or_else(|| Some(std::env::home_dir()?.join(".pgpass")))?;
        if is_open_to_others(&path)? {
            tracing::warn!(path = %path.display(), "the password file is ignored: others may read it; set its mode to 0600");
            return None;
        }
        let text = std::fs::read_to_string(&path).ok()?;
        let host = if SOCKET_FOLDERS.contains(&host) { "localhost" } else { host };
        let port = self.port_or_default().to_string();
        text.lines().find_map(|line| password_in(line, [host, &port, database, user]))
    }
}

/// Converts libpq's `connect_timeout`, in seconds. 0 and below mean no limit there; here the default limit stays.
pub(super) fn connect_limit(seconds: i32) -> Option<Duration> {
    u64::try_from(seconds).ok().filter(|&seconds| seconds > 0).map(Duration::from_secs)
}

/// Whether others may read the file; `None` if it does not exist.
#[cfg(unix)]
fn is_open_to_others(path: &Path) -> Option<bool> {
    use std::os::unix::fs::PermissionsExt as _;

    Some(std::fs::metadata(path).ok()?.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn is_open_to_others(path: &Path) -> Option<bool> {
    path.exists().then_some(false)
}

/// Reads the password of a line `host:port:database:user:password`, if the line is for this connection. A star matches
/// anything; a backslash escapes the next character.
fn password_in(line: &str, wanted: [&str; 4]) -> Option<Password> {
    if line.starts_with('#') {
        return None;
    }
    let mut fields = Vec::new();
    let mut field = String::new();
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => field.extend(characters.next()),
            ':' if fields.len() < wanted.len() => fields.push(std::mem::take(&mut field)),
            other => field.push(other),
        }
    }
    let is_for_us =
        fields.len() == wanted.len() && fields.iter().zip(wanted).all(|(has, want)| has == "*" || has == want);
    is_for_us.then(|| Password::new(field))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variables_of_libpq_are_read() {
        let values = [
            ("PGHOST", "h"),
            ("PGPORT", "6000"),
            ("PGUSER", "u"),
            ("PGPASSWORD", "p"),
            ("PGDATABASE", "d"),
            ("PGSSLMODE", "require"),
            ("PGCONNECT_TIMEOUT", "3"),
        ];
        let variable = |name: &str| values.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let settings = Settings::from_variables(variable).expect("settings");
        assert_eq!((settings.host.as_deref(), settings.port), (Some("h"), Some(6000)));
        assert_eq!((settings.user.as_deref(), settings.database.as_deref()), (Some("u"), Some("d")));
        assert_eq!(settings.password, Some(Password::new("p")));
        assert_eq!(settings.ssl_mode, Some(SslMode::Require));
        assert_eq!(settings.connect_limit, Some(Duration::from_secs(3)));
        assert!(!format!("{settings:?}").contains("\"p\""));
    }

    #[test]
    fn a_malformed_variable_is_named_without_its_value() {
        for name in ["PGPORT", "PGSSLMODE", "PGHOSTADDR", "PGCHANNELBINDING", "PGCONNECT_TIMEOUT"] {
            let error = Settings::from_variables(|asked| (asked == name).then(|| "wrong".to_owned())).expect_err(name);
            assert!(!error.to_string().contains("wrong"), "{error}");
        }
    }

    #[test]
    fn a_line_of_the_password_file_is_for_whom_it_names() {
        let wanted = ["h", "5432", "d", "u"];
        assert_eq!(password_in("h:5432:d:u:pass", wanted), Some(Password::new("pass")));
        assert_eq!(password_in("*:*:*:u:p:a\\:ss\\\\", wanted), Some(Password::new("p:a:ss\\")));
        for line in ["# h:5432:d:u:pass", "h:5432:d:v:pass", "h:5432:d:u", "", "x:*:*:*:pass"] {
            assert_eq!(password_in(line, wanted), None, "{line}");
        }
    }
}
