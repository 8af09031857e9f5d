//! A cluster and its topics, as the brokers describe them.

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
use super::deadline::{Deadline, retire, within};
use super::failure::Failure;
use super::native;
use super::new_topic::NewTopicPlan;
use crate::feed::identity::Topic;

/// How long a cluster may take to answer at all. The relay tries again.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long a cluster may take to answer what a start can do without: limits and ids of topics.
const OPTIONAL_LIMIT: Duration = Duration::from_secs(3);
/// How long a topic must be unknown before it counts as missing: a broker that has just started knows none at first, and
/// one broker hears later of a new topic than another.
const ABSENCE_LIMIT: Duration = Duration::from_secs(5);
/// The pause between two looks at a topic that may still become known.
const ABSENCE_POLL: Duration = Duration::from_millis(20);

/// A connection for the time of a start, which queries and administers the cluster.
///
/// It is a consumer: where the cluster creates topics automatically, the metadata request of a producer would create one.
pub(crate) struct Cluster {
    settings: ClusterSettings,
    probe: Arc<BaseConsumer<ClientLog>>,
    id: String,
    gives_topic_ids: bool,
}

/// The configuration of a topic, as far as this user may read it.
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

    /// Leaves the ids of topics out: some brokers give no answer to a query for them.
    pub(crate) fn leave_out_topic_ids(&mut self) {
        self.gives_topic_ids = false;
    }

    /// The id of the cluster.
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
            match found {
                Ok(found) => {
                    probe.context().note_answer();
                    Ok(found)
                }
                Err(failure) => {
                    serve_events(&probe);
                    Err(failure.explained_by(probe.context()))
                }
            }
        })
        .await?
    }

    /// As [`topics`](Self::topics), after a wait for those that a broker may not know yet.
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

    /// Checks that the cluster would make a topic: by its name, its settings and the rights of this user. Makes nothing.
    pub(crate) async fn check_new(&self, name: &str, plan: &NewTopicPlan, deadline: Deadline) -> Result<(), Failure> {
        self.request_topic(name, plan, AdminOptions::new().validate_only(true), deadline).await
    }

    /// Makes a topic and waits until it can be written to. A topic that exists is left as it is.
    pub(crate) async fn create(&self, name: &str, plan: &NewTopicPlan, deadline: Deadline) -> Result<(), Failure> {
        self.request_topic(name, plan, AdminOptions::new(), deadline).await?;
        tracing::info!(target: "change_feed::kafka", topic = name, partitions = plan.partitions, "created a topic");
        let names = [name.to_owned()];
        while self.topics(&names, deadline).await?.is_empty() {
            if deadline.has_passed() {
                let detail = "it was created, but not every broker knows it yet";
                let doing = format!("create the topic {name:?}");
                return Err(Failure::of(doing, RDKafkaErrorCode::OperationTimedOut, detail));
            }
            tokio::time::sleep(ABSENCE_POLL).await;
        }
        Ok(())
    }

    async fn request_topic(
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

    /// The configuration of the topics, without those whose configuration this user may not read.
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
            tracing::debug!(target: "change_feed::kafka", "the configuration of the topics can't be read");
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

    /// A client whose high watermarks include open transactions.
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

/// Serves the events in a consumer's queue, so that they reach its log.
fn serve_events(consumer: &BaseConsumer<ClientLog>) {
    /// Each look handles one event.
    const LOOKS: usize = 100;
    for _ in 0..LOOKS {
        let _: Option<Result<_, KafkaError>> = consumer.poll(Duration::ZERO);
    }
}
