//! The configuration file.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::plan::UsageError;
use crate::settings::Settings;

/// What a configuration file says.
#[derive(Debug, Default)]
pub(crate) struct ConfigurationFile {
    pub(crate) settings: Settings,
    pub(crate) create: bool,
    /// Properties of librdkafka.
    pub(crate) kafka: BTreeMap<String, String>,
}

impl ConfigurationFile {
    pub(crate) fn read(path: &Path) -> Result<Self, UsageError> {
        let shown = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|error| UsageError::new(format!("--config {shown}: can't be read: {error}")))?;
        // Not with the line that is wrong: a password may stand there.
        Self::parse(&text).map_err(|words| UsageError::new(format!("--config {shown}: {words}")))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut table: toml::Table = text.parse().map_err(|error: toml::de::Error| located(text, &error))?;
        let kafka = table.remove("kafka").map(properties).transpose()?.unwrap_or_default();
        let create = match table.remove("create") {
            None => false,
            Some(toml::Value::Boolean(create)) => create,
            Some(_) => return Err("create is true or false".to_owned()),
        };
        let settings = Settings::deserialize(table).map_err(|error| error.message().to_owned())?;
        Ok(Self { settings, create, kafka })
    }
}

fn located(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map(|span| text[..span.start.min(text.len())].lines().count().max(1));
    match line {
        Some(line) => format!("line {line}: {}", error.message()),
        None => error.message().to_owned(),
    }
}

fn properties(table: toml::Value) -> Result<BTreeMap<String, String>, String> {
    let toml::Value::Table(table) = table else {
        return Err("kafka is a table of librdkafka's properties".to_owned());
    };
    table.into_iter().map(|(name, value)| Ok((property(&name, value)?, name))).map(swapped).collect()
}

fn property(name: &str, value: toml::Value) -> Result<String, String> {
    match value {
        toml::Value::String(text) => Ok(text),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Float(number) => Ok(number.to_string()),
        toml::Value::Boolean(truth) => Ok(truth.to_string()),
        _ => Err(format!("kafka.{name:?} is a text, a number, true or false; write a name with dots in quotes")),
    }
}

fn swapped<A, B>(pair: Result<(A, B), String>) -> Result<(B, A), String> {
    pair.map(|(a, b)| (b, a))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Delivery;

    #[test]
    fn a_file_says_what_the_command_line_can_say_and_the_clients_properties() {
        let text = r#"
            feed = "orders"
            tables = ["public.a", "public.b"]
            topic-prefix = "store"
            delivery = "idempotent"
            create = true
            [kafka]
            "security.protocol" = "ssl"
            "socket.keepalive.enable" = true
            "linger.ms" = 3
        "#;
        let file = ConfigurationFile::parse(text).expect("a good file");
        assert_eq!(file.settings.tables.as_deref(), Some(&["public.a".to_owned(), "public.b".to_owned()][..]));
        assert_eq!((file.create, file.settings.delivery), (true, Some(Delivery::Idempotent)));
        let kafka: Vec<_> = file.kafka.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(kafka, [("linger.ms", "3"), ("security.protocol", "ssl"), ("socket.keepalive.enable", "true")]);
    }

    #[test]
    fn what_is_wrong_is_named_without_what_stands_there() {
        let wrong = |text: &str| ConfigurationFile::parse(text).expect_err("a wrong file");
        assert!(wrong("feeds = 'orders'").contains("feeds"));
        assert!(wrong("feed = 'Or ders'").contains("can't name a feed"));
        assert!(wrong("kafka = 'x'").contains("table"));
        assert!(wrong("[kafka]\nsasl.password = 'secret'").contains("quotes"));
        let cut = wrong("feed = 'orders'\n[kafka]\n\"sasl.password\" = 'secret");
        assert!(cut.contains("line 3") && !cut.contains("secret"), "{cut}");
    }
}
