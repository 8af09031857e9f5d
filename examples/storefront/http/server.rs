//! Serves HTTP on a listener, with limits that a slow client can't stretch.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use super::problem::{Problem, ProblemKind};

/// What a client may take of a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Connections that are served. More of them are answered with 503, for a limited number of them, and closed.
    pub(crate) connections_max: usize,
    /// The head of a request must be complete after this time, and the first byte of the next one must have come.
    pub(crate) head_timeout: Duration,
    /// A client must take some of an answer within this time.
    pub(crate) write_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        // Below 1,024 files, the common limit of a process, with room for the database and Kafka.
        Self { connections_max: 768, head_timeout: Duration::from_secs(30), write_timeout: Duration::from_secs(30) }
    }
}

/// How many connections beyond the limit are answered at a time. Others are closed without an answer.
const REFUSED_CONNECTIONS_MAX: usize = 32;

/// Serves until `closing`, and then until the requests that are under way are answered.
pub(crate) async fn serve(mut listener: TcpListener, routes: Router, limits: Limits, closing: CancellationToken) {
    let connections = TaskTracker::new();
    let served = Arc::new(Semaphore::new(limits.connections_max));
    let refused = Arc::new(Semaphore::new(REFUSED_CONNECTIONS_MAX));
    let refusal = Router::new().fallback(|| async { too_many_connections() });
    loop {
        let (stream, _) = tokio::select! {
            biased;
            () = closing.cancelled() => break,
            accepted = Listener::accept(&mut listener) => accepted,
        };
        let (routes, permit) = match Arc::clone(&served).try_acquire_owned() {
            Ok(permit) => (routes.clone(), permit),
            Err(_) => match Arc::clone(&refused).try_acquire_owned() {
                Ok(permit) => (refusal.clone(), permit),
                Err(_) => continue,
            },
        };
        connections.spawn(connection(stream, routes, limits, closing.clone(), permit));
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

fn too_many_connections() -> Response {
    let detail = "as many connections are open as this storefront serves: come back later";
    let mut response = Problem::new(ProblemKind::Unavailable, detail).into_response();
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

async fn connection(
    stream: TcpStream,
    routes: Router,
    limits: Limits,
    closing: CancellationToken,
    _permit: OwnedSemaphorePermit,
) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.write_timeout));
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let answer = routes.clone().call(request);
        let answer: Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>> = Box::pin(answer);
        answer
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    let mut closing = pin!(closing.cancelled_owned());
    let mut is_closing = false;
    let ended = loop {
        tokio::select! {
            biased;
            ended = std::future::poll_fn(|context| connection.poll_without_shutdown(context)) => break ended,
            () = &mut closing, if !is_closing => {
                is_closing = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
        }
    };
    let has_timed_out = ended.is_err_and(|error| error.is_timeout());
    let parts = connection.into_parts();
    let mut stream = parts.io.into_inner();
    // A connection that waits for its next request is closed without a word. That is the end which its client expects.
    if has_timed_out && !parts.read_buf.is_empty() {
        let answer = head_timed_out(limits.head_timeout);
        // A client that is gone needs no answer.
        let _: io::Result<()> = stream.write_all(answer.as_bytes()).await;
    }
    let _: io::Result<()> = stream.shutdown().await;
}

/// hyper closes such a connection and says nothing, so the answer is written here.
fn head_timed_out(limit: Duration) -> String {
    let detail = format!("the head of the request was not complete after {} seconds", limit.as_secs());
    let (status, body) = Problem::new(ProblemKind::RequestTimeout, detail).into_parts();
    let body = serde_json::to_string(&body).unwrap_or_default();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::routing::get;
    use tokio::io::AsyncReadExt as _;
    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);
    const LIMITS: Limits = Limits {
        connections_max: 2,
        head_timeout: Duration::from_millis(300),
        write_timeout: Duration::from_millis(300),
    };
    const PATIENT: Limits = Limits { head_timeout: PATIENCE, ..LIMITS };

    /// A server that answers `hello` at `/`, and at `/endless` more than any buffer holds.
    async fn started(limits: Limits) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let endless = || async {
            let chunks = futures::stream::repeat_with(|| Ok::<_, Infallible>(vec![b'x'; 64 * 1024]));
            axum::body::Body::from_stream(chunks)
        };
        let routes = Router::new().route("/", get(|| async { "hello" })).route("/endless", get(endless));
        let closing = CancellationToken::new();
        let server = tokio::spawn(serve(listener, routes, limits, closing.clone()));
        (address, closing, server)
    }

    async fn opened(address: SocketAddr, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream.write_all(text.as_bytes()).await.expect("sent");
        stream
    }

    /// Everything until the server closes the connection.
    async fn answered(stream: &mut TcpStream) -> String {
        let mut text = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut text)).await.expect("the server closes it").expect("text");
        text
    }

    async fn hello(address: SocketAddr) -> String {
        answered(&mut opened(address, "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await).await
    }

    #[tokio::test]
    async fn a_client_that_does_not_finish_its_head_is_answered_and_closed() {
        let (address, ..) = started(LIMITS).await;
        let mut slow = opened(address, "GET / HTTP/1.1\r\nhost: a\r\n").await;
        let answer = answered(&mut slow).await;
        assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
        assert!(
            answer.contains("application/problem+json") && answer.contains("/problems/request-timeout"),
            "{answer}"
        );
        assert!(hello(address).await.ends_with("hello"));
    }

    #[tokio::test]
    async fn a_client_that_sends_nothing_or_no_further_request_is_closed_without_a_word() {
        let (address, ..) = started(LIMITS).await;
        assert_eq!(answered(&mut opened(address, "").await).await, "");
        let answer = answered(&mut opened(address, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("hello"), "{answer}");
    }

    #[tokio::test]
    async fn a_connection_beyond_the_limit_is_answered_with_503_and_served_when_there_is_room() {
        let (address, ..) = started(PATIENT).await;
        let held = [opened(address, "GET").await, opened(address, "GET").await];
        // A connection is counted when it is accepted, and connections are accepted in their order.
        let answer = hello(address).await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("retry-after:") && answer.contains("/problems/unavailable"), "{answer}");
        drop(held);
        let served = async { while !hello(address).await.ends_with("hello") {} };
        timeout(PATIENCE, served).await.expect("there is room again");
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_its_answer_is_closed() {
        let (address, ..) = started(Limits { connections_max: 1, ..LIMITS }).await;
        let _deaf = opened(address, "GET /endless HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let served = async { while !hello(address).await.ends_with("hello") {} };
        timeout(PATIENCE, served).await.expect("there is room again");
    }

    #[tokio::test]
    async fn at_the_end_open_connections_are_closed_and_no_new_one_is_accepted() {
        let (address, closing, server) = started(PATIENT).await;
        let mut idle = opened(address, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let mut head = [0; 12];
        idle.read_exact(&mut head).await.expect("an answer");
        closing.cancel();
        timeout(PATIENCE, server).await.expect("it ends").expect("no panic");
        answered(&mut idle).await;
        assert!(TcpStream::connect(address).await.is_err());
    }
}
