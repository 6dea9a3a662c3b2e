//! A git that sends Bearer tokens: where they go, where they do not, and what becomes of one that is refused.

use usher_testkit::{
    ca::Ca,
    git_server::{GitServer, basic},
    idp::FakeIdp,
    programs::Age,
    usherd::Usherd,
};

use super::{BASIC, BEARER, Git, git_of, owner, schemes, value};
use crate::support::sandbox;

/// A git server whose owner is a profile, with a repository `a`.
struct Forge {
    usherd: Usherd,
    idp: FakeIdp,
    ca: Ca,
    server: GitServer,
}

impl Forge {
    fn new(challenges: &[&str]) -> Self {
        Self::with(challenges.iter().fold(GitServer::builder(), |server, line| server.challenge(line)))
    }

    fn with(server: usher_testkit::git_server::Builder) -> Self {
        let ca = Ca::new();
        let idp = FakeIdp::start(&ca);
        let server = server.accept(&idp).start(&ca);
        server.repository("a");
        let sandbox = sandbox();
        sandbox.watch(&idp);
        let url = format!("{}/", server.origin());
        sandbox.config(&owner(&sandbox, &ca, &idp, &url, "x-access-token"));
        Self { usherd: sandbox.start(), idp, ca, server }
    }

    fn git(&self) -> Option<Git<'_>> {
        let program = git_of(Age::New, "git with Bearer tokens")?;
        Some(Git::new(&self.usherd, &self.ca, program, ""))
    }

    /// A server that nobody here owns, under another name, which asks for Bearer tokens.
    fn foreign(&self) -> GitServer {
        let server =
            GitServer::builder().accept(&self.idp).challenge(BEARER).challenge(BASIC).start(&self.ca);
        server.repository("a");
        server
    }

    /// The foreign server was asked, and got nothing.
    fn told_nothing(&self, foreign: &GitServer) {
        let requests = foreign.requests();
        assert!(!requests.is_empty(), "it was not asked at all");
        for request in requests {
            assert_eq!(request.header("authorization"), None);
            let all = format!("{request:?}");
            assert!(!self.idp.issued().iter().any(|token| all.contains(token)), "{}", request.path);
        }
    }
}

#[test]
fn a_clone_and_a_push_cost_one_token() {
    for server in [GitServer::builder(), GitServer::builder().plain_http()] {
        let forge = Forge::with(server.challenge(BEARER));
        let Some(git) = forge.git() else { return };
        let _ = git.run(&["clone", "-q", &forge.server.url("a"), "a"]).expect_ok();
        let _ = git.run(&["-C", "a", "commit", "-q", "--allow-empty", "-m", "second"]).expect_ok();
        let _ = git.run(&["-C", "a", "push", "-q", "origin", "main"]).expect_ok();
        let head = git.run(&["-C", "a", "rev-parse", "HEAD"]).expect_ok().stdout;
        assert_eq!(head.trim(), forge.server.head("a", "main"));
        let [token] = &forge.idp.issued()[..] else { panic!("more than one token") };
        let sent: Vec<_> = forge.server.authorizations().into_iter().flatten().collect();
        assert!(sent.len() >= 4 && sent.iter().all(|value| *value == format!("Bearer {token}")));
        assert_eq!(forge.idp.token_requests(), 1);
    }
}

#[test]
fn what_is_not_below_a_profiles_url_is_not_its_own() {
    let ca = Ca::new();
    let idp = FakeIdp::start(&ca);
    let server = GitServer::builder().accept(&idp).challenge(BEARER).start(&ca);
    server.repository("team");
    server.repository("teammate");
    let sandbox = sandbox();
    sandbox.watch(&idp);
    sandbox.config(&owner(&sandbox, &ca, &idp, &server.url("team"), "x-access-token"));
    let usherd = sandbox.start();
    let Some(program) = git_of(Age::New, "paths below a profile's URL") else { return };
    let git = Git::new(&usherd, &ca, program, "");
    let with_path =
        |name: &str| git.run(&["-c", "credential.useHttpPath=true", "ls-remote", &server.url(name)]);
    assert!(with_path("team").expect_ok().stdout.contains("refs/heads/main"));
    let sent = server.requests().len();
    for refused in [with_path("teammate"), git.run(&["ls-remote", &server.url("team")])] {
        assert_eq!(refused.code(), Some(128), "git tells no path, or another one: {}", refused.stderr);
    }
    assert!(server.authorizations()[sent..].iter().all(Option::is_none));
}

