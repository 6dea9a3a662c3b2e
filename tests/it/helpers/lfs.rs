//! git-lfs, which asks git's helpers by itself, with git's help: each of the two knows Bearer or does not.

use std::{os::unix::fs::symlink, path::PathBuf};

use usher_testkit::{
    ca::Ca,
    git_server::{GitServer, basic},
    idp::FakeIdp,
    programs::{self, Age},
    usherd::Usherd,
};

use super::{BASIC, BEARER, Git, git_of, owner};
use crate::support::sandbox;

const CONTENT: &str = "what is too large for git\n";

/// A git and a git-lfs.
struct Pair {
    git: PathBuf,
    lfs: PathBuf,
    /// Both know it, so git-lfs sends it.
    knows_bearer: bool,
}

impl Pair {
    /// Every pair that this machine has. Where one is missing, says what is not tested.
    #[expect(clippy::print_stdout, clippy::print_stderr, reason = "what is not tested has to be seen")]
    fn all() -> Vec<Self> {
        let mut pairs = Vec::new();
        for age in [Age::New, Age::Old] {
            let Some(lfs) = programs::git_lfs(age) else {
                println!("SKIPPED: a git-lfs: there is no {age:?} one");
                eprintln!("\n*** SKIPPED, NOT TESTED: there is no {age:?} git-lfs; run tests/run once ***\n");
                continue;
            };
            for of_git in [Age::New, Age::Old] {
                let Some(git) = git_of(of_git, "git-lfs with this git") else { continue };
                let knows_bearer = (age, of_git) == (Age::New, Age::New);
                pairs.push(Self { git, lfs: lfs.clone(), knows_bearer });
            }
        }
        assert!(!pairs.is_empty(), "there is no git-lfs at all: run tests/run once");
        pairs
    }

    /// How it sends a token to a server that takes both.
    fn scheme(&self) -> &'static str {
        if self.knows_bearer { "Bearer" } else { "x-access-token" }
    }
}

/// A git server with a large file in its repository `a`, which is a profile's.
struct Forge {
    usherd: Usherd,
    idp: FakeIdp,
    ca: Ca,
    server: GitServer,
}

impl Forge {
    /// `path` of the server is the profile's.
    fn new(challenges: &[&str], path: &str) -> Self {
        let ca = Ca::new();
        let idp = FakeIdp::start(&ca);
        let server = challenges.iter().fold(GitServer::builder(), |server, line| server.challenge(line));
        let server = server.accept(&idp).start(&ca);
        server.repository_with_large_file("a", CONTENT);
        let sandbox = sandbox();
        sandbox.watch(&idp);
        let url = format!("{}/{path}", server.origin());
        sandbox.config(&owner(&sandbox, &ca, &idp, &url, "x-access-token"));
        Self { usherd: sandbox.start(), idp, ca, server }
    }

    fn git(&self, pair: &Pair) -> Git<'_> {
        // git finds git-lfs by the PATH.
        let (bin, path) = (self.usherd.dir().join("bin"), &self.usherd.sandbox().env_of_usher()["PATH"]);
        std::fs::create_dir(&bin).unwrap();
        symlink(&pair.lfs, bin.join("git-lfs")).unwrap();
        self.usherd.sandbox().set_env("PATH", &format!("{}:{path}", bin.display()));
        let git = Git::new(&self.usherd, &self.ca, pair.git.clone(), "");
        let _ = git.run(&["lfs", "install", "--skip-repo"]).expect_ok();
        git
    }

    /// What git-lfs has sent, in its order, the same in a row once: `Bearer` or the user name, and the token.
    fn sent(&self) -> Vec<(String, String)> {
        let requests = self.server.requests();
        let of_lfs = requests.iter().filter(|request| request.path.contains("/info/lfs/"));
        let read = |value: &str| match value.strip_prefix("Bearer ") {
            Some(token) => Some(("Bearer".to_owned(), token.to_owned())),
            None => basic(value),
        };
        let mut sent: Vec<_> = of_lfs.filter_map(|request| read(request.header("authorization")?)).collect();
        sent.dedup();
        sent
    }

    /// The profile's token of that number, as git-lfs sends it.
    fn token(&self, scheme: &str, number: usize) -> (String, String) {
        (scheme.to_owned(), self.idp.issued()[number].clone())
    }
}

