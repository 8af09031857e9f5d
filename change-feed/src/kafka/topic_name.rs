//! Names that Kafka takes for topics.

/// Why a name can't be that of a topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Kafka takes no topic of the name {shown:?}: {reason}")]
pub struct InvalidTopicName {
    shown: String,
    reason: &'static str,
}

/// The longest name, in bytes.
const MAX_LEN_BYTES: usize = 249;
/// The longest part of a name that its error shows, in characters.
const SHOWN_MAX_CHARS: usize = 80;

/// Checks that Kafka takes a name for a topic: 1 to 249 ASCII letters, digits, `.`, `_` and `-`, and neither `.` nor `..`.
///
/// A feed names its topics by its tables, whose names may hold anything: ask this before anything is made for it.
///
/// ```
/// use change_feed::kafka::check_topic_name;
///
/// assert!(check_topic_name("shop.public.orders").is_ok());
/// assert!(check_topic_name("shop.public.Größe").is_err());
/// ```
pub fn check_topic_name(name: &str) -> Result<(), InvalidTopicName> {
    let is_of_topics = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let reason = if name.is_empty() {
        "it is empty"
    } else if name == "." || name == ".." {
        "\".\" and \"..\" are no names"
    } else if name.len() > MAX_LEN_BYTES {
        "it is longer than 249 characters"
    } else if !name.bytes().all(is_of_topics) {
        "only ASCII letters, digits, \".\", \"_\" and \"-\" can be in it"
    } else {
        return Ok(());
    };
    Err(InvalidTopicName { shown: name.chars().take(SHOWN_MAX_CHARS).collect(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_that_kafka_takes_are_taken_and_no_others() {
        let longest = "a".repeat(MAX_LEN_BYTES);
        for name in ["a", "A.b_c-9", "...", &longest] {
            assert_eq!(check_topic_name(name), Ok(()), "{name}");
        }
        let too_long = "a".repeat(MAX_LEN_BYTES + 1);
        for name in ["", ".", "..", "a b", "a/b", "ä", "a\0", "a:b", "a\"b", &too_long] {
            let error = check_topic_name(name).expect_err("Kafka refuses it");
            assert!(error.to_string().len() < 200, "{error}");
        }
    }
}