#[test]
fn a_server_that_asks_for_a_password_gets_the_token_as_one() {
    let forge = Forge::new(&[BASIC]);
    let Some(git) = forge.git() else { return };
    let _ = git.run(&["clone", "-q", &forge.server.url("a"), "a"]).expect_ok();
    let token = forge.idp.issued().remove(0);
    let sent: Vec<_> = forge.server.authorizations().into_iter().flatten().collect();
    let expected = Some(("x-access-token".to_owned(), token));
    assert!(!sent.is_empty() && sent.iter().all(|value| basic(value) == expected));
}

#[test]
fn a_stale_token_is_healed_within_one_command() {
    for (challenge, refuses_mutely) in [(BEARER, false), (BEARER, true), (BASIC, false), (BASIC, true)] {
        let server = GitServer::builder().challenge(challenge);
        let forge = Forge::with(if refuses_mutely { server.refuse_mutely() } else { server });
        let Some(git) = forge.git() else { return };
        let _ = git.run(&["clone", "-q", &forge.server.url("a"), "a"]).expect_ok();
        let before = forge.server.requests().len();
        forge.server.refuse(&forge.idp.issued()[0]);
        let _ = git.run(&["-C", "a", "fetch", "-q"]).expect_ok();
        let [old, new] = &forge.idp.issued()[..] else { panic!("not two tokens") };
        let sent = forge.server.authorizations().split_off(before);
        let secret = |value: &Option<String>| {
            let value = value.as_ref()?;
            value.strip_prefix("Bearer ").map(str::to_owned).or_else(|| Some(basic(value)?.1))
        };
        let mut sent: Vec<_> = sent.iter().map(secret).collect();
        // git says a password a second time where a refusal names no scheme.
        sent.dedup();
        assert_eq!(sent, [None, Some(old.clone()), Some(new.clone())], "{challenge} {refuses_mutely}");
        let _ = git.run(&["-C", "a", "fetch", "-q"]).expect_ok();
        assert_eq!(forge.idp.token_requests(), 2, "the new one is kept");
    }
}

#[test]
fn a_server_that_takes_no_token_ends_the_command_soon_and_nobody_is_asked() {
    let ca = Ca::new();
    let idp = FakeIdp::start(&ca);
    let server = GitServer::builder().challenge(BEARER).start(&ca);
    server.repository("a");
    let sandbox = sandbox();
    sandbox.watch(&idp);
    sandbox.config(&owner(&sandbox, &ca, &idp, &format!("{}/", server.origin()), "oauth2"));
    let usherd = sandbox.start();
    let Some(program) = git_of(Age::New, "a server that takes no token") else { return };
    let git = Git::new(&usherd, &ca, program, "");
    let failed = git.run(&["ls-remote", &server.url("a")]).expect_code(128);
    assert!(failed.stderr.contains("Authentication failed"), "{}", failed.stderr);
    assert_eq!(schemes(&server), ["none", "Bearer", "Bearer"]);
    assert_eq!(idp.token_requests(), 2);
    // The next command has another try, but does not hurry the IdP.
    let _ = git.run(&["ls-remote", &server.url("a")]).expect_code(128);
    assert!(idp.token_requests() <= 4, "{}", idp.token_requests());
}

