//! Kafka's own consumer, in a process of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use crate::kafka_jvm::cluster::brokers;
use crate::kafka_jvm::seen::Seen;

/// What a reader is shown of open and aborted transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isolation {
    Committed,
    Uncommitted,
}

impl Isolation {
    pub(crate) fn setting(self) -> &'static str {
        match self {
            Self::Committed => "read_committed",
            Self::Uncommitted => "read_uncommitted",
        }
    }
}

/// A record as Java's consumer gives it.
#[derive(Debug)]
pub(crate) struct JavaRecord {
    pub(crate) seen: Seen,
    /// The partition that Java's producer chooses for its key; `None` where it has none.
    pub(crate) chosen_partition: Option<i32>,
}

/// A start of the JVM and the compiler, on a machine that does much else.
const LIMIT: Duration = Duration::from_secs(180);

/// Reads each of these topics to its end, with Java's own consumer.
pub(crate) async fn read<const N: usize>(topics: [(Isolation, &str); N]) -> [Vec<JavaRecord>; N] {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("records");
    let mut java = tokio::process::Command::new("java");
    java.args(["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]);
    java.arg(format!("{}/*", kafka_jars().display()));
    java.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka_jvm/ReadTopics.java"));
    java.arg(brokers()).arg(&file);
    for (isolation, topic) in topics {
        java.args([isolation.setting(), topic]);
    }
    let answer = tokio::time::timeout(LIMIT, java.kill_on_drop(true).output()).await.expect("Java's consumer ends");
    let output = answer.expect("java can be started: this test needs a JDK 17 or later (openjdk-17-jdk-headless)");
    assert!(
        output.status.success(),
        "Java's consumer failed; it needs a JDK, not only a JRE (openjdk-17-jdk-headless):\n{}",
        said(&output)
    );
    let lines = std::fs::read_to_string(&file).expect("what it has read");
    let lines = lines.strip_suffix("end\n").unwrap_or_else(|| panic!("it did not come to its end: {}", said(&output)));
    topics.map(|(isolation, topic)| {
        let start = format!("{}\t{topic}\t", isolation.setting());
        lines.lines().filter_map(|line| line.strip_prefix(&start)).map(record).collect()
    })
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The jars of Kafka that all tests run on.
fn kafka_jars() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is a folder of the workspace");
    let output = Command::new(workspace.join("scripts/services")).arg("kafka-jars").output();
    let output = output.expect("scripts/services can be started");
    assert!(output.status.success(), "no jars of Kafka's clients: {}", said(&output));
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}

fn record(line: &str) -> JavaRecord {
    let mut fields = line.split('\t');
    let mut next = || fields.next().expect("a record has seven fields");
    let number = |text: &str| text.parse().expect("a number");
    let (partition, offset, chosen) = (number(next()), next().parse().expect("a number"), next());
    let (key, value) = (bytes(next()), bytes(next()));
    let mut headers = Vec::new();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        let name = String::from_utf8(bytes(name).expect("a header has a name")).expect("a name is text");
        headers.push((name, bytes(value)));
    }
    let seen = Seen { partition, offset, key, value, headers };
    JavaRecord { seen, chosen_partition: (chosen != "-").then(|| number(chosen)) }
}

/// The bytes of a field; `None` of a null.
fn bytes(field: &str) -> Option<Vec<u8>> {
    let digits = match field.strip_prefix('x') {
        None => {
            assert_eq!(field, "-");
            return None;
        }
        Some(digits) => digits.as_bytes(),
    };
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hexadecimal");
    Some(digits.chunks(2).map(byte).collect())
}
