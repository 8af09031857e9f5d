//! A source and a publisher that work, yield at every step, and fail when the script says so.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use change_feed::publisher::{Resume, Resumed};
use change_feed::source::{Elected, Lag, Start};
use change_feed::{Changes, Checkpoint, Mismatch, Part, PublishError, Publisher, Source, SourceError};
use tokio::sync::watch;
use tokio::task::yield_now;

/// What goes wrong at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The call fails, and nothing was done.
    Away,
    /// Everything was done, and the answer is lost.
    AnswerLost,
    /// The publisher rejects the last envelope; any other call fails as if it were away.
    Rejects,
    /// Another relay took over; a source is away.
    Fenced,
    /// Something doesn't belong together.
    Closed,
    /// The set-up is wrong.
    Fatal,
    /// The call never ends.
    Hangs,
}

/// Which calls fail, and which calls were made: shared by a source and a publisher.
#[derive(Clone)]
pub(crate) struct Script {
    state: Arc<Mutex<State>>,
    /// Calls of this name wait before they do anything.
    closed: Arc<watch::Sender<Option<&'static str>>>,
}

#[derive(Default)]
struct State {
    calls: Vec<&'static str>,
    faults: Vec<(At, Fault)>,
    largest_part: usize,
    newly_elected: Vec<bool>,
}

enum At {
    Call(usize),
    Every(&'static str),
}

impl Script {
    pub(crate) fn new() -> Self {
        Self { state: Arc::default(), closed: Arc::default() }
    }

    /// The call with this number fails, whatever it is: 0 is the first.
    pub(crate) fn failing_at(call: usize, fault: Fault) -> Self {
        let script = Self::new();
        script.state().faults.push((At::Call(call), fault));
        script
    }

    /// Every call of this name fails, until [`Script::heal`].
    pub(crate) fn fail(&self, call: &'static str, fault: Fault) {
        self.state().faults.push((At::Every(call), fault));
    }

    pub(crate) fn heal(&self) {
        self.state().faults.clear();
    }

    /// The names of the calls so far.
    pub(crate) fn calls(&self) -> Vec<&'static str> {
        self.state().calls.clone()
    }

    pub(crate) fn count(&self, call: &str) -> usize {
        self.state().calls.iter().filter(|made| **made == call).count()
    }

    /// The largest number of envelopes that `publish` was called with.
    pub(crate) fn largest_part(&self) -> usize {
        self.state().largest_part
    }

    /// For each call of `resume`: whether the relay said that it was newly elected.
    pub(crate) fn newly_elected(&self) -> Vec<bool> {
        self.state().newly_elected.clone()
    }

    fn note_part(&self, envelopes: usize) {
        let mut state = self.state();
        state.largest_part = state.largest_part.max(envelopes);
    }

    /// Calls of this name wait from now on, until [`Script::open`].
    pub(crate) fn close(&self, call: &'static str) {
        self.closed.send_replace(Some(call));
    }

    pub(crate) fn open(&self) {
        self.closed.send_replace(None);
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no test panics with it")
    }

    /// The fault of the call that begins here. Yields before and after, so that there is an await
    /// point wherever a real source or publisher may have one.
    async fn call(&self, name: &'static str) -> Option<Fault> {
        let (number, fault) = {
            let mut state = self.state();
            let number = state.calls.len();
            state.calls.push(name);
            let hit = |at: &At| match at {
                At::Call(call) => *call == number,
                At::Every(call) => *call == name,
            };
            (number, state.faults.iter().find(|(at, _)| hit(at)).map(|(_, fault)| *fault))
        };
        // Some calls take longer than others, so that they overlap in many ways.
        for _ in 0..=number % 3 {
            yield_now().await;
        }
        let _ = self.closed.subscribe().wait_for(|closed| *closed != Some(name)).await;
        if fault == Some(Fault::Hangs) {
            std::future::pending::<()>().await;
        }
        fault
    }
}

