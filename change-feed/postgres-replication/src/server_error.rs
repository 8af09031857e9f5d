//! An error that the server sent.

use std::fmt;

use fallible_iterator::FallibleIterator as _;
use postgres_protocol::message::backend::ErrorFields;

/// An error that the server sent. Its detail is left out, because it can hold values of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    severity: String,
    sqlstate: String,
    message: String,
    hint: Option<String>,
    routine: Option<String>,
}

impl ServerError {
    /// Reads the fields of an ErrorResponse or a NoticeResponse.
    pub(crate) fn read(mut fields: ErrorFields<'_>) -> Self {
        let mut read = Self {
            severity: String::new(),
            sqlstate: String::new(),
            message: String::new(),
            hint: None,
            routine: None,
        };
        // Malformed fields end the loop, and the fields before them are kept.
        while let Ok(Some(field)) = fields.next() {
            let value = String::from_utf8_lossy(field.value_bytes()).into_owned();
            match field.type_() {
                // V is S without translation, and follows it.
                b'S' | b'V' => read.severity = value,
                b'C' => read.sqlstate = value,
                b'M' => read.message = value,
                b'H' => read.hint = Some(value),
                b'R' => read.routine = Some(value),
                _ => {}
            }
        }
        read
    }

    /// The five characters of the SQLSTATE, listed in *PostgreSQL Error Codes*.
    pub fn sqlstate(&self) -> &str {
        &self.sqlstate
    }

    /// The primary message, in the language of the server.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The function of the server's source that raised the error; no translation changes it.
    pub fn routine(&self) -> Option<&str> {
        self.routine.as_deref()
    }

    /// Whether the server has closed the session with this error.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self.severity.as_str(), "FATAL" | "PANIC")
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (SQLSTATE {})", self.message, self.sqlstate)?;
        match &self.hint {
            Some(hint) => write!(f, "; hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ServerError {}

/// Makes an error of these fields, as a server sends it.
#[cfg(test)]
pub(super) fn example(fields: &[(u8, &str)]) -> ServerError {
    use bytes::BytesMut;
    use postgres_protocol::message::backend::Message;

    let mut body = BytesMut::new();
    for (kind, value) in fields {
        body.extend_from_slice(&[*kind]);
        body.extend_from_slice(value.as_bytes());
        body.extend_from_slice(&[0]);
    }
    body.extend_from_slice(&[0]);
    let mut message = BytesMut::from(&b"E"[..]);
    message.extend_from_slice(&u32::try_from(body.len() + 4).expect("a short message").to_be_bytes());
    message.extend_from_slice(&body);
    match Message::parse(&mut message) {
        Ok(Some(Message::ErrorResponse(body))) => ServerError::read(body.fields()),
        _ => panic!("not an error"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_the_message_and_the_hint_are_shown_but_not_the_detail() {
        let error = example(&[
            (b'S', "ERREUR"),
            (b'V', "ERROR"),
            (b'C', "23505"),
            (b'M', "duplicate key"),
            (b'D', "Key (name)=(Anna) already exists."),
            (b'H', "use another"),
        ]);
        assert_eq!(error.to_string(), "duplicate key (SQLSTATE 23505); hint: use another");
        assert!(!format!("{error:?}").contains("Anna"));
    }

    #[test]
    fn a_translated_severity_is_understood() {
        assert!(example(&[(b'S', "FATAL"), (b'V', "FATAL")]).is_final());
        assert!(!example(&[(b'S', "ERREUR"), (b'V', "ERROR")]).is_final());
    }
}
