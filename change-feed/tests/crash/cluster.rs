//! A cluster of several brokers: who coordinates what, and whether it is whole.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;

/// How long a broker may take to answer before it counts as away.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Looks at the cluster of these brokers. Each call waits for an answer, on a thread that may block.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    brokers: String,
}

impl Cluster {
    pub(crate) fn new(brokers: &str) -> Self {
        Self { brokers: brokers.to_owned() }
    }

    /// The id of the broker that coordinates the transactions of this transactional id, or why nobody can tell.
    pub(crate) async fn coordinator(&self, transactional_id: &str) -> Result<u32, String> {
        let (cluster, id) = (self.clone(), transactional_id.to_owned());
        tokio::task::spawn_blocking(move || cluster.ask_for_coordinator(&id)).await.expect("it does not panic")
    }

    /// Whether every replica of every partition is in sync, so that one more broker may go away.
    pub(crate) async fn is_whole(&self) -> Result<(), String> {
        let cluster = self.clone();
        let asked = tokio::task::spawn_blocking(move || cluster.count_absent()).await.expect("it does not panic");
        match asked {
            Ok(0) => Ok(()),
            Ok(absent) => Err(format!("{absent} replicas are not in sync")),
            Err(error) => Err(error.to_string()),
        }
    }

    fn ask_for_coordinator(&self, transactional_id: &str) -> Result<u32, String> {
        let mut last = "no brokers".to_owned();
        for broker in self.brokers.split(',') {
            match find_coordinator(broker, transactional_id) {
                Ok((0, node)) => return Ok(node.unsigned_abs()),
                Ok((code, _)) => last = format!("{broker} answers with the error {code}"),
                Err(error) => last = format!("{broker}: {error}"),
            }
        }
        Err(last)
    }

    fn count_absent(&self) -> KafkaResult<usize> {
        let mut config = ClientConfig::new();
        let asking: BaseConsumer = config.set("bootstrap.servers", &self.brokers).create()?;
        let metadata = asking.fetch_metadata(None, ANSWER_TIMEOUT)?;
        let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
        let absent = partitions.map(|partition| partition.replicas().len().saturating_sub(partition.isr().len()));
        Ok(absent.sum())
    }
}

/// FindCoordinator, version 1 (<https://kafka.apache.org/protocol.html>): librdkafka has no call for it. Gives the error's
/// code and the broker's id.
fn find_coordinator(broker: &str, transactional_id: &str) -> io::Result<(i16, i32)> {
    const FIND_COORDINATOR: u16 = 10;
    const OF_TRANSACTIONS: u8 = 1;
    let id = transactional_id.as_bytes();
    let mut request = Vec::new();
    request.extend(FIND_COORDINATOR.to_be_bytes());
    request.extend(1_u16.to_be_bytes());
    // The correlation id, which nobody looks at, and no client id.
    request.extend(0_u32.to_be_bytes());
    request.extend((-1_i16).to_be_bytes());
    request.extend(u16::try_from(id.len()).expect("a short name").to_be_bytes());
    request.extend(id);
    request.push(OF_TRANSACTIONS);

    let mut connection = TcpStream::connect(broker)?;
    connection.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    connection.write_all(&u32::try_from(request.len()).expect("a short request").to_be_bytes())?;
    connection.write_all(&request)?;
    let mut length = [0; 4];
    connection.read_exact(&mut length)?;
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    connection.read_exact(&mut answer)?;
    // After the correlation id and the time by which the client is throttled.
    let short = |at: usize| i16::from_be_bytes([answer[at], answer[at + 1]]);
    let node = 4 + 4 + 2 + 2 + usize::try_from(short(10)).unwrap_or(0);
    let node = i32::from_be_bytes([answer[node], answer[node + 1], answer[node + 2], answer[node + 3]]);
    Ok((short(8), node))
}
