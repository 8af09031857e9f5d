//! What the program says to whoever asks it wrongly, without a server.

use crate::world::World;

#[tokio::test]
async fn help_names_every_option_and_the_exit_codes() {
    let world = World::new().await;
    let ended = world.feed(&["--help"]).ended().await;
    assert_eq!(ended.code, Some(0));
    let options =
        "--feed --outbox --tables --topic --topic-prefix --format --delivery --to --snapshot --create --config";
    for words in options.split(' ').chain(["DATABASE_URL", "KAFKA_BROKERS", "Exit codes", "failed closed"]) {
        assert!(ended.stdout.contains(words), "{words} is missing from\n{}", ended.stdout);
    }
}

#[tokio::test]
async fn wrong_usage_is_exit_code_2_with_what_would_be_right() {
    let world = World::new().await;
    let wrong: [(&[&str], &str); 5] = [
        (&["--outbox", "public.e"], "--topic TOPIC"),
        (&["--tables", "people", "--topic-prefix", "p"], "SCHEMA.TABLE"),
        (&["--tables", "public.people", "--topic-prefix", "p", "--to", "rabbit"], "kafka, ndjson"),
        (&["--tables", "public.people", "--topic-prefix", "p", "--format", "debezium"], "not available"),
        (&["--config", "nothing.toml"], "can't be read"),
    ];
    for (arguments, words) in wrong {
        let ended = world.feed(arguments).ended().await;
        assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(words), "{arguments:?}: {}", ended.stderr);
    }
    let rows = ["--tables", "public.people", "--topic-prefix", "p"];
    let ended = world.feed(&rows).without("DATABASE_URL").ended().await;
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("DATABASE_URL is not set"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_wrong_password_is_told_and_not_shown() {
    let world = World::new().await;
    let mut url = world.url.clone();
    let (at, start) = (url.find('@').expect("a host"), url.find("://").expect("a scheme") + 3);
    url.replace_range(start..at, "postgres:not-the-password");
    let rows = ["--tables", "public.people", "--topic-prefix", "p", "--to", "null"];
    let events = ["--outbox", "public.greetings", "--topic", "t", "--to", "null"];
    for feed in [&rows, &events] {
        let ended = world.feed(feed).env("DATABASE_URL", &url).ended().await;
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains("password") && !ended.stderr.contains("not-the-password"), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn a_server_without_the_tls_that_is_demanded_is_an_error_and_not_waited_for() {
    let world = World::new().await;
    let url = world.url.replace("sslmode=prefer", "sslmode=require");
    assert_ne!(url, world.url);
    let rows = ["--tables", "public.people", "--topic-prefix", "p", "--to", "null"];
    let events = ["--outbox", "public.greetings", "--topic", "t", "--to", "null"];
    for feed in [&rows, &events] {
        let ended = world.feed(feed).env("DATABASE_URL", &url).ended().await;
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        // The server's refusal: the program itself can do TLS as it is built by default.
        assert!(ended.stderr.contains("does not support TLS"), "{}", ended.stderr);
    }
}
