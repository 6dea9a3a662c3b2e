//! One connection to usherd, on one thread, with the caller's deadline on both sides.

use std::{
    os::{fd::OwnedFd, unix::net::UnixStream as StdStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::net::UnixStream;
use tonic::{Request, Response, Status, Streaming};
use usher_proto::{
    client::{ConnectError, Connection},
    socket,
    v1::{
        EraseCredentialRequest, EraseCredentialResponse, ForgetRequest, ForgetResponse, GetCredentialRequest,
        GetCredentialResponse, GetTokenRequest, GetTokenResponse, ListCredentialsRequest,
        ListCredentialsResponse, ReloadRequest, ReloadResponse, StatusRequest, StatusResponse, StopRequest,
        StopResponse, StoreCredentialRequest, StoreCredentialResponse, WatchTokenRequest, WatchTokenResponse,
    },
    version,
};

use crate::{caller::Caller, error::Error, start};

/// How much longer than usherd we wait: it answers at the deadline with a reason, we know none.
const GRACE: Duration = Duration::from_secs(2);

/// How long usherd may take to start, for somebody who has all the time in the world.
const START: Duration = Duration::from_secs(30);

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
    let (path, server) = (socket::path(|name| caller.var(name))?, server_uid(caller)?);
    let connect = async || Ok(Connection::open(&path, server).await?);
    let (outcome, version) = drive(deadline, connect, work)?;
    compare(version, caller);
    outcome.map_err(|error| start::explain(error, caller, &path))
}

/// The same, but where no usherd is running one is started.
pub(crate) fn with_started_daemon<T>(
    caller: &mut Caller<'_>,
    deadline: Duration,
    work: impl AsyncFnOnce(&mut Daemon<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let (path, server) = (socket::path(|name| caller.var(name))?, server_uid(caller)?);
    let caller_now = &*caller;
    let connect = async || connect_or_start(caller_now, &path, server, deadline).await;
    let (outcome, version) = drive(deadline, connect, work)?;
    compare(version, caller);
    outcome.map_err(|error| start::explain(error, caller, &path))
}

/// usherd, connected for as long as this process wants it.
pub(crate) struct Lasting(Connection);

impl Lasting {
    /// Connects to the caller's usherd; where none is running one is started.
    pub(crate) async fn connect(caller: &Caller<'_>) -> Result<Self, Error> {
        let (path, server) = (socket::path(|name| caller.var(name))?, server_uid(caller)?);
        connect_or_start(caller, &path, server, START).await.map(Self)
    }

    /// Watches a token.
    pub(crate) async fn watch(
        &self,
        message: WatchTokenRequest,
    ) -> Result<Streaming<WatchTokenResponse>, Error> {
        let mut request = Request::new(message);
        version::tell(request.metadata_mut());
        Ok(self.0.tokens().watch_token(request).await?.into_inner())
    }
}

async fn connect_or_start(
    caller: &Caller<'_>,
    path: &Path,
    server: u32,
    patience: Duration,
) -> Result<Connection, Error> {
    match Connection::open(path, server).await {
        Err(ConnectError::NotRunning { .. }) if start::is_wanted(caller) => {
            // Blocks this thread, on which nothing else has to go on.
            start::start(caller, path, patience)?;
            Ok(Connection::open(path, server).await?)
        }
        other => Ok(other?),
    }
}

/// Asks for the status on a connection of its own, for who asks again and again; starts no usherd.
pub(crate) async fn status(
    caller: &Caller<'_>,
    deadline: Duration,
    message: StatusRequest,
) -> Result<StatusResponse, Error> {
    let (path, server) = (socket::path(|name| caller.var(name))?, server_uid(caller)?);
    let ask = async {
        let connection = Connection::open(&path, server).await?;
        Daemon { connection, deadline, version: &mut None }.status(message).await
    };
    let answer = tokio::time::timeout(deadline + GRACE.min(deadline), ask).await;
    answer.unwrap_or(Err(Error::Deadline(deadline))).map_err(|error| start::explain(error, caller, &path))
}

/// Runs `work` on an usherd that serves nobody else and ends with it.
pub(crate) fn with_private_daemon<T>(
    from_env: bool,
    deadline: Duration,
    work: impl AsyncFnOnce(&mut Daemon<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let failed = |source| Error::System { what: "cannot start usherd", source };
    let (ours, theirs) = StdStream::pair().map_err(failed)?;
    ours.set_nonblocking(true).map_err(failed)?;
    // Its environment is this process's: that is what it is asked to read. The command is gone with this
    // statement, and with it our copy of the other end.
    let usherd = Command::new(start::usherd()?)
        .args(["--once", "--log-level", "error"])
        .args(from_env.then_some("--from-env"))
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let connect = async || {
        let stream = UnixStream::from_std(ours).map_err(failed)?;
        Connection::over(stream).await.map_err(|error| Error::Answer(error.to_string()))
    };
    match drive(deadline, connect, work)?.0 {
        // It hung up before it answered: it has said why, and ends.
        Err(Error::Foreign { .. } | Error::Answer(_)) => Err(ended(usherd, from_env)),
        outcome => outcome,
    }
}

fn ended(usherd: Child, from_env: bool) -> Error {
    match usherd.wait_with_output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            // Without the time and the level of the log line.
            let why = said.split_once("usher_daemon::start: ").map_or(&*said, |(_, why)| why);
            Error::Once { why: why.to_owned(), code: output.status.code(), from_env }
        }
        Err(source) => Error::System { what: "cannot hear why usherd ended", source },
    }
}

/// Connects and works, on one thread; answers what came of it, and the version that usherd told.
fn drive<T>(
    deadline: Duration,
    connect: impl AsyncFnOnce() -> Result<Connection, Error>,
    work: impl AsyncFnOnce(&mut Daemon<'_>) -> Result<T, Error>,
) -> Result<(Result<T, Error>, Option<String>), Error> {
    let runtime = runtime()?;
    let mut version = None;
    let outcome = runtime.block_on(async {
        let all = async {
            let connection = connect().await?;
            work(&mut Daemon { connection, deadline, version: &mut version }).await
        };
        tokio::time::timeout(deadline + GRACE.min(deadline), all).await
    });
    Ok((outcome.unwrap_or(Err(Error::Deadline(deadline))), version))
}

/// Of one thread.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let built = builder.enable_io().enable_time().build();
    built.map_err(|source| Error::System { what: "cannot start the runtime", source })
}

/// The contract only grows: a difference is worth a warning and no more.
fn compare(theirs: Option<String>, caller: &mut Caller<'_>) {
    if let Some(theirs) = theirs.filter(|theirs| theirs != version::VERSION) {
        let ours = version::VERSION;
        caller.warn(&format!(
            "usher is {ours} but the running usherd is {theirs}; restart it to have both alike"
        ));
    }
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

    pub(crate) async fn credential(
        &mut self,
        message: GetCredentialRequest,
    ) -> Result<GetCredentialResponse, Error> {
        let answer = self.connection.credentials().get(self.request(message)).await;
        self.take(answer)
    }

    pub(crate) async fn store(
        &mut self,
        message: StoreCredentialRequest,
    ) -> Result<StoreCredentialResponse, Error> {
        let answer = self.connection.credentials().store(self.request(message)).await;
        self.take(answer)
    }

    pub(crate) async fn erase(
        &mut self,
        message: EraseCredentialRequest,
    ) -> Result<EraseCredentialResponse, Error> {
        let answer = self.connection.credentials().erase(self.request(message)).await;
        self.take(answer)
    }

    pub(crate) async fn list(
        &mut self,
        message: ListCredentialsRequest,
    ) -> Result<ListCredentialsResponse, Error> {
        let answer = self.connection.credentials().list(self.request(message)).await;
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

    /// Has it end, and waits until it has hung up.
    pub(crate) async fn stop(&mut self) -> Result<StopResponse, Error> {
        let answer = self.connection.admin().stop(self.request(StopRequest {})).await;
        let answer = self.take(answer)?;
        self.connection.closed().await;
        Ok(answer)
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