#[test]
fn a_clone_and_a_push_of_large_files_cost_one_token() {
    for pair in Pair::all() {
        let forge = Forge::new(&[BEARER, BASIC], "");
        let git = forge.git(&pair);
        let _ = git.run(&["clone", "-q", &forge.server.url("a"), "a"]).expect_ok();
        let home = forge.usherd.dir().join("home/a");
        assert_eq!(std::fs::read_to_string(home.join("large.bin")).unwrap(), CONTENT);
        std::fs::write(home.join("large.bin"), "another\n").unwrap();
        let _ = git.run(&["-C", "a", "commit", "-q", "-a", "-m", "second"]).expect_ok();
        let _ = git.run(&["-C", "a", "push", "-q", "origin", "main"]).expect_ok();
        assert!(forge.server.has_large_file("another\n"));
        assert_eq!(forge.sent(), [forge.token(pair.scheme(), 0)]);
        assert_eq!(forge.idp.token_requests(), 1);
    }
}

#[test]
fn a_token_that_is_refused_is_healed_within_one_command() {
    for pair in Pair::all() {
        let forge = Forge::new(&[BEARER, BASIC], "");
        let git = forge.git(&pair);
        let _ = git.run(&["clone", "-q", &forge.server.url("a"), "a"]).expect_ok();
        forge.server.refuse(&forge.idp.issued()[0]);
        std::fs::remove_dir_all(forge.usherd.dir().join("home/a/.git/lfs/objects")).unwrap();
        let _ = git.run(&["-C", "a", "lfs", "fetch"]).expect_ok();
        assert_eq!(forge.sent(), [forge.token(pair.scheme(), 0), forge.token(pair.scheme(), 1)]);
        let _ = git.run(&["-C", "a", "lfs", "fsck"]).expect_ok();
        assert_eq!(forge.idp.token_requests(), 2, "the new one is kept");
    }
}

#[test]
fn a_server_that_takes_bearer_alone_lets_in_who_knows_it_and_the_others_end_soon() {
    for pair in Pair::all() {
        let forge = Forge::new(&[BEARER], "");
        let git = forge.git(&pair);
        let output = git.run(&["clone", "-q", &forge.server.url("a"), "a"]);
        assert_eq!(output.status.success(), pair.knows_bearer, "{}", output.stderr);
        // An older git does not come so far; an older git-lfs would ask for ever, and is given no refused token again.
        assert!(forge.sent().len() <= forge.idp.token_requests());
        assert!(forge.idp.token_requests() <= 5, "{} token requests", forge.idp.token_requests());
        if output.stderr.contains("large.bin") {
            let told = "frontdoor: the API rejected one new token after another";
            assert!(output.stderr.contains(told), "{}", output.stderr);
        }
    }
}

#[test]
fn a_profile_with_a_path_is_found_if_git_tells_paths() {
    for pair in Pair::all() {
        let forge = Forge::new(&[BASIC], "a.git");
        let git = forge.git(&pair);
        let _ = git.run(&["config", "--global", "credential.useHttpPath", "true"]).expect_ok();
        let _ = git.run(&["clone", "-q", &forge.server.url("a"), "a"]).expect_ok();
        let large = forge.usherd.dir().join("home/a/large.bin");
        assert_eq!(std::fs::read_to_string(large).unwrap(), CONTENT);
        assert_eq!(forge.sent(), [forge.token("x-access-token", 0)]);
        assert_eq!(forge.idp.token_requests(), 1);
    }
}
