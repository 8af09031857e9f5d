//! The configuration file.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::options::{Options, TopicsOf};
use crate::outcome::UsageError;

/// The contents of a configuration file.
#[derive(Default)]
pub(crate) struct ConfigurationFile {
    pub(crate) options: Options,
    pub(crate) create: bool,
    pub(crate) topics_of: TopicsOf,
    /// Properties of librdkafka. Some are secret.
    pub(crate) kafka: BTreeMap<String, String>,
}

impl ConfigurationFile {
    pub(crate) fn read(path: &Path) -> Result<Self, UsageError> {
        let shown = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|error| UsageError::new(format!("--config {shown}: the file can't be read: {error}")))?;
        // Without the text of the line, which may hold a password.
        Self::parse(&text).map_err(|words| UsageError::new(format!("--config {shown}: {words}")))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut table: toml::Table = text.parse().map_err(|error: toml::de::Error| located(text, &error))?;
        let kafka = table.remove("kafka").map(properties).transpose()?.unwrap_or_default();
        let topics_of = table.remove("topic-of").map(topics_of).transpose()?.unwrap_or_default();
        let create = match table.remove("create") {
            None => false,
            Some(toml::Value::Boolean(create)) => create,
            Some(_) => return Err("create must be true or false".to_owned()),
        };
        let options = Options::deserialize(table).map_err(|error| error.message().to_owned())?;
        Ok(Self { options, create, topics_of, kafka })
    }
}

fn located(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map(|span| text[..span.start.min(text.len())].lines().count().max(1));
    match line {
        Some(line) => format!("line {line}: {}", error.message()),
        None => error.message().to_owned(),
    }
}

fn topics_of(table: toml::Value) -> Result<TopicsOf, String> {
    TopicsOf::deserialize(table).map_err(|_| {
        "topic-of must be a table of topics, like \"public.prices\" = \"prices\", with the table's name in quotes"
            .to_owned()
    })
}

fn properties(table: toml::Value) -> Result<BTreeMap<String, String>, String> {
    let toml::Value::Table(table) = table else {
        return Err("kafka must be a table of librdkafka's properties".to_owned());
    };
    table.into_iter().map(|(name, value)| Ok((name.clone(), property(&name, value)?))).collect()
}

fn property(name: &str, value: toml::Value) -> Result<String, String> {
    match value {
        toml::Value::String(text) => Ok(text),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Float(number) => Ok(number.to_string()),
        toml::Value::Boolean(truth) => Ok(truth.to_string()),
        _ => Err(format!("kafka.{name:?} must be a string, a number, true or false; write a name with dots in quotes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Delivery;

    #[test]
    fn a_file_gives_the_options_of_the_command_line_and_the_clients_properties() {
        let text = r#"
            feed = "orders"
            tables = ["public.a", "public.b"]
            topic-prefix = "store"
            delivery = "idempotent"
            create = true
            [topic-of]
            "public.b" = "b"
            [kafka]
            "security.protocol" = "ssl"
            "socket.keepalive.enable" = true
            "linger.ms" = 3
        "#;
        let file = ConfigurationFile::parse(text).expect("a good file");
        assert_eq!(file.options.tables.as_deref(), Some(&["public.a".to_owned(), "public.b".to_owned()][..]));
        assert_eq!((file.create, file.options.delivery), (true, Some(Delivery::Idempotent)));
        assert_eq!(file.topics_of, [("public.b".to_owned(), "b".to_owned())].into());
        let kafka: Vec<_> = file.kafka.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(kafka, [("linger.ms", "3"), ("security.protocol", "ssl"), ("socket.keepalive.enable", "true")]);
    }

    #[test]
    fn an_error_names_what_is_wrong_and_shows_no_value() {
        let wrong = |text: &str| ConfigurationFile::parse(text).err().expect("a wrong file");
        assert!(wrong("feeds = 'orders'").contains("feeds"));
        assert!(wrong("feed = 'Or ders'").contains("can't name a feed"));
        assert!(wrong("kafka = 'x'").contains("table"));
        assert!(wrong("[topic-of]\npublic.prices = 'prices'").contains("quotes"));
        assert!(wrong("[kafka]\nsasl.password = 'secret'").contains("quotes"));
        let cut = wrong("feed = 'orders'\n[kafka]\n\"sasl.password\" = 'secret");
        assert!(cut.contains("line 3") && !cut.contains("secret"), "{cut}");
    }
}
