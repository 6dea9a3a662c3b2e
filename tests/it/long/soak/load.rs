//! Callers of every kind.

use std::{
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tonic::Status;
use usher_proto::{
    client::Connection,
    error::{self, ErrorReason, Failure},
    v1::{ForgetRequest, GetTokenRequest, GetTokenResponse, ReloadRequest, StatusRequest},
};

use super::{PROFILES, Soak};

/// Between two tries to connect.
const PAUSE: Duration = Duration::from_millis(5);
/// No call takes this long, whatever goes wrong.
const DEADLINE: Duration = Duration::from_secs(20);

/// Calls by gRPC, until it is over.
pub(super) fn callers(soak: &Soak) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let kept = |profile, pause| on_kept_connections(soak, profile, Duration::from_millis(pause));
        tokio::join!(
            kept(0, 1),
            kept(1, 1),
            kept(2, 1),
            kept(3, 0),
            on_new_connections(soak, 0),
            on_new_connections(soak, 3),
            status(soak),
            reload(soak),
            forget(soak),
        );
    });
}

async fn connect(soak: &Soak, kind: &'static str) -> Option<Connection> {
    let begun = Instant::now();
    match Connection::open(&soak.sandbox.socket(), nix::unistd::geteuid().as_raw()).await {
        Ok(connection) => Some(connection),
        Err(error) => {
            soak.figures.call(kind, begun, Some(("NOT_RUNNING", error.to_string())));
            tokio::time::sleep(PAUSE).await;
            None
        }
    }
}

fn reason(status: &Status) -> &'static str {
    match Failure::from(status).reason {
        // Not a word of the daemon's: it is gone.
        ErrorReason::Unspecified => "CONNECTION",
        reason => error::name(reason),
    }
}

/// A call and what is to be said of it. Whether the connection is worth keeping.
async fn call<T>(
    soak: &Soak,
    kind: &'static str,
    work: impl Future<Output = Result<T, Status>>,
    check: impl FnOnce(T),
) -> bool {
    let begun = Instant::now();
    match tokio::time::timeout(DEADLINE, work).await {
        Ok(Ok(answer)) => {
            check(answer);
            soak.figures.call(kind, begun, None);
            true
        }
        Ok(Err(status)) => {
            soak.figures.call(kind, begun, Some((reason(&status), status.to_string())));
            tokio::time::sleep(PAUSE).await;
            reason(&status) != "CONNECTION"
        }
        Err(_) => {
            soak.figures.call(kind, begun, Some(("HANGS", format!("no answer within {DEADLINE:?}"))));
            false
        }
    }
}

async fn get(soak: &Soak, kind: &'static str, connection: &Connection, profile: usize) -> bool {
    let request = GetTokenRequest { profile: PROFILES[profile].0.to_owned(), ..Default::default() };
    let mut tokens = connection.tokens();
    let asked = SystemTime::now();
    let work = async { tokens.get_token(request).await.map(tonic::Response::into_inner) };
    call(soak, kind, work, |answer| check(soak, profile, asked, &answer)).await
}

/// The token is this profile's, and neither over nor said to last longer than the IdP had it.
fn check(soak: &Soak, profile: usize, asked: SystemTime, answer: &GetTokenResponse) {
    let (name, lifetime) = PROFILES[profile];
    if answer.profile != name || !soak.idps[profile].tokens().contains(&answer.access_token) {
        soak.figures.wrong(format!("{name} was given a token that is not its own: {}", answer.token_id));
    }
    let expires = answer.expires_at.map_or(Duration::ZERO, |at| {
        Duration::new(at.seconds.try_into().unwrap_or_default(), at.nanos.try_into().unwrap_or_default())
    });
    let since_epoch = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default();
    if expires <= since_epoch(asked) {
        soak.figures.wrong(format!("{name} was given a token that had expired: {expires:?}, {asked:?}"));
    }
    if expires > since_epoch(SystemTime::now()) + Duration::from_secs(lifetime) {
        soak.figures.wrong(format!("{name} was given a token that is said to last too long"));
    }
}

