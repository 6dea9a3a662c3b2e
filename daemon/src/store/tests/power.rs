//! After a power cut at any step, and whatever part of what was not synced has happened, each key is as it was before
//! or as it was to be, and nothing is taken for damaged. `USHER_SEED=N` runs one schedule; `USHER_SCHEDULES` says how
//! many there are.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::disk::SimDisk;
use crate::{
    domain::{
        record::{KeptToken, KeyId, Owner, Record},
        scope::ScopeSet,
        secret::ExposeSecret as _,
        time::Moment,
        token::TokenId,
    },
    store::{files::Files, seal::Sealer},
};

pub(super) fn id(profile: u64) -> KeyId {
    let owner = Owner { profile: format!("p{profile}"), grant: "g".into() };
    KeyId { owner: Arc::new(owner), audience: None, scopes: ScopeSet::default() }
}

pub(super) fn record(profile: u64, number: u64) -> Record {
    Record {
        key: id(profile),
        written: Moment { wall: Duration::from_secs(1_800_000_000), boot: Duration::from_secs(number) },
        token: Some(KeptToken {
            access_token: format!("token-{number}").into(),
            id: TokenId(number.to_string()),
            scopes: ScopeSet::default(),
            left: Duration::from_secs(60),
            refresh_in: Duration::from_secs(30),
            length: Duration::from_secs(60),
        }),
        sent_ago: Vec::new(),
        window: Duration::from_secs(60),
        unrevoked: Vec::new(),
        has_dropped: false,
    }
}

pub(super) fn files(disk: &SimDisk) -> Files<SimDisk> {
    let sealer = Sealer::new(&"k".repeat(64).into()).unwrap();
    Files { disk: disk.clone(), sealer, boot_id: None }
}

/// What is kept, by profile: the number of its token.
pub(super) fn kept(disk: &SimDisk) -> BTreeMap<String, String> {
    let token = |record: &Record| record.token.as_ref().unwrap().access_token.expose_secret().to_owned();
    let read = files(disk).read().unwrap();
    read.iter().map(|kept| (kept.record.key.owner.profile.clone(), token(&kept.record))).collect()
}

/// xorshift64*: good enough for choices, and the same everywhere.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn of(seed: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % end
    }
}

fn schedule(seed: u64) {
    let mut random = Random::of(seed);
    let disk = SimDisk::default();
    // What each key may be: after a write that was told to have worked, that alone.
    let mut may_be: BTreeMap<u64, Vec<Option<u64>>> = (0..3).map(|profile| (profile, vec![None])).collect();
    for number in 1..=12 {
        let cut = random.below(3) == 0;
        match random.below(6) {
            0 if !cut => disk.fail_in(usize::try_from(random.below(8)).unwrap()),
            _ if cut => disk.cut_power_in(usize::try_from(random.below(10)).unwrap()),
            _ => {}
        }
        let changes: Vec<_> = (0..3)
            .filter(|_| random.below(2) == 0)
            .collect::<Vec<_>>()
            .into_iter()
            .map(|profile| (profile, (random.below(4) > 0).then_some(number)))
            .collect();
        let written = files(&disk).write(
            changes
                .iter()
                .map(|(profile, number)| (id(*profile), number.map(|n| record(*profile, n))))
                .collect(),
        );
        disk.mend();
        let failed = written.err().map(|unwritten| unwritten.ids).unwrap_or_default();
        for (profile, number) in changes {
            let possible = may_be.get_mut(&profile).unwrap();
            if !failed.contains(&id(profile)) {
                possible.clear();
            }
            possible.push(number);
        }
        if cut {
            disk.reboot(|| random.below(2) == 0);
        }
        let kept = kept(&disk);
        for (profile, possible) in &mut may_be {
            let found =
                kept.get(&format!("p{profile}")).map(|token| token["token-".len()..].parse().unwrap());
            assert!(
                possible.contains(&found),
                "USHER_SEED={seed}: p{profile} is {found:?} after step {number}, not one of {possible:?}"
            );
            // Until the next power cut what was seen may still be undone, where it was never synced.
        }
        assert!(
            disk.files().keys().all(|name| !name.ends_with(".corrupt")),
            "USHER_SEED={seed}: a power cut damages nothing"
        );
    }
}

/// Runs the schedule that the environment names, or as many as it says.
pub(super) fn schedules(number: u64, schedule: fn(u64)) {
    let told = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match told("USHER_SEED") {
        Some(seed) => schedule(seed),
        None => (0..told("USHER_SCHEDULES").unwrap_or(number)).for_each(schedule),
    }
}

#[test]
fn after_a_power_cut_each_key_is_as_before_or_as_it_was_to_be() {
    schedules(2_000, schedule);
}

#[test]
fn a_token_that_was_dropped_is_not_left_where_the_disk_is_full() {
    for (has_dropped, left) in [(false, 1), (true, 0)] {
        let disk = SimDisk::default();
        files(&disk).write(vec![(id(0), Some(record(0, 1)))]).unwrap();
        disk.fail_in(0);
        let without = Record { token: None, has_dropped, ..record(0, 2) };
        assert_eq!(files(&disk).write(vec![(id(0), Some(without))]).unwrap_err().ids, [id(0)]);
        assert_eq!(kept(&disk).len(), left, "has_dropped: {has_dropped}");
    }
}

#[test]
fn what_a_crash_leaves_is_taken_away() {
    let disk = SimDisk::default();
    disk.cut_power_in(1);
    assert!(files(&disk).write(vec![(id(0), Some(record(0, 1)))]).is_err());
    disk.reboot(|| true);
    assert_eq!(disk.files().len(), 1, "a file without a name");
    files(&disk).tidy();
    assert!(kept(&disk).is_empty() && disk.files().is_empty());
}

#[test]
fn every_flip_every_truncation_and_every_swap_is_put_aside() {
    let disk = SimDisk::default();
    files(&disk)
        .write((0..2).map(|profile| (id(profile), Some(record(profile, profile)))).collect())
        .unwrap();
    let good = disk.files();
    let (first, second) = (good.keys().next().unwrap().clone(), good.keys().nth(1).unwrap().clone());
    let whole = good[&first].to_vec();
    let flips = (0..whole.len()).map(|at| {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        flipped
    });
    let damaged = flips.chain((0..whole.len()).map(|length| whole[..length].to_vec()));
    for (number, bytes) in damaged.chain([good[&second].to_vec(), vec![b'x'; 600_000]]).enumerate() {
        disk.tamper(|files| {
            files.clone_from(&good);
            files.insert(first.clone(), Arc::new(bytes.clone()));
        });
        assert_eq!(kept(&disk).len(), 1, "damage {number}: the other key is as it was");
        let files = disk.files();
        assert_eq!(files[&format!("{first}.corrupt")].as_slice(), bytes, "damage {number}");
        assert!(!files.contains_key(&first), "damage {number}");
    }
}
