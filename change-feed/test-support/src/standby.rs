//! A standby.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::instance::Instance;

/// The PostgreSQL of an instance as a standby that waits for the log of a primary; ended when this is dropped.
pub struct Standby {
    server: Child,
    signal: PathBuf,
}

impl Standby {
    /// Starts it on this port, on the data of a server that was stopped, as the user who owns them.
    pub fn start(instance: &Instance, port: u16) -> Self {
        let data = instance.data();
        instance.write("standby.signal", "");
        let owner = fs::metadata(&data).expect("the data");
        let mut server = Command::new(&instance.program);
        server.arg("-D").arg(&data).args(["-c", &format!("port={port}"), "-c", "unix_socket_directories="]);
        server.current_dir("/").stdout(Stdio::null()).stderr(Stdio::null());
        if owner.uid() != fs::metadata("/proc/self").expect("this process").uid() {
            server.uid(owner.uid()).gid(owner.gid());
        }
        Self { server: server.spawn().expect("the server"), signal: data.join("standby.signal") }
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        // SIGINT is the fast shutdown; the server ends its own children.
        if let Some(server) = Pid::from_raw(self.server.id().cast_signed()) {
            let _: rustix::io::Result<()> = kill_process(server, Signal::INT);
        }
        let _: std::io::Result<_> = self.server.wait();
        let _: std::io::Result<_> = fs::remove_file(&self.signal);
    }
}
