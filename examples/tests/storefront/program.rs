//! The program under test: started, listened to, and ended.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::api::Api;

/// Longer than anything takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What the program reads from its environment. A test sets each of them, or removes it.
const VARIABLES: [&str; 7] =
    ["DATABASE_URL", "KAFKA_BROKERS", "LISTEN", "ORDERS_TOPIC", "FEED", "RUST_LOG", "RUST_BACKTRACE"];

/// How the program is to be started.
#[derive(Debug)]
pub(crate) struct Start {
    command: Command,
}

/// A storefront that runs. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    said: Said,
    warned: Said,
}

/// The lines that a program has written so far.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    lines: Arc<Mutex<Vec<String>>>,
    count: watch::Receiver<usize>,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) said: Vec<String>,
    pub(crate) warned: Vec<String>,
}

impl Start {
    /// In this folder, on a free port, and with nothing in its environment that a test doesn't give.
    pub(crate) fn within(folder: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_storefront"));
        Self::prepare(&mut command, folder);
        command.env("LISTEN", "127.0.0.1:0");
        Self { command }
    }

    /// As a shell starts it: `script` begins with what sets the scene, and ends with `exec "$STOREFRONT"`.
    pub(crate) fn by_shell(folder: &Path, script: &str, shell: &[&str]) -> Self {
        let mut command = Command::new(shell[0]);
        command.args(&shell[1..]).arg(script);
        Self::prepare(&mut command, folder);
        command.env("LISTEN", "127.0.0.1:0").env("STOREFRONT", env!("CARGO_BIN_EXE_storefront"));
        Self { command }
    }

    fn prepare(command: &mut Command, folder: &Path) {
        command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        for variable in VARIABLES {
            command.env_remove(variable);
        }
    }

    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, variable: &str, value: &str) -> Self {
        self.command.env(variable, value);
        self
    }

    /// Starts it and leaves it alone.
    pub(crate) fn spawn(mut self) -> Program {
        let mut child = self.command.spawn().expect("the program is built");
        let said = Said::listen(child.stdout.take().expect("piped"));
        let warned = Said::listen(child.stderr.take().expect("piped"));
        Program { child, said, warned }
    }

    /// Starts it, and waits until it serves.
    pub(crate) async fn serving(self) -> Program {
        let program = self.spawn();
        program.line("  page ").await;
        program.api().await.is_healthy().await;
        program
    }

    /// Starts it, and waits for its end: for starts that must fail.
    pub(crate) async fn ended(self) -> Ended {
        self.spawn().ended().await
    }
}

impl Program {
    /// Waits for a line that has these words.
    pub(crate) async fn line(&self, words: &str) -> String {
        match self.said.line(words).await {
            Some(line) => line,
            None => panic!("no line with {words:?} in {:#?}\n{:#?}", self.said.all(), self.warned.all()),
        }
    }

    /// Waits for a line on standard error that has these words.
    pub(crate) async fn warning(&self, words: &str) -> String {
        match self.warned.line(words).await {
            Some(line) => line,
            None => panic!("no warning with {words:?} in {:#?}\n{:#?}", self.warned.all(), self.said.all()),
        }
    }

    pub(crate) fn said(&self) -> Vec<String> {
        self.said.all()
    }

    /// Where it serves.
    pub(crate) async fn api(&self) -> Api {
        let line = self.line("  page ").await;
        let address = line.split_whitespace().last().expect("an address");
        Api::at(address.trim_end_matches('/'))
    }

    /// Asks it to end, as an orchestrator does, and waits until it has.
    pub(crate) async fn terminated(self) -> Ended {
        self.signal("TERM").await;
        self.ended().await
    }

    pub(crate) async fn signal(&self, signal: &str) {
        let id = self.child.id().expect("it runs").to_string();
        let sent = Command::new("kill").args([format!("-{signal}"), id]).status().await.expect("kill");
        assert!(sent.success(), "the signal was not sent");
    }

    /// Waits for its end.
    pub(crate) async fn ended(mut self) -> Ended {
        let ended = timeout(PATIENCE, self.child.wait()).await;
        let status = ended.unwrap_or_else(|_| panic!("it does not end: {:#?}", self.said.all())).expect("a status");
        self.said.finished().await;
        self.warned.finished().await;
        Ended { status, said: self.said.all(), warned: self.warned.all() }
    }
}

impl Ended {
    /// The exit code; `None` if a signal ended it.
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Everything it wrote.
    pub(crate) fn text(&self) -> String {
        [&*self.said, &*self.warned].concat().join("\n")
    }
}

impl Said {
    fn listen(pipe: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let (counting, count) = watch::channel(0);
        let lines = Arc::new(Mutex::new(Vec::new()));
        let writer = Arc::clone(&lines);
        tokio::spawn(async move {
            let mut read = BufReader::new(pipe).lines();
            while let Ok(Some(line)) = read.next_line().await {
                let mut lines = writer.lock().unwrap_or_else(PoisonError::into_inner);
                lines.push(line);
                counting.send_replace(lines.len());
            }
        });
        Self { lines, count }
    }

    fn all(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn line(&self, words: &str) -> Option<String> {
        let mut count = self.count.clone();
        let mut looked_at = 0;
        loop {
            let lines = self.all();
            if let Some(found) = lines[looked_at..].iter().find(|line| line.contains(words)) {
                return Some(found.clone());
            }
            looked_at = lines.len();
            match timeout(PATIENCE, count.wait_for(|count| *count > looked_at)).await {
                Ok(Ok(_)) => {}
                // The end of the program, or of our patience.
                Ok(Err(_)) if self.all().len() > looked_at => {}
                Ok(Err(_)) | Err(_) => return None,
            }
        }
    }

    async fn finished(&self) {
        let mut count = self.count.clone();
        // Ends with an error when the pipe is closed.
        let _ = timeout(PATIENCE, count.wait_for(|_| false)).await;
    }
}
