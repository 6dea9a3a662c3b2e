//! Tokens that wait to be revoked, and when each is tried (again).
//!
//! They wait in lanes, one for each client of each IdP. A lane tries one token at a time and backs off as a
//! whole: a client that is refused, or an IdP that is down, is not asked once more for each of its tokens.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Notify, watch};

use super::{backoff, circuit::Circuits, ports::IssueError, queue::Queues};
use crate::domain::{
    profile::ClientCredentials,
    record::{KeyId, Unrevoked},
    secret::SecretString,
    time::Moment,
    token::TokenId,
};

/// So many that were given up are told of.
const REMEMBERED: usize = 256;

/// No more of one key are kept over a restart.
const KEPT: usize = 32;

/// The most tokens that wait. One more takes the place of the one that expires first.
pub const MAX: usize = 4096;

/// A token that is to be revoked, with all that is needed for it: neither the cache nor the configuration is.
#[derive(Debug)]
pub struct Item {
    /// Which key it was of.
    pub key: KeyId,
    /// What it was obtained by.
    pub grant: Arc<ClientCredentials>,
    /// The access token. Zeroed when it is dropped.
    pub token: SecretString,
    /// Its name.
    pub id: TokenId,
    /// When nothing has to be done any more.
    pub expires_at: Moment,
}

impl Item {
    /// Whose it was.
    pub fn profile(&self) -> &str {
        &self.key.owner.profile
    }
}

/// How far it has come with a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It has not been tried yet, or there is no answer yet.
    Waiting,
    /// It was tried in vain, or another one of its client was, and is tried again.
    Later {
        /// What happened.
        why: String,
        /// When it is tried again at the soonest.
        at: Moment,
    },
    /// The IdP has revoked it.
    Revoked,
    /// The IdP does not revoke such tokens.
    NotPossible(String),
    /// It is given up.
    Failed(String),
}

/// All tokens that wait to be revoked.
#[derive(Debug, Default)]
pub struct Revocations {
    lanes: Mutex<Lanes>,
    added: Notify,
    /// How many are sent to one IdP at a time. Neither this nor the next is shared with token requests: what
    /// becomes of a revocation must keep nobody from a token.
    pub queues: Queues,
    /// Revocation endpoints that are down.
    pub circuits: Circuits,
}

#[derive(Debug, Default)]
struct Lanes {
    all: Vec<Lane>,
    next: u64,
    /// What was not revoked and is still valid, the newest last, as `status` tells it.
    given_up: VecDeque<GivenUp>,
}

#[derive(Debug)]
struct GivenUp {
    profile: String,
    why: String,
    expires_at: Moment,
}

/// The tokens of one client.
#[derive(Debug)]
struct Lane {
    number: u64,
    profile: String,
    grant: Arc<ClientCredentials>,
    queue: VecDeque<Arc<Queued>>,
    /// Failures in a row.
    failures: u32,
    /// What the last one was, and when the next token is tried.
    setback: Option<(String, Moment)>,
    /// The first one is being tried.
    busy: bool,
}

#[derive(Debug)]
struct Queued {
    item: Item,
    progress: watch::Sender<Progress>,
}

/// The right, and the duty, to try one token.
#[derive(Debug)]
pub struct Attempt {
    lane: u64,
    queued: Arc<Queued>,
}

impl Attempt {
    /// The token.
    pub fn item(&self) -> &Item {
        &self.queued.item
    }
}

/// What waits of one profile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pending {
    /// How many tokens.
    pub count: usize,
    /// Why the last try failed, or why the last one was given up.
    pub error: Option<String>,
    /// When the next one is tried, if that was put off.
    pub retry_at: Option<Moment>,
    /// How many tokens were given up and are still valid.
    pub given_up: usize,
}

impl Revocations {
    /// Has a token revoked; tells how far it has come with it. If too many wait already, the one that expires
    /// first is given up, and answered as well.
    pub fn add(&self, mut item: Item, now: Moment) -> (watch::Receiver<Progress>, Option<TokenId>) {
        let mut lanes = self.lock();
        let lane = lanes.of(&item);
        if let Some(queued) = lane.queue.iter().find(|queued| queued.item.id == item.id) {
            return (queued.progress.subscribe(), None);
        }
        item.grant = Arc::clone(&lane.grant);
        let progress = match &lane.setback {
            Some((why, at)) if !at.reached(now) => Progress::Later { why: why.clone(), at: *at },
            _ => Progress::Waiting,
        };
        let (sender, receiver) = watch::channel(progress);
        lane.queue.push_back(Arc::new(Queued { item, progress: sender }));
        let given_up = if lanes.count() > MAX { lanes.give_one_up() } else { None };
        drop(lanes);
        self.added.notify_one();
        (receiver, given_up)
    }

