//! Where a Kafka cluster is.

use std::fmt;

use crate::options::UsageError;

/// The addresses of some brokers of a cluster, as Kafka's clients take them: `HOST:PORT,HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Brokers(String);

impl Brokers {
    /// Checks a list of addresses.
    pub(crate) fn parse(list: &str) -> Result<Self, UsageError> {
        let addresses: Vec<&str> = list.split(',').map(str::trim).collect();
        match addresses.iter().find(|address| !is_address(address)) {
            None => Ok(Self(addresses.join(","))),
            Some(wrong) => Err(UsageError::new(format!(
                "KAFKA_BROKERS: {wrong:?} is not HOST:PORT; several are separated by commas, like a:9092,b:9092"
            ))),
        }
    }

    /// The list, without spaces.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Brokers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A host and a port other than 0. A scheme, a path or a user name are another program's idea of an address.
fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let bracketed = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.' | b'%');
    let host_is_right = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.bytes().all(bracketed),
        None => host.bytes().all(plain),
    };
    !host.is_empty() && host_is_right && port.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_addresses_is_taken_and_spaces_are_left_out() {
        for (text, taken) in [
            ("localhost:9092", "localhost:9092"),
            ("a.example:1, b-2:65535", "a.example:1,b-2:65535"),
            ("[::1]:9092", "[::1]:9092"),
        ] {
            assert_eq!(Brokers::parse(text).expect(text).as_str(), taken);
        }
    }

    #[test]
    fn whatever_is_no_list_of_addresses_is_refused() {
        for text in
            ["localhost", "localhost:", ":9092", "a:0", "a:65536", "a:1,,b:1", "kafka://a:1", "u:p@a:1", "a b:1"]
        {
            assert!(Brokers::parse(text).is_err(), "{text}");
        }
    }
}
