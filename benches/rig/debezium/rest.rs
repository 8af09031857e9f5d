//! The worker's REST interface, as far as it takes to give a distributed worker its connector.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::outcome::Outcome;

const ANSWER_LIMIT: Duration = Duration::from_secs(30);
const CONFLICT: u16 = 409;
const NOT_FOUND: u16 = 404;
const UNAVAILABLE: u16 = 500;

/// The result of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Done,
    /// The worker is still starting, or balancing its work.
    NotYet,
}

/// Gives the worker at this port a connector.
pub(super) async fn put_connector(port: u16, name: &str, configuration: &str) -> Outcome<Answer> {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await else { return Ok(Answer::NotYet) };
    let request = format!(
        "PUT /connectors/{name}/config HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{configuration}",
        configuration.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    timeout(ANSWER_LIMIT, stream.read_to_end(&mut answer)).await??;
    judge(&String::from_utf8_lossy(&answer))
}

fn judge(answer: &str) -> Outcome<Answer> {
    let status = answer.split_whitespace().nth(1).and_then(|status| status.parse::<u16>().ok());
    match status {
        Some(200..300) => Ok(Answer::Done),
        None | Some(CONFLICT | NOT_FOUND | UNAVAILABLE..) => Ok(Answer::NotYet),
        // It shows the configuration, with the password.
        Some(status) => Err(format!("the worker refuses the connector with status {status}").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_is_starting_is_asked_again_and_a_refusal_ends_it() {
        assert_eq!(judge("HTTP/1.1 201 Created\r\n\r\n{}").expect("an answer"), Answer::Done);
        assert_eq!(judge("HTTP/1.1 409 Conflict\r\n\r\n{}").expect("an answer"), Answer::NotYet);
        assert_eq!(judge("").expect("an answer"), Answer::NotYet);
        assert!(
            judge("HTTP/1.1 400 Bad Request\r\n\r\nsecret").is_err_and(|error| !error.to_string().contains("secret"))
        );
    }
}