#[test]
fn fifty_at_once_cost_one_token() {
    let forge = Forge::new(&[BEARER]);
    let Some(git) = forge.git() else { return };
    let url = forge.server.url("a");
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..50)
            .map(|number| {
                let (git, url, dir) = (&git, &url, format!("clone-{number}"));
                scope.spawn(move || git.run(&["clone", "-q", url, &dir]))
            })
            .collect();
        for one in all {
            let _ = one.join().unwrap().expect_ok();
        }
    });
    let [token] = &forge.idp.issued()[..] else { panic!("{} tokens", forge.idp.issued().len()) };
    let sent: Vec<_> = forge.server.authorizations().into_iter().flatten().collect();
    assert!(sent.len() >= 100 && sent.iter().all(|value| *value == format!("Bearer {token}")));
    assert_eq!(forge.idp.token_requests(), 1);
}

#[test]
fn a_submodule_on_a_foreign_host_gets_no_token() {
    let forge = Forge::new(&[BEARER]);
    let Some(git) = forge.git() else { return };
    let foreign = forge.foreign();
    forge.server.repository_with_submodule("super", &format!("{}/a.git", foreign.named_origin()));
    let failed = git.run(&["clone", "-q", "--recurse-submodules", &forge.server.url("super"), "super"]);
    assert!(
        !failed.status.success() && failed.stderr.contains("could not read Username"),
        "{}",
        failed.stderr
    );
    assert!(
        !failed.stderr.contains("usher: "),
        "for a host that nobody owns usher is silent: {}",
        failed.stderr
    );
    assert_eq!(forge.idp.token_requests(), 1, "the outer repository was cloned");
    forge.told_nothing(&foreign);
}

#[test]
fn a_redirect_to_a_foreign_host_takes_no_token_along() {
    let forge = Forge::new(&[]);
    let Some(git) = forge.git() else { return };
    let foreign = forge.foreign();
    for origin in [foreign.named_origin(), foreign.origin()] {
        forge.server.redirect("a", &origin);
        let failed = git.run(&["ls-remote", &forge.server.url("a")]).expect_code(128);
        assert!(!failed.stderr.contains("usher: "), "{}", failed.stderr);
    }
    assert_eq!(forge.idp.token_requests(), 0, "nobody who may have a token has asked for one");
    forge.told_nothing(&foreign);
}

#[test]
fn a_redirect_behind_a_challenge_takes_no_token_along_either() {
    let forge = Forge::new(&[BEARER]);
    let Some(git) = forge.git() else { return };
    let foreign = forge.foreign();
    forge.server.redirect("a", &foreign.named_origin());
    let _ = git.run(&["ls-remote", &forge.server.url("a")]).expect_code(128);
    // git takes the foreign 401 for one of the server that it has asked, and tries another token there.
    assert!((1..=2).contains(&forge.idp.token_requests()));
    forge.told_nothing(&foreign);
}

#[test]
fn what_a_caller_without_authtype_is_told_is_a_password_with_its_end() {
    let forge = Forge::new(&[BEARER]);
    let Some(git) = forge.git() else { return };
    let place = format!("protocol=https\nhost={}\n", forge.server.host());
    let plain = git.credential("fill", &place).expect_ok().stdout;
    let token = forge.idp.issued().remove(0);
    assert_eq!(value(&plain, "username"), Some("x-access-token"));
    assert_eq!((value(&plain, "password"), value(&plain, "credential")), (Some(token.as_str()), None));
    let ends: u64 = value(&plain, "password_expiry_utc").unwrap().parse().unwrap();
    let able = git.credential("fill", &format!("capability[]=authtype\n{place}")).expect_ok().stdout;
    assert_eq!(
        (value(&able, "authtype"), value(&able, "credential")),
        (Some("Bearer"), Some(token.as_str()))
    );
    assert_eq!((value(&able, "ephemeral"), value(&able, "password")), (Some("1"), None));
    assert_eq!(value(&able, "password_expiry_utc").unwrap().parse(), Ok(ends));
    let told = crate::support::facts(&forge.usherd, &["frontdoor"]);
    assert_eq!(told["expires_at"], ends);
}

