//! Everything at once: callers of every kind, and a fault every few seconds. `USHER_SOAK=10m` has it last
//! that long; by default it is a minute.
//!
//! - `load`: the callers
//! - `faults`: what goes wrong
//! - `figures`: what came of it, and which fault is to blame for what

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a panic is the failure of the test, and the figures are worth reading"
)]
#![allow(clippy::disallowed_methods, reason = "how long a test takes is no matter of suspend")]

mod faults;
mod figures;
mod load;

use std::{
    fmt::Write as _,
    fs,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use usher_testkit::{ca::Ca, idp::FakeIdp, sandbox::Sandbox, usherd::Usherd};

use self::figures::Figures;
use crate::support::{health::Baseline, named, random::Random, sandbox, wait_until_fetched};

/// The profiles, and how many seconds their tokens live.
const PROFILES: [(&str, u64); 4] = [("blink", 2), ("short", 5), ("usual", 20), ("long", 3600)];

/// The daemon, its IdPs, and all that is known of both.
struct Soak {
    sandbox: Sandbox,
    _ca: Ca,
    /// One for each profile, in their order.
    idps: Vec<FakeIdp>,
    config: String,
    usherd: Mutex<Usherd>,
    figures: Figures,
    over: AtomicBool,
}

impl Soak {
    fn begin() -> Self {
        let (ca, sandbox) = (Ca::new(), sandbox());
        let (mut config, mut idps) = (String::new(), Vec::new());
        for (name, lifetime) in PROFILES {
            let idp = FakeIdp::builder().expires_in(lifetime).start(&ca);
            sandbox.watch(&idp);
            // Each has its own secret, too.
            let profile = named(name, &sandbox, &ca, &idp, "max_token_requests = \"10000/1h\"");
            let secret = sandbox.secret(name, idp.client_secret());
            let shared = sandbox.dir().join("secrets/frontdoor");
            write!(config, "{}", profile.replace(shared.to_str().unwrap(), secret.to_str().unwrap()))
                .unwrap();
            idps.push(idp);
        }
        sandbox.config(&config);
        let usherd = Mutex::new(start(&sandbox));
        let (figures, over) = (Figures::default(), AtomicBool::new(false));
        Self { sandbox, _ca: ca, idps, config, usherd, figures, over }
    }

    /// Another configuration, as a whole: who reads it finds the old one or this.
    fn configure(&self, text: &str) {
        let new = self.sandbox.file("config/usher/new.toml", text);
        fs::rename(new, self.sandbox.config_path()).unwrap();
    }

    fn usherd(&self) -> MutexGuard<'_, Usherd> {
        self.usherd.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

fn start(sandbox: &Sandbox) -> Usherd {
    sandbox.launch().log_level("info").start().unwrap()
}

/// How long it lasts, and how often something goes wrong.
fn plan() -> (Duration, Duration) {
    let text = std::env::var("USHER_SOAK").unwrap_or_else(|_| "1m".to_owned());
    let (number, unit) = text.split_at(text.len() - 1);
    let seconds = match unit {
        "m" => 60,
        "s" => 1,
        _ => panic!("USHER_SOAK is {text}: it is a number of minutes (10m) or of seconds (90s)"),
    };
    let length = Duration::from_secs(number.parse::<u64>().unwrap() * seconds);
    (length, Duration::from_secs(if length > Duration::from_secs(120) { 10 } else { 5 }))
}

#[test]
fn under_every_load_and_every_fault_no_token_is_wrong_and_no_call_fails_without_one() {
    let (length, every) = plan();
    let mut random = Random::new();
    let soak = Soak::begin();
    let begun = Instant::now();
    let (mut faults, mut baseline) = (0, None);
    thread::scope(|scope| {
        scope.spawn(|| load::callers(&soak));
        scope.spawn(|| load::processes(&soak));
        while begun.elapsed() < length {
            // A fault now and then, by the clock: nothing is waited for.
            thread::sleep(every.saturating_sub(faults::TAKES));
            if begun.elapsed() > length / 2 && baseline.is_none() {
                // From here on it is one daemon, to the end.
                let usherd = soak.usherd();
                baseline = Some((Baseline::of(&usherd), usherd.pid()));
            }
            faults::next(&soak, faults, baseline.is_none(), &mut random);
            faults += 1;
        }
        soak.over.store(true, Ordering::Relaxed);
    });
    let (baseline, pid) = baseline.unwrap();
    let usherd = soak.usherd();
    assert_eq!(usherd.pid(), pid);
    println!("{faults} faults in {:?}", begun.elapsed());
    println!("{}", soak.figures);
    println!("held at half time {baseline:?}, at the end {:?}", Baseline::of(&usherd));
    let requests: Vec<usize> = soak.idps.iter().map(FakeIdp::token_requests).collect();
    println!("token requests of {PROFILES:?}: {requests:?}");
    soak.figures.assert_nobody_wronged();
    for (name, _) in PROFILES {
        // The last fault may have been the IdP's.
        wait_until_fetched(&usherd, name);
    }
    baseline.holds(&usherd, PROFILES[3].0);
}
