//! The feed: made from its plan, and run until a signal or a failure ends it.

use std::pin::pin;
use std::time::Duration;

use async_trait::async_trait;
use change_feed::ndjson::NdjsonPublisher;
use change_feed::outbox::Outbox;
use change_feed::{
    KafkaPublisher, LogicalSource, Part, Position, PublishError, Publisher, Relay, SourceError, Stopped,
};
use tokio_util::sync::CancellationToken;

use crate::options::Delivery;
use crate::outcome::{Outcome, UsageError, one_line};
use crate::plan::{KafkaPlan, OutboxPlan, Plan, Target};
use crate::{signals, status_line};

/// The pause before another attempt to reach a database or a cluster that is away at the start.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Runs the feed until it ends.
pub(crate) async fn run(plan: Plan, shows_line: bool) -> Outcome {
    let ending = match signals::ending() {
        Ok(ending) => ending,
        Err(error) => return Outcome::failed("cannot wait for signals", error),
    };
    let ready = tokio::select! {
        biased;
        () = ending.cancelled() => return Outcome::Drained(Position::ORIGIN),
        ready = connect(&plan) => ready,
    };
    match ready {
        Ok((source, publisher)) => relay(plan, source, publisher, ending, shows_line).await,
        Err(outcome) => outcome,
    }
}

async fn relay(
    plan: Plan,
    source: LogicalSource,
    publisher: Box<dyn Publisher>,
    ending: CancellationToken,
    shows_line: bool,
) -> Outcome {
    let feed = plan.feed.to_string();
    let relay = Relay::new(plan.feed, source, plan.router, publisher);
    let handle = relay.handle();
    let mut run = pin!(relay.run(ending.cancelled_owned()));
    let stopped = if shows_line {
        tokio::select! {
            stopped = run.as_mut() => stopped,
            () = status_line::show(feed, handle) => run.await,
        }
    } else {
        run.await
    };
    match stopped {
        Ok(Stopped { position, drained: true, .. }) => Outcome::Drained(position),
        Ok(Stopped { position, .. }) => Outcome::Undrained(position),
        Err(error) => error.into(),
    }
}

/// Makes the publisher first and the source last: the source may create a slot, which holds the server's log, so
/// everything else is checked before.
async fn connect(plan: &Plan) -> Result<(LogicalSource, Box<dyn Publisher>), Outcome> {
    let publisher: Box<dyn Publisher> = match &plan.target {
        Target::Kafka(kafka) => {
            let publisher = kafka_publisher(plan, kafka).map_err(|error| UsageError::new(one_line(&error)))?;
            if plan.create {
                check_cluster(plan, &publisher).await?;
            }
            Box::new(publisher)
        }
        Target::Stdout => Box::new(NdjsonPublisher::stdout()),
        Target::File(path) => Box::new(NdjsonPublisher::file(path)),
        Target::Null => Box::new(NullPublisher),
    };
    Ok((connect_source(plan).await?, publisher))
}

fn kafka_publisher(plan: &Plan, kafka: &KafkaPlan) -> Result<KafkaPublisher, PublishError> {
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

/// Waits for the cluster and checks that it accepts the topics that this run would create.
async fn check_cluster(plan: &Plan, publisher: &KafkaPublisher) -> Result<(), Outcome> {
    let (topics, compacted) = (plan.router.topics(), plan.router.compacted_topics());
    loop {
        match publisher.preflight(&topics, &compacted).await {
            Err(PublishError::Transient(cause)) => {
                tracing::warn!(cause = one_line(&*cause), "the Kafka cluster is not available; trying again");
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
            Err(error @ PublishError::Fatal { .. }) => {
                let text = format!("{}; nothing was created", one_line(&error));
                return Err(UsageError::new(text).into());
            }
            answer => return Ok(answer?),
        }
    }
}

/// Waits for the database, as long as it takes.
async fn connect_source(plan: &Plan) -> Result<LogicalSource, SourceError> {
    loop {
        match try_source(plan).await {
            Err(SourceError::Transient(cause)) => {
                tracing::warn!(cause = one_line(&*cause), "the database is not available; trying again");
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
            answer => return answer,
        }
    }
}

async fn try_source(plan: &Plan) -> Result<LogicalSource, SourceError> {
    let mut builder = LogicalSource::builder(plan.database_url.as_str(), &plan.feed)
        .tables(plan.tables.iter().map(String::as_str))
        .create(plan.create);
    if let Some(outbox) = &plan.outbox {
        builder = builder.outbox(find_outbox(plan, outbox).await?);
    }
    builder.connect().await
}

async fn find_outbox(plan: &Plan, outbox: &OutboxPlan) -> Result<Outbox, SourceError> {
    let OutboxPlan { schema, table, type_prefix, type_suffix } = outbox;
    let found = LogicalSource::find_outbox(plan.database_url.as_str(), &plan.feed, schema, table).await?;
    Ok(found.event_type_format(type_prefix.as_str(), type_suffix.as_str()))
}

/// A publisher that drops everything: it shows how fast a source is.
#[derive(Debug)]
struct NullPublisher;

#[async_trait]
impl Publisher for NullPublisher {
    async fn publish(&self, _part: &Part<'_>) -> Result<(), PublishError> {
        Ok(())
    }
}
