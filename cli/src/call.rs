//! One connection to usherd, on one thread, with the caller's deadline on both sides.

use std::time::Duration;

use tonic::{Request, Response, Status};
use usher_proto::{
    client::Connection,
    socket,
    v1::{
        ForgetRequest, ForgetResponse, GetTokenRequest, GetTokenResponse, ReloadRequest, ReloadResponse,
        StatusRequest, StatusResponse,
    },
    version,
};

use crate::{caller::Caller, error::Error};

/// How much longer than usherd we wait: it answers at the deadline with a reason, we know none.
const GRACE: Duration = Duration::from_secs(2);

/// usherd, connected.
pub(crate) struct Daemon<'a> {
    connection: Connection,
    deadline: Duration,
    /// The version it told.
    version: &'a mut Option<String>,
}

/// Connects to the caller's usherd and runs `work` on it, `deadline` and a short grace long at most.
pub(crate) fn with_daemon<T>(
    caller: &mut Caller<'_>,
    deadline: Duration,
    work: impl AsyncFnOnce(&mut Daemon<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let path = socket::path(|name| caller.var(name))?;
    let server = server_uid(caller)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(|source| Error::System { what: "cannot start the runtime", source })?;
    let mut told = None;
    let outcome = runtime.block_on(async {
        let all = async {
            let connection = Connection::open(&path, server).await?;
            work(&mut Daemon { connection, deadline, version: &mut told }).await
        };
        tokio::time::timeout(deadline + GRACE.min(deadline), all).await
    });
    if let Some(theirs) = told.filter(|theirs| theirs != version::VERSION) {
        let ours = version::VERSION;
        caller.warn(&format!(
            "usher is {ours} but the running usherd is {theirs}; restart it to have both alike"
        ));
    }
    outcome.unwrap_or(Err(Error::Deadline(deadline)))
}

/// Who has to listen on the socket.
fn server_uid(caller: &Caller<'_>) -> Result<u32, Error> {
    let Some(value) = caller.var("USHER_SERVER_UID") else {
        return Ok(nix::unistd::geteuid().as_raw());
    };
    value.to_str().and_then(|text| text.parse().ok()).ok_or_else(|| {
        Error::Environment(format!(
            "USHER_SERVER_UID is {}, which is no user's number; set it to one such as 0, or unset it",
            value.display()
        ))
    })
}

impl Daemon<'_> {
    pub(crate) async fn token(&mut self, message: GetTokenRequest) -> Result<GetTokenResponse, Error> {
        let answer = self.connection.tokens().get_token(self.request(message)).await;
        self.take(answer)
    }

    pub(crate) async fn status(&mut self, message: StatusRequest) -> Result<StatusResponse, Error> {
        let answer = self.connection.admin().status(self.request(message)).await;
        self.take(answer)
    }

    pub(crate) async fn reload(&mut self) -> Result<ReloadResponse, Error> {
        let answer = self.connection.admin().reload(self.request(ReloadRequest {})).await;
        self.take(answer)
    }

    pub(crate) async fn forget(&mut self, message: ForgetRequest) -> Result<ForgetResponse, Error> {
        let answer = self.connection.admin().forget(self.request(message)).await;
        self.take(answer)
    }

    fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        request.set_timeout(self.deadline);
        version::tell(request.metadata_mut());
        request
    }

    fn take<M>(&mut self, answer: Result<Response<M>, Status>) -> Result<M, Error> {
        let metadata = match &answer {
            Ok(response) => response.metadata(),
            Err(status) => status.metadata(),
        };
        *self.version = version::of_peer(metadata).map(str::to_owned);
        Ok(answer?.into_inner())
    }
}