    /// Ends when a token has been added since the last time.
    pub async fn added(&self) {
        self.added.notified().await;
    }

    /// What is to be tried now. Tokens that have expired meanwhile are given up; their names are answered, too.
    pub fn due(&self, now: Moment) -> (Vec<Attempt>, Vec<TokenId>) {
        let mut lanes = self.lock();
        let (mut attempts, mut expired) = (Vec::new(), Vec::new());
        for lane in &mut lanes.all {
            expired.extend(lane.drop_expired(now));
            let waits = lane.setback.as_ref().is_some_and(|(_, at)| !at.reached(now));
            if let Some(first) = lane.queue.front().filter(|_| !lane.busy && !waits) {
                attempts.push(Attempt { lane: lane.number, queued: Arc::clone(first) });
                lane.busy = true;
            }
        }
        lanes.all.retain(|lane| !lane.queue.is_empty());
        (attempts, expired)
    }

    /// When there is something to do next, since boot.
    pub fn next(&self) -> Option<Duration> {
        self.lock().all.iter().filter_map(Lane::next).min()
    }

    /// The attempt has ended it for this token.
    pub fn ended(&self, attempt: &Attempt, progress: Progress) {
        let mut lanes = self.lock();
        if let Some(lane) = lanes.all.iter_mut().find(|lane| lane.number == attempt.lane) {
            lane.queue.retain(|queued| !Arc::ptr_eq(queued, &attempt.queued));
            (lane.busy, lane.failures, lane.setback) = (false, 0, None);
        }
        lanes.all.retain(|lane| !lane.queue.is_empty());
        if let Progress::NotPossible(why) | Progress::Failed(why) = &progress {
            lanes.remember(&attempt.queued.item, why);
        }
        attempt.queued.progress.send_replace(progress);
    }

    /// The attempt has failed, and the client's next one is made later. When that is.
    pub fn failed(&self, attempt: &Attempt, error: &IssueError, now: Moment, jitter: f64) -> Moment {
        let mut lanes = self.lock();
        let Some(lane) = lanes.all.iter_mut().find(|lane| lane.number == attempt.lane) else { return now };
        lane.failures = lane.failures.saturating_add(1);
        let wait = if error.kind.is_transient() {
            backoff::transient(lane.failures, error.retry_after, jitter)
        } else {
            backoff::refused(lane.failures, error.retry_after)
        };
        let at = now + wait;
        (lane.busy, lane.setback) = (false, Some((error.message.clone(), at)));
        // One token that the IdP cannot cope with does not keep the others waiting.
        lane.queue.rotate_left(1);
        for queued in &lane.queue {
            queued.progress.send_replace(Progress::Later { why: error.message.clone(), at });
        }
        at
    }

    /// What waits of a profile.
    pub fn pending(&self, profile: &str, now: Moment) -> Pending {
        let lanes = self.lock();
        let mut pending = Pending::default();
        for lane in lanes.all.iter().filter(|lane| lane.profile == profile) {
            pending.count += lane.queue.len();
            if let Some((why, at)) = &lane.setback {
                (pending.error, pending.retry_at) = (Some(why.clone()), Some(*at));
            }
        }
        let of_profile =
            |given_up: &&GivenUp| given_up.profile == profile && !given_up.expires_at.reached(now);
        for given_up in lanes.given_up.iter().filter(of_profile) {
            pending.given_up += 1;
            if pending.count == 0 {
                pending.error = Some(given_up.why.clone());
            }
        }
        pending
    }

    /// The profiles of which something waits, or was given up and is still valid.
    pub fn profiles(&self, now: Moment) -> BTreeSet<String> {
        let lanes = self.lock();
        let waiting = lanes.all.iter().map(|lane| &lane.profile);
        let given_up = lanes.given_up.iter().filter(|given_up| !given_up.expires_at.reached(now));
        waiting.chain(given_up.map(|given_up| &given_up.profile)).cloned().collect()
    }