pub(crate) struct Scripted<T> {
    inner: T,
    script: Script,
}

impl<T> Scripted<T> {
    pub(crate) fn new(inner: T, script: &Script) -> Self {
        Self { inner, script: script.clone() }
    }
}

fn mismatch() -> Mismatch {
    Mismatch::TopicRecreated { topic: "scripted".to_owned() }
}

fn source_error(fault: Fault) -> SourceError {
    match fault {
        Fault::Closed => mismatch().into(),
        Fault::Fatal => SourceError::fatal("scripted", "mend the script"),
        _ => SourceError::transient("scripted"),
    }
}

fn publish_error(fault: Fault, envelopes: usize) -> PublishError {
    match fault {
        Fault::Closed => mismatch().into(),
        Fault::Fatal => PublishError::fatal("scripted"),
        Fault::Fenced => PublishError::Fenced,
        Fault::Rejects if envelopes > 0 => PublishError::rejected(envelopes - 1, "scripted"),
        _ => PublishError::transient("scripted"),
    }
}

impl<T> Scripted<T> {
    async fn source_call<R>(
        &self,
        name: &'static str,
        call: impl Future<Output = Result<R, SourceError>>,
    ) -> Result<R, SourceError> {
        let fault = self.script.call(name).await;
        if let Some(fault) = fault.filter(|fault| *fault != Fault::AnswerLost) {
            return Err(source_error(fault));
        }
        let answer = call.await;
        yield_now().await;
        if fault.is_some() { Err(source_error(Fault::AnswerLost)) } else { answer }
    }
}

#[async_trait]
impl<S: Source> Source for Scripted<S> {
    async fn elect(&self) -> Result<Elected, SourceError> {
        self.source_call("elect", self.inner.elect()).await
    }

    async fn start(&self, start: &Start<'_>) -> Result<(), SourceError> {
        self.source_call("start", self.inner.start(start)).await
    }

    async fn next(&self) -> Result<Changes, SourceError> {
        // No yield after the answer: dropping this call must lose nothing, as the contract says.
        match self.script.call("next").await {
            Some(Fault::AnswerLost) => {
                let _ = self.inner.next().await?;
                Err(source_error(Fault::AnswerLost))
            }
            Some(fault) => Err(source_error(fault)),
            None => self.inner.next().await,
        }
    }

    async fn acknowledge(&self, checkpoint: &Checkpoint) -> Result<(), SourceError> {
        self.source_call("acknowledge", self.inner.acknowledge(checkpoint)).await
    }

    async fn lag(&self) -> Option<Lag> {
        self.inner.lag().await
    }

    async fn release(&self) {
        let _ = self.script.call("release").await;
        self.inner.release().await;
    }
}

#[async_trait]
impl<P: Publisher> Publisher for Scripted<P> {
    async fn publish(&self, part: &Part<'_>) -> Result<(), PublishError> {
        let envelopes = part.envelopes().len();
        self.script.note_part(envelopes);
        let fault = self.script.call("publish").await;
        if let Some(fault) = fault.filter(|fault| *fault != Fault::AnswerLost) {
            return Err(publish_error(fault, envelopes));
        }
        let answer = self.inner.publish(part).await;
        yield_now().await;
        if fault.is_some() { Err(publish_error(Fault::AnswerLost, envelopes)) } else { answer }
    }

    async fn resume(&self, request: &Resume<'_>) -> Result<Resumed, PublishError> {
        self.script.state().newly_elected.push(request.is_newly_elected());
        let fault = self.script.call("resume").await;
        if let Some(fault) = fault.filter(|fault| *fault != Fault::AnswerLost) {
            return Err(publish_error(fault, 0));
        }
        let answer = self.inner.resume(request).await;
        yield_now().await;
        if fault.is_some() { Err(publish_error(Fault::AnswerLost, 0)) } else { answer }
    }

    async fn release(&self) {
        let _ = self.script.call("let go").await;
        self.inner.release().await;
    }
}
