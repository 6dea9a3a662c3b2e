//! An engine in a world that does as it is told.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, Semaphore},
    task::AbortHandle,
};

use super::archive::FakeArchive;

use crate::{
    domain::{
        profile::{
            Body, ClientAuth, ClientCredentials, Grant, Network, Profile, Profiles, RequestLimit,
            TokenEndpoint,
        },
        scope::ScopeSet,
        secret::{ExposeSecret as _, SecretRef, SecretString},
        time::Moment,
    },
    token::{
        error::TokenError,
        name::Namer,
        ports::{
            Archive, BoxFuture, Clock, ExpiresIn, IssueError, IssueErrorKind, IssueRequest, Issued, Issuer,
            Jitter, Reply, RevokeRequest, SecretError, Secrets,
        },
        service::{Answer, Engine, Ports, TokenRequest},
    },
};

pub(super) const HOUR: u64 = 3600;

/// The engine and the strings it hangs on.
#[derive(Clone)]
pub(super) struct World {
    pub(super) engine: Engine,
    clock: Arc<FakeClock>,
    pub(super) idp: Arc<FakeIdp>,
    secrets: Arc<FakeSecrets>,
    /// What goes on in the engine without a caller.
    tasks: Arc<Mutex<Vec<AbortHandle>>>,
}

impl World {
    /// One profile `p` with tokens of an hour.
    pub(super) fn new() -> Self {
        let start = Moment { wall: Duration::from_secs(1_800_000_000), boot: Duration::from_secs(5_000) };
        let clock = Arc::new(FakeClock { now: Mutex::new(start), moved: Notify::new(), set: Notify::new() });
        let idp = Arc::new(FakeIdp {
            script: Mutex::default(),
            requests: Mutex::default(),
            expires_in: Mutex::new(ExpiresIn::After(Duration::from_secs(HOUR))),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            arrived: AtomicUsize::new(0),
            panic: AtomicBool::new(false),
            revoked: Mutex::default(),
            revocations: Mutex::default(),
            revocation_gate: Semaphore::new(Semaphore::MAX_PERMITS),
        });
        let secrets =
            Arc::new(FakeSecrets { secret: Mutex::new(Ok("secret".to_owned())), reads: AtomicUsize::new(0) });
        let engine = engine(&clock, &idp, &secrets, None);
        let world = Self { engine, clock, idp, secrets, tasks: Arc::default() };
        world.engine.apply(&profiles([profile("p")]));
        world
    }

    /// The engine is killed; another one begins with what the archive has.
    pub(super) async fn restart(&mut self, archive: &FakeArchive, profiles: &Profiles) {
        self.start_without_restoring(archive, profiles);
        self.keep();
        self.engine.has_looked().await;
    }

    /// The same, and the archive has not answered yet.
    pub(super) fn start_without_restoring(&mut self, archive: &FakeArchive, profiles: &Profiles) {
        self.tasks.lock().unwrap().drain(..).for_each(|task| task.abort());
        self.engine = engine(&self.clock, &self.idp, &self.secrets, Some(archive));
        self.engine.apply(profiles);
    }

    /// The archive begins to answer.
    pub(super) fn keep(&self) {
        let keeping = tokio::spawn(self.engine.clone().keep());
        self.tasks.lock().unwrap().push(keeping.abort_handle());
    }

    /// Time passes on both clocks.
    pub(super) fn pass(&self, seconds: u64) {
        self.set(|now| *now = *now + Duration::from_secs(seconds));
    }

    /// The clocks are set.
    pub(super) fn set(&self, change: impl FnOnce(&mut Moment)) {
        let apart = |now: &Moment| now.wall.checked_sub(now.boot);
        let mut now = self.clock.now.lock().unwrap();
        let before = apart(&now);
        change(&mut now);
        let is_set = apart(&now) != before;
        drop(now);
        self.clock.moved.notify_waiters();
        if is_set {
            self.clock.set.notify_waiters();
        }
    }

