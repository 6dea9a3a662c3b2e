//! All keys of all profiles, and what a reload does to them.
//!
//! A key is: the profile, its grant (all non-secret fields that decide which token comes back), the
//! audience, the sorted scopes. Never the raw request: the order of scopes makes no second key.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use super::{entry::Entry, standing::Standing, unkept::Unkept};
use crate::domain::{
    profile::{Grant, Network, Profile, Profiles, RequestLimit},
    record::{KeyId, Owner},
    scope::ScopeSet,
    time::Moment,
};

/// The most keys one profile has. Which ones there can be is up to the configuration; how many subsets
/// of many scopes callers ask for is up to them.
const MAX_KEYS: usize = 1024;

/// The profiles in force. Replaced as a whole.
#[derive(Debug, Default)]
pub struct Directory {
    slots: HashMap<String, Arc<Slot>>,
    /// The profile that is meant when a caller names none.
    pub default_profile: Option<String>,
    unkept: Arc<Unkept>,
}

/// A profile and its keys.
#[derive(Debug)]
pub struct Slot {
    /// The profile.
    pub profile: Arc<Profile>,
    keys: Arc<Keys>,
    /// The key of a request without wishes: found without looking for it.
    default: Arc<Entry>,
}

type Key = (Option<Arc<str>>, ScopeSet);

#[derive(Debug)]
struct Keys {
    owner: Arc<Owner>,
    unkept: Arc<Unkept>,
    entries: RwLock<HashMap<Key, Arc<Entry>>>,
    standing: Arc<Standing>,
}

/// What a reload changed, by name of profile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// New ones.
    pub added: Vec<String>,
    /// Those that are not as they were.
    pub changed: Vec<String>,
    /// Those that are gone, with their tokens.
    pub removed: Vec<String>,
    /// How many are as they were.
    pub unchanged: usize,
    /// What concerns the daemon itself is not as it was.
    pub settings: bool,
}

impl Directory {
    /// Without profiles. What changes of their keys is noted here.
    pub fn new(unkept: Arc<Unkept>) -> Self {
        Self { unkept, ..Self::default() }
    }

    /// The directory of new profiles. A profile whose grant issues the same tokens keeps its keys, with
    /// their tokens, flights and budgets; any other begins anew. A refusal is forgiven: whoever reloads has
    /// perhaps mended it where usher cannot see.
    pub fn succeed(&self, profiles: &Profiles) -> (Self, Changes) {
        let mut changes = Changes::default();
        let mut slots = HashMap::with_capacity(profiles.by_name.len());
        for (name, profile) in &profiles.by_name {
            let keys = match self.slots.get(name) {
                Some(old) if old.profile == *profile => {
                    changes.unchanged += 1;
                    old.keys.standing.clear();
                    old.entries().iter().for_each(|entry| entry.forgive_refusal());
                    slots.insert(name.clone(), Arc::clone(old));
                    continue;
                }
                Some(old) => {
                    changes.changed.push(name.clone());
                    (old.keys.owner.grant == profile.grant.fingerprint()).then(|| {
                        old.keys.standing.clear();
                        let rerouted = network(&old.profile) != network(profile);
                        old.entries().iter().for_each(|entry| entry.reconfigured(limit(profile), rerouted));
                        Arc::clone(&old.keys)
                    })
                }
                None => {
                    changes.added.push(name.clone());
                    None
                }
            };
            let keys = keys.unwrap_or_else(|| Arc::new(Keys::of(profile, &self.unkept)));
            slots.insert(name.clone(), Arc::new(Slot::new(Arc::clone(profile), keys)));
        }
        changes.removed = self.slots.keys().filter(|name| !slots.contains_key(*name)).cloned().collect();
        changes.removed.sort_unstable();
        let (default_profile, unkept) = (profiles.default_profile.clone(), Arc::clone(&self.unkept));
        (Self { slots, default_profile, unkept }, changes)
    }

    /// Retires the keys that `next` has not taken over.
    pub fn retire_all_but(&self, next: &Self) {
        for (name, slot) in &self.slots {
            if next.slots.get(name).is_none_or(|taken| !Arc::ptr_eq(&taken.keys, &slot.keys)) {
                slot.entries().iter().for_each(|entry| entry.retire());
            }
        }
    }

    /// The key of this name, if there is one.
    pub fn peek(&self, id: &KeyId) -> Option<Arc<Entry>> {
        let slot = self.owned(id)?;
        let key = (id.audience.clone(), id.scopes.clone());
        slot.keys.read().get(&key).map(Arc::clone)
    }

    /// The key of this name, if one of these profiles allows it. It is made if there is none.
    pub fn find(&self, id: &KeyId, now: Moment) -> Option<Arc<Entry>> {
        let slot = self.owned(id)?;
        let profile = &slot.profile;
        let mut audiences = profile.audience.iter().chain(&profile.audiences);
        let audience = match &id.audience {
            Some(audience) => Some(audiences.find(|allowed| *allowed == audience)?.clone()),
            None => None,
        };
        let allowed = id.scopes.first_not_in(&profile.scopes).is_none()
            && audience.is_some() == profile.audience.is_some();
        allowed.then(|| slot.entry(audience, id.scopes.clone(), now))?
    }

