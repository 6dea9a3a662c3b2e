//! podman and buildah, with storage of their own and a real registry: logins that are stored, and a profile's token in
//! their place.

use std::{ops::Deref, process::Command};

use serde_json::{Value, json};
use usher_testkit::{git_server::basic_value, idp::Reply, process::Output, programs, registry::Registry};

use super::{
    client,
    place::{NOT_FOUND, Place},
    run,
};

const BOTH: [&str; 2] = ["podman", "buildah"];

/// Usher alone is asked, about every registry.
const USHER: &str = "[\"usher\"]";

/// Neither looks at the certificate of a registry that has none.
const PLAIN: &str = "--tls-verify=false";

/// podman and buildah, who ask usher about a registry.
struct Podman(Place);

impl Deref for Podman {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.0
    }
}

impl Drop for Podman {
    /// Without root each of these homes has a process of its own that holds its user namespace open; this ends it.
    fn drop(&mut self) {
        if !nix::unistd::geteuid().is_root() {
            let _ = self.command("podman", &["system", "migrate"]).output();
        }
    }
}

impl Podman {
    /// Nothing but `helpers` says whom they ask. `None` where they cannot run here.
    fn new(place: Place, helpers: &str) -> Option<Self> {
        let podman = Self(place);
        let usherd = &podman.usherd;
        let home = usherd.dir().join("home").display().to_string();
        usherd.file(
            "home/.config/containers/registries.conf.d/usher.conf",
            &format!("credential-helpers = {helpers}\n"),
        );
        usherd.file(
            "home/.config/containers/policy.json",
            r#"{"default":[{"type":"insecureAcceptAnything"}]}"#,
        );
        usherd.file(
            "home/containers.conf",
            &format!(
                "[engine]\ntmp_dir = \"{home}/libpod-run\"\nstatic_dir = \"{home}/libpod\"\n\
                 volume_path = \"{home}/volumes\"\nlock_type = \"file\"\nevents_logger = \"none\"\n\
                 [network]\nnetwork_config_dir = \"{home}/networks\"\n"
            ),
        );
        podman.can_run("pulls and pushes of podman and buildah").then_some(podman)
    }

    /// The registry is its users' own.
    fn stored() -> Option<Self> {
        Self::new(Place::stored(Registry::builder()), USHER)
    }

    /// The registry is a profile's, whose token goes with this user name.
    fn owned(username: &str) -> Option<Self> {
        Self::new(Place::owned(Registry::builder(), username), USHER)
    }

    /// Who is not root keeps images in a user namespace, if the machine lets them. Where not, says what is not tested.
    #[expect(clippy::print_stdout, clippy::print_stderr, reason = "what is not tested has to be seen")]
    fn can_run(&self, what: &str) -> bool {
        if nix::unistd::geteuid().is_root() {
            return true;
        }
        let probe = self.run("podman", &["unshare", "true"]);
        let able = probe.status.success();
        if !able {
            println!("SKIPPED: {what}: no user namespaces here: {}", probe.stderr);
            eprintln!("\n*** SKIPPED, NOT TESTED: {what}: neither root nor user namespaces ***\n");
        }
        able
    }

    /// The two keep their images apart: neither finds one that the other has pulled.
    fn command(&self, program: &str, args: &[&str]) -> Command {
        let images = self.usherd.dir().join("home").join(program);
        let mut command = client(&self.usherd, &programs::find(program));
        command.args(["--storage-driver", "vfs", "--root"]).arg(images.join("images"));
        command.arg("--runroot").arg(images.join("run")).args(args);
        command.env("CONTAINERS_CONF", self.usherd.dir().join("home/containers.conf"));
        command
    }

    fn run(&self, program: &str, args: &[&str]) -> Output {
        run(&self.usherd, self.command(program, args), "")
    }

    fn login(&self, program: &str) -> Output {
        let host = self.registry.host();
        let args = ["login", PLAIN, "--username", "alice", "--password-stdin", &host];
        run(&self.usherd, self.command(program, &args), &self.password)
    }

    fn pull(&self, program: &str) -> Output {
        self.run(program, &["pull", PLAIN, &self.registry.image()])
    }