    pub(super) fn set_secret(&self, secret: Result<&str, &str>) {
        *self.secrets.secret.lock().unwrap() = secret.map(str::to_owned).map_err(str::to_owned);
    }

    pub(super) async fn get(&self) -> Result<Answer, TokenError> {
        self.ask(&request()).await
    }

    pub(super) async fn ask(&self, request: &TokenRequest) -> Result<Answer, TokenError> {
        self.engine.get_token(request).await
    }

    /// The token of an answer that has to be there.
    pub(super) async fn token(&self) -> String {
        text(&self.get().await.unwrap())
    }

    /// Lets all tasks run until each waits for something.
    pub(super) async fn settle(&self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    pub(super) fn requests(&self) -> usize {
        self.idp.requests.lock().unwrap().len()
    }

    /// How often a secret has been read.
    pub(super) fn secret_reads(&self) -> usize {
        self.secrets.reads.load(Ordering::SeqCst)
    }
}

fn engine(
    clock: &Arc<FakeClock>,
    idp: &Arc<FakeIdp>,
    secrets: &Arc<FakeSecrets>,
    archive: Option<&FakeArchive>,
) -> Engine {
    let archive = archive.map(|archive| {
        let archive: Arc<dyn Archive> = Arc::new(archive.clone());
        archive
    });
    let ports = Ports {
        clock: clock.clone(),
        issuer: idp.clone(),
        secrets: secrets.clone(),
        jitter: Arc::new(NoJitter),
        archive,
    };
    Engine::new(ports, Namer::new().unwrap())
}

pub(super) fn text(answer: &Answer) -> String {
    answer.token.access_token.expose_secret().to_owned()
}

/// For profile `p`, without wishes.
pub(super) fn request() -> TokenRequest {
    TokenRequest { profile: "p".to_owned(), patience: Duration::from_secs(30), ..TokenRequest::default() }
}

pub(in crate::token) fn profiles(list: impl IntoIterator<Item = Profile>) -> Profiles {
    let by_name: BTreeMap<_, _> =
        list.into_iter().map(|profile| (profile.name.clone(), Arc::new(profile))).collect();
    Profiles { by_name, ..Profiles::default() }
}

pub(super) fn profile(name: &str) -> Profile {
    Profile {
        name: name.to_owned(),
        preset: "oauth2".to_owned(),
        grant: Grant::ClientCredentials(Box::new(grant())),
        scopes: ScopeSet::new(["read", "write"]).unwrap(),
        default_scopes: ScopeSet::new(["read"]).unwrap(),
        audience: Some("aud".into()),
        audiences: vec!["other".into()],
        base_url: None,
        urls: Vec::new(),
        allow_loopback_http: false,
        urls_are_presets: false,
        by_name_only: false,
        username: None,
    }
}

pub(in crate::token) fn grant() -> ClientCredentials {
    ClientCredentials {
        token_endpoint: TokenEndpoint::Known("https://idp.example/token".parse().unwrap()),
        client_id: "id".to_owned(),
        client_secret: SecretRef::Env("S".to_owned()),
        body: Body::Json,
        client_auth: Some(ClientAuth::Body),
        resources: Vec::new(),
        params: BTreeMap::new(),
        network: Network::default(),
        default_lifetime: Duration::from_secs(60),
        max_token_requests: None,
        revocation_url: None,
        revoke_unused_after: None,
    }
}

pub(in crate::token) fn with_grant(name: &str, change: impl FnOnce(&mut ClientCredentials)) -> Profile {
    let mut grant = grant();
    change(&mut grant);
    Profile { grant: Grant::ClientCredentials(Box::new(grant)), ..profile(name) }
}

pub(super) fn limit(requests: u32, seconds: u64) -> RequestLimit {
    RequestLimit { requests, window: Duration::from_secs(seconds) }
}

pub(super) fn failure(kind: IssueErrorKind) -> IssueError {
    IssueError::new(kind, format!("{kind:?}"))
}

struct FakeClock {
    now: Mutex<Moment>,
    moved: Notify,
    /// The clocks are further apart than before, or less.
    set: Notify,
}

impl Clock for FakeClock {
    fn now(&self) -> Moment {
        *self.now.lock().unwrap()
    }

