//! A git from before 2.46, which knows user names and passwords alone.

use usher_testkit::{
    ca::Ca,
    git_server::{GitServer, basic},
    idp::FakeIdp,
    programs::Age,
};

use super::{Git, git_of, owner, schemes};
use crate::support::sandbox;

#[test]
fn it_gives_the_token_as_a_password_under_the_profiles_user_name() {
    let ca = Ca::new();
    let idp = FakeIdp::start(&ca);
    let server = GitServer::builder().accept(&idp).challenge("Basic realm=\"git\"").start(&ca);
    server.repository("a");
    let sandbox = sandbox();
    sandbox.watch(&idp);
    sandbox.config(&owner(&sandbox, &ca, &idp, &format!("{}/", server.origin()), "x-access-token"));
    let usherd = sandbox.start();
    let Some(program) = git_of(Age::Old, "a git without Bearer tokens") else { return };
    let git = Git::new(&usherd, &ca, program, "");
    let _ = git.run(&["clone", "-q", &server.url("a"), "a"]).expect_ok();
    let _ = git.run(&["-C", "a", "commit", "-q", "--allow-empty", "-m", "second"]).expect_ok();
    let _ = git.run(&["-C", "a", "push", "-q", "origin", "main"]).expect_ok();
    let first = idp.issued().remove(0);
    let sent: Vec<_> = server.authorizations().into_iter().flatten().collect();
    let expected = Some(("x-access-token".to_owned(), first.clone()));
    assert!(sent.len() >= 4 && sent.iter().all(|value| basic(value) == expected));
    assert_eq!(idp.token_requests(), 1);

    // This git tells that a token was refused once it has given up; the next command has another.
    server.refuse(&first);
    let before = server.requests().len();
    let _ = git.run(&["-C", "a", "fetch", "-q"]).expect_code(128);
    assert_eq!(schemes(&server)[before..], ["none", "Basic"]);
    let _ = git.run(&["-C", "a", "fetch", "-q"]).expect_ok();
    assert_eq!(idp.token_requests(), 2);
}

#[test]
fn for_a_server_that_takes_bearer_alone_it_has_nothing_to_give() {
    let ca = Ca::new();
    let idp = FakeIdp::start(&ca);
    let server = GitServer::builder().accept(&idp).challenge("Bearer realm=\"git\"").start(&ca);
    server.repository("a");
    let sandbox = sandbox();
    sandbox.watch(&idp);
    sandbox.config(&owner(&sandbox, &ca, &idp, &format!("{}/", server.origin()), "oauth2"));
    let usherd = sandbox.start();
    let Some(program) = git_of(Age::Old, "an older git and a server that takes Bearer alone") else { return };
    let failed = Git::new(&usherd, &ca, program, "").run(&["ls-remote", &server.url("a")]).expect_code(128);
    assert!(failed.stderr.contains("Authentication failed"), "{}", failed.stderr);
}
