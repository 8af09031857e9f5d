//! Worlds on the server that the tests share.

use std::time::Duration;

use crate::logical::world::{PATIENCE, World};

/// The URL that a test runs with.
pub(crate) fn required(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set: run scripts/test, or eval \"$(scripts/services env)\""))
}

impl World {
    /// A new database with an outbox, by a role that may replicate.
    pub(crate) async fn new() -> Self {
        Self::on(&required("ADMIN_DATABASE_URL")).await
    }

    /// A column of the slot.
    pub(crate) async fn slot(&self, column: &str) -> Option<String> {
        self.text(&format!(
            "select (select {column}::text from pg_replication_slots where slot_name = '{}')",
            self.feed
        ))
        .await
    }

    pub(crate) async fn until(&self, query: &str) {
        let holds = format!("select ({query})::text");
        let wait = async {
            while self.text(&holds).await.as_deref() != Some("true") {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never: {query}"));
    }
}
