//! One schedule: what happens, when, and what is looked at after each step.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::{
    archive::SimArchive,
    random::Random,
    watch::Watch,
    world::{SimClock, SimIdp, SimJitter, SimSecrets, Weather},
};
use crate::{
    domain::{
        profile::{Profiles, RequestLimit},
        secret::ExposeSecret as _,
        time::Moment,
    },
    token::{
        error::TokenError,
        name::Namer,
        ports::Clock as _,
        service::{
            Answer, Engine, Ports, TokenRequest,
            tests::world::{profiles, with_grant},
        },
    },
};

const STEPS: u64 = 40;
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
/// The one with a budget of its own.
const STRICT: (&str, RequestLimit) = ("d", RequestLimit { requests: 5, window: Duration::from_secs(120) });

pub(super) struct Schedule {
    random: Random,
    clock: Arc<SimClock>,
    idp: Arc<SimIdp>,
    secrets: Arc<SimSecrets>,
    seed: u64,
    engine: Engine,
    archive: Arc<SimArchive>,
    /// The profiles that there are, by name; each with the number of its client.
    there: BTreeMap<&'static str, u64>,
    clients: u64,
    reloads: Vec<Duration>,
    /// When the token that each key holds expires: it must not be lost before, but for a reason.
    held: BTreeMap<(&'static str, String), Moment>,
    tasks: Vec<JoinHandle<()>>,
    /// The tasks that go with the engine.
    engine_tasks: Vec<JoinHandle<()>>,
    wrong: Arc<Mutex<Vec<String>>>,
    /// Those who watch.
    watches: Vec<Watch>,
}

impl Schedule {
    pub(super) fn new(seed: u64) -> Self {
        let clock = Arc::new(SimClock::new());
        let idp = Arc::new(SimIdp::new(Arc::clone(&clock), seed ^ 1));
        let secrets = Arc::new(SimSecrets::default());
        let archive = Arc::new(SimArchive::new(seed ^ 3));
        let engine = engine(&clock, &idp, &secrets, &archive, seed);
        let mut schedule = Self {
            random: Random::new(seed),
            clock,
            idp,
            secrets,
            seed,
            engine,
            archive,
            there: NAMES.into_iter().map(|name| (name, 0)).collect(),
            clients: 0,
            reloads: Vec::new(),
            held: BTreeMap::new(),
            tasks: Vec::new(),
            engine_tasks: Vec::new(),
            wrong: Arc::default(),
            watches: Vec::new(),
        };
        schedule.begin();
        schedule.work();
        schedule
    }

    /// Lives through it; answers what went wrong.
    pub(super) async fn run(mut self) -> Vec<String> {
        for _ in 0..STEPS {
            self.step().await;
            self.look();
        }
        self.recover().await;
        self.count();
        let mut wrong = std::mem::take(&mut *self.wrong.lock().unwrap());
        wrong.append(&mut self.idp.log().wrong);
        for task in self.tasks.into_iter().chain(self.engine_tasks) {
            task.abort();
        }
        wrong
    }

    fn begin(&mut self) {
        self.apply();
    }

    fn apply(&mut self) {
        self.engine.apply(&self.profiles());
        self.reloads.push(self.clock.since_ever());
    }

    /// What goes on in the engine without a caller.
    fn work(&mut self) {
        self.engine_tasks.push(tokio::spawn(self.engine.clone().refresh_ahead()));
        self.engine_tasks.push(tokio::spawn(self.engine.clone().keep()));
    }

    fn profiles(&self) -> Profiles {
        profiles(self.there.iter().map(|(name, client)| {
            with_grant(name, |grant| {
                grant.client_id = format!("{name}-{client}");
                grant.max_token_requests = (*name == STRICT.0).then_some(STRICT.1);
            })
        }))
    }

