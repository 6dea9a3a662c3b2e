//! What takes too long for a test with a real clock: age, idleness, and calls that outlast both.

use std::time::Duration;

use tokio::task::JoinHandle;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use usher_proto::client::Connection;

use super::*;
use crate::rpc::limits::IDLE;

struct World {
    client: Connection,
    serving: JoinHandle<()>,
    begun: Instant,
    _stop: watch::Sender<()>,
}

impl World {
    /// A connection on which health is served.
    async fn new() -> Self {
        let (near, far) = UnixStream::pair().unwrap();
        let peer = Peer { uid: 1, pid: None };
        let guest = Guest { peer, activity: Arc::default(), share: Arc::default() };
        let (_, health) = tonic_health::server::health_reporter();
        let (stop, stopped) = watch::channel(());
        let serving = serve(far, guest, Routes::new(health), Arc::default(), stopped);
        let serving = tokio::spawn(serving);
        let client = Connection::over(near).await.unwrap();
        Self { client, serving, begun: Instant::now(), _stop: stop }
    }

    fn health(&self) -> HealthClient<Connection> {
        HealthClient::with_origin(self.client.clone(), http::Uri::from_static("http://localhost"))
    }

    async fn call(&self) -> Result<(), Status> {
        self.health().check(HealthCheckRequest::default()).await.map(drop)
    }

    /// Calls until it is refused, once in a while.
    async fn call_until_refused(&self, pause: Duration) -> Duration {
        while self.call().await.is_ok() {
            time::sleep(pause).await;
        }
        self.begun.elapsed()
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_used_lives_for_an_hour() {
    let mut world = World::new().await;
    let pause = Duration::from_secs(20);
    let lived = world.call_until_refused(pause).await;
    assert!(lived >= AGE && lived <= AGE + LOOK + pause, "{lived:?}");
    world.client.closed().await;
    world.serving.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_would_last_for_ever_ends_with_its_connection() {
    let world = World::new().await;
    let mut watch = world.health().watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert!(watch.message().await.unwrap().is_some());
    world.call_until_refused(Duration::from_secs(20)).await;
    let end = watch.message().await.unwrap_err();
    assert_eq!(end.code(), tonic::Code::Unavailable, "{end}");
    world.serving.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_calls_ends_after_a_minute_and_one_with_a_stream_does_not() {
    let mut quiet = World::new().await;
    quiet.call().await.unwrap();
    let streaming = World::new().await;
    let watch = streaming.health().watch(HealthCheckRequest::default()).await.unwrap();
    quiet.client.closed().await;
    let lived = quiet.begun.elapsed();
    assert!(lived >= IDLE && lived <= IDLE + 2 * LOOK, "{lived:?}");
    time::sleep(IDLE * 10).await;
    streaming.call().await.unwrap();
    drop(watch);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_says_nothing_is_let_go_after_five_seconds() {
    let (near, far) = UnixStream::pair().unwrap();
    let guest = Guest { peer: Peer { uid: 1, pid: None }, activity: Arc::default(), share: Arc::default() };
    let (_stop, stopped) = watch::channel(());
    let begun = Instant::now();
    serve(far, guest, Routes::default(), Arc::default(), stopped).await;
    let lived = begun.elapsed();
    assert!(lived >= Duration::from_secs(5) && lived <= Duration::from_secs(6), "{lived:?}");
    drop(near);
}
