//! The real engine in a world where whatever can happen does, in an order that a seed decides: lifetimes,
//! outages, suspends, clocks that are set, reloads, rejections, callers who hang up, restarts, kills, reboots, and an
//! archive that fails.
//!
//! What must hold whatever happens: no expired token is answered; no key has two fetches in flight; no failure
//! loses a valid token, nor does a restart; the IdP gets no more requests than budget, back-off and queue allow, over
//! restarts too; every caller is answered by their deadline; and when all is well again, everybody gets a token, and who
//! watches has one from then on.
//!
//! `USHER_SEED=N cargo nextest run -p usher-daemon simulation` runs the schedule of one seed.

mod archive;
mod long;
mod random;
mod schedule;
mod watch;
mod world;

use self::schedule::Schedule;

/// Runs the schedules of these seeds; panics with the first that goes wrong.
fn run(seeds: impl Iterator<Item = u64>) {
    for seed in seeds {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let wrong = runtime.block_on(async { Schedule::new(seed).run().await });
        assert!(wrong.is_empty(), "USHER_SEED={seed}:\n{}", wrong.join("\n"));
    }
}

/// The seed that is asked for.
fn seed() -> Option<u64> {
    std::env::var("USHER_SEED").ok()?.parse().ok()
}

#[test]
fn whatever_happens_the_promises_hold() {
    match seed() {
        Some(seed) => run(std::iter::once(seed)),
        None => run(0..200),
    }
}
