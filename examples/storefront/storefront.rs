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
use crate::catch_up::CatchUp;
use crate::chain::chain;
use crate::database::{Database, DatabaseError};
use crate::demo::Demo;
use crate::feed::{Feed, FeedPlan, FeedState};
use crate::http::{Shop, routes};
use crate::journal::Journal;
use crate::listener::Listener;
use crate::narrator::narrate;
use crate::options::{Options, Servers};
use crate::page::Surroundings;
use crate::say::{say, warn};
use crate::signals::closing_on_signals;

/// Requests that are under way at the end get this long.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// The relay then gets longer than it gives itself to deliver what it has captured.
const FEED_TIMEOUT: Duration = Duration::from_secs(15);

/// Why the storefront could not start or serve.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StorefrontError {
    /// Another program has the port, or the address isn't this machine's.
    #[error(
        "can't listen on {listen}; nothing was changed; end the program that does, or choose another address with --listen"
    )]
    Listen {
        /// The address that was asked for.
        listen: String,
        /// What the system says.
        source: io::Error,
    },
    /// The database can't be used.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The development broker didn't start.
    #[error("nothing was changed; set KAFKA_BROKERS to use a Kafka cluster")]
    Broker(#[from] DevelopmentBrokerError),
    /// The system refuses something basic.
    #[error("the system refuses to serve; orders are safe")]
    System(#[from] io::Error),
}

/// Starts everything, serves until a signal, ends everything in order, and tells how the feed was at the end.
pub(crate) async fn serve(options: Options, servers: Servers) -> Result<FeedState, StorefrontError> {
    let closing = closing_on_signals()?;
    let started = tokio::select! {
        biased;
        () = closing.cancelled() => return Ok(FeedState::Stopped),
        started = Storefront::start(&options, servers, closing.clone()) => started?,
    };
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
    server: JoinHandle<io::Result<()>>,
    /// Where the page is.
    address: String,
}

impl Storefront {
    async fn start(options: &Options, servers: Servers, closing: CancellationToken) -> Result<Self, StorefrontError> {
        let listener = listen(&options.listen).await?;
        let address = page_address(listener.local_addr()?);
        let wake = Wake::new();
        let database = Database::open(&servers.database, wake.clone()).await?;
        let source = database.choose(&options.feed, options.source).await?;
        let broker = Broker::start(servers.brokers, &options.topic)?;
        announce(&address, &database, &broker, &options.topic);

        let (journal, stop_feed) = (Journal::new(), CancellationToken::new());
        tokio::spawn(Listener::new(broker.clone(), &*options.topic, journal.clone()).run(stop_feed.clone()));
        let plan = FeedPlan {
            name: options.feed.clone(),
            database: database.clone(),
            source,
            broker: broker.clone(),
            topic: options.topic.clone(),
        };
        let feed = Feed::start(plan, stop_feed.clone());
        tokio::spawn(narrate(feed.watch()));

        let around = Surroundings { database: database.words(), broker: broker.words(), topic: options.topic.clone() };
        let catch_up = CatchUp::new(broker, &*options.topic);
        let store = database.store();
        let shop = Shop::new(store, wake.clone(), feed.watch(), journal.clone(), catch_up, around, closing.clone());
        let served = axum::serve(listener, routes(shop)).with_graceful_shutdown(closing.clone().cancelled_owned());
        let server = tokio::spawn(served.into_future());
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
        say("closed; what was not published yet stands in the database and follows at the next start");
        served.map(|()| state)
    }

    /// Waits for the end of the requests. Whoever still sends one long after the signal is cut off.
    async fn served(&mut self) -> Result<(), StorefrontError> {
        let ended = tokio::select! {
            ended = &mut self.server => Some(ended),
            () = self.closing.cancelled() => timeout(DRAIN_TIMEOUT, &mut self.server).await.ok(),
        };
        match ended {
            None => self.server.abort(),
            Some(Ok(served)) => served?,
            Some(Err(panicked)) => return Err(io::Error::other(panicked).into()),
        }
        Ok(())
    }
}

async fn listen(address: &str) -> Result<TcpListener, StorefrontError> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| StorefrontError::Listen { listen: address.to_owned(), source })
}

/// Whoever listens on every address is reached at this one too.
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
