//! Processes that don't run for a while.

use rustix::process::{Pid, Signal, kill_process};

/// A process that does nothing until this is dropped.
pub struct Frozen(Pid);

impl Frozen {
    /// Stops the process of this id, where it is.
    pub fn freeze(process: &str) -> Self {
        let process = Pid::from_raw(process.parse().expect("a number")).expect("not zero");
        kill_process(process, Signal::STOP).expect("a process that may be stopped");
        Self(process)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _: rustix::io::Result<()> = kill_process(self.0, Signal::CONT);
    }
}
