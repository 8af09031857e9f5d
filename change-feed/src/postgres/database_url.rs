//! A connection URL with one or several hosts.
//!
//! The drivers read a URL with one host. libpq's URLs name several, and say with `target_session_attrs` which of them is
//! meant; both are resolved here, so that every driver is given plain URLs.

use crate::source::SourceError;

/// A connection URL with one or several hosts. No output shows it, since it may hold a password.
#[derive(Clone)]
pub(crate) struct DatabaseUrl {
    /// A URL for each host.
    addresses: Vec<String>,
    wants_primary: bool,
}

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatabaseUrl").field("addresses", &self.addresses.len()).finish_non_exhaustive()
    }
}

impl DatabaseUrl {
    /// Reads a URL as libpq does: `postgres://user:password@one:5432,two:5433/database?target_session_attrs=read-write`, also
    /// with `host=one,two&port=5432,5433` in the query.
    ///
    /// What is wrong within one host's URL is left to the drivers. No error repeats the URL.
    pub(crate) fn parse(url: &str) -> Result<Self, SourceError> {
        let (rest, query) = url.split_once('?').unwrap_or((url, ""));
        let mut wants_primary = false;
        let mut in_query = Hosts::default();
        let mut parameters: Vec<&str> = Vec::new();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("target_session_attrs", value)) => wants_primary = wants_primary_by(value)?,
                Some(("host", value)) if is_list(value) => in_query.hosts = list(value),
                Some(("port", value)) if is_list(value) => in_query.ports = list(value),
                _ => parameters.push(parameter),
            }
        }
        let (scheme, rest) = rest.split_once("://").unwrap_or(("", rest));
        let (authority, path) = rest.split_once('/').map_or((rest, String::new()), |(a, path)| (a, format!("/{path}")));
        let (credentials, hosts) =
            authority.rsplit_once('@').map_or((String::new(), authority), |(user, hosts)| (format!("{user}@"), hosts));
        let of_authority = hosts.split(',').map(|host| (host.to_owned(), String::new()));
        let of_query = in_query.pairs()?.into_iter().map(|query| (hosts.to_owned(), query));
        let addresses: Vec<(String, String)> = match in_query.hosts.is_empty() {
            true => of_authority.collect(),
            false => of_query.collect(),
        };
        let addresses = addresses.into_iter().map(|(host, own)| {
            if scheme.is_empty() {
                return url.to_owned();
            }
            let query: Vec<&str> =
                parameters.iter().copied().chain((!own.is_empty()).then_some(own.as_str())).collect();
            let mark = if query.is_empty() { "" } else { "?" };
            format!("{scheme}://{credentials}{host}{path}{mark}{}", query.join("&"))
        });
        Ok(Self { addresses: addresses.collect(), wants_primary })
    }

    /// A URL for each host, in their order.
    pub(crate) fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Whether only a server that takes writes is meant.
    pub(crate) fn wants_primary(&self) -> bool {
        self.wants_primary || self.addresses.len() > 1
    }
}

/// Hosts and ports in lists of the query.
#[derive(Default)]
struct Hosts {
    hosts: Vec<String>,
    ports: Vec<String>,
}

impl Hosts {
    /// The parameters of each host.
    fn pairs(&self) -> Result<Vec<String>, SourceError> {
        let ports = match (self.ports.len(), self.hosts.len()) {
            (0, _) => None,
            (ports, hosts) if ports == hosts => Some(&self.ports),
            _ => return Err(malformed("write one port, or one for each host")),
        };
        let pair = |(place, host): (usize, &String)| match ports.and_then(|ports| ports.get(place)) {
            Some(port) => format!("host={host}&port={port}"),
            None => format!("host={host}"),
        };
        Ok(self.hosts.iter().enumerate().map(pair).collect())
    }
}

fn is_list(value: &str) -> bool {
    value.contains(',') || value.to_ascii_lowercase().contains("%2c")
}

fn list(value: &str) -> Vec<String> {
    value.replace("%2C", ",").replace("%2c", ",").split(',').map(str::to_owned).collect()
}

fn wants_primary_by(target_session_attrs: &str) -> Result<bool, SourceError> {
    match target_session_attrs {
        "any" => Ok(false),
        "read-write" | "primary" => Ok(true),
        _ => {
            Err(malformed("write target_session_attrs=read-write, primary or any: changes are captured from a primary"))
        }
    }
}

fn malformed(remedy: &str) -> SourceError {
    SourceError::fatal("the database's URL is malformed", remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> (Vec<String>, bool) {
        let url = DatabaseUrl::parse(url).expect(url);
        (url.addresses().to_vec(), url.wants_primary())
    }

    #[test]
    fn a_url_with_one_host_stays_as_it_is() {
        for url in [
            "postgres://u:p@h:1/d?sslmode=require&host=%2Frun%2Fpg",
            "postgres:///d?host=/run/pg&port=6000",
            "postgres://u:p%2Cq@[::1]:6/d",
            "nonsense",
        ] {
            assert_eq!(read(url), (vec![url.to_owned()], false));
        }
    }

    #[test]
    fn each_host_gets_a_url_of_its_own_and_the_primary_is_meant() {
        let expected = ["postgres://u:p@a:1/d?sslmode=require", "postgres://u:p@b/d?sslmode=require"];
        let url = "postgres://u:p@a:1,b/d?sslmode=require&target_session_attrs=read-write";
        assert_eq!(read(url), (expected.map(str::to_owned).to_vec(), true));
        let expected = ["postgres://u@/d?host=a&port=1", "postgres://u@/d?host=b&port=2"];
        assert_eq!(read("postgres://u@/d?host=a%2Cb&port=1,2"), (expected.map(str::to_owned).to_vec(), true));
        assert_eq!(read("postgres://h/d?target_session_attrs=primary"), (vec!["postgres://h/d".to_owned()], true));
        assert_eq!(read("postgres://h/d?target_session_attrs=any"), (vec!["postgres://h/d".to_owned()], false));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_without_showing_the_url() {
        for url in
            ["postgres://u:secret@h/d?target_session_attrs=standby", "postgres://u:secret@/d?host=a,b,c&port=1,2"]
        {
            let error = DatabaseUrl::parse(url).expect_err(url);
            assert!(!format!("{error} {error:?}").contains("secret"));
        }
        assert!(!format!("{:?}", DatabaseUrl::parse("postgres://u:secret@h/d").expect("a URL")).contains("secret"));
    }
}
