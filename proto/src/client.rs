//! Connect to usherd's socket, and be sure of who listens there before a byte is sent.
//!
//! One HTTP/2 connection straight over hyper: a command line makes one call, for which tonic's
//! reconnecting, load-balancing channel would be the larger part of its run time.

use std::{
    io,
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::UnixStream, sync::watch};
use tonic::body::Body;

use crate::v1::{
    admin_service_client::AdminServiceClient, credential_service_client::CredentialServiceClient,
    token_service_client::TokenServiceClient,
};

/// The socket of the system-wide daemon, the only one where root may be the server.
pub const SYSTEM_SOCKET: &str = "/run/usher/usher.sock";

/// How long connecting may take. A local socket answers at once unless its daemon is wedged.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// All header fields of an answer, decoded, in bytes: an error's message and details are there.
const MAX_HEADERS: u32 = 64 * 1024;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No socket, or nobody listens on it.
    #[error("usherd is not running: nobody listens on {}", path.display())]
    NotRunning {
        /// The socket.
        path: PathBuf,
    },
    /// Somebody else listens there. Nothing was sent.
    #[error(
        "{} is served by uid {found}, not by uid {expected}: nothing was sent; \
         USHER_SERVER_UID names another server that you trust",
        path.display()
    )]
    ForeignServer {
        /// The socket.
        path: PathBuf,
        /// The uid of the process that listens.
        found: u32,
        /// The uid that was to be there.
        expected: u32,
    },
    /// The socket took no connection in time.
    #[error("usherd on {} takes no connection; is it overloaded or stopped?", path.display())]
    Timeout {
        /// The socket.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot connect to {}: {source}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It hung up, ended or was killed as soon as it was connected to.
    #[error("what listens on {} hung up at once: {source}", path.display())]
    BrokenOff {
        /// The socket.
        path: PathBuf,
        /// What hyper said.
        source: hyper::Error,
    },
}

/// One connection to usherd. Cheap to clone; its clones share the connection.
#[derive(Debug, Clone)]
pub struct Connection {
    sender: http2::SendRequest<Body>,
    end: watch::Receiver<()>,
}

impl Connection {
    /// Connects to `path`, where uid `server_uid` has to listen (on [`SYSTEM_SOCKET`] root may, too).
    ///
    /// Spawns a task that drives the connection: call it within a tokio runtime.
    pub async fn open(path: &Path, server_uid: u32) -> Result<Self, ConnectError> {
        let stream = tokio::time::timeout(CONNECT_DEADLINE, connect(path))
            .await
            .map_err(|_| ConnectError::Timeout { path: path.to_owned() })??;
        let found =
            stream.peer_cred().map_err(|source| ConnectError::Io { path: path.to_owned(), source })?.uid();
        if found != server_uid && !(found == 0 && path == Path::new(SYSTEM_SOCKET)) {
            return Err(ConnectError::ForeignServer { path: path.to_owned(), found, expected: server_uid });
        }
        // Nothing has been heard yet: it is in saying hello that it failed.
        Self::over(stream).await.map_err(|source| ConnectError::BrokenOff { path: path.to_owned(), source })
    }

    /// Over a stream whose other end is known to be usherd.
    ///
    /// Spawns a task that drives the connection: call it within a tokio runtime.
    pub async fn over(stream: UnixStream) -> Result<Self, hyper::Error> {
        let (sender, driver) = http2::Builder::new(TokioExecutor::new())
            .max_header_list_size(MAX_HEADERS)
            .handshake(TokioIo::new(stream))
            .await?;
        let (ended, end) = watch::channel(());
        // Its error reaches the caller through the request that fails of it.
        tokio::spawn(async move {
            let _ = driver.await;
            drop(ended);
        });
        Ok(Self { sender, end })
    }

    /// Waits until the other side has ended the connection.
    pub async fn closed(&mut self) {
        let _ = self.end.changed().await;
    }

    /// A client of the token service.
    pub fn tokens(&self) -> TokenServiceClient<Self> {
        TokenServiceClient::with_origin(self.clone(), origin())
    }

    /// A client of the credential service.
    pub fn credentials(&self) -> CredentialServiceClient<Self> {
        CredentialServiceClient::with_origin(self.clone(), origin())
    }

    /// A client of the admin service.
    pub fn admin(&self) -> AdminServiceClient<Self> {
        AdminServiceClient::with_origin(self.clone(), origin())
    }
}

/// What goes into `:scheme` and `:authority`; a Unix socket has no better name.
fn origin() -> http::Uri {
    http::Uri::from_static("http://localhost")
}

async fn connect(path: &Path) -> Result<UnixStream, ConnectError> {
    let mut pause = Duration::from_millis(1);
    loop {
        match UnixStream::connect(path).await {
            Ok(stream) => return Ok(stream),
            // The daemon's backlog is full (unix(7)): it is there, and busy.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_millis(50));
            }
            Err(error)
                // Reset: it was killed with us in its queue, and nothing was said yet.
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound
                        | io::ErrorKind::ConnectionRefused
                        | io::ErrorKind::ConnectionReset
                ) =>
            {
                return Err(ConnectError::NotRunning { path: path.to_owned() });
            }
            Err(source) => return Err(ConnectError::Io { path: path.to_owned(), source }),
        }
    }
}

impl tower::Service<http::Request<Body>> for Connection {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.sender.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.sender.send_request(request))
    }
}
