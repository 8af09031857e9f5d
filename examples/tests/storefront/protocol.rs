//! HTTP itself: methods, addresses, media types and codings of a body.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::api::{Answer, path};
use crate::program::PATIENCE;
use crate::shop::{Shop, shop};

const JSON: &str = "application/json";

fn gzipped(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text.as_bytes()).expect("memory");
    encoder.finish().expect("memory")
}

fn deflated(text: &str) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text.as_bytes()).expect("memory");
    encoder.finish().expect("memory")
}

fn new_order() -> String {
    json!({ "customer_id": uuid::Uuid::now_v7(), "currency": "EUR" }).to_string()
}

#[tokio::test]
async fn a_form_and_a_flood_are_refused() {
    let Shop { api, .. } = &shop().await;
    let form = api.request("POST", "/orders").header("Content-Type", "application/x-www-form-urlencoded").body("a=b");
    Answer::to(form).await.refused(415, "unsupported-media-type", "application/json");
    let flood = api.request("POST", "/orders").header("Content-Type", "application/json").body(" ".repeat(100_000));
    Answer::to(flood).await.refused(413, "request-too-large", "bytes");
}

#[tokio::test]
async fn a_compressed_body_is_decoded_and_limited_by_what_comes_out() {
    let Shop { api, .. } = &shop().await;
    let post = |coding: &str, body: Vec<u8>| {
        let request = api.request("POST", "/orders").header("Content-Type", JSON).header("Content-Encoding", coding);
        Answer::to(request.body(body))
    };
    post("gzip", gzipped(&new_order())).await.done(201);
    post("deflate", deflated(&new_order())).await.done(201);
    post("identity", new_order().into_bytes()).await.done(201);
    // A few kilobytes that become ten million.
    let bomb = gzipped(&" ".repeat(10_000_000));
    assert!(bomb.len() < 16 * 1024, "{}", bomb.len());
    post("gzip", bomb).await.refused(413, "request-too-large", "bytes");
    post("gzip", new_order().into_bytes()).await.refused(422, "invalid-request", "Content-Encoding");
    let half = gzipped(&new_order());
    post("gzip", half[..half.len() / 2].to_vec()).await.refused(422, "invalid-request", "complete");
    for coding in ["br", "zstd", "gzip, gzip", "x"] {
        let answer = post(coding, new_order().into_bytes()).await;
        assert_eq!(answer.headers["accept-encoding"], "gzip, deflate");
        answer.refused(415, "unsupported-media-type", "gzip or deflate");
    }
}

#[tokio::test]
async fn a_body_without_a_length_is_limited_too() {
    let Shop { api, .. } = &shop().await;
    let chunks = futures::stream::iter((0..100).map(|_| Ok::<_, std::io::Error>(" ".repeat(1_000))));
    let body = reqwest::Body::wrap_stream(chunks);
    let flood = api.request("POST", "/orders").header("Content-Type", JSON).body(body);
    Answer::to(flood).await.refused(413, "request-too-large", "bytes");
}

#[tokio::test]
async fn json_is_accepted_under_each_of_its_names() {
    let Shop { api, .. } = &shop().await;
    let names = [
        JSON,
        "application/json; charset=utf-8",
        "application/json;charset=UTF8",
        "Application/JSON",
        "application/merge-patch+json",
    ];
    for name in names {
        Answer::to(api.request("POST", "/orders").header("Content-Type", name).body(new_order())).await.done(201);
    }
    for name in ["text/plain", "application/jsonp", "text/json", "json", "\u{e9}"] {
        let request = api.request("POST", "/orders").header("Content-Type", name.as_bytes()).body(new_order());
        Answer::to(request).await.refused(415, "unsupported-media-type", JSON);
    }
}

#[tokio::test]
async fn other_methods_are_answered_with_those_that_are_possible() {
    let Shop { api, .. } = &shop().await;
    let order = api.create().await;
    for (address, allowed) in [
        ("/orders".to_owned(), &["POST", "GET", "HEAD"][..]),
        (path(&order), &["GET", "HEAD"]),
        (format!("{}/items", path(&order)), &["POST"]),
        (format!("{}/cancellation", path(&order)), &["POST"]),
        ("/healthz".to_owned(), &["GET", "HEAD"]),
    ] {
        for method in ["OPTIONS", "TRACE", "PUT", "PROPFIND"] {
            let answer = Answer::to(api.request(method, &address)).await;
            let allow = answer.headers["allow"].to_str().expect("text").to_owned();
            let mut listed: Vec<&str> = allow.split(',').map(str::trim).collect();
            let mut expected = allowed.to_vec();
            listed.sort_unstable();
            expected.sort_unstable();
            assert_eq!(listed, expected, "{method} {address}");
            answer.refused(405, "method-not-allowed", "Allow");
        }
    }
    let whole = api.get(&path(&order)).await;
    let head = Answer::to(api.request("HEAD", &path(&order))).await;
    assert_eq!((head.status, head.etag), (whole.status, whole.etag));
    assert_eq!(head.headers["content-length"], whole.headers["content-length"]);
}

#[tokio::test]
async fn an_address_means_the_same_however_it_is_encoded() {
    let Shop { api, .. } = &shop().await;
    let order = api.create().await;
    let encoded: String = path(&order).bytes().skip("/orders/".len()).map(|byte| format!("%{byte:02X}")).collect();
    assert_eq!(api.get(&format!("/orders/{encoded}")).await.done(200), order);
    for id in ["%83", "%C0%A4", "%2F", "..%2F..", "%00", "%", "%zz", "\u{fc}", &"a".repeat(5_000)] {
        api.get(&format!("/orders/{id}")).await.refused(422, "invalid-request", "");
    }
    for address in ["/orders/", "//orders", "/orders//items", "/Orders"] {
        let status = api.get(address).await.status;
        assert!(matches!(status.as_u16(), 404 | 405 | 422), "{address}: {status}");
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_answered_in_words() {
    let Shop { api, .. } = &shop().await;
    let mut stream = TcpStream::connect(api.authority()).await.expect("a connection");
    let head = format!("POST /orders HTTP/1.1\r\nHost: a\r\nContent-Type: {JSON}\r\nContent-Length: 60\r\n\r\n{{");
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("the connection is closed").expect("text");
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("/problems/request-timeout"), "{answer}");
}
