//! A secret's file that is not as it should be, and one that is replaced.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is the failure of the test")]

use std::{
    fs,
    os::unix::fs::{chown, symlink},
    path::Path,
};

use nix::{sys::stat::Mode, unistd::mkfifo};
use usher_testkit::tokens::canary;

use crate::{
    config::{suffers_alone, with_other},
    support::{
        World, contains_all, facts,
        health::Baseline,
        is_root, refusal,
        users::{NOBODY, usher_as},
    },
};

/// Something in the place of the secret, and what is said of it.
type Wrong = (fn(&Path), &'static [&'static str]);

const WRONG: [Wrong; 9] = [
    (|path| fs::create_dir(path).unwrap(), &["secrets/other is a directory"]),
    (|path| mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap(), &["secrets/other is a FIFO"]),
    (|path| symlink("absent", path).unwrap(), &["secrets/absent: No such file"]),
    (|path| symlink("other", path).unwrap(), &["secrets/other: too many symbolic links"]),
    (
        |path| {
            mkfifo(&path.with_file_name("fifo"), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
            symlink("fifo", path).unwrap();
        },
        &["secrets/other is a FIFO"],
    ),
    (|path| private(path, b""), &["secrets/other is empty"]),
    (|path| private(path, b"\r\n"), &["secrets/other is empty"]),
    (|path| private(path, b"\xff\xfe\x00"), &["secrets/other is not UTF-8"]),
    (|path| private(path, &vec![b'x'; 1 << 20]), &["secrets/other has more than 65536 bytes"]),
];

fn private(path: &Path, content: &[u8]) {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let mut file = fs::File::options().create_new(true).write(true).mode(0o600).open(path).unwrap();
    file.write_all(content).unwrap();
}

fn clear(path: &Path) {
    let _ = fs::remove_file(path).or_else(|_| fs::remove_dir(path));
}

#[test]
fn whatever_lies_in_the_place_of_a_secret_stops_its_own_profile_and_no_longer_than_it_lies_there() {
    let world = with_other(|sandbox, idp| sandbox.secret("other", idp.client_secret()));
    facts(&world.usherd, &["other"]);
    facts(&world.usherd, &["frontdoor"]);
    let baseline = Baseline::of(&world.usherd);
    let path = world.usherd.dir().join("secrets/other");
    for (make, words) in WRONG {
        clear(&path);
        make(&path);
        let _ = world.usherd.usher(&["forget", "other"]).expect_ok();
        suffers_alone(&world, words);
    }
    assert_eq!(world.idp.token_requests(), 2, "something was sent all the same");
    clear(&path);
    private(&path, world.idp.client_secret().as_bytes());
    facts(&world.usherd, &["other"]);
    baseline.holds(&world.usherd, "other");
}

#[test]
fn a_secret_that_belongs_to_somebody_else_is_not_used() {
    if !is_root("a secret that belongs to somebody else") {
        return;
    }
    let world = with_other(|sandbox, idp| {
        let path = sandbox.secret("other", idp.client_secret());
        chown(&path, Some(NOBODY), None).unwrap();
        path
    });
    suffers_alone(&world, &["secrets/other belongs to uid 65534"]);
    assert_eq!(world.idp.token_requests(), 1);
}

#[test]
fn a_secret_may_be_a_symbolic_link_of_ours_and_no_other() {
    let world = with_other(|sandbox, idp| {
        sandbox.secret("real", idp.client_secret());
        let path = sandbox.dir().join("secrets/other");
        symlink("real", &path).unwrap();
        path
    });
    facts(&world.usherd, &["other"]);
    if !is_root("a secret over a link that belongs to somebody else") {
        return;
    }
    let path = world.usherd.dir().join("secrets/other");
    std::os::unix::fs::lchown(&path, Some(NOBODY), None).unwrap();
    let _ = world.usherd.usher(&["forget", "other"]).expect_ok();
    let error = refusal(&world.usherd, &["other"], 78);
    contains_all(error["message"].as_str().unwrap(), &["secrets/other belongs to uid 65534"]);
}

#[test]
fn a_secret_that_the_daemon_may_not_read_is_told() {
    if !is_root("a daemon that may not read its own secret") {
        return;
    }
    let sandbox = crate::support::sandbox();
    let path = sandbox.secret("other", &canary("UNREADABLE"));
    let (id, secret) = ("client_id = \"x\"", path.display());
    sandbox.config(&format!(
        "[profile.x]\ntoken_url = \"https://127.0.0.1:1/t\"\n{id}\nclient_secret = {{ file = \"{secret}\" }}\n"
    ));
    let usherd = sandbox.launch().as_user(NOBODY).start().unwrap();
    usherd.chmod(&path, 0);
    let told = usher_as(NOBODY, NOBODY, &usherd, &["token", "x"]);
    assert_eq!(told.status.code(), Some(78));
    contains_all(&String::from_utf8_lossy(&told.stderr), &["secrets/other: Permission denied"]);
}

#[test]
fn a_secret_that_is_replaced_counts_at_once_and_without_a_reload() {
    let world = World::new("");
    let path = world.usherd.dir().join("secrets/frontdoor");
    facts(&world.usherd, &["frontdoor"]);
    for round in 1..=3 {
        let new = canary("ROTATED");
        world.usherd.leaks().secret("the rotated secret", &new);
        // The IdP has it first, as it must be.
        world.idp.set_client(world.idp.client_id(), &new);
        let _ = world.usherd.usher(&["forget", "frontdoor"]).expect_ok();
        let error = refusal(&world.usherd, &["frontdoor"], 77);
        assert_eq!(error["reason"], "IDP_REFUSED");
        // What was refused is not sent again, ...
        refusal(&world.usherd, &["frontdoor"], 77);
        assert_eq!(world.idp.token_requests(), 2 * round);
        // ... and what is new is, at the first call.
        let next = path.with_file_name("next");
        private(&next, format!("{new}\n").as_bytes());
        fs::rename(&next, &path).unwrap();
        assert_eq!(facts(&world.usherd, &["frontdoor"])["source"], "fetched");
        assert_eq!(world.idp.token_requests(), 2 * round + 1);
    }
    assert!(!world.usherd.stderr_so_far().contains("configuration reloaded"));
}