    /// Pushes what has been pulled, under another name.
    fn push(&self, program: &str, name: &str) -> Output {
        let to = format!("docker://{}/{name}:latest", self.registry.host());
        self.run(program, &["push", PLAIN, &self.registry.image(), &to])
    }

    fn tags(&self, name: &str) -> Output {
        let name = format!("{}/{name}", self.registry.host());
        self.run("podman", &["search", PLAIN, "--list-tags", &name])
    }
}

#[test]
fn a_login_is_stored_and_gone_with_the_logout() {
    let Some(podman) = Podman::stored() else { return };
    let host = podman.registry.host();
    for program in BOTH {
        assert!(!podman.pull(program).status.success());
        let said = podman.login(program).expect_ok();
        assert!(said.stdout.contains("Login Succeeded"), "{}", said.stdout);
        let got: Value = serde_json::from_str(&podman.helper("get", &host).expect_ok().stdout).unwrap();
        assert_eq!(got, json!({ "ServerURL": host, "Username": "alice", "Secret": podman.password }));
        assert_eq!(podman.run(program, &["login", "--get-login", &host]).expect_ok().stdout, "alice\n");
        let _ = podman.pull(program).expect_ok();
        // Twice: that there is nothing more to erase is no error.
        for _ in 0..2 {
            let said = podman.run(program, &["logout", &host]).expect_ok();
            assert!(said.stdout.contains("Removed login credentials"), "{}", said.stdout);
        }
        assert_eq!(podman.helper("get", &host).expect_code(1).stdout, NOT_FOUND);
        assert!(!podman.run(program, &["login", "--get-login", &host]).status.success());
    }
    assert!(!podman.tags("a/b").status.success());
    assert_eq!(podman.idp.token_requests(), 0);
}

#[test]
fn what_usher_prints_for_them_has_it_asked_alone() {
    let Place { usherd, .. } = Place::stored(Registry::builder());
    let printed = usherd.usher(&["helper", "print", "docker"]).expect_ok().stdout;
    assert!(
        printed.contains(&format!(
            "registries.conf.d/usher.conf, and the same link\ncredential-helpers = {USHER}\n"
        )),
        "{printed}"
    );
}

#[test]
fn an_auth_file_names_usher_for_a_registry() {
    let Some(podman) = Podman::new(Place::stored(Registry::builder()), "[\"containers-auth.json\"]") else {
        return;
    };
    let host = podman.registry.host();
    let file = podman.usherd.file("home/auth.json", &format!("{{\"credHelpers\":{{\"{host}\":\"usher\"}}}}"));
    podman.usherd.sandbox().set_env("REGISTRY_AUTH_FILE", file.to_str().unwrap());
    let auths = || -> Value {
        let auths: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        assert_eq!(auths["credHelpers"], json!({ host.clone(): "usher" }));
        auths["auths"].clone()
    };
    for program in BOTH {
        let _ = podman.login(program).expect_ok();
        assert!(auths().as_object().is_none_or(serde_json::Map::is_empty), "the password is usher's alone");
        let _ = podman.pull(program).expect_ok();
        let _ = podman.run(program, &["logout", &host]).expect_ok();
        assert_eq!(podman.helper("get", &host).expect_code(1).stdout, NOT_FOUND);
    }
}

#[test]
fn logging_out_of_all_registries_erases_what_is_stored() {
    let Some(podman) = Podman::stored() else { return };
    let _ = podman.login("podman").expect_ok();
    let _ = podman.run("podman", &["logout", "--all"]).expect_ok();
    assert_eq!(podman.helper("get", &podman.registry.host()).expect_code(1).stdout, NOT_FOUND);
}

#[test]
fn a_profiles_token_is_the_password_of_a_pull_and_a_push() {
    let Some(podman) = Podman::owned("oauth2") else { return };
    for program in BOTH {
        let _ = podman.pull(program).expect_ok();
        let _ = podman.push(program, program).expect_ok();
        assert!(podman.tags(program).expect_ok().stdout.contains("latest"));
    }
    podman.all_came_with_the_token("oauth2");
}

