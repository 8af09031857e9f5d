//! The feed itself: made from its plan, and run until somebody or something ends it.

use std::pin::pin;
use std::time::Duration;

use change_feed::ndjson::NdjsonPublisher;
use change_feed::outbox::Outbox;
use change_feed::{KafkaPublisher, LogicalSource, Publisher, Relay, SourceError, Stopped};
use tokio_util::sync::CancellationToken;

use crate::chain::chain;
use crate::ended::{Ended, failed};
use crate::null::NullPublisher;
use crate::plan::{KafkaPlan, OutboxPlan, Plan, Target};
use crate::settings::Delivery;
use crate::{signals, status_line};

/// While the database is away it is tried again so often.
const AWAY_INTERVAL: Duration = Duration::from_secs(1);
/// Runs the feed, and says how it ended.
pub(crate) async fn run(plan: Plan, shows_line: bool) -> Ended {
    let ending = match signals::ending() {
        Ok(ending) => ending,
        Err(error) => return failed("signals can't be waited for", error),
    };
    let publisher = match publisher(&plan) {
        Ok(publisher) => publisher,
        Err(error) => return Ended::Failed(chain(&error)),
    };
    let source = tokio::select! {
        biased;
        () = ending.cancelled() => return Ended::Drained(change_feed::Position::ORIGIN),
        source = connected(&plan) => source,
    };
    match source {
        Ok(source) => relay(plan, source, publisher, ending, shows_line).await,
        Err(error) => error.into(),
    }
}

async fn relay(
    plan: Plan,
    source: LogicalSource,
    publisher: Box<dyn Publisher>,
    ending: CancellationToken,
    shows_line: bool,
) -> Ended {
    let feed = plan.feed.to_string();
    let relay = Relay::new(plan.feed, source, plan.router, publisher);
    let handle = relay.handle();
    let mut run = pin!(relay.run(ending.cancelled_owned()));
    let ended = if shows_line {
        tokio::select! {
            ended = run.as_mut() => ended,
            () = status_line::show(feed, handle) => run.await,
        }
    } else {
        run.await
    };
    match ended {
        Ok(Stopped { position, drained: true, .. }) => Ended::Drained(position),
        Ok(Stopped { position, .. }) => Ended::Undrained(position),
        Err(error) => error.into(),
    }
}

fn publisher(plan: &Plan) -> Result<Box<dyn Publisher>, change_feed::PublishError> {
    Ok(match &plan.target {
        Target::Kafka(kafka) => Box::new(kafka_publisher(plan, kafka)?),
        Target::Stdout => Box::new(NdjsonPublisher::stdout()),
        Target::File(path) => Box::new(NdjsonPublisher::file(path)),
        Target::Null => Box::new(NullPublisher),
    })
}

fn kafka_publisher(plan: &Plan, kafka: &KafkaPlan) -> Result<KafkaPublisher, change_feed::PublishError> {
    let mut builder = KafkaPublisher::builder(kafka.brokers.as_str(), &plan.feed);
    for (name, value) in &kafka.properties {
        builder = builder.set(name, value);
    }
    if plan.create {
        builder = builder.create_topics(kafka.partitions);
    }
    if let Some(replicas) = kafka.replication_factor {
        builder = builder.replication_factor(replicas);
    }
    match kafka.delivery {
        Delivery::Transactional => builder.build(),
        Delivery::Idempotent => builder.idempotent().build(),
    }
}

/// Waits for a database that is away: at the start as later, nobody's help is needed when it is back.
async fn connected(plan: &Plan) -> Result<LogicalSource, SourceError> {
    loop {
        match connect(plan).await {
            Err(SourceError::Transient(cause)) => {
                tracing::warn!(cause = chain(&*cause), "the database is not available; nothing is lost, trying again");
                tokio::time::sleep(AWAY_INTERVAL).await;
            }
            answer => return answer,
        }
    }
}

async fn connect(plan: &Plan) -> Result<LogicalSource, SourceError> {
    let mut builder = LogicalSource::builder(&plan.database_url, &plan.feed)
        .tables(plan.tables.iter().map(String::as_str))
        .create(plan.create);
    if let Some(outbox) = &plan.outbox {
        builder = builder.outbox(find(plan, outbox).await?);
    }
    builder.connect().await
}

async fn find(plan: &Plan, outbox: &OutboxPlan) -> Result<Outbox, SourceError> {
    let OutboxPlan { schema, table, type_prefix, type_suffix } = outbox;
    let found = LogicalSource::find_outbox(&plan.database_url, &plan.feed, schema, table).await?;
    Ok(found.event_type_format(type_prefix.as_str(), type_suffix.as_str()))
}
