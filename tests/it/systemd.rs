//! usherd under a real systemd, booted for the test: the units as they are shipped, `usher service`, and what the
//! sandbox leaves to usherd and to the programs that print its secrets.
//!
//! A test is a script (`systemd/*.sh`), in the order in which a person would come across it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is the failure of the test")]

mod activation;
mod system;
mod units;
mod user;

use usher_testkit::{
    booted::{self, Machine},
    ca::Ca,
    idp::FakeIdp,
};

/// Says what is not tested, and what that would need.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "what is not tested has to be seen")]
fn skipped(what: &str, missing: &str) {
    println!("SKIPPED: {what}: needs {missing}");
    eprintln!("\n*** SKIPPED, NOT TESTED: {what}: needs {missing} ***\n");
}

/// Whether systemd can be booted here. If not, says what is not tested.
fn boots(what: &str) -> bool {
    let missing = booted::missing();
    if let Some(missing) = missing {
        skipped(what, &format!("{missing}, to boot a systemd"));
    }
    missing.is_none()
}

/// A machine with an IdP, whose profile is in `/src/profile`; the client's secret is `{ SECRET }` there.
fn machine() -> (Machine, FakeIdp) {
    let ca = Ca::new();
    let idp = FakeIdp::start(&ca);
    let machine = Machine::new(env!("CARGO_BIN_EXE_usherd"), env!("CARGO_BIN_EXE_usher"));
    machine.watch(&idp);
    machine.secret("client.secret", idp.client_secret());
    machine.file("ca.pem", &std::fs::read_to_string(ca.pem()).unwrap());
    let profile = format!(
        "preset = \"netfoundry-frontdoor\"\nidp = \"{}\"\nclient_id = \"{}\"\nca_file = \"/etc/ssl/idp.pem\"\n\
         client_secret = {{ SECRET }}\n",
        idp.host(),
        idp.client_id(),
    );
    machine.file("profile", &profile);
    (machine, idp)
}

#[test]
fn a_script_that_fails_in_the_booted_machine_fails_its_test_with_what_it_said() {
    if !boots("what a failure in a booted machine looks like") {
        return;
    }
    let (machine, _idp) = machine();
    let report =
        machine.run("step 'the first'; says there 'hello there'; fails 3 bash -c 'exit 4'; echo never");
    assert_eq!(report.code, Some(1), "{report}");
    assert!(report.log.contains("--- the first\nFAILED: exit code 4, not 3"), "{report}");
    assert!(!report.log.contains("never"), "{report}");
}
