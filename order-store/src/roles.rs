//! Roles on PostgreSQL.

/// The names of the three roles on PostgreSQL.
///
/// ```
/// use order_store::{Roles, roles_sql};
///
/// let roles = Roles { application: "webshop".to_owned(), ..Roles::default() };
/// assert!(roles_sql(&roles).contains("grant usage on schema public to \"webshop\""));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roles {
    /// Owns the tables and runs migrations: `order_owner` by default.
    pub owner: String,
    /// The role of [`PostgresOrderStore`](crate::OrderStore): `order_application` by default.
    pub application: String,
    /// The role of the feed: `order_feed` by default.
    pub feed: String,
}

const OWNER: &str = "order_owner";
const APPLICATION: &str = "order_application";
const FEED: &str = "order_feed";

impl Default for Roles {
    fn default() -> Self {
        Self { owner: OWNER.to_owned(), application: APPLICATION.to_owned(), feed: FEED.to_owned() }
    }
}

/// Returns the script that makes the roles and gives them their rights, under these names. A superuser runs it after each
/// migration. It is `roles/postgres.sql` in the crate's folder, which describes how.
#[must_use]
pub fn roles_sql(roles: &Roles) -> String {
    let names = [(OWNER, &roles.owner), (APPLICATION, &roles.application), (FEED, &roles.feed)];
    // In two steps, through marks that no name contains: a new name may be one of the old ones.
    let marked = names.iter().fold(include_str!("../roles/postgres.sql").to_owned(), |script, (name, _)| {
        script
            .replace(&format!("'{name}'"), &format!("\u{1}{name}\u{1}"))
            .replace(&format!(" {name}"), &format!(" \u{2}{name}\u{2}"))
    });
    names.iter().fold(marked, |script, (name, chosen)| {
        let literal = format!("'{}'", chosen.replace('\'', "''"));
        let identifier = format!("\"{}\"", chosen.replace('"', "\"\""));
        script.replace(&format!("\u{1}{name}\u{1}"), &literal).replace(&format!("\u{2}{name}\u{2}"), &identifier)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted() {
        let odd = Roles { owner: "o'wn\"er".to_owned(), application: OWNER.to_owned(), feed: "feed".to_owned() };
        let script = roles_sql(&odd);
        assert!(script.contains("rolname = 'o''wn\"er'"));
        assert!(script.contains("owner to \"o'wn\"\"er\""));
        assert!(script.contains("grant usage on schema public to \"order_owner\""), "the application's");
        assert!(!script.contains(APPLICATION) && !script.contains(FEED), "{script}");
    }
}