    /// What waits of a key, to be kept.
    pub fn unrevoked(&self, key: &KeyId, now: Moment) -> Vec<Unrevoked> {
        let lanes = self.lock();
        let of_profile = lanes.all.iter().filter(|lane| lane.profile == key.owner.profile);
        let items = of_profile.flat_map(|lane| &lane.queue).map(|queued| &queued.item);
        let unrevoked = items.filter(|item| item.key == *key).map(|item| Unrevoked {
            access_token: item.token.clone(),
            id: item.id.clone(),
            left: item.expires_at.after(now),
        });
        unrevoked.filter(|token| !token.left.is_zero()).take(KEPT).collect()
    }

    /// How many wait, and how many of them a restart can go on with: some of each key that is still there then.
    pub fn kept(&self, is_kept: impl Fn(&KeyId) -> bool) -> (usize, usize) {
        let lanes = self.lock();
        let mut of_keys: HashMap<&KeyId, usize> = HashMap::new();
        for queued in lanes.all.iter().flat_map(|lane| &lane.queue) {
            *of_keys.entry(&queued.item.key).or_default() += 1;
        }
        let kept = of_keys.iter().filter(|(key, _)| is_kept(key)).map(|(_, count)| (*count).min(KEPT)).sum();
        (of_keys.values().sum(), kept)
    }

    /// How many wait.
    pub fn count(&self) -> usize {
        self.lock().count()
    }