#[test]
fn a_profiles_token_may_be_an_identity_token() {
    let Some(podman) = Podman::owned("<token>") else { return };
    for program in BOTH {
        let _ = podman.pull(program).expect_ok();
        let _ = podman.push(program, program).expect_ok();
    }
    podman.all_came_with_an_identity();
}

#[test]
fn a_login_where_a_profile_answers_is_not_stored_and_says_so() {
    let Some(podman) = Podman::owned("oauth2") else { return };
    let host = podman.registry.host();
    for program in BOTH {
        let failed = podman.login(program).expect_code(125);
        let told = "not stored: the profile frontdoor owns this registry";
        assert!(failed.stderr.contains(told), "{}", failed.stderr);
        // Who names nobody is told that they are in already, and who leaves that they may.
        let said = podman.run(program, &["login", PLAIN, &host]).expect_ok();
        assert!(said.stdout.contains("Already logged in"), "{}", said.stdout);
        let _ = podman.run(program, &["logout", &host]).expect_ok();
        let _ = podman.pull(program).expect_ok();
    }
    assert_eq!(podman.idp.token_requests(), 1);
}

#[test]
fn what_kept_usher_from_answering_is_shown() {
    let Some(podman) = Podman::owned("oauth2") else { return };
    podman.idp.set_default(Reply::oauth_error(401, "invalid_client", "no"));
    for program in BOTH {
        for failed in [podman.pull(program), podman.login(program)] {
            let told = failed.stderr.contains("invalid_client") && failed.stderr.contains("frontdoor");
            assert!(!failed.status.success() && told, "{}", failed.stderr);
        }
    }
    assert!(podman.registry.token_requests().is_empty(), "nobody went there without a credential");
}

#[test]
fn beside_an_auth_file_an_older_login_there_takes_the_place_of_a_profile_that_cannot_answer() {
    for (helpers, goes_on) in [(USHER, false), ("[\"usher\", \"containers-auth.json\"]", true)] {
        let Some(podman) = Podman::new(Place::owned(Registry::builder(), "oauth2"), helpers) else { return };
        // What podman has written here before anybody had told it of usher.
        let older = basic_value(&format!("alice:{}", podman.password)).replace("Basic ", "");
        let older = json!({ "auths": { podman.registry.host(): { "auth": older } } }).to_string();
        let file = podman.usherd.file("older/auth.json", &older);
        podman.usherd.sandbox().set_env("REGISTRY_AUTH_FILE", file.to_str().unwrap());
        let _ = podman.pull("podman").expect_ok();
        podman.all_came_with_the_token("oauth2");
        let asked = podman.callers().len();
        podman.idp.set_default(Reply::oauth_error(401, "invalid_client", "no"));
        let _ = podman.usherd.usher(&["forget", "frontdoor"]).expect_ok();
        assert_eq!(podman.pull("buildah").status.success(), goes_on, "{helpers}");
        let callers = podman.callers().split_off(asked);
        assert_eq!(!callers.is_empty(), goes_on, "{helpers}");
        let alice = Some(("alice".to_owned(), podman.password.clone()));
        assert!(callers.iter().all(|caller| *caller == alice));
    }
}

#[test]
fn a_registry_with_tls_is_the_profiles_by_its_name_and_port() {
    let Some(podman) = Podman::new(Place::owned(Registry::builder().tls(), "oauth2"), USHER) else { return };
    let (certificates, image) = (podman.certificates(), podman.registry.image());
    for program in BOTH {
        let failed = podman.run(program, &["pull", &image]);
        assert!(
            failed.stderr.contains("unknown authority"),
            "it looks at the certificate: {}",
            failed.stderr
        );
        let _ =
            podman.run(program, &["pull", "--cert-dir", certificates.to_str().unwrap(), &image]).expect_ok();
        let to = format!("docker://{}/{program}:latest", podman.registry.host());
        let args = ["push", "--cert-dir", certificates.to_str().unwrap(), &image, &to];
        let _ = podman.run(program, &args).expect_ok();
    }
    podman.all_came_with_the_token("oauth2");
}
