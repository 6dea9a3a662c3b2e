//! The end of the loop, met by callers.

use std::{future, sync::mpsc, thread};

use usher_proto::{
    client::{ConnectError, Connection},
    v1::GetTokenRequest,
};

use super::*;
use crate::os::{
    listener::{Listener, Place},
    users::effective_uid,
};

/// A daemon that ends a moment after the last caller has gone.
struct Restless(Place);

impl Terms for Restless {
    fn close(&self, listener: &StdListener) -> Vec<StdStream> {
        self.0.close(listener)
    }

    fn drain(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn idle_exit(&self) -> Option<Duration> {
        Some(Duration::from_millis(1))
    }

    fn tokens_last(&self) -> Duration {
        Duration::ZERO
    }

    async fn changed(&self) {
        future::pending::<()>().await;
    }

    fn release_memory(&self) {}
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// Serves on a socket of its own until the loop has ended.
fn serve_until_idle(listener: Listener, begun: &mpsc::Sender<()>) {
    block_on(async {
        begun.send(()).unwrap();
        let Listener { socket, place } = listener;
        let entrance = Entrance {
            listener: UnixListener::from_std(socket).unwrap(),
            routes: Routes::default(),
            policy: Arc::new(Policy::owner_only(effective_uid())),
            max_connections: 10,
        };
        serve(entrance, &Restless(place), future::pending()).await;
    });
}

#[test]
fn whoever_calls_while_it_ends_is_answered_or_finds_nobody_5000_times() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("usher/usher.sock");
    let (mut answered, mut nobody) = (0, 0);
    for round in 0..5_000_u32 {
        let listener = Listener::bind(&path).unwrap();
        let (path, (begun, begins)) = (&path, mpsc::channel());
        thread::scope(|scope| {
            scope.spawn(move || serve_until_idle(listener, &begun));
            begins.recv().unwrap();
            // A little later each time: the end is met at every point of it.
            thread::sleep(Duration::from_micros(u64::from(round % 150) * 20));
            block_on(async {
                match Connection::open(path, effective_uid()).await {
                    Ok(connection) => {
                        // There is no service, which is an answer, too.
                        let error =
                            connection.tokens().get_token(GetTokenRequest::default()).await.unwrap_err();
                        assert_eq!(error.code(), tonic::Code::Unimplemented, "round {round}: {error}");
                        answered += 1;
                    }
                    Err(ConnectError::NotRunning { .. }) => nobody += 1,
                    Err(error) => panic!("round {round}: {error}"),
                }
            });
        });
    }
    println!("{answered} answered, {nobody} too late");
    assert!(answered > 500 && nobody > 500, "the end was not met: {answered} answered, {nobody} too late");
}
