//! Programs in other languages: the examples as they are, and a client that knows nothing but reflection.
//!
//! All of them name the socket as gRPC's documentation has it, `unix:///…/usher.sock`, and set no
//! `:authority`. `tests/run` installs what they need.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is the failure of the test"
)]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use usher_proto::error::{self, ErrorReason};
use usher_testkit::{
    idp::{FakeIdp, dead_address},
    sandbox::Sandbox,
    usherd::Usherd,
};

use crate::support::{World, facts, frontdoor, named, sandbox};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const HOW: &str = "run tests/run once: it installs what the tests need";

fn python() -> Command {
    let python = Path::new(ROOT).join("target/clients/python/bin/python");
    assert!(python.exists(), "{} is missing: {HOW}", python.display());
    let mut command = Command::new(python);
    command.arg("-B");
    command
}

fn python_example() -> Command {
    let mut command = python();
    command.arg(Path::new(ROOT).join("examples/python/get_token.py"));
    command
}

fn node_example() -> Command {
    let example = Path::new(ROOT).join("examples/node");
    assert!(example.join("node_modules/@grpc/grpc-js").is_dir(), "@grpc/grpc-js is not installed: {HOW}");
    let mut command = Command::new("node");
    command.arg(example.join("get_token.mjs"));
    command
}

fn rust_example() -> Command {
    let example = Path::new(env!("CARGO_BIN_EXE_usherd")).with_file_name("examples/get_token");
    assert!(example.exists(), "not built: cargo build --example get_token");
    Command::new(example)
}

/// The example in Go, if it could be built.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "what is not tested has to be seen")]
fn go_example() -> Option<Command> {
    let built = Path::new(ROOT).join("target/clients/go/get_token");
    if !built.exists() {
        println!("SKIPPED: the example in Go: {} is missing; {HOW}", built.display());
        eprintln!("\n*** SKIPPED, NOT TESTED: the example in Go: it is not built ***\n");
        return None;
    }
    Some(Command::new(built))
}

/// Runs a client in the sandbox's environment. None of its words may hold a token.
fn run(sandbox: &Sandbox, mut command: Command) -> Output {
    let program = command.get_program().to_string_lossy().into_owned();
    let path = std::env::var_os("PATH").unwrap();
    command.env_clear().env("PATH", path).env("USHER_SOCKET", sandbox.socket()).current_dir(sandbox.dir());
    let output = command.output().unwrap_or_else(|error| panic!("{program}: {error}: {HOW}"));
    sandbox.leaks().note(&format!("stdout of {program}"), &output.stdout);
    sandbox.leaks().note(&format!("stderr of {program}"), &output.stderr);
    output
}

fn stdout(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{stderr}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn world() -> World {
    World::with(FakeIdp::builder(), |sandbox, ca, idp| {
        let dead = format!("token_url = \"https://{}/oauth/token\"", dead_address());
        frontdoor(sandbox, ca, idp, "") + &named("dead", sandbox, ca, idp, &dead)
    })
}

/// What an example does with a profile that works, with one that fails, and with no daemon.
fn check(example: impl Fn() -> Command) {
    let world = world();
    let with = |profile: &str| {
        let mut command = example();
        command.arg(profile);
        command
    };
    let known = facts(&world.usherd, &["frontdoor"]);
    let expires = prost_types::Timestamp { seconds: known["expires_at"].as_i64().unwrap(), nanos: 0 };
    let told = stdout(&run(&world.usherd, with("frontdoor")));
    let told: Vec<&str> = told.lines().collect();
    let [profile, expiry, id] = told[..] else { panic!("{told:?}") };
    assert_eq!(profile, "profile:  frontdoor");
    assert_eq!(expiry.get(..29), Some(&*format!("expires:  {}", &expires.to_string()[..19])), "{expiry}");
    assert_eq!(id, format!("token_id: {}", known["token_id"].as_str().unwrap()));

    for (profile, code, reason) in [("nope", 1, "PROFILE_UNKNOWN: "), ("dead", 75, "IDP_UNREACHABLE: ")] {
        fails(&run(&world.usherd, with(profile)), code, reason);
    }
    assert_eq!(world.idp.token_requests(), 1);
}

fn fails(output: &Output, code: i32, reason: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &*output.stdout), (Some(code), &b""[..]), "{stderr}");
    assert!(stderr.starts_with(reason), "{stderr}");
}

#[test]
fn the_example_in_python_runs_as_it_is() {
    check(python_example);
    fails(&run(&sandbox(), python_example()), 1, "UNAVAILABLE: ");
}

#[test]
fn the_example_in_node_runs_as_it_is() {
    check(node_example);
    fails(&run(&sandbox(), node_example()), 1, "UNAVAILABLE: ");
}

#[test]
fn the_example_in_go_runs_with_the_grpc_there_is() {
    if let Some(built) = go_example() {
        check(|| Command::new(built.get_program()));
        fails(&run(&sandbox(), built), 1, "Unavailable: ");
    }
}

#[test]
fn the_example_in_rust_runs_as_it_is() {
    check(rust_example);
    fails(&run(&sandbox(), rust_example()), 1, "Error: ");
}

fn reflect(usherd: &Usherd, socket: &Path, calls: usize) -> String {
    let mut command = python();
    command.arg(Path::new(ROOT).join("tests/fixtures/clients/reflect.py")).arg(socket).arg("frontdoor");
    command.arg(calls.to_string());
    stdout(&run(usherd, command))
}

#[test]
fn a_client_that_knows_only_reflection_finds_get_token_and_calls_it() {
    let world = World::new("");
    let told = reflect(&world.usherd, &world.usherd.socket(), 300);
    let mut lines = told.lines();
    let services = lines.next().unwrap();
    for service in ["grpc.health.v1.Health", "usher.v1.AdminService", "usher.v1.TokenService"] {
        assert!(services.contains(service), "{services}");
    }
    let id = facts(&world.usherd, &["frontdoor"])["token_id"].as_str().unwrap().to_owned();
    let ids: Vec<&str> = lines.collect();
    assert_eq!(ids.len(), 300);
    assert!(ids.iter().all(|line| *line == format!("token_id: {id}")), "{id} {ids:?}");
    assert_eq!(world.idp.token_requests(), 1, "many calls at once on one channel");
}

#[test]
fn the_socket_may_lie_at_any_path() {
    let world = World::new("");
    let link = |name: &str| -> PathBuf {
        let dir = world.usherd.dir().join(name);
        std::os::unix::fs::symlink(world.usherd.socket().parent().unwrap(), &dir).unwrap();
        dir.join("usher.sock")
    };
    for name in ["a b", "ü", "a+b;d=e@f:g", "[::1]", "a~b$c&d'e(f)*g"] {
        let told = reflect(&world.usherd, &link(name), 1);
        assert!(told.contains("token_id: "), "{name}: {told}");
    }
}

#[test]
fn the_documentation_has_every_reason_with_its_status() {
    let page = std::fs::read_to_string(Path::new(ROOT).join("docs/grpc.md")).unwrap();
    for reason in (1..100).filter_map(|number| ErrorReason::try_from(number).ok()) {
        let name = error::name(reason);
        let row = page.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
        let status = row.unwrap_or_else(|| panic!("{name} is missing")).split(" | ").nth(1).unwrap();
        let code = format!("{:?}", error::code(reason)).to_uppercase();
        assert_eq!(status.replace('_', ""), code, "{name}");
    }
}
