//! Reads connection URLs, as libpq and sqlx do.

use crate::error::ReplicationError;
use crate::password::Password;
use crate::settings::{Settings, connect_limit};

/// Overrides the settings with those of the URL.
///
/// No error repeats a part of the URL, because a malformed URL may show the password anywhere.
pub(super) fn apply(url: &str, settings: &mut Settings) -> Result<(), ReplicationError> {
    let rest = url
        .strip_prefix("postgres://")
        .or_else(|| url.strip_prefix("postgresql://"))
        .ok_or_else(|| malformed("it must begin with postgres:// or postgresql://"))?;
    let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));

    let host_and_port = match authority.rsplit_once('@') {
        Some((credentials, host_and_port)) => {
            apply_credentials(credentials, settings)?;
            host_and_port
        }
        None => authority,
    };
    apply_host_and_port(host_and_port, settings)?;
    let database = path.trim_start_matches('/');
    if !database.is_empty() {
        settings.database = Some(decoded(database, "the name of the database")?);
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        // In a query, a plus is a space: sqlx reads the same URL in this way.
        let key = decoded(&key.replace('+', " "), "a parameter")?;
        let value = decoded(&value.replace('+', " "), "a parameter")?;
        apply_parameter(&key, value, settings)?;
    }
    Ok(())
}

fn apply_credentials(credentials: &str, settings: &mut Settings) -> Result<(), ReplicationError> {
    let (user, password) = match credentials.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (credentials, None),
    };
    if !user.is_empty() {
        settings.user = Some(decoded(user, "the user")?);
    }
    if let Some(password) = password {
        settings.password = Some(Password::new(decoded(password, "the password")?));
    }
    Ok(())
}

fn apply_host_and_port(text: &str, settings: &mut Settings) -> Result<(), ReplicationError> {
    if text.contains(',') {
        return Err(malformed("it names several hosts, and a slot is on one of them"));
    }
    let (host, port) = match text.strip_prefix('[').and_then(|bracketed| bracketed.split_once(']')) {
        Some((address, after)) => (address, after.strip_prefix(':')),
        None => text.rsplit_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    if !host.is_empty() {
        settings.host = Some(decoded(host, "the host")?);
        settings.address = None;
    }
    match port {
        None | Some("") => {}
        Some(port) => settings.port = Some(number(port, "the port")?),
    }
    Ok(())
}

fn apply_parameter(key: &str, value: String, settings: &mut Settings) -> Result<(), ReplicationError> {
    match key {
        "host" => {
            settings.host = Some(value);
            settings.address = None;
        }
        "hostaddr" => settings.address = Some(value.parse().map_err(|_| malformed("hostaddr must be an IP address"))?),
        "port" => settings.port = Some(number(&value, "the port")?),
        "dbname" => settings.database = Some(value),
        "user" => settings.user = Some(value),
        "password" => settings.password = Some(Password::new(value)),
        "passfile" => settings.password_file = Some(value.into()),
        "application_name" => settings.application_name = Some(value),
        "sslmode" | "ssl-mode" => {
            settings.ssl_mode = Some(value.parse().map_err(|()| {
                malformed("sslmode must be one of disable, allow, prefer, require, verify-ca, verify-full")
            })?);
        }
        "sslrootcert" | "ssl-root-cert" | "ssl-ca" => settings.root_certificates = Some(value.into()),
        "sslcert" | "ssl-cert" => settings.client_certificate = Some(value.into()),
        "sslkey" | "ssl-key" => settings.client_key = Some(value.into()),
        "channel_binding" => {
            settings.channel_binding =
                Some(value.parse().map_err(|()| malformed("channel_binding must be one of disable, prefer, require"))?);
        }
        "connect_timeout" => settings.connect_limit = connect_limit(number(&value, "connect_timeout")?),
        "options" => settings.add_options(&value),
        _ => match key.strip_prefix("options[").and_then(|key| key.strip_suffix(']')) {
            Some(name) => settings.add_options(&format!("-c {name}={}", escaped(&value))),
            // Not the value: it may be a secret.
            None => tracing::debug!(key, "an unknown parameter of the connection URL is ignored"),
        },
    }
    Ok(())
}

/// Escapes spaces and backslashes for `options`.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace(' ', "\\ ")
}

fn number<T: std::str::FromStr>(text: &str, what: &str) -> Result<T, ReplicationError> {
    text.parse().map_err(|_| malformed(&format!("{what} is not a number, or is out of range")))
}

