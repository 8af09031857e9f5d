//! Telling a server to give up what a connection asked of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::options::ConnectOptions;
use crate::socket::Socket;

/// It is a courtesy; nothing waits longer for it.
const CANCEL_LIMIT: Duration = Duration::from_secs(2);

/// Tells the server to give up what a connection asked of it (*Canceling Requests in Progress*).
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

    pub(super) fn aim(&mut self, process: i32, secret: i32) {
        self.process_and_secret = Some((process, secret));
    }

    /// Asks, on a connection of its own, and waits until the server has heard. Whether there was anything to give up
    /// is not known; the connection itself tells.
    pub(crate) async fn cancel(&self) {
        let Some((process, secret)) = self.process_and_secret else {
            return;
        };
        let asked = async {
            let mut socket = Socket::connect(&self.options, self.with_tls).await.ok()?;
            let mut request = BytesMut::new();
            frontend::cancel_request(process, secret, &mut request);
            socket.write_all(&request).await.and(socket.flush().await).ok()?;
            // The server closes the connection once it has sent the signal.
            socket.read_u8().await.ok()
        };
        if tokio::time::timeout(CANCEL_LIMIT, asked).await.is_err() {
            tracing::debug!("PostgreSQL could not be told to give a statement up");
        }
    }
}