async fn on_kept_connections(soak: &Soak, profile: usize, pause: Duration) {
    while !soak.is_over() {
        let Some(connection) = connect(soak, "kept").await else { continue };
        while !soak.is_over() && get(soak, "kept", &connection, profile).await {
            tokio::time::sleep(pause).await;
        }
    }
}

async fn on_new_connections(soak: &Soak, profile: usize) {
    while !soak.is_over() {
        if let Some(connection) = connect(soak, "new").await {
            get(soak, "new", &connection, profile).await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn status(soak: &Soak) {
    while !soak.is_over() {
        if let Some(connection) = connect(soak, "status").await {
            let mut admin = connection.admin();
            let work = async { admin.status(StatusRequest::default()).await };
            call(soak, "status", work, |status| {
                let profiles = status.into_inner().profiles.len();
                if profiles != PROFILES.len() {
                    soak.figures.wrong(format!("status told of {profiles} profiles"));
                }
            })
            .await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn reload(soak: &Soak) {
    while !soak.is_over() {
        if let Some(connection) = connect(soak, "reload").await {
            let mut admin = connection.admin();
            call(soak, "reload", async { admin.reload(ReloadRequest {}).await }, drop).await;
        }
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
}

async fn forget(soak: &Soak) {
    for (name, _) in PROFILES.into_iter().cycle() {
        if soak.is_over() {
            return;
        }
        if let Some(connection) = connect(soak, "forget").await {
            let mut admin = connection.admin();
            let request = ForgetRequest { profile: name.to_owned(), revoke: false };
            call(soak, "forget", async { admin.forget(request).await }, drop).await;
        }
        tokio::time::sleep(Duration::from_millis(1300)).await;
    }
}

/// `usher token`, until it is over.
pub(super) fn processes(soak: &Soak) {
    for profile in (0..PROFILES.len()).cycle() {
        if soak.is_over() {
            return;
        }
        let (asked, begun) = (SystemTime::now(), Instant::now());
        let output = soak.sandbox.usher(&["token", PROFILES[profile].0, "--json"]);
        let told: serde_json::Value =
            serde_json::from_str(if output.status.success() { &output.stdout } else { &output.stderr })
                .unwrap();
        if output.status.success() {
            let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
            let answer = GetTokenResponse {
                access_token: text("access_token"),
                profile: text("profile"),
                token_id: text("token_id"),
                expires_at: told["expires_at"].as_i64().map(|seconds| prost_types::Timestamp {
                    // It is told in whole seconds: the one that it falls into.
                    seconds: seconds + 1,
                    nanos: 0,
                }),
                ..Default::default()
            };
            check_process(soak, profile, asked, &answer);
            soak.figures.call("process", begun, None);
        } else {
            let reason = match told["error"]["reason"].as_str() {
                // It was killed while it was connected to, or before it had answered.
                Some("CONNECTION_FAILED" | "UNSPECIFIED") => "CONNECTION",
                reason => reason.unwrap_or("NO_REASON"),
            };
            soak.figures.call("process", begun, Some((reason, told.to_string())));
        }
        thread::sleep(Duration::from_millis(300));
    }
}

fn check_process(soak: &Soak, profile: usize, asked: SystemTime, answer: &GetTokenResponse) {
    let (name, _) = PROFILES[profile];
    if answer.profile != name || !soak.idps[profile].tokens().contains(&answer.access_token) {
        soak.figures.wrong(format!("a process got a token that is not {name}'s: {}", answer.token_id));
    }
    let expires = answer.expires_at.map_or(0, |at| at.seconds);
    if u64::try_from(expires).unwrap_or_default() < asked.duration_since(UNIX_EPOCH).unwrap().as_secs() {
        soak.figures.wrong(format!("a process got a token of {name} that had expired"));
    }
}
