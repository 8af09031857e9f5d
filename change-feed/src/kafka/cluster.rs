//! What a cluster says of itself and of its topics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::Client;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::client_log::ClientLog;
use super::cluster_settings::{ClusterSettings, Isolation};
use super::failure::Failure;
use super::native;
use super::new_topic::NewTopicPlan;
use super::watchdog::{Deadline, retire, within};
use crate::feed::identity::Topic;

/// How long a cluster may take to answer at all: who is not there is asked again by the relay.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long a cluster may take to tell what a start can do without: limits and ids of topics.
const OPTIONAL_LIMIT: Duration = Duration::from_secs(3);
/// How long a topic must be unknown before it counts as missing: a broker that has just started knows none at first, and
/// one broker hears later of a new topic than another.
const ABSENCE_LIMIT: Duration = Duration::from_secs(5);
/// The pause between two looks at a topic that may still become known.
const ABSENCE_POLL: Duration = Duration::from_millis(20);

/// A connection that asks and administers, for the time of a start.
///
/// It is a consumer: a producer that asks for a topic makes it, where the cluster allows that.
pub(crate) struct Cluster {
    settings: ClusterSettings,
    probe: Arc<BaseConsumer<ClientLog>>,
    id: String,
    gives_topic_ids: bool,
}

/// What is configured for a topic, as far as the feed may see it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TopicLimits {
    pub(crate) max_message_bytes: Option<usize>,
    pub(crate) cleanup_policy: Option<String>,
}

impl Cluster {
    pub(crate) async fn connect(settings: &ClusterSettings, deadline: Deadline) -> Result<Self, Failure> {
        let settings = settings.clone();
        let answer = within(deadline.at_most(CONNECT_LIMIT), "connect to Kafka", move |deadline| {
            let doing = format!("connect to Kafka at {}", settings.brokers());
            let probe =
                BaseConsumer::from_config_and_context(&settings.probe(Isolation::Uncommitted), ClientLog::new("probe"))
                    .map_err(|error| Failure::new(&doing, &error))?;
            let Some(id) = probe.client().fetch_cluster_id(deadline.remaining()) else {
                serve_events(&probe);
                let silence = Failure::of(doing, RDKafkaErrorCode::OperationTimedOut, "no broker answered in time");
                return Err(silence.explained_by(probe.context()));
            };
            Ok((settings, Arc::new(probe), id))
        });
        let (settings, probe, id) = answer.await??;
        Ok(Self { settings, probe, id, gives_topic_ids: true })
    }

    /// For a broker that does not answer when it is asked for the ids of topics.
    pub(crate) fn leave_out_topic_ids(&mut self) {
        self.gives_topic_ids = false;
    }

    /// What tells this cluster from every other.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Those of the topics that exist.
    pub(crate) async fn topics(
        &self,
        names: &[String],
        deadline: Deadline,
    ) -> Result<BTreeMap<String, Topic>, Failure> {
        let (probe, names, gives_ids) = (Arc::clone(&self.probe), names.to_vec(), self.gives_topic_ids);
        within(deadline, "ask for the topics", move |deadline| {
            let found = if gives_ids {
                describe_topics(probe.client(), &names, deadline)
            } else {
                existing_topics(probe.client(), &names, deadline)
            };
            found.map_err(|failure| {
                serve_events(&probe);
                failure.explained_by(probe.context())
            })
        })
        .await?
    }

    /// The same, of which none is missing just because the broker that is asked does not know it yet.
    pub(crate) async fn settled_topics(
        &self,
        names: &[String],
        deadline: Deadline,
    ) -> Result<BTreeMap<String, Topic>, Failure> {
        let patience = deadline.at_most(ABSENCE_LIMIT);
        loop {
            let found = self.topics(names, deadline).await?;
            if names.iter().all(|name| found.contains_key(name)) || patience.has_passed() {
                return Ok(found);
            }
            tokio::time::sleep(ABSENCE_POLL).await;
        }
    }

    /// Asks the broker whether it would make a topic, without making it.
    pub(crate) async fn check_new(&self, name: &str, plan: &NewTopicPlan, deadline: Deadline) -> Result<(), Failure> {
        self.ask_for_topic(name, plan, AdminOptions::new().validate_only(true), deadline).await
    }

    /// Makes a topic and waits until it can be written to. A topic that exists is left as it is.
    pub(crate) async fn create(&self, name: &str, plan: &NewTopicPlan, deadline: Deadline) -> Result<(), Failure> {
        self.ask_for_topic(name, plan, AdminOptions::new(), deadline).await?;
        tracing::info!(target: "change_feed::kafka", topic = name, partitions = plan.partitions, "created a topic");
        let names = [name.to_owned()];
        while self.topics(&names, deadline).await?.is_empty() {
            if deadline.has_passed() {
                let detail = "it was created, but the brokers don't know it yet";
                let doing = format!("create the topic {name:?}");
                return Err(Failure::of(doing, RDKafkaErrorCode::OperationTimedOut, detail));
            }
            tokio::time::sleep(ABSENCE_POLL).await;
        }
        Ok(())
    }