    async fn step(&mut self) {
        match self.random.within(0..100) {
            0..50 => self.call(),
            50..54 => self.hang_up().await,
            54..58 => self.watch(),
            58..62 => self.reject().await,
            62..65 => self.forget(),
            65..75 => self.change_weather(),
            75..79 => {
                *self.idp.lifetime.lock().unwrap() =
                    Duration::from_secs(self.random.of(&[1, 5, 60, 300, 3600, 86_400]));
            }
            79..83 => *self.idp.latency.lock().unwrap() = self.random.millis(0..12_000),
            83..87 => self.clock.suspend(Duration::from_secs(self.random.within(1..36_000))),
            87..90 => self.clock.set_wall(self.random.of(&[-3600, 3600, -315_360_000, 315_360_000, 30, -30])),
            90..93 => self.reload(),
            93..96 => self.reload_changed(),
            96..97 => {
                let mut missing = self.secrets.0.lock().unwrap();
                *missing = !*missing;
            }
            97..98 => self.archive.disk.set_fails(!self.archive.disk.fails()),
            _ => self.restart().await,
        }
        let pause = match self.random.within(0..10) {
            0..3 => Duration::ZERO,
            3..8 => self.random.millis(0..5_000),
            8 => self.random.millis(0..120_000),
            _ => self.random.millis(0..3_600_000),
        };
        sleep(pause).await;
    }

    fn request(&mut self) -> TokenRequest {
        let scopes: &[&str] = self.random.of(&[&[], &["read"], &["read", "write"]]);
        TokenRequest {
            profile: self.random.of(&NAMES).to_owned(),
            scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
            min_ttl: Duration::from_secs(self.random.of(&[0, 0, 0, 30, 3600])),
            patience: self.random.millis(100..30_000),
            ..TokenRequest::default()
        }
    }

    /// Somebody asks, and what they are told is looked at.
    fn call(&mut self) {
        let request = self.request();
        let task = ask(self.engine.clone(), request, Arc::clone(&self.idp), Arc::clone(&self.wrong));
        self.tasks.push(tokio::spawn(task));
    }

    /// Somebody asks and does not wait for the answer.
    async fn hang_up(&mut self) {
        let request = self.request();
        let engine = self.engine.clone();
        let task = tokio::spawn(async move { drop(engine.get_token(&request).await) });
        sleep(self.random.millis(0..2_000)).await;
        task.abort();
    }

    fn watch(&mut self) {
        let request = self.request();
        let (watch, task) = Watch::begin(self.engine.clone(), request, &self.idp, &self.wrong);
        self.watches.push(watch);
        self.engine_tasks.push(task);
    }

    /// The API refuses the token that somebody has just got.
    async fn reject(&mut self) {
        let request = TokenRequest { patience: Duration::from_secs(30), ..self.request() };
        let Ok(answer) = self.engine.get_token(&request).await else { return };
        // It may be newer than what was looked at last.
        self.held.retain(|(profile, _), _| *profile != request.profile);
        let rejecting = TokenRequest { rejected_token_id: answer.token.id.0.clone(), ..request };
        match self.engine.get_token(&rejecting).await {
            Ok(next) if next.token.id == answer.token.id => self.say("a rejected token was answered again"),
            _ => {}
        }
    }

    fn forget(&mut self) {
        let name = self.random.of(&NAMES);
        if self.engine.forget(name).is_ok() {
            self.held.retain(|(profile, _), _| *profile != name);
        }
    }

    fn change_weather(&mut self) {
        let choices = [
            Weather::Fine,
            Weather::Fine,
            Weather::Fine,
            Weather::Mixed,
            Weather::Mixed,
            Weather::Over,
            Weather::Unreachable,
            Weather::Busy,
            Weather::TooMany(20),
            Weather::Refuses,
        ];
        *self.idp.weather.lock().unwrap() = self.random.of(&choices);
    }

    fn reload(&mut self) {
        self.apply();
    }

    /// A profile is changed, removed, or there again; it is another client each time, with a budget of its own.
    fn reload_changed(&mut self) {
        let name = self.random.of(&NAMES);
        self.clients += 1;
        if self.random.one_in(3) {
            self.there.remove(name);
        } else {
            self.there.insert(name, self.clients);
        }
        self.apply();
        self.held.retain(|(profile, _), _| *profile != name);
        if !self.there.contains_key(name) && self.engine.directory().get(name).is_some() {
            self.say("a removed profile is still there");
        }
    }