#[test]
fn reject_drops_the_very_token_that_it_names() {
    let forge = Forge::new(&[BASIC]);
    let Some(git) = forge.git() else { return };
    let place = format!("protocol=https\nhost={}\n", forge.server.host());
    let fill = || value(&git.credential("fill", &place).expect_ok().stdout, "password").unwrap().to_owned();
    let reject = |password: &str| {
        let described = format!("{place}username=x-access-token\npassword={password}\n");
        let _ = git.credential("reject", &described).expect_ok();
    };
    let first = fill();
    reject("some-other-password");
    assert_eq!(fill(), first, "nobody has refused this one");
    reject(&first);
    let second = fill();
    assert_ne!(first, second);
    reject(&first);
    assert_eq!((fill(), forge.idp.token_requests()), (second, 2), "the newer one stays");
}

#[test]
fn who_has_had_a_static_token_refused_is_not_given_it_in_the_same_breath() {
    let sandbox = sandbox();
    let (ca, token) = (Ca::new(), sandbox.api_token("account", "CANARY-account-token"));
    sandbox.config(&format!(
        "[profile.account]\npreset = \"netfoundry-api-token\"\naccount_id = \"acct\"\n\
         api_token = {{ file = \"{}\" }}\nurls = [\"https://git.example.com/\"]\n",
        token.display()
    ));
    let usherd = sandbox.start();
    let Some(program) = git_of(Age::New, "a static token that is refused") else { return };
    let git = Git::new(&usherd, &ca, program, "");
    let place = "protocol=https\nhost=git.example.com\n";
    let filled = git.credential("fill", place).expect_ok().stdout;
    // A caller without git's states, git-lfs for one, has only this to say it with.
    let _ = git.credential("reject", &filled).expect_ok();
    let refused = git.credential("fill", place).expect_code(128);
    assert!(refused.stderr.contains("the API refused the account token"), "{}", refused.stderr);
    assert!(refused.stderr.contains("told us to quit"), "{}", refused.stderr);
    assert_eq!(git.credential("fill", place).expect_ok().stdout, filled, "another command has another try");
}

#[test]
fn a_repository_that_refuses_the_token_keeps_it_from_no_other() {
    let forge = Forge::new(&[BEARER]);
    let Some(git) = forge.git() else { return };
    forge.server.repository("closed");
    forge.server.close("closed");
    let (url, closed) = (forge.server.url("a"), forge.server.url("closed"));
    let _ = git.run(&["ls-remote", &url]).expect_ok();
    let _ = git.run(&["ls-remote", &closed]).expect_code(128);
    for _ in 0..2 {
        let _ = git.run(&["ls-remote", &url]).expect_ok();
    }
    assert!(forge.idp.token_requests() <= 2, "{}", forge.idp.token_requests());
}

#[test]
fn where_a_profile_cannot_answer_git_asks_nobody_else() {
    let forge = Forge::new(&[BEARER]);
    let Some(git) = forge.git() else { return };
    forge.idp.set_default(usher_testkit::idp::Reply::oauth_error(401, "invalid_client", "no"));
    let asked = forge.usherd.dir().join("home/asked");
    let askpass =
        forge.usherd.file("askpass", &format!("#!/bin/sh\necho x >>'{}'\necho x\n", asked.display()));
    forge.usherd.chmod(&askpass, 0o700);
    let mut command = git.command(&["ls-remote", &forge.server.url("a")]);
    command.env("GIT_ASKPASS", &askpass);
    let failed = super::run(&forge.usherd, command, "").expect_code(128);
    assert!(failed.stderr.contains("told us to quit"), "{}", failed.stderr);
    assert!(failed.stderr.contains("frontdoor"), "it says whose failure it is: {}", failed.stderr);
    assert!(!asked.exists(), "somebody was asked for a password");
    assert_eq!(schemes(&forge.server), ["none"]);
}
