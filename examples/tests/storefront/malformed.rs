//! Requests of every kind, right and wrong: the storefront answers each without a fault, and goes on.

use std::collections::BTreeSet;
use std::sync::Mutex;

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::api::path;
use crate::program::PATIENCE;
use crate::shop::{Shop, shop};

const CASES: u32 = 1_000;

/// One request, as bytes.
#[derive(Debug, Clone)]
struct Sent {
    method: String,
    address: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    framing: Framing,
}

/// How the length of the body is declared.
#[derive(Debug, Clone, Copy)]
enum Framing {
    Right,
    Chunked,
    Short,
    Twice,
    NoNumber,
    Missing,
}

fn method() -> impl Strategy<Value = String> {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "BREW"];
    prop_oneof![9 => select(known.to_vec()).prop_map(str::to_owned), 1 => "[A-Za-z!#]{1,20}"]
}

fn id() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("ORDER".to_owned()),
        Just("ITEM".to_owned()),
        Just(uuid::Uuid::now_v7().to_string()),
        "[0-9a-f-]{36}",
        "(%[0-9A-F]{2}){1,4}",
        "[!-~]{0,12}",
    ]
}

fn address() -> impl Strategy<Value = String> {
    let templates = [
        "/orders",
        "/orders/1",
        "/orders/1/items",
        "/orders/1/items/2",
        "/orders/1/delivery-window",
        "/orders/1/cancellation",
        "/orders?customer_id=1&cursor=2",
        "/?order=1&devices=2",
        "/healthz",
        "/events",
        "/page.js",
        "/1",
        "*",
        "http://elsewhere/orders/1",
    ];
    (select(templates.to_vec()), id(), id())
        .prop_map(|(template, one, two)| template.replace('1', &one).replace('2', &two))
}

