//! Installs the rival: downloads it once, by Maven.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::outcome::Outcome;

const POM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/rig/debezium/pom.xml");

/// The rival, installed.
#[derive(Debug)]
pub(crate) struct Debezium {
    /// The jars of Kafka Connect's worker.
    pub(super) worker: PathBuf,
    /// Each connector in a folder of its own.
    pub(super) plugins: PathBuf,
    /// For the files of this run.
    pub(super) scratch: PathBuf,
}

impl Debezium {
    /// Downloads worker and connector unless they are in this folder already.
    pub(crate) async fn install(folder: &Path, scratch: &Path) -> Outcome<Self> {
        let installed = |folder: PathBuf| Self {
            worker: folder.join("worker"),
            plugins: folder.join("plugins"),
            scratch: scratch.to_owned(),
        };
        let done = folder.join("installed");
        if !done.exists() {
            eprintln!("rig: downloading Kafka Connect and Debezium");
            let _: std::io::Result<()> = fs::remove_dir_all(folder);
            let Self { worker, plugins, .. } = installed(folder.to_owned());
            let connector = plugins.join("debezium-postgres");
            download("worker", &worker).await?;
            download("connector", &connector).await?;
            remove_what_the_worker_brings(&worker, &connector)?;
            fs::write(done, "")?;
        }
        Ok(installed(folder.to_owned()))
    }
}

async fn download(profile: &str, into: &Path) -> Outcome<()> {
    fs::create_dir_all(into)?;
    let mut maven = Command::new("mvn");
    maven
        .args(["--quiet", "--batch-mode", "-Dstyle.color=never", "--file", POM, "--activate-profiles", profile])
        .args(["dependency:copy-dependencies", "-DincludeScope=runtime"])
        .arg(format!("-DoutputDirectory={}", into.display()))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let status = maven.status().await.map_err(|error| format!("Maven (mvn) can't be started: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("Maven could not download the {profile}").into()) }
}

/// A connector that brings a second copy of a library which the worker passes objects of to it does not work with them.
fn remove_what_the_worker_brings(worker: &Path, connector: &Path) -> Outcome<()> {
    let brought: HashSet<String> = jars(worker)?.into_iter().map(|(artifact, _)| artifact).collect();
    for (artifact, jar) in jars(connector)? {
        if brought.contains(&artifact) {
            fs::remove_file(jar)?;
        }
    }
    Ok(())
}

fn jars(folder: &Path) -> Outcome<Vec<(String, PathBuf)>> {
    let mut jars = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if let Some(artifact) = path.file_name().and_then(|name| name.to_str()).and_then(artifact) {
            jars.push((artifact.to_owned(), path));
        }
    }
    Ok(jars)
}

/// The artifact of a jar: its name up to the version, which begins with a digit.
fn artifact(jar: &str) -> Option<&str> {
    let name = jar.strip_suffix(".jar")?;
    let version =
        name.match_indices('-').find(|(at, _)| name[at + 1..].starts_with(|letter: char| letter.is_ascii_digit()));
    Some(version.map_or(name, |(at, _)| &name[..at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_artifact_is_known_in_every_version() {
        assert_eq!(artifact("kafka-clients-4.3.0.jar"), Some("kafka-clients"));
        assert_eq!(artifact("zstd-jni-1.5.6-10.jar"), Some("zstd-jni"));
        assert_eq!(artifact("jakarta.ws.rs-api-3.1.0.jar"), Some("jakarta.ws.rs-api"));
        assert_eq!(artifact("plain.jar"), Some("plain"));
        assert_eq!(artifact("notice.txt"), None);
    }

    #[test]
    fn the_connector_keeps_only_what_the_worker_lacks() {
        let folder = tempfile::tempdir().expect("a folder");
        let (worker, connector) = (folder.path().join("worker"), folder.path().join("connector"));
        for jar in
            [worker.join("jackson-core-2.1.jar"), connector.join("jackson-core-2.0.jar"), connector.join("own-1.jar")]
        {
            fs::create_dir_all(jar.parent().expect("a folder")).expect("a folder");
            fs::write(jar, "").expect("a jar");
        }
        remove_what_the_worker_brings(&worker, &connector).expect("folders");
        let kept: Vec<String> = jars(&connector).expect("a folder").into_iter().map(|(artifact, _)| artifact).collect();
        assert_eq!(kept, ["own"]);
    }
}
