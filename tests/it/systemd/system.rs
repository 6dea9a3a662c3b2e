//! The units for the whole machine: a user of its own, and a list of those who may ask.

use std::{fs, path::Path};

use super::{boots, machine};

#[test]
fn one_usherd_for_the_machine_serves_those_who_are_listed_and_nobody_else() {
    if !boots("the system units") {
        return;
    }
    let (machine, idp) = machine();
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/system");
    for name in ["usherd.socket", "usherd.service"] {
        let text = fs::read_to_string(units.join(name)).unwrap();
        machine.file(name, &text.replace("=/usr/bin/", "=/opt/usher/bin/"));
    }
    let _ = machine.run(include_str!("system.sh")).expect_ok();
    // One for each usherd: the first, after the crash, after the stop, after each of two restarts of the socket; and one
    // for the two with a store.
    assert_eq!(idp.token_requests(), 6);
}
