//! What several modules need.

pub(crate) mod health;
pub(crate) mod random;
pub(crate) mod users;

use usher_testkit::{ca::Ca, idp::FakeIdp, sandbox::Sandbox};

/// An empty home with this build's binaries.
pub(crate) fn sandbox() -> Sandbox {
    Sandbox::new(env!("CARGO_BIN_EXE_usherd"), env!("CARGO_BIN_EXE_usher"))
}

/// A profile `frontdoor` as NetFoundry's guide has it, served by `idp`, plus `extra` lines.
pub(crate) fn frontdoor(sandbox: &Sandbox, ca: &Ca, idp: &FakeIdp, extra: &str) -> String {
    let secret = sandbox.secret("frontdoor", idp.client_secret());
    format!(
        "[profile.frontdoor]\npreset = \"netfoundry-frontdoor\"\nidp = \"{}\"\nclient_id = \"{}\"\n\
         client_secret = {{ file = \"{}\" }}\nca_file = \"{}\"\n{extra}\n",
        idp.host(),
        idp.client_id(),
        secret.display(),
        ca.pem().display(),
    )
}

/// A daemon with the profile `frontdoor`, and the IdP behind it.
pub(crate) struct World {
    pub(crate) usherd: usher_testkit::usherd::Usherd,
    pub(crate) idp: FakeIdp,
    pub(crate) ca: Ca,
}

impl World {
    /// The guide's IdP; the profile has `extra` lines.
    pub(crate) fn new(extra: &str) -> Self {
        Self::with(FakeIdp::builder(), |sandbox, ca, idp| frontdoor(sandbox, ca, idp, extra))
    }

    /// usherd as the last arguments of another program, which runs it.
    pub(crate) fn under(wrapper: &[&str]) -> Self {
        let config = |sandbox: &Sandbox, ca: &Ca, idp: &FakeIdp| frontdoor(sandbox, ca, idp, "");
        Self::with_under(FakeIdp::builder(), config, wrapper)
    }

    /// Another IdP, another configuration.
    pub(crate) fn with(
        idp: usher_testkit::idp::Builder,
        config: impl FnOnce(&Sandbox, &Ca, &FakeIdp) -> String,
    ) -> Self {
        Self::with_under(idp, config, &[])
    }

    fn with_under(
        idp: usher_testkit::idp::Builder,
        config: impl FnOnce(&Sandbox, &Ca, &FakeIdp) -> String,
        wrapper: &[&str],
    ) -> Self {
        let ca = Ca::new();
        let idp = idp.start(&ca);
        let sandbox = sandbox();
        sandbox.watch(&idp);
        sandbox.config(&config(&sandbox, &ca, &idp));
        Self { usherd: sandbox.start_under(wrapper), idp, ca }
    }
}

/// What `usher token ARGS --json` answers.
#[expect(clippy::expect_used, reason = "a panic here is the failure of the test that called")]
pub(crate) fn facts(sandbox: &Sandbox, args: &[&str]) -> serde_json::Value {
    let output = sandbox.usher(&[&["token"], args, &["--json"]].concat()).expect_ok();
    serde_json::from_str(&output.stdout).expect("JSON on stdout")
}

/// The error of `usher token ARGS --json`, which exits with `code` and answers nothing.
#[expect(clippy::expect_used, reason = "a panic here is the failure of the test that called")]
pub(crate) fn refusal(sandbox: &Sandbox, args: &[&str], code: i32) -> serde_json::Value {
    let output = sandbox.usher(&[&["token"], args, &["--json"]].concat()).expect_code(code);
    assert_eq!(output.stdout, "");
    let told: serde_json::Value = serde_json::from_str(&output.stderr).expect("JSON on stderr");
    told["error"].clone()
}

/// What `usher status ARGS --json` answers.
#[expect(clippy::expect_used, reason = "a panic here is the failure of the test that called")]
pub(crate) fn status(sandbox: &Sandbox, args: &[&str]) -> serde_json::Value {
    let output = sandbox.usher(&[&["status"], args, &["--json"]].concat()).expect_ok();
    serde_json::from_str(&output.stdout).expect("JSON on stdout")
}

/// [`frontdoor`] under another name.
pub(crate) fn named(name: &str, sandbox: &Sandbox, ca: &Ca, idp: &FakeIdp, extra: &str) -> String {
    frontdoor(sandbox, ca, idp, extra).replacen("profile.frontdoor", &format!("profile.{name}"), 1)
}

/// Whether this runs as root, who alone can act as somebody else. If not, says what is not tested.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "what is not tested has to be seen")]
pub(crate) fn is_root(what: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!("SKIPPED: {what}: needs root, to act as another user");
        eprintln!("\n*** SKIPPED, NOT TESTED: {what}: needs root, to act as another user ***\n");
    }
    root
}

/// The words for why the profile's IdP cannot be reached.
#[expect(clippy::expect_used, reason = "a panic here is the failure of the test that called")]
pub(crate) fn unreachable(sandbox: &Sandbox, profile: &str) -> String {
    let error = refusal(sandbox, &[profile], 69);
    assert_eq!(error["reason"], "IDP_UNREACHABLE", "{error}");
    error["message"].as_str().expect("a message").to_owned()
}

/// Every one of these is in the text.
pub(crate) fn contains_all(text: &str, needles: &[&str]) {
    for needle in needles {
        assert!(text.contains(needle), "no {needle:?} in:\n{text}");
    }
}

/// After a failure the IdP is left alone for a second or two.
#[expect(clippy::disallowed_methods, reason = "how long a test takes is no matter of suspend")]
pub(crate) fn wait_until_fetched(sandbox: &Sandbox, profile: &str) {
    let begun = std::time::Instant::now();
    loop {
        let output = sandbox.usher(&["token", profile]);
        if output.status.success() {
            return;
        }
        assert!(begun.elapsed() < usher_testkit::PATIENCE, "{}", output.stderr);
    }
}