    fn sleep_until(&self, boot: Duration) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            loop {
                let moved = self.moved.notified();
                if self.now().boot >= boot {
                    return;
                }
                moved.await;
            }
        })
    }

    fn wall_is_set(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.set.notified())
    }
}

struct NoJitter;

impl Jitter for NoJitter {
    fn unit(&self) -> f64 {
        0.0
    }
}

struct FakeSecrets {
    secret: Mutex<Result<String, String>>,
    reads: AtomicUsize,
}

impl Secrets for FakeSecrets {
    fn resolve<'a>(&'a self, _: &'a SecretRef) -> BoxFuture<'a, Result<SecretString, SecretError>> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let secret = self.secret.lock().unwrap().clone();
        Box::pin(async move { secret.map(Into::into).map_err(SecretError) })
    }
}

/// Issues `token-1`, `token-2`, ... unless its script says otherwise.
pub(super) struct FakeIdp {
    pub(super) script: Mutex<VecDeque<Reply>>,
    pub(super) requests: Mutex<Vec<IssueRequest>>,
    pub(super) expires_in: Mutex<ExpiresIn>,
    gate: Semaphore,
    arrived: AtomicUsize,
    pub(super) panic: AtomicBool,
    /// The tokens that were to be revoked, in order, each with the client's secret.
    pub(super) revoked: Mutex<Vec<(String, String)>>,
    /// What is answered to the next ones; then it is done.
    pub(super) revocations: Mutex<VecDeque<IssueError>>,
    revocation_gate: Semaphore,
}

impl FakeIdp {
    /// From now on answers wait for [`FakeIdp::open`].
    pub(super) fn hold(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(super) fn open(&self) {
        self.gate.add_permits(Semaphore::MAX_PERMITS);
    }

    /// From now on no revocation is answered.
    pub(super) fn hold_revocations(&self) {
        self.revocation_gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(super) fn revocation_fails(&self, error: IssueError) {
        self.revocations.lock().unwrap().push_back(error);
    }

    /// The tokens that were to be revoked, in order.
    pub(super) fn revoked(&self) -> Vec<String> {
        self.revoked.lock().unwrap().iter().map(|(token, _)| token.clone()).collect()
    }

    pub(super) fn next(&self, answer: impl Into<Reply>) {
        self.script.lock().unwrap().push_back(answer.into());
    }

    pub(super) fn fail(&self, kind: IssueErrorKind) {
        self.next(Err(failure(kind)));
    }

    pub(super) fn set_expires_in(&self, expires_in: ExpiresIn) {
        *self.expires_in.lock().unwrap() = expires_in;
    }
}

impl Issuer for FakeIdp {
    fn issue(&self, request: IssueRequest) -> BoxFuture<'_, Reply> {
        Box::pin(async move {
            let number = self.arrived.fetch_add(1, Ordering::SeqCst) + 1;
            self.requests.lock().unwrap().push(request);
            drop(self.gate.acquire().await.unwrap());
            assert!(!self.panic.swap(false, Ordering::SeqCst), "told to panic");
            let scripted = self.script.lock().unwrap().pop_front();
            scripted.unwrap_or_else(|| {
                Ok(Issued {
                    access_token: format!("token-{number}").into(),
                    expires_in: *self.expires_in.lock().unwrap(),
                    scopes: None,
                    server_time: None,
                })
                .into()
            })
        })
    }

    fn revoke(&self, request: RevokeRequest) -> BoxFuture<'_, Result<(), IssueError>> {
        Box::pin(async move {
            let [token, secret] = [&request.token, &request.secret].map(|it| it.expose_secret().to_owned());
            self.revoked.lock().unwrap().push((token, secret));
            drop(self.revocation_gate.acquire().await.unwrap());
            assert!(!self.panic.swap(false, Ordering::SeqCst), "told to panic");
            self.revocations.lock().unwrap().pop_front().map_or(Ok(()), Err)
        })
    }
}
