//! The first look: no server, one command.

use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;

use crate::api::path;
use crate::live_stream::LiveStream;
use crate::program::{Ended, Program, Start};

const REFUSAL: &str = "0 events published";

fn folder() -> TempDir {
    TempDir::new().expect("a folder for temporary files")
}

#[tokio::test]
async fn without_any_server_it_says_what_it_uses_plays_an_order_and_serves() {
    let folder = folder();
    let program = Start::within(folder.path()).serving().await;
    program.line("Serving at http://127.0.0.1:").await;
    let said = program.said().join("\n");
    for words in [
        "page      http://127.0.0.1:",
        "SQLite, the file storefront.db",
        "development broker: in memory, gone when this program ends, at 127.0.0.1:",
        "orders.events, 12 partitions",
        "kcat -b 127.0.0.1:",
        "DATABASE_URL=",
        "KAFKA_BROKERS=",
    ] {
        assert!(said.contains(words), "{words:?} is not in {said}");
    }
    assert_plays_an_order(&program);
    assert!(folder.path().join("storefront.db").exists());
    let ended = program.terminated().await;
    assert_eq!(ended.code(), Some(0), "{ended:#?}");
    assert!(ended.warned.is_empty(), "{ended:#?}");
}

/// Five events with versions 1 to 5, in one partition and in order, each with the milliseconds since its commit; and
/// the refusal.
fn assert_plays_an_order(program: &Program) {
    let said = program.said();
    let events: Vec<Vec<&str>> = said
        .iter()
        .filter(|line| line.contains("ms after the commit"))
        .map(|line| line.split_whitespace().collect())
        .collect();
    let after = |words: &[&str], name| {
        let place = words.iter().position(|word| *word == name).expect(name);
        words[place + 1].to_owned()
    };
    let number = |words: &[&str], name| after(words, name).parse::<u64>().expect("a number");
    let versions: Vec<u64> = events.iter().map(|words| number(words, "version")).collect();
    assert_eq!(versions, [1, 2, 3, 4, 5], "{said:#?}");
    let types: Vec<&str> = events.iter().flatten().filter(|word| word.starts_with("order.")).copied().collect();
    let expected = ["created", "item_added", "item_added", "scheduled", "cancelled"];
    assert_eq!(types, expected.map(|name| format!("order.{name}.v1")));
    for pair in events.windows(2) {
        assert_eq!(number(&pair[0], "partition"), number(&pair[1], "partition"));
        assert!(number(&pair[0], "offset") < number(&pair[1], "offset"));
    }
    let refusals: Vec<&String> = said.iter().filter(|line| line.contains(REFUSAL)).collect();
    assert!(refusals.len() == 1 && refusals[0].contains("cancelled at version 5"), "{said:#?}");
}

#[tokio::test]
async fn a_second_run_goes_on_with_the_same_file() {
    let folder = folder();
    let first = Start::within(folder.path()).args(&["--no-demo"]).serving().await;
    let api = first.api().await;
    let order = api.create().await;
    let order = api.add(&order, "milk").await.done(201);
    assert_eq!(first.terminated().await.code(), Some(0));

    let second = Start::within(folder.path()).serving().await;
    second.line(REFUSAL).await;
    assert_plays_an_order(&second);
    let api = second.api().await;
    assert_eq!(api.get(&path(&order)).await.done(200), order);
    let order = api.cancel(&order).await.done(200);
    // The development broker began anew, and so did the feed: the whole history is there again.
    let events = LiveStream::open(&api, None).await.through(&order).await;
    let ours = events.iter().filter(|event| event.data["order_id"] == order["order_id"]);
    assert_eq!(ours.map(|event| event.data["version"].as_u64()).collect::<Vec<_>>(), [Some(1), Some(2), Some(3)]);
}

#[tokio::test]
async fn the_example_can_be_left_out() {
    let folder = folder();
    let program = Start::within(folder.path()).args(&["--no-demo"]).serving().await;
    program.line("Serving at ").await;
    let ended = program.terminated().await;
    assert!(!ended.text().contains("example") && !ended.text().contains(REFUSAL), "{ended:#?}");
}

#[tokio::test]
async fn help_names_every_flag_and_variable() {
    let Ended { status, said, .. } = Start::within(folder().path()).args(&["--help"]).ended().await;
    assert!(status.success());
    let said = said.join("\n");
    for name in
        ["--listen", "--topic", "--feed", "--source", "--no-demo", "DATABASE_URL", "KAFKA_BROKERS", "ORDERS_TOPIC"]
    {
        assert!(said.contains(name), "{name} is not in {said}");
    }
}

#[tokio::test]
async fn the_kcat_line_works_from_another_terminal() {
    if Command::new("kcat").arg("-V").output().await.is_err() {
        println!("SKIPPED: kcat is not installed");
        return;
    }
    let folder = folder();
    let program = Start::within(folder.path()).serving().await;
    program.line(REFUSAL).await;
    let line = program.line("kcat -b ").await;
    // `-e` ends it at the end of the topic: the line itself goes on with what comes.
    let output = Command::new("sh").args(["-c", &format!("{} -e", line.trim())]).output();
    let output = tokio::time::timeout(Duration::from_secs(60), output).await.expect("in time").expect("kcat");
    let text = String::from_utf8(output.stdout).expect("text");
    let records: Vec<&str> = text.lines().collect();
    assert_eq!(records.len(), 5, "{text}");
    for record in records {
        let (key, value) = record.split_once(' ').expect("key and value");
        let value: serde_json::Value = serde_json::from_str(value).expect("JSON");
        assert_eq!(value["order_id"], key);
    }
}
