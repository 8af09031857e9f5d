//! The servers that a scenario runs on.

use test_support::{Instance, required};

use super::assignment::{Capture, Mode};

/// The servers of a scenario: its own, or those that all tests share.
pub(crate) struct Site {
    pub(crate) database_url: String,
    pub(crate) brokers: String,
    _own: Option<Instance>,
}

impl Site {
    /// With so many brokers of this scenario's own, or what is shared; of a role that may capture so.
    pub(crate) async fn choose(scenario: &str, capture: Capture, mode: Mode, own_brokers: Option<u32>) -> Self {
        let Some(brokers) = own_brokers else {
            let (database_url, brokers) = (required(capture.url_variable()), required("KAFKA_BROKERS"));
            return Self { database_url, brokers, _own: None };
        };
        let name = format!("crash-{scenario}-{capture:?}-{mode:?}").to_lowercase();
        let own = Instance::with_brokers(&name, brokers).await;
        let (database_url, brokers) = (own.url(capture.url_variable()).to_owned(), own.brokers().to_owned());
        Self { database_url, brokers, _own: Some(own) }
    }

    pub(crate) fn count_brokers(&self) -> usize {
        self.brokers.split(',').count()
    }
}
