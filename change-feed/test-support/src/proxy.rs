//! A way to the cluster on which requests that end a transaction, and answers about topics, meet with accidents.
//!
//! Brokers tell their own address in their answers, and clients then go there; the proxy puts its own in its place.
//! Frames are those of Kafka's protocol: a length of four bytes, then a request that begins with its key.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
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
pub enum Accident {
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
    /// The answer about a topic whose name ends so says that there is none, which is what a broker says that has just
    /// started, or has not heard of a new topic yet.
    TopicForgotten(&'static str),
}

/// A proxy on loopback for each broker of the cluster.
pub struct Proxy {
    addresses: String,
    shared: Arc<Shared>,
}

struct Shared {
    brokers: Vec<Proxied>,
    state: Mutex<State>,
}

/// A broker, and where its proxy listens.
struct Proxied {
    address: String,
    own_address: SocketAddr,
}

#[derive(Default)]
struct State {
    next: Option<Accident>,
    /// How often it still happens.
    times: usize,
    is_partitioned: bool,
    /// The request, and the broker that it is for.
    delayed: Option<(Vec<u8>, String)>,
    accidents: usize,
}

impl Accident {
    fn is_about_topics(self) -> bool {
        matches!(self, Self::BrokersForgotten | Self::TopicForgotten(_))
    }
}

impl Proxy {
    /// Starts one for these brokers (`HOST:PORT`, with commas between) must be all that the cluster has.
    pub async fn start(brokers: &str) -> Self {
        let mut listeners = Vec::new();
        let mut proxied = Vec::new();
        for address in brokers.split(',') {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
            let own_address = listener.local_addr().expect("it is bound");
            proxied.push(Proxied { address: address.to_owned(), own_address });
            listeners.push(listener);
        }
        let addresses: Vec<_> = proxied.iter().map(|broker| broker.own_address.to_string()).collect();
        let shared = Arc::new(Shared { brokers: proxied, state: Mutex::new(State::default()) });
        for (index, listener) in listeners.into_iter().enumerate() {
            let serving = Arc::clone(&shared);
            // Ends with the test's runtime.
            tokio::spawn(async move {
                while let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(Arc::clone(&serving).serve(index, client));
                }
            });
        }
        Self { addresses: addresses.join(","), shared }
    }

    /// Where clients reach the cluster through it.
    pub fn address(&self) -> &str {
        &self.addresses
    }

    /// Lets this happen once.
    pub fn prepare(&self, accident: Accident) {
        self.prepare_times(accident, 1);
    }

    /// Lets this happen to this many in a row.
    pub fn prepare_times(&self, accident: Accident, times: usize) {
        let mut state = self.shared.state();
        (state.next, state.times) = (Some(accident), times);
    }

    /// How many have happened.
    pub fn accidents(&self) -> usize {
        self.shared.state().accidents
    }

    /// Ends the partition.
    pub fn heal(&self) {
        self.shared.state().is_partitioned = false;
    }