    /// How long the last of them is worth waiting for.
    pub fn last(&self, now: Moment) -> Duration {
        let lanes = self.lock();
        let queued = lanes.all.iter().flat_map(|lane| &lane.queue);
        queued.map(|queued| queued.item.expires_at.after(now)).max().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lanes {
    fn count(&self) -> usize {
        self.all.iter().map(|lane| lane.queue.len()).sum()
    }

    /// The lane of this token.
    fn of(&mut self, item: &Item) -> &mut Lane {
        let is_its = |lane: &Lane| lane.profile == *item.profile() && lane.grant == item.grant;
        let index = self.all.iter().position(is_its).unwrap_or_else(|| {
            self.next += 1;
            self.all.push(Lane {
                number: self.next,
                profile: item.profile().to_owned(),
                grant: Arc::clone(&item.grant),
                queue: VecDeque::new(),
                failures: 0,
                setback: None,
                busy: false,
            });
            self.all.len() - 1
        });
        &mut self.all[index]
    }

    /// Gives up the token that expires first, of those that are not being tried.
    fn give_one_up(&mut self) -> Option<TokenId> {
        let waiting = self.all.iter().enumerate().flat_map(|(lane, it)| {
            let from = usize::from(it.busy);
            it.queue.iter().enumerate().skip(from).map(move |(place, queued)| (lane, place, queued))
        });
        let (lane, place, _) = waiting.min_by_key(|(_, _, queued)| queued.item.expires_at.wall)?;
        let queued = self.all[lane].queue.remove(place)?;
        let message =
            format!("more than {MAX} tokens wait to be revoked, and it is the one that expires first");
        self.remember(&queued.item, &message);
        queued.progress.send_replace(Progress::Failed(message));
        Some(queued.item.id.clone())
    }

    fn remember(&mut self, item: &Item, why: &str) {
        if self.given_up.len() == REMEMBERED {
            self.given_up.pop_front();
        }
        let (profile, expires_at) = (item.profile().to_owned(), item.expires_at);
        self.given_up.push_back(GivenUp { profile, why: why.to_owned(), expires_at });
    }
}

impl Lane {
    fn drop_expired(&mut self, now: Moment) -> Vec<TokenId> {
        let first = self.queue.front().filter(|_| self.busy).cloned();
        let mut expired = Vec::new();
        self.queue.retain(|queued| {
            let is_tried = first.as_ref().is_some_and(|first| Arc::ptr_eq(first, queued));
            let keep = is_tried || !queued.item.expires_at.reached(now);
            if !keep {
                let message = "it expired before it could be revoked".to_owned();
                queued.progress.send_replace(Progress::Failed(message));
                expired.push(queued.item.id.clone());
            }
            keep
        });
        expired
    }

    fn next(&self) -> Option<Duration> {
        let waiting = self.queue.iter().skip(usize::from(self.busy));
        let expiry = waiting.map(|queued| queued.item.expires_at.boot).min();
        let try_at = self.setback.as_ref().map_or(Duration::ZERO, |(_, at)| at.boot);
        if self.busy { expiry } else { expiry.map(|expiry| expiry.min(try_at)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{record::Owner, scope::ScopeSet},
        token::{ports::IssueErrorKind, service::tests::world::grant},
    };

    fn at(seconds: u64) -> Moment {
        let span = Duration::from_secs(1_000_000 + seconds);
        Moment { wall: span, boot: span }
    }

    fn key() -> KeyId {
        let owner = Owner { profile: "p".into(), grant: String::new() };
        KeyId { owner: Arc::new(owner), audience: None, scopes: ScopeSet::default() }
    }

    fn item(number: usize, expires: u64) -> Item {
        Item {
            key: key(),
            grant: Arc::new(grant()),
            token: "CANARY".into(),
            id: TokenId(number.to_string()),
            expires_at: at(expires),
        }
    }

    #[test]
    fn when_too_many_wait_the_one_that_expires_first_goes_and_that_is_told() {
        let revocations = Revocations::default();
        let (first, _) = revocations.add(item(0, 50), at(0));
        let (soon, _) = revocations.add(item(1, 70), at(0));
        let (attempts, _) = revocations.due(at(0));
        assert_eq!(attempts.len(), 1);
        for number in 2..MAX {
            assert_eq!(revocations.add(item(number, 100), at(0)).1, None);
        }
        let (_, given_up) = revocations.add(item(MAX, 90), at(0));
        // The one that is being tried stays, though it expires sooner.
        assert_eq!(given_up, Some(TokenId("1".into())));
        assert!(matches!(&*soon.borrow(), Progress::Failed(why) if why.contains("4096")), "{soon:?}");
        assert_eq!((&*first.borrow(), revocations.count()), (&Progress::Waiting, MAX));
        let (last, given_up) = revocations.add(item(MAX + 1, 80), at(0));
        assert_eq!(given_up, Some(TokenId((MAX + 1).to_string())), "it is itself the first to expire");
        assert!(matches!(&*last.borrow(), Progress::Failed(_)));
        revocations.ended(&attempts[0], Progress::Revoked);
        assert_eq!((&*first.borrow(), revocations.count()), (&Progress::Revoked, MAX - 1));
    }

    #[test]
    fn the_same_token_of_two_keys_is_revoked_once() {
        let revocations = Revocations::default();
        let (one, _) = revocations.add(item(0, 50), at(0));
        let (other, _) = revocations.add(item(0, 50), at(0));
        assert_eq!(revocations.count(), 1);
        let (attempts, _) = revocations.due(at(0));
        revocations.ended(&attempts[0], Progress::Revoked);
        assert_eq!((&*one.borrow(), &*other.borrow()), (&Progress::Revoked, &Progress::Revoked));
        assert_eq!(revocations.next(), None);
    }

    #[test]
    fn a_token_that_is_added_while_its_client_backs_off_is_told_so_and_no_longer() {
        let revocations = Revocations::default();
        drop(revocations.add(item(0, 50), at(0)));
        let (attempts, _) = revocations.due(at(0));
        let error = IssueError::new(IssueErrorKind::Unreachable, "down");
        assert_eq!(revocations.failed(&attempts[0], &error, at(0), 0.0), at(1));
        let (early, _) = revocations.add(item(1, 50), at(0));
        assert_eq!(*early.borrow(), Progress::Later { why: "down".into(), at: at(1) });
        let (late, _) = revocations.add(item(2, 50), at(1));
        assert_eq!(*late.borrow(), Progress::Waiting);
    }

    #[test]
    fn each_client_has_a_lane_of_its_own() {
        let revocations = Revocations::default();
        let mut other = grant();
        other.client_id = "other".into();
        drop(revocations.add(item(0, 50), at(0)));
        drop(revocations.add(item(1, 50), at(0)));
        drop(revocations.add(Item { grant: Arc::new(other), ..item(2, 50) }, at(0)));
        let (attempts, _) = revocations.due(at(0));
        let tried: Vec<_> = attempts.iter().map(|attempt| attempt.item().id.0.as_str()).collect();
        assert_eq!(tried, ["0", "2"]);
        assert_eq!(revocations.next(), Some(at(50).boot), "the others wait for their turn");
    }

    #[test]
    fn debug_shows_no_token() {
        let revocations = Revocations::default();
        drop(revocations.add(item(0, 50), at(0)));
        assert!(!format!("{revocations:?}").contains("CANARY"));
    }
}
