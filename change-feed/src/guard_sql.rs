//! The scripts of a guard in the dialect of each database.

use crate::outbox::dialect::Dialect;
use crate::outbox::guard::Guard;
use crate::{postgres, sqlite};

impl Guard {
    /// Writes the whole script: the outbox, the rules on the tables that exist, and the owner's functions on the outbox.
    ///
    /// The same guard gives the same text, byte for byte, so that a test can compare a migration with it. It expects the
    /// aggregate's and the children's tables without rows, and is meant to run in one transaction. Tables that have rows
    /// are adopted, which needs a connection: `Guard::adopt`.
    pub fn sql(&self, dialect: Dialect) -> String {
        format!("{}\n{}", self.outbox_sql(dialect), self.rules_sql(dialect))
    }

    /// Writes the first part of the script: the outbox table.
    pub fn outbox_sql(&self, dialect: Dialect) -> String {
        match dialect {
            Dialect::Postgres => postgres::guard::script::outbox(self),
            Dialect::Sqlite => sqlite::guard::script::outbox(self),
        }
    }

    /// Writes the second part of the script: the rules on tables that exist, the outbox among them.
    pub fn rules_sql(&self, dialect: Dialect) -> String {
        match dialect {
            Dialect::Postgres => postgres::guard::script::rules(self),
            Dialect::Sqlite => sqlite::guard::script::rules(self),
        }
    }

    /// Writes the script that removes the rules. Tables, their rows and the outbox stay.
    pub fn remove_sql(&self, dialect: Dialect) -> String {
        match dialect {
            Dialect::Postgres => postgres::guard::script::remove(self),
            Dialect::Sqlite => sqlite::guard::script::remove(self),
        }
    }
}
