//! What helpers store, after a power cut at any step of writing it, and whatever part of what was not synced has
//! happened: each name has what it had or what it was to have, whole, and what was answered lasts. `USHER_SEED=N` runs
//! one schedule; `USHER_SCHEDULES` says how many there are.

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use super::{
    disk::SimDisk,
    power::{Random, files, schedules},
};
use crate::{
    domain::{
        credential::{Credential, CredentialKey, Secret, Stored},
        place::Site,
        secret::ExposeSecret as _,
    },
    os::store::NEW,
};

const NAMES: [&str; 3] = ["alice", "bob", "carol"];

/// What is done: these get a credential of this number, or are removed.
type Change<'a> = (&'a [&'a str], Option<u64>);

fn key(name: &str) -> CredentialKey {
    let site = Site { host: "https://git.example.com".into(), path: None };
    CredentialKey { collection: "git".into(), site, username: name.into() }
}

/// All parts of it are of one number.
fn stored(name: &str, number: u64) -> Stored {
    let credential = Credential {
        username: name.into(),
        secret: Secret::Password(format!("password-{number}").into()),
        expires_at: Some(Duration::from_secs(number)),
        oauth_refresh_token: Some(number.to_string().into()),
        stored_at: Duration::from_secs(number),
    };
    (key(name), Arc::new(credential))
}

fn change(disk: &SimDisk, (names, number): Change<'_>) -> io::Result<()> {
    let files = files(disk);
    match number {
        Some(number) => names.iter().try_for_each(|name| files.put_credential(&stored(name, number))),
        None => files.remove_credentials(&names.iter().map(|name| key(name)).collect::<Vec<_>>()),
    }
}

/// What the next start finds: by name, the number. It finds nothing that hinders it, and leaves nothing behind.
fn found(disk: &SimDisk, what: &str) -> BTreeMap<String, u64> {
    let files = files(disk);
    files.tidy();
    let read = files.read_credentials().unwrap_or_else(|why| panic!("{what}: {why}"));
    let names: Vec<_> = disk.files().into_keys().collect();
    assert!(
        names.iter().all(|name| !name.starts_with(NEW) && !name.ends_with(".corrupt")),
        "{what}: {names:?}"
    );
    let number = |credential: &Credential| {
        let number = credential.stored_at.as_secs();
        let Secret::Password(password) = &credential.secret else { panic!("{what}: no password") };
        assert_eq!(password.expose_secret(), format!("password-{number}"), "{what}: a mixture");
        assert_eq!(credential.expires_at, Some(credential.stored_at), "{what}: a mixture");
        number
    };
    read.iter().map(|(key, credential)| (key.username.clone(), number(credential))).collect()
}

/// Cuts the power before each step of the last change in turn, for each part of what was not synced.
fn cut_everywhere(before: &[Change<'_>], last: Change<'_>) {
    let mut is_done = false;
    let mut cut = 0;
    while !is_done {
        for survivors in 0..1 << 4 {
            let disk = SimDisk::default();
            for earlier in before {
                change(&disk, *earlier).unwrap();
            }
            let what = format!("{before:?}, then {last:?} cut before step {cut}, survivors {survivors:04b}");
            let old = found(&disk, &what);
            disk.cut_power_in(cut);
            is_done = change(&disk, last).is_ok();
            let mut step = 0;
            disk.reboot(|| {
                step += 1;
                survivors >> (step - 1) & 1 == 1
            });
            assert!(step <= 4, "{what}: not all parts were tried");
            let new = found(&disk, &what);
            for name in NAMES {
                let is_as_before = new.get(name) == old.get(name);
                let is_as_meant = last.0.contains(&name) && new.get(name) == last.1.as_ref();
                let may_be_as_before = !is_done || !last.0.contains(&name);
                assert!(is_as_meant || (is_as_before && may_be_as_before), "{what}: {old:?} is {new:?}");
            }
        }
        cut += 1;
    }
    assert!(cut > 2, "{last:?} has more than one step");
}

#[test]
fn after_a_power_cut_at_any_step_a_credential_is_as_before_or_as_it_was_to_be() {
    let all: &[Change<'_>] = &[(&["alice", "bob"], Some(1))];
    cut_everywhere(&[], (&["alice"], Some(2)));
    cut_everywhere(all, (&["alice"], Some(2)));
    cut_everywhere(all, (&["carol"], Some(2)));
    cut_everywhere(all, (&["alice"], None));
    cut_everywhere(all, (&["alice", "bob"], None));
    cut_everywhere(&[all[0], (&["alice"], None)], (&["alice"], Some(2)));
}

fn schedule(seed: u64) {
    let mut random = Random::of(seed);
    let disk = SimDisk::default();
    // After a change that was answered a name is as that says, and nothing else.
    let mut may_be: BTreeMap<&str, Vec<Option<u64>>> = NAMES.iter().map(|name| (*name, vec![None])).collect();
    for number in 1..=12 {
        let what = format!("USHER_SEED={seed}, step {number}");
        let loses_power = random.below(3) == 0;
        match random.below(6) {
            0 if !loses_power => disk.fail_in(usize::try_from(random.below(4)).unwrap()),
            _ if loses_power => disk.cut_power_in(usize::try_from(random.below(5)).unwrap()),
            _ => {}
        }
        let is_put = random.below(3) > 0;
        let mut names: Vec<_> = NAMES.into_iter().filter(|_| random.below(2) == 0).collect();
        names.truncate(if is_put { 1 } else { NAMES.len() });
        let wanted = is_put.then_some(number);
        let done = change(&disk, (&names, wanted));
        disk.mend();
        for name in names {
            let possible = may_be.get_mut(name).unwrap();
            if done.is_ok() {
                possible.clear();
            }
            possible.push(wanted);
        }
        if loses_power {
            disk.reboot(|| random.below(2) == 0);
            let found = found(&disk, &what);
            for (name, possible) in &may_be {
                assert!(
                    possible.contains(&found.get(*name).copied()),
                    "{what}: {name} is {:?}, not one of {possible:?}",
                    found.get(*name)
                );
            }
        }
    }
}

#[test]
fn what_was_stored_or_erased_and_answered_outlives_every_power_cut() {
    schedules(1_000, schedule);
}
