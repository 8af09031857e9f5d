//! A way to the cluster on which requests that end a transaction, and answers about topics, meet with accidents.
//!
//! Brokers tell their own address in their answers, and clients then go there; the proxy puts its own in its place.
//! Frames are those of Kafka's protocol: a length of four bytes, then a request that begins with its key.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// The key of the request that commits or aborts.
const END_TXN: u16 = 26;
/// The key of the request for brokers and topics.
const METADATA: u16 = 3;

/// What happens to the next request that ends a transaction, or the next answer about a topic. The ones after it pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accident {
    /// It arrives, and the connection breaks before the answer.
    AnswerLost,
    /// The connection breaks first. The request arrives when [`Proxy::deliver_late`] says so.
    Delayed,
    /// The connection breaks first, and the request never arrives; nor does any other thing before
    /// [`Proxy::heal`].
    Partitioned,
    /// The answer about a topic names no brokers, which is what a broker says that is about to shut down. Nothing more
    /// arrives before [`Proxy::heal`].
    BrokersForgotten,
}

/// One broker's proxy on loopback.
pub(crate) struct Proxy {
    address: String,
    shared: Arc<Shared>,
}

struct Shared {
    broker: String,
    port: u16,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: Option<Accident>,
    is_partitioned: bool,
    delayed: Option<Vec<u8>>,
    accidents: usize,
}

impl Proxy {
    /// The broker must be the cluster's only one.
    pub(crate) async fn start(broker: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let shared =
            Arc::new(Shared { broker: broker.to_owned(), port: address.port(), state: Mutex::new(State::default()) });
        let serving = Arc::clone(&shared);
        // Ends with the test's runtime.
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&serving).serve(client));
            }
        });
        Self { address: address.to_string(), shared }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn prepare(&self, accident: Accident) {
        self.shared.state().next = Some(accident);
    }

    pub(crate) fn accidents(&self) -> usize {
        self.shared.state().accidents
    }

    pub(crate) fn heal(&self) {
        self.shared.state().is_partitioned = false;
    }

    /// Delivers the delayed request on a connection of its own, and waits for the broker's answer.
    pub(crate) async fn deliver_late(&self) {
        let request = self.shared.state().delayed.take().expect("a request was delayed");
        let mut broker = TcpStream::connect(&self.shared.broker).await.expect("the broker is there");
        broker.write_all(&request).await.expect("the broker is there");
        let (mut answers, _requests) = broker.into_split();
        read_frame(&mut answers).await.expect("the broker answers");
    }
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no test panics with it")
    }

    async fn serve(self: Arc<Self>, client: TcpStream) {
        if self.state().is_partitioned {
            return;
        }
        let Ok(broker) = TcpStream::connect(&self.broker).await else { return };
        let (mut requests, mut to_client) = client.into_split();
        let (mut answers, mut to_broker) = broker.into_split();
        let about_topics = Mutex::default();
        // Whichever ends first breaks the connection in both directions.
        tokio::select! {
            _ = self.forward_requests(&mut requests, &mut to_broker, &about_topics) => {}
            _ = self.forward_answers(&mut answers, &mut to_client, &about_topics) => {}
        }
    }

    async fn forward_requests(
        &self,
        from: &mut OwnedReadHalf,
        to: &mut OwnedWriteHalf,
        about_topics: &Mutex<HashSet<CorrelationId>>,
    ) -> io::Result<()> {
        loop {
            let frame = read_frame(from).await?;
            if self.state().is_partitioned {
                return Ok(());
            }
            if frame[4..6] == METADATA.to_be_bytes() {
                about_topics.lock().expect("no test panics with it").insert(correlation_id(&frame[8..]));
            }
            let is_end = frame[4..6] == END_TXN.to_be_bytes();
            let accident = self.take_accident(|accident| is_end && accident != Accident::BrokersForgotten);
            match accident {
                None | Some(Accident::BrokersForgotten) => to.write_all(&frame).await?,
                Some(Accident::AnswerLost) => {
                    self.deliver(&frame).await?;
                    return Ok(());
                }
                Some(Accident::Delayed) => {
                    self.state().delayed = Some(frame);
                    return Ok(());
                }
                Some(Accident::Partitioned) => {
                    self.state().is_partitioned = true;
                    return Ok(());
                }
            }
        }
    }

    fn take_accident(&self, happens_here: impl Fn(Accident) -> bool) -> Option<Accident> {
        let mut state = self.state();
        let accident = state.next.take_if(|accident| happens_here(*accident));
        state.accidents += usize::from(accident.is_some());
        accident
    }

    /// On a connection of its own, so that the answer reaches nobody.
    async fn deliver(&self, frame: &[u8]) -> io::Result<()> {
        let mut broker = TcpStream::connect(&self.broker).await?;
        broker.write_all(frame).await?;
        let (mut answers, _requests) = broker.into_split();
        read_frame(&mut answers).await.map(drop)
    }

    async fn forward_answers(
        &self,
        from: &mut OwnedReadHalf,
        to: &mut OwnedWriteHalf,
        about_topics: &Mutex<HashSet<CorrelationId>>,
    ) -> io::Result<()> {
        loop {
            let mut frame = read_frame(from).await?;
            if self.state().is_partitioned {
                return Ok(());
            }
            let is_about_topics =
                about_topics.lock().expect("no test panics with it").remove(&correlation_id(&frame[4..]));
            if is_about_topics
                && let Some(without) = without_brokers(&frame)
                && self.take_accident(|accident| accident == Accident::BrokersForgotten).is_some()
            {
                self.state().is_partitioned = true;
                return to.write_all(&without).await;
            }
            self.put_own_address(&mut frame);
            to.write_all(&frame).await?;
        }
    }

    /// Host and port stand next to each other in every answer that names a broker.
    fn put_own_address(&self, frame: &mut [u8]) {
        let (host, port) = self.broker.rsplit_once(':').expect("HOST:PORT");
        let port: u32 = port.parse().expect("a port");
        let theirs = [host.as_bytes(), &port.to_be_bytes()].concat();
        let ours = [host.as_bytes(), &u32::from(self.port).to_be_bytes()].concat();
        let mut start = 0;
        while let Some(found) = frame[start..].windows(theirs.len()).position(|window| window == theirs) {
            frame[start + found..][..ours.len()].copy_from_slice(&ours);
            start += found + ours.len();
        }
    }
}

