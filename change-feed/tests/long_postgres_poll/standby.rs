//! A standby is no place to poll.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use change_feed::{PostgresPollSource, SourceError};

use crate::instance::Instance;
use crate::world::{PATIENCE, World, feed, outbox, text};

/// The server as a standby that waits for the log of a primary; ended when this is dropped.
struct Standby(Child);

impl Standby {
    /// On the data of a server that was stopped, as the user who owns them.
    fn start(instance: &Instance, port: u16) -> Self {
        let data = instance.data();
        let owner = std::fs::metadata(&data).expect("the data");
        let signal = data.join("standby.signal");
        std::fs::write(&signal, "").expect("the sign of a standby");
        std::os::unix::fs::chown(&signal, Some(owner.uid()), Some(owner.gid())).expect("the owner of the data");
        let mut server = Command::new(instance.program());
        server.arg("-D").arg(&data).args(["-c", &format!("port={port}"), "-c", "unix_socket_directories="]);
        server.current_dir("/").stdout(Stdio::null()).stderr(Stdio::null());
        if owner.uid() != std::fs::metadata("/proc/self").expect("this process").uid() {
            server.uid(owner.uid()).gid(owner.gid());
        }
        Self(server.spawn().expect("the server"))
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        // SIGINT is the fast shutdown; the server ends its own children.
        let _: std::io::Result<_> = Command::new("kill").args(["-INT", &self.0.id().to_string()]).status();
        let _: std::io::Result<_> = self.0.wait();
    }
}

#[tokio::test]
async fn a_standby_is_refused_with_the_address_of_the_primary_as_the_remedy() {
    let instance = Instance::start("poll-standby");
    let world = World::on(instance.url()).await;
    let url = world.url();
    world.source().await;
    world.pool.close().await;
    instance.server("stop").await;
    let standby = Standby::start(&instance, world.options.get_port());
    let refused = async {
        loop {
            let builder = PostgresPollSource::builder(&url, &feed()).outbox(outbox());
            match builder.connect().await.expect_err("a standby") {
                SourceError::Transient(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                error => return error,
            }
        }
    };
    let error = tokio::time::timeout(PATIENCE, refused).await.expect("it answers");
    assert!(text(&error).contains("standby") && text(&error).contains("primary"), "{}", text(&error));
    drop(standby);
}
