//! A usherd for tests: answers on a real socket as it is told, and keeps what it was asked.

use std::{
    convert::Infallible,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixListener;
use tonic::{Extensions, Request, Response, Status, body::Body, metadata::MetadataMap};
use tower::Service as _;
use usher_proto::v1::{
    ForgetRequest, ForgetResponse, GetTokenRequest, GetTokenResponse, ReloadRequest, ReloadResponse,
    StatusRequest, StatusResponse, StopRequest, StopResponse, WatchTokenRequest, WatchTokenResponse,
    admin_service_server::{AdminService, AdminServiceServer},
    credential_service_server::CredentialServiceServer,
    token_service_server::{TokenService, TokenServiceServer},
    watch_token_response,
};

mod credentials;

pub(crate) use credentials::{Asked, Reply};

type Answer = Arc<dyn Fn(&GetTokenRequest) -> Result<GetTokenResponse, Status> + Send + Sync>;

/// What it does and what it saw.
#[derive(Clone)]
struct Daemon {
    answer: Answer,
    credentials: Arc<dyn Fn(Asked) -> Result<Reply, Status> + Send + Sync>,
    version: Option<&'static str>,
    asked: Arc<Mutex<Vec<(GetTokenRequest, MetadataMap)>>>,
}

/// A running one; its socket goes with it.
pub(crate) struct Fake {
    dir: tempfile::TempDir,
    daemon: Daemon,
}

impl Fake {
    pub(crate) fn start(
        version: Option<&'static str>,
        answer: impl Fn(&GetTokenRequest) -> Result<GetTokenResponse, Status> + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(version, answer, |_| Err(Status::unimplemented("no credentials here")))
    }

    /// With a credential service, too.
    pub(crate) fn start_with(
        version: Option<&'static str>,
        answer: impl Fn(&GetTokenRequest) -> Result<GetTokenResponse, Status> + Send + Sync + 'static,
        credentials: impl Fn(Asked) -> Result<Reply, Status> + Send + Sync + 'static,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = std::os::unix::net::UnixListener::bind(dir.path().join("s")).unwrap();
        listener.set_nonblocking(true).unwrap();
        let daemon = Daemon {
            answer: Arc::new(answer),
            credentials: Arc::new(credentials),
            version,
            asked: Arc::default(),
        };
        let serving = daemon.clone();
        // Ends with the test's process.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { serve(UnixListener::from_std(listener).unwrap(), serving).await });
        });
        Self { dir, daemon }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("s")
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn asked(&self) -> Vec<(GetTokenRequest, MetadataMap)> {
        self.daemon.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn serve(listener: UnixListener, daemon: Daemon) {
    while let Ok((stream, _)) = listener.accept().await {
        let daemon = daemon.clone();
        let service = service_fn(move |request: http::Request<Incoming>| {
            let (mut tokens, mut admin) =
                (TokenServiceServer::new(daemon.clone()), AdminServiceServer::new(daemon.clone()));
            let mut credentials = CredentialServiceServer::new(daemon.clone());
            async move {
                let answer: Result<http::Response<Body>, Infallible> =
                    match request.uri().path().split('/').nth(1) {
                        Some("usher.v1.TokenService") => tokens.call(request).await,
                        Some("usher.v1.CredentialService") => credentials.call(request).await,
                        _ => admin.call(request).await,
                    };
                answer
            }
        });
        tokio::spawn(
            http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service),
        );
    }
}

impl Daemon {
    fn respond<M>(&self, message: M) -> Response<M> {
        let mut response = Response::new(message);
        if let Some(version) = self.version {
            response.metadata_mut().insert("usher-version", version.parse().unwrap());
        }
        response
    }
}

#[tonic::async_trait]
impl TokenService for Daemon {
    async fn get_token(
        &self,
        request: Request<GetTokenRequest>,
    ) -> Result<Response<GetTokenResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push((message.clone(), metadata));
        Ok(self.respond((self.answer)(&message)?))
    }

    type WatchTokenStream =
        futures_util::stream::Iter<std::array::IntoIter<Result<WatchTokenResponse, Status>, 2>>;

    /// One token, and the connection's end: as an usherd that has a connection come again.
    async fn watch_token(
        &self,
        request: Request<WatchTokenRequest>,
    ) -> Result<Response<Self::WatchTokenStream>, Status> {
        let (metadata, _, WatchTokenRequest { profile, url, scopes, audience }) = request.into_parts();
        let message = GetTokenRequest { profile, url, scopes, audience, ..Default::default() };
        let token =
            self.get_token(Request::from_parts(metadata, Extensions::default(), message)).await?.into_inner();
        let event = WatchTokenResponse { event: Some(watch_token_response::Event::Token(token)) };
        Ok(self.respond(futures_util::stream::iter([Ok(event), Err(Status::unavailable("come again"))])))
    }
}

#[tonic::async_trait]
impl AdminService for Daemon {
    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        Ok(self.respond(StatusResponse { version: "9.9.9".into(), pid: 42, ..Default::default() }))
    }

    async fn reload(&self, _: Request<ReloadRequest>) -> Result<Response<ReloadResponse>, Status> {
        Ok(self.respond(ReloadResponse { unchanged: 2, ..Default::default() }))
    }

    async fn forget(&self, _: Request<ForgetRequest>) -> Result<Response<ForgetResponse>, Status> {
        Ok(self.respond(ForgetResponse { forgotten: 2, ..Default::default() }))
    }

    async fn stop(&self, _: Request<StopRequest>) -> Result<Response<StopResponse>, Status> {
        Ok(self.respond(StopResponse { pid: 42 }))
    }
}
