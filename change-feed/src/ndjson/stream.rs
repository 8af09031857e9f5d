//! Lines to something that takes bytes and remembers nothing.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Session, blocking};
use crate::publisher::{PublishError, Resumed};

/// Where the lines go.
#[derive(Clone)]
pub(super) struct Stream {
    sink: Arc<Mutex<Sink>>,
    session: Session,
}

struct Sink {
    writer: Box<dyn Write + Send>,
    /// The last write failed: it may have left the beginning of a line.
    torn: bool,
}

impl Stream {
    pub(super) fn new(writer: Box<dyn Write + Send>) -> Self {
        Self { sink: Arc::new(Mutex::new(Sink { writer, torn: false })), session: Session::default() }
    }

    pub(super) fn resume(&self) -> Resumed {
        self.session.renew();
        Resumed::without_position("ndjson-stream")
    }

    pub(super) async fn write(&self, lines: Vec<u8>) -> Result<(), PublishError> {
        let Self { sink, session } = self.clone();
        let number = session.number();
        blocking(move || {
            let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
            session.check(number)?;
            sink.write(&lines).map_err(next_move)
        })
        .await
    }
}

impl Sink {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let torn = std::mem::replace(&mut self.torn, true);
        if torn {
            self.writer.write_all(b"\n")?;
        }
        self.writer.write_all(lines)?;
        self.writer.flush()?;
        self.torn = false;
        Ok(())
    }
}

fn next_move(error: io::Error) -> PublishError {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return PublishError::Fatal {
            what: "the reader of the output went away: start the feed again with a reader that stays".to_owned(),
            source: Some(error.into()),
        };
    }
    PublishError::transient(error)
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}