    async fn ask_for_topic(
        &self,
        name: &str,
        plan: &NewTopicPlan,
        options: AdminOptions,
        deadline: Deadline,
    ) -> Result<(), Failure> {
        let doing = || format!("create the topic {name:?}");
        let admin = self.admin(deadline).await?;
        let options = options.request_timeout(Some(deadline.remaining()));
        let new = plan.named(name);
        let answer = tokio::time::timeout(deadline.remaining(), admin.create_topics([&new], &options)).await;
        retire(admin);
        let refused = match answer {
            Err(_) => Some(RDKafkaErrorCode::OperationTimedOut),
            Ok(Err(error)) => return Err(Failure::new(doing(), &error)),
            Ok(Ok(results)) => results.into_iter().find_map(Result::err).map(|(_, code)| code),
        };
        match refused {
            None | Some(RDKafkaErrorCode::TopicAlreadyExists) => Ok(()),
            Some(code) => Err(Failure::of(doing(), code, code)),
        }
    }

    /// What is configured for the topics; nothing is known of one that the feed may not ask about.
    pub(crate) async fn limits(
        &self,
        names: &[String],
        deadline: Deadline,
    ) -> Result<BTreeMap<String, TopicLimits>, Failure> {
        let deadline = deadline.at_most(OPTIONAL_LIMIT);
        let admin = self.admin(deadline).await?;
        let options = AdminOptions::new().request_timeout(Some(deadline.remaining()));
        let resources: Vec<_> = names.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
        let answer = tokio::time::timeout(deadline.remaining(), admin.describe_configs(&resources, &options)).await;
        retire(admin);
        let Ok(Ok(answers)) = answer else {
            tracing::debug!(target: "change_feed::kafka", "the cluster does not tell the limits of topics");
            return Ok(BTreeMap::new());
        };
        let known = names.iter().zip(answers).filter_map(|(name, answer)| {
            let config = answer.ok()?;
            let value = |key| config.get(key)?.value.clone();
            let limits = TopicLimits {
                max_message_bytes: value("max.message.bytes").and_then(|bytes| bytes.parse().ok()),
                cleanup_policy: value("cleanup.policy"),
            };
            Some((name.clone(), limits))
        });
        Ok(known.collect())
    }

    /// A client to ask for the high watermark, which counts open transactions.
    pub(crate) fn probe(&self) -> &Arc<BaseConsumer<ClientLog>> {
        &self.probe
    }

    async fn admin(&self, deadline: Deadline) -> Result<AdminClient<ClientLog>, Failure> {
        let config = self.settings.client();
        within(deadline, "administer topics", move |_| {
            AdminClient::from_config_and_context(&config, ClientLog::new("admin"))
                .map_err(|error| Failure::new("administer topics", &error))
        })
        .await?
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.probe.context().hush();
        retire(Arc::clone(&self.probe));
    }
}

/// Those of the topics that exist, with ids where the broker gives them.
pub(crate) fn describe_topics<C: ClientContext>(
    client: &Client<C>,
    names: &[String],
    deadline: Deadline,
) -> Result<BTreeMap<String, Topic>, Failure> {
    let mut found = existing_topics(client, names, deadline)?;
    let names: Vec<String> = found.keys().cloned().collect();
    for (name, id) in native::topic_ids(client, &names, deadline.at_most(OPTIONAL_LIMIT)) {
        if let Some(topic) = found.get_mut(&name) {
            topic.id = Some(id);
        }
    }
    Ok(found)
}

fn existing_topics<C: ClientContext>(
    client: &Client<C>,
    names: &[String],
    deadline: Deadline,
) -> Result<BTreeMap<String, Topic>, Failure> {
    let mut found = BTreeMap::new();
    for name in names {
        if let Some(partitions) = partitions_of(client, name, deadline)? {
            found.insert(name.clone(), Topic::new(partitions, None));
        }
    }
    Ok(found)
}

/// The number of partitions, `None` of a topic that doesn't exist (or is still being made).
fn partitions_of<C: ClientContext>(client: &Client<C>, name: &str, deadline: Deadline) -> Result<Option<u32>, Failure> {
    let doing = || format!("ask for the topic {name:?}");
    let answer = client.fetch_metadata(Some(name), deadline.remaining());
    let metadata = answer.map_err(|error| Failure::new(doing(), &error))?;
    let topic = metadata.topics().iter().find(|topic| topic.name() == name);
    match topic.map(|topic| (topic.error().map(RDKafkaErrorCode::from), topic.partitions().len())) {
        None | Some((Some(RDKafkaErrorCode::UnknownTopicOrPartition), _)) => Ok(None),
        Some((Some(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::LeaderNotAvailable), _)) => Ok(None),
        Some((Some(code), _)) => Err(Failure::of(doing(), code, code)),
        Some((None, 0)) => Ok(None),
        Some((None, partitions)) => Ok(u32::try_from(partitions).ok()),
    }
}

/// Serves what waits in a consumer's queue, so that its log has heard of it.
fn serve_events(consumer: &BaseConsumer<ClientLog>) {
    /// Each look handles one event.
    const LOOKS: usize = 100;
    for _ in 0..LOOKS {
        let _: Option<Result<_, KafkaError>> = consumer.poll(Duration::ZERO);
    }
}