    /// The daemon ends or is killed, perhaps with the machine, and another one starts: it knows what was kept.
    async fn restart(&mut self) {
        let (orderly, reboots) = (self.random.one_in(2), self.random.one_in(3));
        if orderly {
            self.engine.keep_all(Duration::from_secs(2)).await;
        }
        // What it holds at the end, at which it may have fetched something newer, or dropped something.
        self.look();
        let all_kept = self.engine.has_kept_all() && !self.archive.disk.fails();
        for task in self.tasks.drain(..).chain(self.engine_tasks.drain(..)) {
            task.abort();
        }
        self.watches.clear();
        // Its fetches end with it, and it can keep nothing any more.
        let _ = self.engine.shared.unkept.take().now_or_never();
        self.engine.apply(&Profiles::default());
        tokio::task::yield_now().await;
        if reboots {
            self.clock.reboot();
            self.archive.disk.reboot();
        }
        {
            let mut life = self.idp.life.lock().unwrap();
            life.number += 1;
            // After a reboot the age of what was kept is told by the wall clock.
            if !all_kept || (reboots && self.clock.was_set()) {
                life.era += 1;
            }
        }
        // What is kept lasts as long as the clock that was further on said when it was written: one that is set back
        // again later makes no life longer, while a token in memory would be valid once more.
        if reboots || !all_kept || self.clock.was_set() {
            self.held.clear();
        }
        self.engine = engine(&self.clock, &self.idp, &self.secrets, &self.archive, self.seed);
        self.begin();
        self.work();
        self.engine.has_looked().await;
    }

    /// What a key held and still could answer, it holds, or something newer.
    fn look(&mut self) {
        let now = self.clock.now();
        let directory = self.engine.directory();
        let mut holding = BTreeMap::new();
        for (name, slot) in directory.sorted() {
            let Some(name) = NAMES.into_iter().find(|known| *known == name) else { continue };
            for entry in slot.entries() {
                let Some(token) = entry.status(now).token else { continue };
                let Some(lifetime) = token.lifetime else { continue };
                holding.insert((name, entry.id.scopes.to_string()), lifetime.expires_at);
            }
        }
        for (key, expires) in &self.held {
            if !expires.reached(now) && !holding.contains_key(key) {
                self.say(&format!("a valid token of {key:?} was lost"));
            }
        }
        self.held = holding;
    }

    /// All is well again: after the longest back-off everybody who watches has a valid token, and always will;
    /// and everybody gets one who asks.
    async fn recover(&mut self) {
        *self.idp.weather.lock().unwrap() = Weather::Fine;
        *self.idp.latency.lock().unwrap() = Duration::from_millis(100);
        *self.idp.lifetime.lock().unwrap() = Duration::from_secs(3600);
        *self.secrets.0.lock().unwrap() = false;
        self.clock.suspend(Duration::from_secs(3 * 3600));
        sleep(Duration::from_secs(60)).await;
        self.look();
        // Without anybody's asking, over a few lives and whatever is done to the clocks.
        for minute in 0..150 {
            self.look_at_watches(minute);
            match minute {
                100 => self.clock.set_wall(3600 + 1800),
                120 => self.clock.set_wall(-3600),
                _ => {}
            }
            sleep(Duration::from_secs(60)).await;
        }
        for name in self.there.keys() {
            let request = TokenRequest {
                profile: (*name).to_owned(),
                patience: Duration::from_secs(30),
                ..TokenRequest::default()
            };
            if let Err(error) = self.engine.get_token(&request).await {
                self.say(&format!("{name} gets no token though all is well: {error}"));
            }
        }
    }

    /// Each that has gone wrong is told of once.
    fn look_at_watches(&mut self, minute: u32) {
        let now = self.clock.now();
        for watch in std::mem::take(&mut self.watches) {
            match watch.wrong(now) {
                Some(wrong) => self.say(&format!("{minute} minutes after all was well {wrong}")),
                None => self.watches.push(watch),
            }
        }
    }

