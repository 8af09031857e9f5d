//! Where a Kafka cluster is: a list of addresses, checked before anybody connects.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The longest host name of the DNS, in bytes.
const HOST_MAX_BYTES: usize = 253;
/// The longest part of a host name between two dots, in bytes.
const LABEL_MAX_BYTES: usize = 63;

/// The addresses of one or more brokers of a cluster, as Kafka's clients take them: `HOST:PORT,HOST:PORT`.
///
/// librdkafka takes any text for such a list and then tries for ever to connect to what it made of it. So the text is
/// checked here first. A host is a name, an IPv4 address, or an IPv6 address in brackets; the port is required. TLS and
/// SASL are properties of the client, not parts of an address.
///
/// ```
/// use change_feed::kafka::BrokerList;
///
/// let brokers: BrokerList = "kafka-1:9092, [::1]:9092".parse()?;
/// assert_eq!(brokers.as_str(), "kafka-1:9092,[::1]:9092");
/// assert!("kafka://user:password@kafka-1:9092".parse::<BrokerList>().is_err());
/// # Ok::<(), change_feed::kafka::InvalidBrokerList>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BrokerList(String);

/// A text that is not a list of brokers. The error never repeats the text: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("address {number} {fault}; a list of brokers is HOST:PORT, or several with commas between, like a:9092,b:9092")]
pub struct InvalidBrokerList {
    /// Which address of the list is wrong, counted from 1.
    number: usize,
    fault: AddressFault,
}

/// What is wrong with an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum AddressFault {
    #[error("is empty")]
    Empty,
    #[error("has a user name or a password, which belong into the client's SASL settings")]
    Credentials,
    #[error("is a URL, with a scheme or a path")]
    Url,
    #[error("has no port")]
    NoPort,
    #[error("has a port that is not a number from 1 to 65535")]
    Port,
    #[error("has an IPv6 address that is malformed or not in brackets")]
    Ipv6,
    #[error("has a host that is neither a name nor an IP address")]
    Host,
}

impl BrokerList {
    /// Checks a list of addresses. Spaces around an address are left out.
    ///
    /// # Errors
    /// The first address that is wrong, by its number.
    pub fn parse(list: &str) -> Result<Self, InvalidBrokerList> {
        let addresses: Vec<&str> = list.split(',').map(str::trim).collect();
        for (index, address) in addresses.iter().enumerate() {
            check(address).map_err(|fault| InvalidBrokerList { number: index + 1, fault })?;
        }
        Ok(Self(addresses.join(",")))
    }

    /// The list, without spaces.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BrokerList {
    type Err = InvalidBrokerList;

    fn from_str(list: &str) -> Result<Self, InvalidBrokerList> {
        Self::parse(list)
    }
}

impl fmt::Display for BrokerList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check(address: &str) -> Result<(), AddressFault> {
    if address.is_empty() {
        return Err(AddressFault::Empty);
    }
    if address.contains('@') {
        return Err(AddressFault::Credentials);
    }
    if address.contains('/') {
        return Err(AddressFault::Url);
    }
    let (host, port) = address.rsplit_once(':').ok_or(AddressFault::NoPort)?;
    match host.strip_prefix('[') {
        Some(rest) => check_ipv6(rest.strip_suffix(']').ok_or(AddressFault::Ipv6)?)?,
        None if host.contains(':') => return Err(AddressFault::Ipv6),
        None => check_host(host)?,
    }
    // `parse` alone would take a sign.
    let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let is_port = is_number && port.parse::<u16>().is_ok_and(|port| port > 0);
    if is_port { Ok(()) } else { Err(AddressFault::Port) }
}

/// An IPv6 address, with or without a zone like `%eth0`.
fn check_ipv6(text: &str) -> Result<(), AddressFault> {
    let (address, zone) = text.split_once('%').unwrap_or((text, "0"));
    let zone_is_name = !zone.is_empty() && zone.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if zone_is_name && address.parse::<Ipv6Addr>().is_ok() { Ok(()) } else { Err(AddressFault::Ipv6) }
}

fn check_host(host: &str) -> Result<(), AddressFault> {
    // A name may end with the dot of the DNS's root.
    let name = host.strip_suffix('.').unwrap_or(host);
    // Underscores are in no host name of the DNS, but in those of Docker Compose.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_label = |label: &str| {
        (1..=LABEL_MAX_BYTES).contains(&label.len())
            && label.bytes().all(plain)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // A name whose last part is a number would be taken for an IPv4 address, so it must be one.
    let is_numeric = name.rsplit('.').next().is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
    let is_right = if is_numeric { name.parse::<Ipv4Addr>().is_ok() } else { name.split('.').all(is_label) };
    if is_right && name.len() <= HOST_MAX_BYTES { Ok(()) } else { Err(AddressFault::Host) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_addresses_is_accepted_and_spaces_are_left_out() {
        for (text, accepted) in [
            ("localhost:9092", "localhost:9092"),
            ("a.example:1, b-2:65535", "a.example:1,b-2:65535"),
            ("kafka_1:9092\n", "kafka_1:9092"),
            ("kafka.example.:9092", "kafka.example.:9092"),
            ("127.0.0.1:9092", "127.0.0.1:9092"),
            ("[::1]:9092,[fe80::1%eth0]:9092", "[::1]:9092,[fe80::1%eth0]:9092"),
        ] {
            assert_eq!(BrokerList::parse(text).expect(text).as_str(), accepted);
        }
    }

    #[test]
    fn any_other_text_is_refused_with_the_address_that_is_wrong_and_without_a_secret() {
        let long = "a".repeat(64);
        for (text, words) in [
            ("", "address 1 is empty"),
            (" ", "address 1 is empty"),
            (",", "address 1 is empty"),
            ("a:1,,b:1", "address 2 is empty"),
            ("a:1,", "address 2 is empty"),
            ("localhost", "address 1 has no port"),
            ("a:1,s3cret", "address 2 has no port"),
            ("localhost:", "port that is not a number"),
            ("a:0", "from 1 to 65535"),
            ("a:65536", "from 1 to 65535"),
            ("a:+9092", "from 1 to 65535"),
            ("a:-1", "from 1 to 65535"),
            ("a:s3cret", "from 1 to 65535"),
            ("a:1;b:2", "IPv6"),
            ("a:1 b:2", "IPv6"),
            (":9092", "host"),
            ("a b:1", "host"),
            ("-a:1", "host"),
            ("a..b:1", "host"),
            ("bücher.example:1", "host"),
            ("999.1.1.1:9092", "host"),
            ("1.2.3:9092", "host"),
            (&format!("{long}:1"), "host"),
            ("::1:9092", "not in brackets"),
            ("[::1:9092", "IPv6"),
            ("[s3cret]:9092", "IPv6"),
            ("[]:9092", "IPv6"),
            ("[::1]", "IPv6"),
            ("kafka://a:1", "URL"),
            ("SASL_SSL://a:1", "URL"),
            ("a:9092/s3cret", "URL"),
            ("user:s3cret@a:1", "password"),
            ("a:1,kafka://user:s3cret@b:1", "address 2 has a user name"),
        ] {
            let error = BrokerList::parse(text).expect_err(text);
            for shown in [error.to_string(), format!("{error:?}")] {
                assert!(!shown.contains("s3cret"), "{shown}");
            }
            assert!(error.to_string().contains(words), "{text}: {error}");
        }
    }
}