fn header() -> impl Strategy<Value = (String, Vec<u8>)> {
    let names = [
        "Content-Type",
        "Content-Encoding",
        "If-Match",
        "If-None-Match",
        "Idempotency-Key",
        "Last-Event-ID",
        "traceparent",
        "Accept",
        "Expect",
        "Range",
        "Cookie",
        "X-Other",
        "Host",
        "Transfer-Encoding",
        "Upgrade",
    ];
    let values = [
        "application/json",
        "gzip",
        "deflate",
        "br",
        "*",
        "\"1\"",
        "W/\"1\"",
        "\"1\", \"2\"",
        "1",
        "0",
        "",
        "100-continue",
        "chunked",
        "a-1:2",
        "bytes=0-1",
        "99999999999999999999",
    ];
    let value = prop_oneof![
        3 => select(values.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        1 => vec(prop_oneof![0x20u8..=0x7e, 0x80u8..=0xff], 0..40),
        1 => vec(any::<u8>(), 0..20),
        1 => Just(vec![b'x'; 70_000]),
    ];
    (select(names.to_vec()).prop_map(str::to_owned), value)
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let bodies = [
        r#"{"customer_id":"01985f0f-0000-7000-8000-000000000001","currency":"EUR"}"#,
        r#"{"sku":"milk","quantity":1,"unit_price_minor":149}"#,
        r#"{"quantity":3}"#,
        r#"{"starts_at":"2026-12-01T10:00:00Z","ends_at":"2026-12-01T11:00:00Z"}"#,
        "{}",
        "",
        "[]",
        "null",
        r#"{"sku":"milk","quantity":1,"unit_price_minor":9223372036854775807}"#,
        r#"{"quantity":-1}"#,
        r#"{"sku":"\u0000","quantity":1e400,"unit_price_minor":1}"#,
        r#"{"starts_at":"+262142-01-01T00:00:00Z","ends_at":"-262143-01-01T00:00:00Z"}"#,
    ];
    let body = select(bodies.to_vec());
    prop_oneof![
        4 => body.clone().prop_map(|text| text.as_bytes().to_vec()),
        2 => (body, any::<prop::sample::Index>(), any::<u8>()).prop_map(|(text, place, byte)| {
            let mut bytes = text.as_bytes().to_vec();
            if !bytes.is_empty() {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            bytes
        }),
        1 => vec(any::<u8>(), 0..200),
        1 => Just("[".repeat(10_000).into_bytes()),
        1 => Just(vec![b' '; 40_000]),
    ]
}

/// A request that is right, or was until a part of it was replaced.
fn sent() -> impl Strategy<Value = Sent> {
    let right = [
        ("POST", "/orders", r#"{"customer_id":"01985f0f-0000-7000-8000-000000000001","currency":"EUR"}"#),
        ("GET", "/orders?customer_id=01985f0f-0000-7000-8000-000000000001", ""),
        ("GET", "/orders/ORDER", ""),
        ("POST", "/orders/ORDER/items", r#"{"sku":"milk","quantity":1,"unit_price_minor":149}"#),
        ("PATCH", "/orders/ORDER/items/ITEM", r#"{"quantity":3}"#),
        ("DELETE", "/orders/ORDER/items/ITEM", "{}"),
        (
            "PUT",
            "/orders/ORDER/delivery-window",
            r#"{"starts_at":"2026-12-01T10:00:00Z","ends_at":"2026-12-01T11:00:00Z"}"#,
        ),
    ];
    let framing = prop_oneof![
        12 => Just(Framing::Right),
        2 => Just(Framing::Chunked),
        1 => Just(Framing::Short),
        1 => Just(Framing::Twice),
        1 => Just(Framing::NoNumber),
        1 => Just(Framing::Missing),
    ];
    let parts =
        (weighted(0.2, method()), weighted(0.3, address()), vec(header(), 0..3), weighted(0.5, body()), framing);
    (select(right.to_vec()), parts).prop_map(|(right, (method, address, headers, body, framing))| Sent {
        method: method.unwrap_or_else(|| right.0.to_owned()),
        address: address.unwrap_or_else(|| right.1.to_owned()),
        headers,
        body: body.unwrap_or_else(|| right.2.as_bytes().to_vec()),
        framing,
    })
}

impl Sent {
    fn bytes(&self, order: &str, item: &str) -> Vec<u8> {
        let address = self.address.replace("ORDER", order).replace("ITEM", item);
        let mut bytes = format!("{} {address} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n", self.method).into_bytes();
        // Most commands should get past the declaration of their body.
        if !self.headers.iter().any(|(name, _)| name == "Content-Type") {
            bytes.extend_from_slice(b"Content-Type: application/json\r\n");
        }
        for (name, value) in &self.headers {
            bytes.extend_from_slice(format!("{name}: ").as_bytes());
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        let length = self.body.len();
        let framing = match self.framing {
            Framing::Right => format!("Content-Length: {length}\r\n\r\n"),
            Framing::Chunked => format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n"),
            Framing::Short => format!("Content-Length: {}\r\n\r\n", length + 7),
            Framing::Twice => format!("Content-Length: {length}\r\nContent-Length: {}\r\n\r\n", length + 1),
            Framing::NoNumber => "Content-Length: -1\r\n\r\n".to_owned(),
            Framing::Missing => "\r\n".to_owned(),
        };
        bytes.extend_from_slice(framing.as_bytes());
        bytes.extend_from_slice(&self.body);
        if matches!(self.framing, Framing::Chunked) && length > 0 {
            bytes.extend_from_slice(b"\r\n0\r\n\r\n");
        }
        bytes
    }
}

/// Sends a request, and returns the status of the answer; `closed` if the connection was closed without one.
async fn status(authority: &str, request: &[u8], is_short: bool) -> String {
    let mut stream = TcpStream::connect(authority).await.expect("a connection");
    // The answer may come before the request was read to its end.
    let _: std::io::Result<()> = stream.write_all(request).await;
    if is_short {
        let _: std::io::Result<()> = stream.shutdown().await;
    }
    let mut line = Vec::new();
    let read = async {
        let mut byte = [0];
        while stream.read(&mut byte).await.is_ok_and(|read| read > 0) && byte != *b"\r" {
            line.push(byte[0]);
        }
    };
    timeout(PATIENCE, read).await.expect("an answer or the end of the connection");
    let line = String::from_utf8(line).expect("ASCII");
    line.split(' ').nth(1).unwrap_or("closed").to_owned()
}

/// Sends all cases to a server. Returns the statuses that it answered, or the first request that it failed at.
async fn statuses(authority: String, order_id: String, item_id: String) -> Result<BTreeSet<String>, String> {
    let runtime = Handle::current();
    let cases = tokio::task::spawn_blocking(move || {
        let config = Config { cases: CASES, failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
        let seed = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let seen = Mutex::new(BTreeSet::new());
        let run = TestRunner::new_with_rng(config, seed).run(&sent(), |sent| {
            let request = sent.bytes(&order_id, &item_id);
            let status = runtime.block_on(status(&authority, &request, matches!(sent.framing, Framing::Short)));
            prop_assert!(!status.starts_with('5'), "{status}: {sent:?}");
            seen.lock().expect("no panic").insert(status);
            Ok(())
        });
        run.map(|()| seen.into_inner().expect("no panic")).map_err(|fault| fault.to_string())
    });
    cases.await.expect("no panic")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_answered_with_a_fault_and_the_storefront_goes_on() {
    let Shop { api, .. } = &shop().await;
    let order = api.create().await;
    let order = api.add(&order, "milk").await.done(201);
    let text = |value: &serde_json::Value| value.as_str().expect("an id").to_owned();
    let ids = (text(&order["order_id"]), text(&order["items"][0]["item_id"]));
    let statuses = statuses(api.authority().to_owned(), ids.0, ids.1).await.expect("no fault");
    for kind in ["200", "201", "400", "404", "405", "413", "415", "422"] {
        assert!(statuses.contains(kind), "no request is answered with {kind}: {statuses:?}");
    }
    assert_eq!(api.get(&path(&order)).await.status, 200);
    api.is_healthy().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_a_fault_is_found() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let authority = listener.local_addr().expect("an address").to_string();
    let server = tokio::spawn(async move {
        // Good at first.
        for number in 0.. {
            let (mut client, _) = listener.accept().await.expect("a client");
            let status = if number < CASES / 2 { "200 OK" } else { "500 Internal Server Error" };
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            let _: std::io::Result<()> = client.write_all(answer.as_bytes()).await;
        }
    });
    let fault = statuses(authority, "1".to_owned(), "2".to_owned()).await.expect_err("a fault");
    assert!(fault.contains("500: Sent"), "{fault}");
    server.abort();
}