    /// Delivers the delayed request on a connection of its own, and waits for the broker's answer.
    pub async fn deliver_late(&self) {
        let (request, broker) = self.shared.state().delayed.take().expect("a request was delayed");
        deliver(&request, &broker).await.expect("the broker answers");
    }
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no test panics with it")
    }

    async fn serve(self: Arc<Self>, index: usize, client: TcpStream) {
        if self.state().is_partitioned {
            return;
        }
        let address = &self.brokers[index].address;
        let Ok(broker) = TcpStream::connect(address).await else { return };
        let (mut requests, mut to_client) = client.into_split();
        let (mut answers, mut to_broker) = broker.into_split();
        let about_topics = Mutex::default();
        // Whichever ends first breaks the connection in both directions.
        tokio::select! {
            _ = self.forward_requests(&mut requests, &mut to_broker, address, &about_topics) => {}
            _ = self.forward_answers(&mut answers, &mut to_client, &about_topics) => {}
        }
    }

    async fn forward_requests(
        &self,
        from: &mut OwnedReadHalf,
        to: &mut OwnedWriteHalf,
        broker: &str,
        about_topics: &Mutex<HashMap<CorrelationId, u16>>,
    ) -> io::Result<()> {
        loop {
            let frame = read_frame(from).await?;
            if self.state().is_partitioned {
                return Ok(());
            }
            if frame[4..6] == METADATA.to_be_bytes() {
                let version = u16::from_be_bytes([frame[6], frame[7]]);
                about_topics.lock().expect("no test panics with it").insert(correlation_id(&frame[8..]), version);
            }
            let is_end = frame[4..6] == END_TXN.to_be_bytes();
            let accident = self.take_accident(|accident| is_end && !accident.is_about_topics());
            match accident {
                None | Some(Accident::BrokersForgotten | Accident::TopicForgotten(_)) => to.write_all(&frame).await?,
                Some(Accident::AnswerLost) => {
                    return deliver(&frame, broker).await;
                }
                Some(Accident::Delayed) => {
                    self.state().delayed = Some((frame, broker.to_owned()));
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
        let accident = state.next.filter(|accident| happens_here(*accident))?;
        state.accidents += 1;
        state.times -= 1;
        if state.times == 0 {
            state.next = None;
        }
        Some(accident)
    }

    async fn forward_answers(
        &self,
        from: &mut OwnedReadHalf,
        to: &mut OwnedWriteHalf,
        about_topics: &Mutex<HashMap<CorrelationId, u16>>,
    ) -> io::Result<()> {
        loop {
            let mut frame = read_frame(from).await?;
            if self.state().is_partitioned {
                return Ok(());
            }
            let asked = about_topics.lock().expect("no test panics with it").remove(&correlation_id(&frame[4..]));
            if let Some(version) = asked
                && let Some(answer) = MetadataAnswer::of_topics(&frame)
            {
                if self.take_accident(|accident| accident == Accident::BrokersForgotten).is_some() {
                    self.state().is_partitioned = true;
                    return to.write_all(&answer.without_brokers()).await;
                }
                let is_meant = |accident| matches!(accident, Accident::TopicForgotten(end) if answer.is_about(end));
                if self.take_accident(is_meant).is_some() {
                    frame = answer.without_topic(version);
                }
            }
            self.put_own_addresses(&mut frame);
            to.write_all(&frame).await?;
        }
    }

    /// Host and port stand next to each other in every answer that names a broker.
    fn put_own_addresses(&self, frame: &mut [u8]) {
        for Proxied { address, own_address } in &self.brokers {
            let (host, port) = address.rsplit_once(':').expect("HOST:PORT");
            let port: u32 = port.parse().expect("a port");
            let theirs = [host.as_bytes(), &port.to_be_bytes()].concat();
            let ours = [host.as_bytes(), &u32::from(own_address.port()).to_be_bytes()].concat();
            let mut start = 0;
            while let Some(found) = frame[start..].windows(theirs.len()).position(|window| window == theirs) {
                frame[start + found..][..ours.len()].copy_from_slice(&ours);
                start += found + ours.len();
            }
        }
    }
}

/// Delivers a request on a connection of its own, so that the answer reaches nobody, and waits for that.
async fn deliver(request: &[u8], broker: &str) -> io::Result<()> {
    let mut broker = TcpStream::connect(broker).await?;
    broker.write_all(request).await?;
    let (mut answers, _requests) = broker.into_split();
    read_frame(&mut answers).await.map(drop)
}

/// What tells the answer of a request from others on a connection.
type CorrelationId = [u8; 4];

fn correlation_id(bytes: &[u8]) -> CorrelationId {
    bytes[..4].try_into().expect("four bytes")
}

/// An answer about topics. The layout is that of versions 9 to 13 (<https://kafka.apache.org/protocol.html>); none of
/// the lengths here needs a second byte.
struct MetadataAnswer<'a> {
    frame: &'a [u8],
    brokers: usize,
    cluster_id: usize,
    topics: usize,
}

impl<'a> MetadataAnswer<'a> {
    fn of_topics(frame: &'a [u8]) -> Option<Self> {
        /// The frame's length, the correlation id, no tagged fields, and the time by which the client is throttled.
        const BROKERS: usize = 4 + 4 + 1 + 4;
        let mut at = BROKERS + 1;
        for _ in 1..frame[BROKERS] {
            let host = at + 4;
            let rack = host + text_bytes(frame, host) + 4;
            // No tagged fields after it.
            at = rack + text_bytes(frame, rack) + 1;
        }
        let topics = at + text_bytes(frame, at) + 4;
        (frame[topics] > 1).then_some(Self { frame, brokers: BROKERS, cluster_id: at, topics })
    }

    fn without_brokers(&self) -> Vec<u8> {
        framed(&[&self.frame[4..self.brokers], &[1], &self.frame[self.cluster_id..]])
    }

    /// The first topic's name, with its length.
    fn name(&self) -> &'a [u8] {
        let name = self.topics + 1 + 2;
        &self.frame[name..][..text_bytes(self.frame, name)]
    }

    /// About one topic, whose name ends so.
    fn is_about(&self, end: &str) -> bool {
        self.frame[self.topics] == 2 && self.name().ends_with(end.as_bytes())
    }

    fn without_topic(&self, version: u16) -> Vec<u8> {
        const UNKNOWN_TOPIC_OR_PARTITION: [u8; 2] = [0, 3];
        let id: &[u8] = if version >= 10 { &[0; 16] } else { &[] };
        // Not internal, no partitions, no rights told, and no tagged fields.
        let rest = [0, 1, 0x80, 0, 0, 0, 0];
        let rights_on_the_cluster: &[u8] = if version <= 10 { &[0x80, 0, 0, 0] } else { &[] };
        let no_error: &[u8] = if version >= 13 { &[0; 2] } else { &[] };
        let before = &self.frame[4..=self.topics];
        let topic = [&UNKNOWN_TOPIC_OR_PARTITION, self.name(), id, &rest].concat();
        framed(&[before, &topic, rights_on_the_cluster, no_error, &[0]])
    }
}

/// A length of one byte and the text; 0 is null.
fn text_bytes(frame: &[u8], at: usize) -> usize {
    usize::from(frame[at].max(1))
}

fn framed(pieces: &[&[u8]]) -> Vec<u8> {
    let content = pieces.concat();
    let length = u32::try_from(content.len()).expect("a frame");
    [&length.to_be_bytes()[..], &content].concat()
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
