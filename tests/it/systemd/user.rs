//! The units of a user's systemd: as `usher service` installs them, and what their sandbox leaves.

use std::{fs, path::Path};

use super::{boots, machine, skipped};
use crate::support::sandbox;

#[test]
fn the_users_systemd_starts_usherd_keeps_it_up_and_reloads_it() {
    if !boots("the user units") {
        return;
    }
    let (machine, idp) = machine();
    let _ = machine.run(include_str!("user.sh")).expect_ok();
    // One for each usherd: usher's own, the first, after the crash, after each of nine stops, after the socket
    // was removed twice, restarted and stopped, without the socket unit, with it again, after the watchdog.
    assert_eq!(idp.token_requests(), 19);
}

#[test]
fn a_token_is_kept_in_a_file_through_restarts_and_until_the_service_is_stopped() {
    if !boots("the unit of a token in a file") {
        return;
    }
    let (machine, idp) = machine();
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/user/usher-token@.service");
    machine.file("usher-token@.service", &fs::read_to_string(unit).unwrap());
    let _ = machine.run(include_str!("token.sh")).expect_ok();
    assert_eq!(idp.token_requests(), 1);
}

#[test]
fn without_a_systemd_of_the_users_own_they_are_told_what_to_do_instead() {
    let sandbox = sandbox();
    for verb in ["install", "uninstall", "status"] {
        let told = sandbox.usher(&["service", verb]).expect_code(69).stderr;
        assert!(told.contains("no systemd runs for this user") && told.contains("usher token"), "{told}");
    }
    let told = sandbox.usher(&["service", "status", "--json"]).expect_code(69).stderr;
    assert!(told.contains("\"SYSTEMD_UNAVAILABLE\""), "{told}");
    assert!(!sandbox.dir().join("config/systemd").exists());
}

#[test]
fn the_sandbox_leaves_usherd_and_its_programs_what_they_need() {
    if !boots("the sandbox of the user unit") {
        return;
    }
    let (machine, _idp) = machine();
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/user");
    for name in ["usherd.socket", "usherd.service", "usherd.service.d/strict.conf"] {
        let file = name.rsplit('/').next().unwrap();
        machine.file(file, &fs::read_to_string(units.join(name)).unwrap());
    }
    let report = machine.run(include_str!("sandbox.sh")).expect_ok();
    if report.log.contains("SKIPPED") {
        skipped("a secret of pass", "pass and gpg");
    }
}