    fn owned(&self, id: &KeyId) -> Option<&Arc<Slot>> {
        self.slots.get(&id.owner.profile).filter(|slot| slot.keys.owner == id.owner)
    }

    /// The profile of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Slot>> {
        self.slots.get(name)
    }

    /// The only profile there is.
    pub fn only(&self) -> Option<&Arc<Slot>> {
        self.slots.values().next().filter(|_| self.slots.len() == 1)
    }

    /// All profiles, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Slot>> {
        self.slots.values()
    }

    /// All profiles by name.
    pub fn sorted(&self) -> BTreeMap<&str, &Arc<Slot>> {
        self.slots.iter().map(|(name, slot)| (name.as_str(), slot)).collect()
    }

    /// The names, sorted.
    pub fn names(&self) -> Vec<String> {
        self.sorted().into_keys().map(str::to_owned).collect()
    }
}

impl Slot {
    fn new(profile: Arc<Profile>, keys: Arc<Keys>) -> Self {
        let default = keys.default(profile.audience.clone(), profile.default_scopes.clone(), limit(&profile));
        Self { profile, keys, default }
    }

    /// The key of a request without wishes.
    pub fn default_entry(&self) -> &Arc<Entry> {
        &self.default
    }

    /// The key of this audience and these scopes, which the profile allows. None: there are too many keys
    /// whose requests still count.
    pub fn entry(&self, audience: Option<Arc<str>>, scopes: ScopeSet, now: Moment) -> Option<Arc<Entry>> {
        if audience == self.default.id.audience && scopes == self.default.id.scopes {
            return Some(Arc::clone(&self.default));
        }
        let key = (audience, scopes);
        if let Some(entry) = self.keys.read().get(&key) {
            return Some(Arc::clone(entry));
        }
        let mut keys = self.keys.write();
        if keys.len() >= MAX_KEYS && !keys.contains_key(&key) {
            evict(&mut keys, &self.default, now)?;
        }
        Some(self.keys.insert(&mut keys, key, limit(&self.profile)))
    }

    /// All keys, the default one first.
    pub fn entries(&self) -> Vec<Arc<Entry>> {
        let keys = self.keys.read();
        let mut entries: Vec<_> = keys.iter().collect();
        entries.sort_by_key(|(key, entry)| (!Arc::ptr_eq(entry, &self.default), *key));
        entries.into_iter().map(|(_, entry)| Arc::clone(entry)).collect()
    }
}

fn limit(profile: &Profile) -> Option<RequestLimit> {
    match &profile.grant {
        Grant::ClientCredentials(grant) => grant.max_token_requests,
        Grant::Static(_) => None,
    }
}

/// How the IdP is reached; none: none is.
fn network(profile: &Profile) -> Option<&Network> {
    match &profile.grant {
        Grant::ClientCredentials(grant) => Some(&grant.network),
        Grant::Static(_) => None,
    }
}

impl Keys {
    fn of(profile: &Profile, unkept: &Arc<Unkept>) -> Self {
        let owner = Owner { profile: profile.name.clone(), grant: profile.grant.fingerprint() };
        let (unkept, standing) = (Arc::clone(unkept), Arc::default());
        Self { owner: Arc::new(owner), unkept, entries: RwLock::default(), standing }
    }

    /// The key of a request without wishes, which is always there.
    fn default(
        &self,
        audience: Option<Arc<str>>,
        scopes: ScopeSet,
        limit: Option<RequestLimit>,
    ) -> Arc<Entry> {
        self.insert(&mut self.write(), (audience, scopes), limit)
    }

    fn insert(
        &self,
        entries: &mut HashMap<Key, Arc<Entry>>,
        key: Key,
        limit: Option<RequestLimit>,
    ) -> Arc<Entry> {
        let (audience, scopes) = key.clone();
        let id = KeyId { owner: Arc::clone(&self.owner), audience, scopes };
        let new = || Arc::new(Entry::new(id, limit, Arc::clone(&self.standing), Arc::clone(&self.unkept)));
        Arc::clone(entries.entry(key).or_insert_with(new))
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<Key, Arc<Entry>>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Key, Arc<Entry>>> {
        self.entries.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops the key that was used least lately, one without a valid token first, but neither the default one, nor
/// one that somebody watches, nor one whose requests still count: a key that came back would have a new budget.
fn evict(keys: &mut HashMap<Key, Arc<Entry>>, default: &Arc<Entry>, now: Moment) -> Option<()> {
    let oldest = keys
        .iter()
        .filter(|(_, entry)| !Arc::ptr_eq(entry, default) && entry.is_expendable(now))
        .min_by_key(|(_, entry)| {
            (!entry.token_lasts(now).is_zero(), entry.last_used().map(|moment| moment.boot))
        })
        .map(|(key, _)| key.clone());
    keys.remove(&oldest?).map(|entry| entry.retire())
}
