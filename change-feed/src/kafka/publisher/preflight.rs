//! Checks the cluster before anything is made for a feed.

use std::sync::Arc;

use super::options::Mode;
use super::publisher::KafkaPublisher;
use crate::kafka::cluster::Cluster;
use crate::kafka::deadline::Deadline;
use crate::publisher::PublishError;

impl KafkaPublisher {
    /// Checks that the cluster can be reached and would accept the topics that this publisher creates. Makes nothing.
    ///
    /// Meant for the first start of a feed: a replication slot holds the log of its server, so nobody should create one for
    /// a publisher that can't start. `compacted` are those of the topics that hold rows. A topic that is missing is an error
    /// only where the cluster refuses to create it.
    ///
    /// # Errors
    ///
    /// [`PublishError::Transient`] while the cluster can't be reached, [`PublishError::Fatal`] where it refuses: a missing
    /// right, or a number of partitions or replicas that it can't have.
    pub async fn preflight(&self, topics: &[Arc<str>], compacted: &[Arc<str>]) -> Result<(), PublishError> {
        let deadline = Deadline::after(self.options.time_limit);
        let cluster = Cluster::connect(&self.options.settings, deadline).await?;
        let is_compacted = |name: &str| compacted.iter().any(|topic| **topic == *name);
        let plans = topics.iter().map(|topic| (topic.to_string(), self.options.new_topic(is_compacted(topic))));
        let positions = (self.options.mode == Mode::Transactional)
            .then(|| (self.positions.name.clone(), Some(self.options.position_topic())));
        let plans: Vec<_> = plans.chain(positions).collect();
        let names: Vec<String> = plans.iter().map(|(name, _)| name.clone()).collect();
        let found = cluster.topics(&names, deadline).await?;
        for (name, plan) in plans {
            if let Some(plan) = plan.filter(|_| !found.contains_key(&name)) {
                cluster.check_new(&name, &plan, deadline).await?;
            }
        }
        Ok(())
    }
}
