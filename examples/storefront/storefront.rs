//! The storefront as a whole: what it starts, in which order, and how it ends.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use change_feed::Wake;
use change_feed::kafka::DevelopmentBrokerError;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::broker::{Broker, PARTITIONS};
use crate::capture::Capture;
use crate::catch_up::CatchUp;
use crate::console::{chain, say, warn};
use crate::database::{Database, DatabaseError};
use crate::demo::Demo;
use crate::feed::{Feed, FeedPlan, FeedState};
use crate::http::{Limits, Shop, Surroundings, routes, serve as serve_http};
use crate::journal::Journal;
use crate::listener::Listener;
use crate::options::{Options, Servers};
use crate::shutdown::closing_on_signals;

/// How long requests that are under way at the end may take.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the relay may then take: longer than its own limit to deliver what it has captured.
const FEED_TIMEOUT: Duration = Duration::from_secs(15);

/// Why the storefront could not start or serve.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StorefrontError {
    /// Another program has the port, or the address isn't this machine's.
    #[error(
        "can't listen on {listen}; nothing was changed; end the program that listens there, or choose another address with --listen"
    )]
    Listen {
        /// The address that was asked for.
        listen: String,
        /// The system's error.
        source: io::Error,
    },
    /// The database can't be used.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The development broker didn't start.
    #[error("nothing was changed; set KAFKA_BROKERS to use a Kafka cluster")]
    Broker(#[from] DevelopmentBrokerError),
    /// The system refuses a basic service.
    #[error("the system refuses to serve; orders are safe")]
    System(#[from] io::Error),
}

/// Starts everything, serves until a signal, ends everything in order, and returns how the feed was at the end.
pub(crate) async fn serve(options: Options, servers: Servers) -> Result<FeedState, StorefrontError> {
    let closing = closing_on_signals()?;
    let opened = tokio::select! {
        biased;
        () = closing.cancelled() => return Ok(FeedState::Stopped),
        opened = Opened::new(&options, &servers) => opened?,
    };
    // Not dropped by a signal: it takes back what the server is doing for it.
    let Some(capture) = Capture::choose(&opened.database, &options.feed, options.source, &closing).await? else {
        opened.database.close().await;
        return Ok(FeedState::Stopped);
    };
    let started = Storefront::start(&options, servers, opened, capture, closing.clone())?;
    if !options.no_demo {
        tokio::select! {
            biased;
            () = closing.cancelled() => {}
            () = started.demonstrate() => {}
        }
    }
    if !closing.is_cancelled() {
        say(format_args!("\nServing at {} until Ctrl-C.", started.address));
    }
    started.end_in_order().await
}

/// What a storefront needs before it can serve.
struct Opened {
    listener: TcpListener,
    /// Where the page is.
    address: String,
    database: Database,
    wake: Wake,
}

impl Opened {
    async fn new(options: &Options, servers: &Servers) -> Result<Self, StorefrontError> {
        let listener = listen(&options.listen).await?;
        let address = page_address(listener.local_addr()?);
        let wake = Wake::new();
        let database = Database::open(&servers.database, wake.clone()).await?;
        Ok(Self { listener, address, database, wake })
    }
}

/// A storefront that serves.
struct Storefront {
    database: Database,
    journal: Journal,
    wake: Wake,
    feed: Feed,
    /// Ends the requests.
    closing: CancellationToken,
    /// Ends the feed, after the requests.
    stop_feed: CancellationToken,
    server: JoinHandle<()>,
    /// Where the page is.
    address: String,
}

impl Storefront {
    fn start(
        options: &Options,
        servers: Servers,
        Opened { listener, address, database, wake }: Opened,
        capture: Capture,
        closing: CancellationToken,
    ) -> Result<Self, StorefrontError> {
        let broker = Broker::start(servers.brokers, &options.topic)?;
        announce(&address, &database, &broker, &options.topic);

        let (journal, stop_feed) = (Journal::new(), CancellationToken::new());
        tokio::spawn(Listener::new(broker.clone(), &*options.topic, journal.clone()).run(stop_feed.clone()));
        let plan = FeedPlan {
            name: options.feed.clone(),
            database: database.clone(),
            capture,
            broker: broker.clone(),
            topic: options.topic.clone(),
        };
        let feed = Feed::start(plan, stop_feed.clone());
        tokio::spawn(feed.watch().report());

        let around = Surroundings { database: database.words(), broker: broker.words(), topic: options.topic.clone() };
        let catch_up = CatchUp::new(broker, &*options.topic);
        let (watch, journal_of_shop) = (feed.watch(), journal.clone());
        let shop = Shop::new(database.clone(), wake.clone(), watch, journal_of_shop, catch_up, around, closing.clone());
        let server = tokio::spawn(serve_http(listener, routes(shop), Limits::default(), closing.clone()));
        Ok(Self { database, journal, wake, feed, closing, stop_feed, server, address })
    }

    async fn demonstrate(&self) {
        let store = self.database.store();
        if let Err(error) = Demo::new(&*store, &self.wake, &self.journal).play().await {
            warn(format_args!("storefront: {}", chain(&error)));
        }
    }

    /// Serves until a signal; then ends the requests, the feed and the database, in this order.
    async fn end_in_order(mut self) -> Result<FeedState, StorefrontError> {
        let served = self.served().await;
        self.stop_feed.cancel();
        let state = match timeout(FEED_TIMEOUT, self.feed.ended()).await {
            Ok(status) => status.state,
            Err(_) => FeedState::Stopped,
        };
        self.database.close().await;
        say("closed; events that are not published yet are in the database, and are published after the next start");
        served.map(|()| state)
    }

    /// Waits for the end of the requests. A request that takes too long after the signal is cut off.
    async fn served(&mut self) -> Result<(), StorefrontError> {
        let ended = tokio::select! {
            ended = &mut self.server => Some(ended),
            () = self.closing.cancelled() => timeout(DRAIN_TIMEOUT, &mut self.server).await.ok(),
        };
        match ended {
            None => self.server.abort(),
            Some(Ok(())) => {}
            Some(Err(panicked)) => return Err(io::Error::other(panicked).into()),
        }
        Ok(())
    }
}

async fn listen(address: &str) -> Result<TcpListener, StorefrontError> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| StorefrontError::Listen { listen: address.to_owned(), source })
}

/// The address of the page: loopback where the storefront listens on every address.
fn page_address(listening: SocketAddr) -> String {
    let mut address = listening;
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    format!("http://{address}/")
}

fn announce(address: &str, database: &Database, broker: &Broker, topic: &str) {
    let (servers, version) = (broker.bootstrap_servers(), env!("CARGO_PKG_VERSION"));
    say(format_args!("storefront {version}\n"));
    say(format_args!("  page      {address}"));
    say(format_args!("  database  {}", database.words()));
    say(format_args!("  broker    {}", broker.words()));
    say(format_args!("  topic     {topic}, {PARTITIONS} partitions; from another terminal:"));
    say(format_args!("            kcat -b {servers} -t {topic} -C -f '%k %s\\n'"));
    say("  to switch DATABASE_URL=postgres://USER:PASSWORD@HOST/DATABASE  KAFKA_BROKERS=HOST:9092");
}