/// What tells the answer of a request from others on a connection.
type CorrelationId = [u8; 4];

fn correlation_id(bytes: &[u8]) -> CorrelationId {
    bytes[..4].try_into().expect("four bytes")
}

/// The same answer about topics, with no brokers in it; `None` if it names no topic.
///
/// The layout is that of Metadata answers from version 9 on (<https://kafka.apache.org/protocol.html>). None of the
/// lengths here needs a second byte.
fn without_brokers(frame: &[u8]) -> Option<Vec<u8>> {
    /// The frame's length, the correlation id, no tagged fields, and the time by which the client is throttled.
    const BROKERS: usize = 4 + 4 + 1 + 4;
    let text_bytes = |at: usize| usize::from(frame[at].max(1));
    let mut at = BROKERS + 1;
    for _ in 1..frame[BROKERS] {
        let host = at + 4;
        let rack = host + text_bytes(host) + 4;
        // No tagged fields after it.
        at = rack + text_bytes(rack) + 1;
    }
    let cluster_id = at;
    let topics = cluster_id + text_bytes(cluster_id) + 4;
    let without = [&frame[4..BROKERS], &[1], &frame[cluster_id..]].concat();
    let length = u32::try_from(without.len()).expect("a frame");
    (frame[topics] > 1).then(|| [&length.to_be_bytes()[..], &without].concat())
}

/// A frame with its length in front.
async fn read_frame(from: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length).await?;
    let mut frame = length.to_vec();
    frame.resize(4 + u32::from_be_bytes(length) as usize, 0);
    from.read_exact(&mut frame[4..]).await?;
    Ok(frame)
}
