//! Clients that break the rules of HTTP/2 and gRPC, or use them against the daemon, and what is left of it
//! afterwards.
//!
//! - `junk`: what is no HTTP/2 at all
//! - `slow`: peers that drip, and peers that do not read
//! - `floods`: frames without end
//! - `messages`: requests that are no requests
//! - `places`: thousands of connections and streams
//! - `accepting`: a system that has run out of something
//! - `fairness`: one process that asks for all there is
//! - `vanishing`: clients that are gone in the middle
//! - `long`: the same for longer
//!
//! Every case ends with [`Daemon::is_unharmed`].

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a panic is the failure of the test, how long it takes is no matter of suspend, and what it \
              measures is for whoever asks for its output"
)]

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use prost::Message as _;
use usher_proto::{client::Connection, v1::GetTokenRequest};
use usher_testkit::{PATIENCE, http2::Client, usherd::Usherd, vitals::Vitals};

use crate::support::{World, is_root};

mod accepting;
mod fairness;
mod floods;
mod junk;
mod long;
mod messages;
mod places;
mod slow;
mod vanishing;

/// The method that is called by hand.
const GET_TOKEN: &str = "/usher.v1.TokenService/GetToken";

/// How long an honest caller may wait for a token from the cache, whatever else goes on.
const GOOD_ANSWER: Duration = Duration::from_secs(1);

/// What memory may have grown by, in KiB. An attack that is kept for, at a few hundred bytes for each of its
/// 100,000 frames, takes ten times as much; the allocator's arenas and the first use of code that was
/// never run before take a third.
const SLACK: u64 = 6 * 1024;

/// A request for the token of the profile `frontdoor`.
fn request() -> Vec<u8> {
    GetTokenRequest { profile: "frontdoor".to_owned(), ..Default::default() }.encode_to_vec()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// One good call on a connection of its own. The machine has other things to do as well: the quickest of three.
async fn good_call(usherd: &Usherd) -> Duration {
    let mut took = Duration::MAX;
    for _ in 0..3 {
        took = took.min(good_call_within(PATIENCE, usherd).await);
        if took < GOOD_ANSWER {
            return took;
        }
    }
    panic!("a good call takes {took:?}");
}

/// One, with so much patience.
async fn good_call_within(patience: Duration, usherd: &Usherd) -> Duration {
    let begun = Instant::now();
    let call = async {
        let uid = nix::unistd::geteuid().as_raw();
        let connection = Connection::open(&usherd.socket(), uid).await?;
        let request = GetTokenRequest { profile: "frontdoor".to_owned(), ..Default::default() };
        let answer = connection.tokens().get_token(request).await?;
        assert!(!answer.get_ref().access_token.is_empty());
        Ok::<_, Box<dyn std::error::Error>>(())
    };
    let outcome = tokio::time::timeout(patience, call).await;
    outcome.expect("a good call is answered in time").expect("a good call is answered");
    begun.elapsed()
}

/// A daemon, and how it was before the attack.
struct Daemon {
    world: World,
    pid: u32,
    before: Vitals,
    requests: usize,
}

impl Daemon {
    fn new() -> Self {
        Self::of(World::new(""))
    }

    /// It has its token, and has served a few connections.
    fn of(world: World) -> Self {
        runtime().block_on(async {
            for _ in 0..20 {
                good_call(&world.usherd).await;
            }
        });
        let pid = world.usherd.pid();
        let (before, requests) = (Vitals::of(pid), world.idp.token_requests());
        assert_eq!(requests, 1);
        let known = before.descriptors.is_some() || !is_root("descriptors of the daemon");
        assert!(known, "root sees the descriptors");
        Self { world, pid, before, requests }
    }

    fn socket(&self) -> PathBuf {
        self.world.usherd.socket()
    }

    /// A client whose settings are answered.
    fn client(&self) -> Client {
        Client::connect(&self.socket(), &[])
    }

    /// It runs, it answers, it asked its IdP for nothing, and it holds no more than before. (That it leaked
    /// no secret is looked at when its sandbox goes.)
    fn is_unharmed(&self, after: &str) {
        let usherd = &self.world.usherd;
        assert_eq!(usherd.exit(), None, "after {after}");
        assert_eq!(usherd.pid(), self.pid);
        runtime().block_on(good_call(usherd));
        assert_eq!(self.world.idp.token_requests(), self.requests, "token requests after {after}");
        let begun = Instant::now();
        // What the attack left open ends when its time is up.
        let last = loop {
            let now = Vitals::of(self.pid);
            let descriptors = now.descriptors <= self.before.descriptors;
            if descriptors && now.resident <= self.before.resident + SLACK {
                break now;
            }
            assert!(begun.elapsed() < PATIENCE, "after {after}: {now:?}; before: {:?}", self.before);
            std::thread::yield_now();
            nix::poll::poll(&mut [], nix::poll::PollTimeout::from(50_u8)).unwrap();
        };
        let grown = last.resident.saturating_sub(self.before.resident);
        eprintln!("after {after}: {last:?}, {grown} KiB more than before");
    }
}
