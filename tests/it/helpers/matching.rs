//! What a stored credential is for, as gitcredentials(7) has it: what is asked for, overwritten and erased, and what
//! is left alone.

use usher_testkit::{idp::FakeIdp, process::Output};

use super::{helper, value};
use crate::support::{World, frontdoor};

struct Kept(World);

impl Kept {
    fn new() -> Self {
        Self(World::with(FakeIdp::builder(), |sandbox, ca, idp| frontdoor(sandbox, ca, idp, "")))
    }

    fn ask(&self, operation: &str, lines: &[&str]) -> Output {
        let output = helper(&self.0.usherd, &["git", operation], lines.join("\n") + "\n\n").expect_ok();
        assert_eq!(output.stderr, "", "{lines:?}");
        output
    }

    fn store(&self, lines: &[&str], username: &str, password: &str) {
        self.0.usherd.leaks().token(password, password);
        let (username, password) = (format!("username={username}"), format!("password={password}"));
        let said = self.ask("store", &[lines, &[&username, &password]].concat());
        assert_eq!(said.stdout, "");
    }

    fn erase(&self, lines: &[&str]) {
        assert_eq!(self.ask("erase", lines).stdout, "");
    }

    /// The user and the password that are answered.
    fn get(&self, lines: &[&str]) -> Option<(String, String)> {
        let answer = self.ask("get", lines).stdout;
        let of = |key| value(&answer, key).map(str::to_owned);
        assert_eq!(answer.is_empty(), of("password").is_none(), "{lines:?}");
        Some((of("username")?, of("password")?))
    }
}

#[expect(clippy::unnecessary_wraps, reason = "it stands beside an answer")]
fn pair(username: &str, password: &str) -> Option<(String, String)> {
    Some((username.to_owned(), password.to_owned()))
}

const HTTPS: &str = "protocol=https";
const HOST: &str = "host=example.com";

#[test]
fn protocol_host_and_port_are_compared_as_they_are() {
    let kept = Kept::new();
    assert_eq!(kept.get(&[HTTPS, HOST]), None, "nothing is there, and nothing is said");
    kept.store(&[HTTPS, HOST], "alice", "the-password");
    let found = pair("alice", "the-password");
    assert_eq!(kept.get(&[HTTPS, HOST]), found);
    assert_eq!(kept.get(&[HTTPS, "host=example.com:443"]), found, "it is the same port");
    for host in ["host=other.com", "host=sub.example.com", "host=example.com:8443", "host=xample.com"] {
        assert_eq!(kept.get(&[HTTPS, host]), None, "{host}");
    }
    for protocol in ["protocol=smtp", "protocol=cert", "protocol=ssh"] {
        assert_eq!(kept.get(&[protocol, HOST]), None, "{protocol}");
    }
}

#[test]
fn a_user_that_is_named_gets_no_other_users_password() {
    let kept = Kept::new();
    kept.store(&[HTTPS, HOST], "alice", "password-of-alice");
    assert_eq!(kept.get(&[HTTPS, HOST, "username=bob"]), None);
    kept.store(&[HTTPS, HOST], "bob", "password-of-bob");
    assert_eq!(kept.get(&[HTTPS, HOST, "username=alice"]), pair("alice", "password-of-alice"));
    assert_eq!(kept.get(&[HTTPS, HOST, "username=bob"]), pair("bob", "password-of-bob"));
    assert!(kept.get(&[HTTPS, HOST]).is_some(), "any of the two");
    // A name is taken as it is.
    assert_eq!(kept.get(&[HTTPS, HOST, "username=Alice"]), None);
    kept.erase(&[HTTPS, HOST, "username=alice"]);
    assert_eq!(kept.get(&[HTTPS, HOST]), pair("bob", "password-of-bob"));
}

