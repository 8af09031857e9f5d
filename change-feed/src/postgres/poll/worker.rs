//! Runs the tasks of the reader.

use std::mem;

use futures::future::BoxFuture;

use super::window_reader::{Poll, WindowReader};
use crate::feed::checkpoint::Checkpoint;
use crate::feed::identity::{FeedName, SourceIdentity};
use crate::feed::part::Changes;
use crate::feed::position::Position;
use crate::outbox::pace::Pace;
use crate::outbox::pace::Wake;
use crate::source::Elected;
use crate::source::SourceError;

/// Runs the tasks of the reader.
///
/// A call that is dropped must not leave half a conversation with the server behind, and must not lose the election
/// with the connection. So a task is kept here, apart from the call that began it, and the next call
/// ends it.
pub(super) struct PollWorker {
    state: State,
    pace: Pace,
    identity: Option<SourceIdentity>,
    /// Found, and not yet given.
    found: Option<Changes>,
    checkpoint: Option<Checkpoint>,
}

enum State {
    NotElected,
    Ready(Box<WindowReader>),
    Busy(BoxFuture<'static, (Box<WindowReader>, Result<Outcome, SourceError>)>),
}

/// What a reader can be told to do.
pub(super) enum Task {
    Start(Position),
    Poll,
    /// Is the session still there, and with it the election?
    Confirm,
    /// What is stored of the feed?
    Recall(FeedName),
    Release(FeedName),
}

enum Outcome {
    Started,
    Polled(Poll),
    Recalled(Option<Checkpoint>),
    Done,
}

impl PollWorker {
    /// Without an election.
    pub(super) fn new() -> Self {
        Self { state: State::NotElected, pace: Pace::new(), identity: None, found: None, checkpoint: None }
    }

    /// With the reader whose session holds the election.
    pub(super) fn elected(reader: WindowReader, identity: SourceIdentity) -> Self {
        Self { state: State::Ready(Box::new(reader)), identity: Some(identity), ..Self::new() }
    }

    /// What was found and not yet given.
    pub(super) fn take_found(&mut self) -> Option<Changes> {
        self.found.take()
    }

    /// What [`Task::Recall`] brought.
    pub(super) fn recalled(&mut self) -> Option<Elected> {
        Some(Elected::new(self.identity.clone()?, self.checkpoint.take()).still_held())
    }

    /// Waits until it is time for the next poll.
    pub(super) async fn rest(&mut self, wake: &Wake) {
        self.pace.rest(wake).await;
    }

    /// Runs a task after the one that is under way. An error leaves no reader.
    pub(super) async fn run(&mut self, task: Task) -> Result<(), SourceError> {
        self.settle().await?;
        let mut reader = match mem::replace(&mut self.state, State::NotElected) {
            State::Ready(reader) => reader,
            State::NotElected | State::Busy(_) => return Err(SourceError::transient("this relay is not elected")),
        };
        // A poll that somebody else ended has found something: that is given first.
        if self.found.is_some() && matches!(task, Task::Poll) {
            self.state = State::Ready(reader);
            return Ok(());
        }
        self.state = State::Busy(Box::pin(async move {
            let outcome = perform(&mut reader, task).await;
            (reader, outcome)
        }));
        self.settle().await
    }

    /// Ends the task that is under way, and keeps its outcome.
    async fn settle(&mut self) -> Result<(), SourceError> {
        let State::Busy(work) = &mut self.state else {
            return Ok(());
        };
        let (reader, outcome) = work.await;
        self.state = State::NotElected;
        let outcome = outcome?;
        self.state = State::Ready(reader);
        match outcome {
            Outcome::Started => {
                self.found = None;
                self.pace.active();
            }
            Outcome::Polled(Poll::Found(changes)) => {
                self.found = Some(changes);
                self.pace.active();
            }
            Outcome::Polled(Poll::Again) => self.pace.active(),
            Outcome::Polled(Poll::Nothing) => self.pace.idle(),
            Outcome::Recalled(checkpoint) => self.checkpoint = checkpoint,
            Outcome::Done => {}
        }
        Ok(())
    }
}

async fn perform(reader: &mut WindowReader, task: Task) -> Result<Outcome, SourceError> {
    match task {
        Task::Start(position) => reader.start(&position).await.map(|()| Outcome::Started),
        Task::Poll => reader.poll().await.map(Outcome::Polled),
        Task::Confirm => reader.session().present().await.map(|_| Outcome::Done),
        Task::Recall(feed) => reader.session().checkpoint(&feed).await.map(Outcome::Recalled),
        Task::Release(feed) => reader.session().release(&feed).await.map(|()| Outcome::Done),
    }
}
