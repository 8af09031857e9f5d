//! A TCP proxy before PostgreSQL that counts what passes, and cuts connections where a test asks for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A proxy on a port of its own; it ends with this value.
pub(crate) struct Proxy {
    /// The URL of the database through the proxy, without TLS, whose first answer has no message around it.
    pub(crate) url: String,
    state: Arc<State>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct State {
    cut: AtomicU8,
    cuts: AtomicU64,
    executed: AtomicU64,
}

/// Where the connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Cut {
    Nowhere = 0,
    /// When the client asks to execute a statement: the server never sees it.
    BeforeExecution = 1,
    /// When the server has executed and committed it: the client never sees the answer.
    AfterCommit = 2,
}

impl Proxy {
    pub(crate) async fn before(database_url: &str) -> Self {
        let (credentials, rest) = database_url.split_once('@').expect("a URL with a user");
        let (server, database) = rest.split_once('/').expect("a URL with a database");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("a port").port();
        let state = Arc::new(State::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, server.to_owned(), Arc::clone(&state)));
        Self { url: format!("{credentials}@127.0.0.1:{port}/{database}?sslmode=disable"), state, _tasks: tasks }
    }

    /// The next statement that is executed is cut there; then nothing is any more.
    pub(crate) fn cut(&self, place: Cut) {
        self.state.cut.store(place as u8, Ordering::SeqCst);
    }

    /// How many connections were cut.
    pub(crate) fn cuts(&self) -> u64 {
        self.state.cuts.load(Ordering::SeqCst)
    }

    /// How many statements clients asked to execute.
    pub(crate) fn executed(&self) -> u64 {
        self.state.executed.load(Ordering::SeqCst)
    }
}

impl State {
    /// Whether it is to be cut here: once.
    fn takes(&self, place: Cut) -> bool {
        let taken =
            self.cut.compare_exchange(place as u8, Cut::Nowhere as u8, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        self.cuts.fetch_add(u64::from(taken), Ordering::SeqCst);
        taken
    }
}

async fn serve(listener: TcpListener, server: String, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(relay(client, server.clone(), Arc::clone(&state)));
    }
}

/// Both directions, until one ends or is cut: then both are closed.
async fn relay(client: TcpStream, server: String, state: Arc<State>) {
    let Ok(server) = TcpStream::connect(&server).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // Plain text queries, by which a session is set up, are never cut.
    let prepared = AtomicBool::new(false);
    tokio::select! {
        _ = requests(from_client, to_server, &state, &prepared) => {}
        _ = answers(from_server, to_client, &state, &prepared) => {}
    }
}

/// What the client sends: one message without a type (the start-up), then messages of a type, a length and a body.
async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    state: &State,
    prepared: &AtomicBool,
) -> std::io::Result<()> {
    to.write_all(&body(&mut from).await?).await?;
    loop {
        let kind = from.read_u8().await?;
        let message = body(&mut from).await?;
        if matches!(kind, b'E' | b'Q') {
            prepared.store(kind == b'E', Ordering::SeqCst);
        }
        if kind == b'E' {
            state.executed.fetch_add(1, Ordering::SeqCst);
            if state.takes(Cut::BeforeExecution) {
                return Ok(());
            }
        }
        to.write_all(&[&[kind], &message[..]].concat()).await?;
    }
}

/// What the server sends. `CommandComplete` comes before the commit, `ReadyForQuery` after it.
async fn answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    state: &State,
    prepared: &AtomicBool,
) -> std::io::Result<()> {
    let mut answered = false;
    let mut held = Vec::new();
    loop {
        let kind = from.read_u8().await?;
        let message = body(&mut from).await?;
        // The answer is held back until it is known whether it will be given at all.
        held.extend([&[kind], &message[..]].concat());
        answered |= kind == b'C' && prepared.load(Ordering::SeqCst);
        if kind == b'Z' {
            if std::mem::take(&mut answered) && state.takes(Cut::AfterCommit) {
                return Ok(());
            }
        } else if answered {
            continue;
        }
        to.write_all(&held).await?;
        held.clear();
    }
}

/// A message's length and what follows it.
async fn body(from: &mut OwnedReadHalf) -> std::io::Result<Vec<u8>> {
    const LENGTH_BYTES: usize = 4;
    let length = from.read_u32().await?;
    let mut message = length.to_be_bytes().to_vec();
    message.resize(usize::try_from(length).unwrap_or(LENGTH_BYTES).max(LENGTH_BYTES), 0);
    from.read_exact(&mut message[LENGTH_BYTES..]).await?;
    Ok(message)
}
