//! Cancelling a statement that runs on another connection.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::options::ConnectOptions;
use crate::socket::Socket;

/// Nothing depends on a cancellation, so nothing waits longer for it.
const CANCEL_LIMIT: Duration = Duration::from_secs(2);

/// Cancels what the server does for one connection (*Canceling Requests in Progress*).
#[derive(Debug)]
pub(crate) struct Canceller {
    options: Arc<ConnectOptions>,
    with_tls: bool,
    process_and_secret: Option<(i32, i32)>,
}

impl Canceller {
    pub(super) fn new(options: Arc<ConnectOptions>, with_tls: bool) -> Self {
        Self { options, with_tls, process_and_secret: None }
    }

    pub(super) fn set_backend(&mut self, process: i32, secret: i32) {
        self.process_and_secret = Some((process, secret));
    }

    /// Sends the request on a connection of its own, and waits until the server has taken it. Whether anything was cancelled
    /// shows on the first connection.
    pub(crate) async fn cancel(&self) {
        let Some((process, secret)) = self.process_and_secret else {
            return;
        };
        let request = async {
            let mut socket = Socket::connect(&self.options, self.with_tls).await.ok()?;
            let mut message = BytesMut::new();
            frontend::cancel_request(process, secret, &mut message);
            socket.write_all(&message).await.and(socket.flush().await).ok()?;
            // The server closes the connection once it has sent the signal.
            socket.read_u8().await.ok()
        };
        if tokio::time::timeout(CANCEL_LIMIT, request).await.is_err() {
            tracing::debug!(
                "a statement could not be cancelled in time; PostgreSQL ends it when it notices that the connection is closed"
            );
        }
    }
}