    /// What the IdP was asked: within the budget, and not sooner after a failure than the back-off allows.
    fn count(&self) {
        let log = self.idp.log();
        for (key, requests) in &log.requests {
            for (number, request) in requests.iter().enumerate() {
                let same = requests[..number].iter().filter(|before| before.life.era == request.life.era);
                let (most, window) = if key.0.starts_with(STRICT.0) {
                    (STRICT.1.requests, STRICT.1.window)
                } else {
                    (30, Duration::from_secs(60))
                };
                let recent = same.clone().filter(|before| before.at + window > request.at).count();
                if recent >= most as usize {
                    self.say(&format!("{key:?} was asked for {} times within {window:?}", recent + 1));
                }
                let Some(last) = same.max_by_key(|before| before.at) else { continue };
                let pause = request.at.saturating_sub(last.at);
                let reloaded = self.reloads.iter().any(|at| (last.at..=request.at).contains(at));
                // Back-off is not kept, and a reload forgives a refusal.
                let is_forgiven = last.life != request.life || (last.refused && reloaded);
                if last.failed && !is_forgiven && pause < Duration::from_millis(750) {
                    self.say(&format!("{key:?} was asked for again {pause:?} after a failure"));
                }
            }
        }
    }

    fn say(&self, wrong: &str) {
        self.wrong.lock().unwrap().push(format!("{} at {:?}", wrong, self.clock.now()));
    }
}

fn engine(
    clock: &Arc<SimClock>,
    idp: &Arc<SimIdp>,
    secrets: &Arc<SimSecrets>,
    archive: &Arc<SimArchive>,
    seed: u64,
) -> Engine {
    let ports = Ports {
        clock: Arc::clone(clock) as _,
        issuer: Arc::clone(idp) as _,
        secrets: Arc::clone(secrets) as _,
        jitter: Arc::new(SimJitter(Mutex::new(Random::new(seed ^ 2)))),
        archive: Some(Arc::clone(archive) as _),
    };
    Engine::new(ports, Namer::new().unwrap())
}

async fn ask(engine: Engine, request: TokenRequest, idp: Arc<SimIdp>, wrong: Arc<Mutex<Vec<String>>>) {
    let begun = Instant::now();
    let answer = engine.get_token(&request).await;
    let took = begun.elapsed();
    let say = |what: String| wrong.lock().unwrap().push(what);
    if took > request.patience + Duration::from_millis(2) {
        say(format!("a caller with {:?} of patience waited {took:?}", request.patience));
    }
    match answer {
        Ok(answer) => check(&answer, &idp, &wrong),
        Err(TokenError::Internal(error)) => say(format!("internal error: {error}")),
        Err(TokenError::Overtaken) => say("a caller was told of a retired key".to_owned()),
        Err(_) => {}
    }
}

/// Neither by what the daemon knows nor in truth has it expired.
pub(super) fn check(answer: &Answer, idp: &SimIdp, wrong: &Mutex<Vec<String>>) {
    let Some(lifetime) = answer.token.lifetime else { return };
    let clock = &idp.clock;
    check_token(Some(lifetime.left(clock.now())), wrong);
    let truth = idp.log().truth.get(answer.token.access_token.expose_secret()).copied();
    // Who sets the wall clock before a reboot has it believe anything.
    if let Some((end, boot)) = truth.filter(|(_, boot)| *boot == clock.boots() || !clock.was_set()) {
        let left = end.saturating_sub(clock.since_ever());
        if left.is_zero() {
            wrong.lock().unwrap().push(format!("a token of boot {boot} was answered after its end"));
        }
    }
}

/// `left`: how long the token that was answered lasts; none if it may not be kept.
fn check_token(left: Option<Duration>, wrong: &Mutex<Vec<String>>) {
    if left == Some(Duration::ZERO) {
        wrong.lock().unwrap().push("an expired token was answered".to_owned());
    }
}

#[test]
fn the_checks_see_what_is_wrong() {
    let wrong = Mutex::default();
    check_token(Some(Duration::ZERO), &wrong);
    check_token(Some(Duration::from_secs(1)), &wrong);
    check_token(None, &wrong);
    assert_eq!(wrong.lock().unwrap().len(), 1);
}