/// Decodes percent-encoding. What only looks like an escape stays as it is, as with sqlx.
fn decoded(text: &str, what: &str) -> Result<String, ReplicationError> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digits = bytes.get(at + 1..at + 3).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let escaped = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match escaped {
            Some(escaped) if byte == b'%' => {
                decoded.push(escaped);
                at += 3;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).map_err(|_| malformed(&format!("{what} is not UTF-8")))
}

fn malformed(why: &str) -> ReplicationError {
    ReplicationError::unusable(format!(
        "the database's URL is malformed: {why}; write it as postgres://user:password@host:port/database"
    ))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::tls_mode::SslMode;

    fn read(url: &str) -> Settings {
        let mut settings = Settings::default();
        apply(url, &mut settings).expect("a URL");
        settings
    }

    #[test]
    fn every_part_of_a_url_is_read() {
        let settings = read(
            "postgresql://u%40x:p%3As%20s@db.example:6432/my%2Fdb?sslmode=verify-full&sslrootcert=/etc/ca.pem\
             &application_name=a+b&channel_binding=require&connect_timeout=7&sslcert=c&sslkey=k",
        );
        assert_eq!(settings.user.as_deref(), Some("u@x"));
        assert_eq!(settings.password, Some(Password::new("p:s s")));
        assert_eq!(settings.host.as_deref(), Some("db.example"));
        assert_eq!(settings.port, Some(6432));
        assert_eq!(settings.database.as_deref(), Some("my/db"));
        assert_eq!(settings.ssl_mode, Some(SslMode::VerifyFull));
        assert_eq!(settings.root_certificates.as_deref(), Some(Path::new("/etc/ca.pem")));
        assert_eq!(settings.application_name.as_deref(), Some("a b"));
        assert_eq!(settings.connect_limit, Some(Duration::from_secs(7)));
        assert_eq!(settings.client_certificate.as_deref(), Some(Path::new("c")));
        assert_eq!(settings.client_key.as_deref(), Some(Path::new("k")));
    }

    #[test]
    fn a_unix_socket_is_named_in_the_query_or_in_the_place_of_the_host() {
        for url in
            ["postgres:///db?host=/run/pg", "postgres://%2Frun%2Fpg/db", "postgres://u@localhost/db?host=/run/pg"]
        {
            let settings = read(url);
            assert_eq!(settings.host.as_deref(), Some("/run/pg"), "{url}");
            assert_eq!(settings.database.as_deref(), Some("db"), "{url}");
        }
    }

    #[test]
    fn addresses_of_both_kinds_are_hosts() {
        assert_eq!(read("postgres://[::1]:6000/db").host.as_deref(), Some("::1"));
        assert_eq!(read("postgres://[::1]:6000/db").port, Some(6000));
        assert_eq!(read("postgres://127.0.0.1").host.as_deref(), Some("127.0.0.1"));
        assert_eq!(read("postgres://h/db?hostaddr=10.0.0.1").address, Some([10, 0, 0, 1].into()));
    }

    #[test]
    fn options_of_both_spellings_add_up() {
        let settings = read("postgres:///?options=-c%20a%3D1&options[search_path]=x%20y");
        assert_eq!(settings.options.as_deref(), Some("-c a=1 -c search_path=x\\ y"));
    }

    #[test]
    fn what_is_no_escape_stays_and_an_at_sign_may_be_in_the_password() {
        let settings = read("postgres://u:p@ss%w%@host/db");
        assert_eq!(settings.password, Some(Password::new("p@ss%w%")));
        assert_eq!(settings.host.as_deref(), Some("host"));
    }

    #[test]
    fn a_malformed_url_is_refused_without_showing_it() {
        let urls = [
            "mysql://u:secret@h/db",
            "postgres://u:secret@h:port/db",
            "postgres://u:secret@h/db?sslmode=secret",
            "postgres://u:secret@a,b/db",
            "postgres://u:%ffsecret@h/db",
            "postgres://u@h/db?hostaddr=secret",
            "postgres://u@h/db?port=secret",
            "postgres://u@h/db?connect_timeout=secret",
            "postgres://u@h/db?channel_binding=secret",
            "u:secret",
        ];
        for url in urls {
            let error = apply(url, &mut Settings::default()).expect_err(url);
            assert!(matches!(error, ReplicationError::Unusable(_)));
            assert!(!error.to_string().contains("secret") && !format!("{error:?}").contains("secret"), "{error}");
        }
    }
}
