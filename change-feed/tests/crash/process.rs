//! A relay process, as its test holds it.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::watch;

use super::assignment::{ASSIGNMENT, Assignment};
use super::death::Death;
use super::relay::{STATUS, State, Status};
use test_support::eventually;

/// The test that is a relay when it is told so.
pub(crate) const RELAY_TEST: &str = "recovery::a_relay_process_drains_when_it_is_told_to_end";
/// How much of a log a failure shows.
const LOG_TAIL_BYTES: usize = 4_000;

/// A relay process. It is killed when this is dropped.
pub(crate) struct RelayProcess {
    pub(crate) name: String,
    child: Child,
    pid: Pid,
    status: watch::Receiver<Status>,
    log: PathBuf,
}

impl RelayProcess {
    /// Starts this program again, as a relay.
    pub(crate) fn start(assignment: &Assignment, folder: &Path, name: String) -> Self {
        let log = folder.join(format!("{name}.log"));
        let file = std::fs::File::create(&log).expect("a folder for logs");
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", RELAY_TEST, "--nocapture"])
            .env(ASSIGNMENT, assignment.json())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .expect("this program starts");
        let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())).expect("a process that runs");
        let (said, status) = watch::channel(Status::default());
        tokio::spawn(listen(child.stdout.take().expect("a pipe"), said));
        Self { name, child, pid, status, log }
    }

    /// What it has said last.
    pub(crate) fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    pub(crate) fn state(&self) -> State {
        self.status.borrow().state
    }

    pub(crate) fn is_running(&self) -> bool {
        self.state() == State::Running
    }

    /// Waits until it has published more than it has by now.
    pub(crate) async fn publishes_more(&self) {
        let published = self.status().envelopes;
        let more = async || match self.status().envelopes {
            now if now > published => Ok(()),
            now => Err(format!("{now} envelopes, {:?}", self.state())),
        };
        eventually("the relay publishes more", more, || self.report()).await;
    }

    /// `kill -9`.
    pub(crate) async fn kill(&mut self) {
        assert!(!self.has_ended(), "it ended before it was killed: {}", self.report());
        self.child.kill().await.expect("a process of ours");
    }

    /// Waits until it has died so, by its own hand and nobody else's.
    pub(crate) async fn dies(&mut self, death: Death) {
        let (name, log) = (self.name.clone(), self.log.clone());
        let dead = async || match self.child.try_wait().expect("a process of ours") {
            Some(status) => Ok(status),
            None => Err(format!("{name} lives")),
        };
        let status = eventually(&format!("the relay {death}"), dead, || tail(&log)).await;
        let last = tail(&log);
        assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "it ended before it died: {}", self.report());
        assert!(last.trim_end().ends_with(&death.to_string()), "it died, but not at its step: {}", self.report());
    }

    /// Stops it as if its machine slept (SIGSTOP).
    pub(crate) fn freeze(&mut self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on (SIGCONT).
    pub(crate) fn wake(&mut self) {
        self.signal(Signal::CONT);
    }

    /// Tells it to end (SIGTERM), and waits until it has.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        let (name, log) = (self.name.clone(), self.log.clone());
        let ended = async || match self.child.try_wait().expect("a process of ours") {
            Some(status) => Ok(status),
            None => Err(format!("{name} goes on")),
        };
        eventually("the relay ends when it is told to", ended, || tail(&log)).await
    }

    /// The code that it exited with; `None` while it runs.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        // A process that was killed by a signal has none.
        self.child.try_wait().expect("a process of ours").map(|status| status.code().unwrap_or(-1))
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.exit_code().is_some()
    }

    /// What it said last, and the end of its log.
    pub(crate) fn report(&self) -> String {
        format!("{} said {:?}; its log ends:\n{}", self.name, self.status(), tail(&self.log))
    }

    fn signal(&mut self, signal: Signal) {
        // A process that ended keeps its id until it is asked for: no other one is hit.
        assert!(!self.has_ended(), "it has ended: {}", self.report());
        kill_process(self.pid, signal).expect("a process of ours");
    }
}

fn tail(log: &Path) -> String {
    let log = std::fs::read(log).unwrap_or_default();
    String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_TAIL_BYTES)..]).into_owned()
}

async fn listen(stdout: ChildStdout, said: watch::Sender<Status>) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some((_, json)) = line.split_once(STATUS) {
            said.send_replace(serde_json::from_str(json).expect("a status"));
        }
    }
}
