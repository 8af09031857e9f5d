//! A program that the rig starts, and ends.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

use crate::outcome::Outcome;
use crate::usage::Usage;

/// A running program, which is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    id: u32,
}

impl Process {
    /// Starts a program without input. Its output is dropped unless the command redirects it.
    pub(crate) fn start(command: &mut Command) -> Outcome<Self> {
        let shown = command.as_std().get_program().to_owned();
        let child = command.stdin(Stdio::null()).kill_on_drop(true).spawn();
        let child = child.map_err(|error| format!("{} can't be started: {error}", shown.display()))?;
        let id = child.id().ok_or("the program ended before it was looked at")?;
        Ok(Self { child, id })
    }

    pub(crate) fn stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Returns what it has used by now; `None` if it has ended.
    pub(crate) fn usage(&self) -> Usage {
        Usage::of(self.id).unwrap_or_default()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until it ends by itself.
    pub(crate) async fn wait(&mut self) -> Outcome<()> {
        let status = self.child.wait().await?;
        if status.success() { Ok(()) } else { Err(format!("it ended with {status}").into()) }
    }

    /// Asks it to end (SIGTERM), and kills it after the limit.
    pub(crate) async fn end(mut self, limit: Duration) {
        if let Some(id) = i32::try_from(self.id).ok().and_then(Pid::from_raw)
            && !self.has_ended()
        {
            // One that has just ended needs no signal.
            let _: rustix::io::Result<()> = kill_process(id, Signal::TERM);
        }
        if timeout(limit, self.child.wait()).await.is_err() {
            let _: std::io::Result<()> = self.child.kill().await;
        }
    }
}
