//! Of a name what was stored last is all that is known, in memory and on disk.

use std::fs;

use usher_testkit::idp::FakeIdp;

use super::*;

/// Users and passwords, as they are answered.
fn alices(password: &str) -> (String, String) {
    ("alice".to_owned(), password.to_owned())
}

fn held(usherd: &Usherd) -> (serde_json::Value, serde_json::Value) {
    let held = &status(usherd, &[])["credentials"];
    (held["in_memory"].clone(), held["on_disk"].clone())
}

#[test]
fn what_is_stored_in_memory_takes_an_older_one_off_the_disk() {
    let world = World::new("");
    let place = || at("other.example.com", "");
    store(&world.usherd, place(), "CANARY-old", true).unwrap();
    store(&world.usherd, place(), "CANARY-new", false).unwrap();
    assert_eq!(stored(&world.usherd, place()), Some(alices("CANARY-new")));
    assert_eq!(held(&world.usherd), (json!(1), json!(0)));
    let world = restart(world);
    assert_eq!(stored(&world.usherd, place()), None, "the older one does not come back");
}

#[test]
fn two_lines_of_a_configuration_one_for_the_disk_and_one_for_memory_leave_one_that_lasts() {
    for lines in [[true, false], [false, true]] {
        let world = World::new("");
        let place = || at("other.example.com", "");
        for password in ["CANARY-1", "CANARY-2", "CANARY-2"] {
            for persist in lines {
                store(&world.usherd, place(), password, persist).unwrap();
                assert_eq!(stored(&world.usherd, place()), Some(alices(password)));
            }
            assert_eq!(held(&world.usherd), (json!(0), json!(1)));
        }
        let world = restart(world);
        assert_eq!(stored(&world.usherd, place()), Some(alices("CANARY-2")));
    }
}

#[test]
fn an_older_one_that_the_disk_does_not_let_go_is_told_and_not_answered() {
    let world = World::new("");
    let place = || at("other.example.com", "");
    store(&world.usherd, place(), "CANARY-old", true).unwrap();
    let World { usherd, idp, ca } = world;
    let sandbox = Sandbox::clone(&usherd);
    drop(usherd.stop());
    let inject = "inject=unlink,unlinkat:error=EROFS";
    let wrapper = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", inject];
    let world = World { usherd: sandbox.start_under(&wrapper), idp, ca };
    assert_eq!(stored(&world.usherd, place()), Some(alices("CANARY-old")));
    let told = Failure::from(&store(&world.usherd, place(), "CANARY-new", false).unwrap_err());
    assert_eq!(told.reason, ErrorReason::StoreUnavailable);
    assert!(told.message.contains("kept in memory") && told.message.contains("Read-only"), "{told:?}");
    assert_eq!(stored(&world.usherd, place()), Some(alices("CANARY-new")));
    assert_eq!(erase(&world.usherd, place(), "CANARY-new").erased, 1);
    assert_eq!(stored(&world.usherd, place()), None);
    let told = status(&world.usherd, &[])["credentials"]["store"]["degraded"].to_string();
    assert!(told.contains("Read-only"), "{told}");
}

#[test]
fn one_that_is_on_disk_though_it_could_not_be_written_does_not_come_back() {
    let world = World::new("");
    let place = || at("other.example.com", "");
    store(&world.usherd, at("more.example.com", ""), "CANARY-more", true).unwrap();
    let World { usherd, idp, ca } = world;
    let sandbox = Sandbox::clone(&usherd);
    drop(usherd.stop());
    // A new file has its name by then.
    let directory = sandbox.dir().join("state/usher/store");
    let inject = ["-P", directory.to_str().unwrap(), "-e", "inject=fsync,fdatasync:error=EIO"];
    let wrapper = [&["strace", "-D", "-f", "-qq", "-o", "/dev/null"][..], &inject].concat();
    let world = World { usherd: sandbox.start_under(&wrapper), idp, ca };
    let failed = |told: Status| {
        let told = Failure::from(&told);
        assert!(
            told.reason == ErrorReason::StoreUnavailable && told.message.contains("Input/output"),
            "{told:?}"
        );
        told.message
    };
    failed(store(&world.usherd, place(), "CANARY-failed", true).unwrap_err());
    assert_eq!(stored(&world.usherd, place()), None);
    let secret = "CANARY-failed".to_owned();
    let request =
        EraseCredentialRequest { collection: "git".into(), place: place(), secret, ..Default::default() };
    let told = calling(&world.usherd, async |connection| connection.credentials().erase(request).await);
    assert!(failed(told.unwrap_err()).contains("still there"));
    let told = failed(store(&world.usherd, place(), "CANARY-new", false).unwrap_err());
    assert!(told.contains("kept in memory"), "{told}");
    assert_eq!(stored(&world.usherd, place()), Some(alices("CANARY-new")));
    let world = restart(world);
    assert_eq!(stored(&world.usherd, place()), None);
    assert_eq!(held(&world.usherd), (json!(0), json!(1)), "the other one is as it was");
}

#[test]
fn what_was_issued_before_a_restart_is_not_stored_after_it_though_its_profile_is_gone() {
    const STORE: &str = "[store]\nkey = { file = \"store.key\" }\n";
    let world = World::with(FakeIdp::builder(), |sandbox, ca, idp| {
        frontdoor(sandbox, ca, idp, "urls = [\"https://git.example.com\"]") + STORE
    });
    let token = issued(&world.usherd, at("git.example.com", "")).token.unwrap().access_token;
    let other = named("other", &world.usherd, &world.ca, &world.idp, "");
    world.usherd.config(&(other + STORE));
    let world = restart(world);
    let place = at("git.example.com", "");
    assert_eq!(store(&world.usherd, place.clone(), &token, true).unwrap(), StoreOutcome::Issued);
    assert_eq!(stored(&world.usherd, place), None);
    let file = fs::read_dir(world.usherd.dir().join("state/usher/store")).unwrap();
    assert!(file.flatten().all(|file| !file.file_name().to_string_lossy().ends_with(".credential")));
}
