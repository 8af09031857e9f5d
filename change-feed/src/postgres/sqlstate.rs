//! The SQLSTATEs of PostgreSQL, by what a feed does about them: the one table of them.

/// What to do about an error with this SQLSTATE; `None` if it passes by itself, so that the same is tried again.
///
/// The codes are those of the manual's appendix A. One that is not listed does not pass: trying it again for ever would say
/// nothing, while the slot keeps the server's log.
pub(crate) fn remedy(code: &str) -> Option<&'static str> {
    if passes(code) {
        return None;
    }
    Some(match (code, code.get(..2).unwrap_or_default()) {
        ("42501", _) => "grant the feed's role what it lacks: SELECT on the outbox, and USAGE on its schema",
        ("42P01" | "42703" | "3F000", _) => {
            "install the outbox (see change_feed::outbox::Guard), or name the right one"
        }
        (_, "28") => "give the feed a role and a password that this server accepts",
        ("3D000" | "57P04", _) => "name a database that exists",
        ("53400", _) => "let an administrator raise the limit that the server names, such as max_replication_slots",
        (_, "22") => "correct the value that the server names: text must convert to UTF-8",
        (_, "P0" | "38" | "39" | "09" | "27") => {
            "a trigger or function of the database refused the statement: let its owner allow it for the feed's role, or \
             run the statement themselves"
        }
        (_, "42") => "use PostgreSQL 14 or later; if it is, report this as a fault of change-feed",
        _ => "correct what the server names, and start the feed again",
    })
}

/// Whether an error with this SQLSTATE passes by itself.
fn passes(code: &str) -> bool {
    match code {
        // A read-only transaction: the server is a standby, until it is promoted or its address moves.
        "25006" |
        // Sessions and transactions that the server ended for their age.
        "25P03" | "25P04" |
        // An object in use, a lock not available, a server that is in recovery.
        "55006" | "55P03" | "55000" |
        "58030" => true,
        "53400" | "57P04" => false,
        _ => matches!(code.get(..2), Some("08" | "40" | "53" | "57")),
    }
}

/// Whether the role lacks a privilege.
pub(crate) fn is_privilege_missing(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(refusal) if refusal.code().as_deref() == Some("42501"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_tried_again_and_nothing_else() {
        for code in
            ["08006", "25006", "25P03", "25P04", "40001", "40P01", "53100", "53300", "55P03", "57014", "57P01", "57P03"]
        {
            assert_eq!(remedy(code), None, "{code}");
        }
        for code in [
            "22021", "22P05", "28P01", "3D000", "42501", "42P01", "42601", "53400", "57P04", "P0001", "XX000", "ZZ999",
            "",
        ] {
            assert!(remedy(code).is_some(), "{code}");
        }
    }
}