#[test]
fn a_path_is_compared_where_both_have_one() {
    let kept = Kept::new();
    kept.store(&[HTTPS, HOST, "path=one.git"], "alice", "password-of-one");
    assert_eq!(kept.get(&[HTTPS, HOST, "path=one.git"]), pair("alice", "password-of-one"));
    assert_eq!(kept.get(&[HTTPS, HOST, "path=two.git"]), None);
    assert_eq!(kept.get(&[HTTPS, HOST, "path=one.git/below"]), None, "a path is no prefix");
    kept.store(&[HTTPS, HOST, "path=two.git"], "alice", "password-of-two");
    assert_eq!(kept.get(&[HTTPS, HOST, "path=one.git"]), pair("alice", "password-of-one"));
    kept.erase(&[HTTPS, HOST, "path=one.git"]);
    assert_eq!(kept.get(&[HTTPS, HOST, "path=one.git"]), None);
    assert_eq!(kept.get(&[HTTPS, HOST, "path=two.git"]), pair("alice", "password-of-two"));
}

#[test]
fn what_is_stored_again_takes_the_place_of_what_was() {
    let kept = Kept::new();
    kept.store(&[HTTPS, HOST], "alice", "password-of-old");
    kept.store(&[HTTPS, HOST], "alice", "password-of-new");
    assert_eq!(kept.get(&[HTTPS, HOST]), pair("alice", "password-of-new"));
    kept.erase(&[HTTPS, HOST, "username=alice", "password=password-of-old"]);
    assert_eq!(kept.get(&[HTTPS, HOST]), pair("alice", "password-of-new"), "that one is another");
    kept.erase(&[HTTPS, HOST, "username=alice", "password=password-of-new"]);
    assert_eq!(kept.get(&[HTTPS, HOST]), None, "the old one did not come back");
}

#[test]
fn what_is_erased_is_what_was_named_and_no_more() {
    let kept = Kept::new();
    let all = [("example.com", "alice"), ("example.com", "bob"), ("example.org", "alice")];
    for (number, (host, user)) in (0..).zip(all) {
        kept.store(&[HTTPS, &format!("host={host}")], user, &format!("password-{number}"));
    }
    kept.erase(&[HTTPS, "host=example.net"]);
    kept.erase(&[HTTPS, HOST, "username=carol"]);
    kept.erase(&[HTTPS, HOST, "username=alice", "password=of-nobody"]);
    for (number, (host, user)) in (0..).zip(all) {
        let found = kept.get(&[HTTPS, &format!("host={host}"), &format!("username={user}")]);
        assert_eq!(found, pair(user, &format!("password-{number}")));
    }
    kept.erase(&[HTTPS, HOST]);
    assert_eq!(kept.get(&[HTTPS, HOST]), None, "whoever it is");
    assert_eq!(kept.get(&[HTTPS, "host=example.org"]), pair("alice", "password-2"));
}

#[test]
fn text_is_text_in_any_language_and_of_any_length() {
    let kept = Kept::new();
    let (user, password) = ("jörg 雪", "pässwörd = ∆ \" ' \\ % $HOME");
    kept.store(&[HTTPS, HOST], user, password);
    assert_eq!(kept.get(&[HTTPS, HOST]), pair(user, password));
    let long = "long-".repeat(1000);
    kept.store(&[HTTPS, HOST, "path=long"], &"u".repeat(200), &long);
    assert_eq!(kept.get(&[HTTPS, HOST, "path=long"]), pair(&"u".repeat(200), &long));
}

#[test]
fn other_operations_and_unknown_keys_are_passed_over_in_silence() {
    let kept = Kept::new();
    kept.store(&[HTTPS, HOST, "colour=green", "future[]=1", "future[]="], "alice", "the-password");
    assert_eq!(kept.get(&[HTTPS, HOST, "colour=red", "wwwauth[]=Basic"]), pair("alice", "the-password"));
    for operation in ["list", "frobnicate", "GET"] {
        assert_eq!(kept.ask(operation, &[HTTPS, HOST]).stdout, "", "{operation}");
    }
    let able = kept.ask("capability", &[]).stdout;
    assert_eq!(able, "version 0\ncapability authtype\ncapability state\n");
    // Without a last blank line, and with more behind one.
    for input in ["protocol=https\nhost=example.com", "protocol=https\nhost=example.com\n\nhost=other.com\n"]
    {
        let output = helper(&kept.0.usherd, &["git", "get"], input).expect_ok();
        assert_eq!(value(&output.stdout, "password"), Some("the-password"), "{input:?}");
    }
}
