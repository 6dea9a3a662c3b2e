//! What is put before a helper to have a token go elsewhere: hosts that look like another, lines within lines, and an
//! environment that is somebody else's.

use std::{
    fs,
    os::unix::{fs::chown, net::UnixListener},
    process::Command,
};

use serde_json::{Value, json};
use usher_testkit::{ca::Ca, idp::FakeIdp, process::Output, usherd::Usherd};

use super::{call_usher, helper, owner, value};
use crate::{
    socket::users::as_nobody,
    support::{is_root, sandbox, users::NOBODY},
};

/// A daemon whose profile owns `https://example.com/team/`, and a host beside it that nobody owns.
struct Target {
    usherd: Usherd,
    idp: FakeIdp,
    // Its root is read for every token request.
    _ca: Ca,
}

impl Target {
    fn new(url: &str) -> Self {
        let ca = Ca::new();
        let idp = FakeIdp::start(&ca);
        let sandbox = sandbox();
        sandbox.watch(&idp);
        sandbox.config(&owner(&sandbox, &ca, &idp, url, "oauth2"));
        call_usher(
            &sandbox,
            &["git-credential-usher", "docker-credential-usher", "kubectl-credential-usher"],
        );
        Self { usherd: sandbox.start(), idp, _ca: ca }
    }

    fn git(&self, input: impl Into<Vec<u8>>) -> Output {
        helper(&self.usherd, &["git", "get"], input)
    }

    /// An error on stderr, nothing on stdout, and the IdP is not asked.
    fn refuses(&self, input: impl Into<Vec<u8>>, what: &str) {
        let output = self.git(input);
        assert_ne!(output.code(), Some(0), "{what} is answered: {}", output.stdout);
        assert_eq!(output.stdout, "", "{what}");
        assert!(output.stderr.contains("usher"), "{what}: {}", output.stderr);
        assert_eq!(self.idp.token_requests(), 0, "{what}");
    }

    fn is_silent(&self, input: &str) {
        let output = self.git(input).expect_ok();
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""), "{input:?}");
        assert_eq!(self.idp.token_requests(), 0, "{input:?}");
    }

    fn docker(&self, operation: &str, input: impl Into<Vec<u8>>) -> Output {
        let output = helper(&self.usherd, &["docker", operation], input);
        assert_eq!(output.stderr, "");
        output
    }
}

fn at(host: &str) -> String {
    format!("protocol=https\nhost={host}\n\n")
}

#[test]
fn lines_within_lines_are_an_error() {
    let target = Target::new("https://example.com/");
    let controls = ["\r", "\0", "\t", "\u{1}", "\u{b}", "\u{1b}", "\u{7f}"];
    let keys = ["protocol", "host", "path", "username", "password"];
    for key in keys {
        for control in controls {
            let mut lines: Vec<_> = keys.map(|key| format!("{key}=x")).into();
            lines[..2].clone_from_slice(&["protocol=https".to_owned(), "host=example.com".to_owned()]);
            lines.retain(|line| !line.starts_with(key));
            let good = match key {
                "protocol" => "https",
                "host" => "example.com",
                _ => "x",
            };
            lines.push(format!("{key}={good}{control}host=evil.com"));
            target.refuses(lines.join("\n") + "\n\n", &format!("{key} with {control:?}"));
        }
    }
    for encoded in ["%0a", "%0A", "%0d", "%0D", "%00"] {
        for part in [
            format!("host=example.com{encoded}host=evil.com"),
            format!("host=example.com\npath=a{encoded}host=evil.com"),
        ] {
            target.refuses(format!("protocol=https\n{part}\n\n"), &part);
        }
    }
    // Its own ends of lines are no secret way in either.
    target.refuses("protocol=https\r\nhost=example.com\r\n\r\n", "CR LF");
}

#[test]
fn a_line_end_within_an_answer_is_never_passed_on() {
    let target = Target::new("https://example.com/");
    for (number, hidden) in ["\u{d}", "\u{0}"].into_iter().enumerate() {
        let stored =
            format!("protocol=https\nhost=other-{number}.com\nusername=a{hidden}b\npassword=password\n\n");
        let output = helper(&target.usherd, &["git", "store"], stored);
        assert_ne!(output.code(), Some(0), "{hidden:?}");
        target.is_silent(&at(&format!("other-{number}.com")));
    }
    let described =
        json!({ "ServerURL": "other.com", "Username": "a\nb", "Secret": "line one\n\"line\" two" });
    target.usherd.leaks().token("a secret of two lines", "line one\n\"line\" two");
    let stored = target.docker("store", described.to_string());
    if stored.status.success() {
        let got: Value = serde_json::from_str(&target.docker("get", "other.com").expect_ok().stdout).unwrap();
        assert_eq!(got, described, "JSON has a way to write it");
    }
    target.is_silent(&at("other.com"));
}

#[test]
fn a_token_with_a_line_end_is_no_token() {
    let target = Target::new("https://example.com/");
    for bad in ["token-of-two\nhost=evil.com", "token-of-two\rhost=evil.com", "token-of-two\u{0}lines"] {
        target.idp.push(usher_testkit::idp::Reply::token().field("access_token", json!(bad)));
    }
    let answered = target.git(at("example.com"));
    assert_ne!(answered.code(), Some(0));
    assert_eq!(answered.stdout, "quit=1\n", "the profile's failure, and no more");
}

#[test]
fn a_host_that_is_not_quite_the_profiles_gets_nothing() {
    let target = Target::new("https://example.com/");
    for host in [
        "",
        ".",
        "example.com.",
        "user@example.com",
        "user:password@example.com",
        "example.com/",
        "example.com/path",
        "example.com?query",
        "example.com#fragment",
        "example.com\\evil.com",
        "example.com:port",
        "example.com:65536",
        "example.com:-1",
        "a b",
        "exam ple.com",
        "example%2ecom",
        "%65xample.com",
        "еxample.com",
        "ｅxample.com",
        "example。com",
        "xn--xample-2of.com\u{200b}",
        "[::1",
        "::1]",
        "0x7f.1",
        "017700000001",
        "2130706433",
        "127.1",
        "https://example.com",
        "*.example.com",
        "example.com,evil.com",
    ] {
        target.refuses(at(host), host);
    }
    for host in
        ["evil.com", "sub.example.com", "example.com.evil.com", "xample.com", "example.com:8443", "[::1]"]
    {
        target.is_silent(&at(host));
    }
}

#[test]
fn a_protocol_that_is_not_the_profiles_gets_nothing() {
    let target = Target::new("https://example.com/");
    for (input, what) in [
        ("host=example.com\n\n", "no protocol"),
        ("protocol=\nhost=example.com\n\n", "an empty protocol"),
        ("protocol=https\n\n", "no host"),
        ("protocol=https\nhost=\n\n", "an empty host"),
        ("\n", "nothing"),
        ("", "not even a line"),
        ("protocol=http\nhost=example.com\n\n", "http"),
        ("protocol=https://\nhost=example.com\n\n", "a URL's beginning"),
        ("url=https://example.com/\n\n", "a URL"),
        ("protocol=https\nhost=example.com\nurl=https://evil.com/\n\n", "a URL at the end"),
    ] {
        let output = target.git(input);
        assert_eq!(output.stdout, "", "{what}");
        assert!(output.code() != Some(0) || what == "a URL's beginning", "{what} is no error");
        assert_eq!(target.idp.token_requests(), 0, "{what}");
    }
    for protocol in ["cert", "ssh", "imap", "smtp", "ftp", "file"] {
        target.is_silent(&format!("protocol={protocol}\nhost=example.com\n\n"));
    }
}

#[test]
fn case_and_the_usual_port_make_no_difference_and_a_path_does() {
    let target = Target::new("https://example.com/team/");
    for host in ["evil.com", "example.com"] {
        target.is_silent(&at(host));
    }
    for path in ["", "teammate", "Team/a.git", "other/team/a.git", "tea"] {
        target.is_silent(&format!("protocol=https\nhost=example.com\npath={path}\n\n"));
    }
    for path in ["team/../other", "./team/a.git", "team/./a.git", "/team/a.git", "..", "team//../../x"] {
        target.refuses(format!("protocol=https\nhost=example.com\npath={path}\n\n"), path);
    }
    for host in ["example.com", "EXAMPLE.com", "example.com:443"] {
        let answer = target.git(format!("protocol=https\nhost={host}\npath=team/a.git\n\n")).expect_ok();
        assert_eq!(value(&answer.stdout, "password"), Some(target.idp.issued()[0].as_str()), "{host}");
    }
}

#[test]
fn what_is_said_twice_is_said_alike_or_an_error() {
    let target = Target::new("https://example.com/");
    for input in [
        "protocol=https\nhost=example.com\nhost=evil.com\n\n",
        "protocol=https\nhost=evil.com\nhost=example.com\n\n",
        "protocol=http\nprotocol=https\nhost=example.com\n\n",
        "protocol=https\nhost=example.com\nno equals sign\n\n",
    ] {
        target.refuses(input, input);
    }
    let line = |length: usize| format!("protocol=https\nhost=example.com\nx={}\n\n", "x".repeat(length - 2));
    target.refuses(line(65_536), "a line of 65,536 bytes");
    let much =
        format!("protocol=https\n{}\nhost=example.com\n\n", "wwwauth[]=Basic\n".repeat(70_000).trim_end());
    target.refuses(much, "more than a MiB");
    let cut = "protocol=https\nhost=example.com";
    for input in [line(65_535), cut.to_owned(), format!("{cut}\nhost=example.com\nhost[]=evil.com\nnew=\n\n")]
    {
        let answer = target.git(input.clone()).expect_ok();
        assert!(value(&answer.stdout, "password").is_some(), "{}", &input[..40.min(input.len())]);
    }
}

#[test]
fn docker_is_told_on_stdout_and_of_no_token() {
    let target = Target::new("https://example.com/");
    let refused = |operation: &str, input: &str| {
        let said = target.docker(operation, input).expect_code(1).stdout;
        assert!(!said.is_empty() && said.lines().count() == 1, "{operation} {input:?}: {said:?}");
        assert_eq!(target.idp.token_requests(), 0, "{operation} {input:?}");
        said
    };
    for operation in ["get", "erase"] {
        for input in [
            "example.com\nevil.com",
            "exam\u{0}ple.com",
            "\u{1b}[2Jexample.com",
            "ftp://example.com",
            "file:///etc",
            "https://",
            "https:///v2/",
            "://example.com",
            "user@example.com",
            "https://user:pw@example.com",
            "a b",
            "example.com?x",
            "example.com#x",
            "еxample.com",
            "example.com%0aevil.com",
            "http://example.com",
        ] {
            if operation == "get" || !input.starts_with("http://") {
                refused(operation, input);
            }
        }
        for input in ["", "\n", "  "] {
            assert_eq!(refused(operation, input), "no credentials server URL\n");
        }
        refused(operation, &"x".repeat((1 << 20) + 1));
    }
    for operation in ["get", "erase", "store"] {
        refused(operation, &"example.com".repeat(200_000));
    }
    let store = |server: &str, username: &str| {
        json!({ "ServerURL": server, "Username": username, "Secret": "the-secret" }).to_string()
    };
    target.usherd.leaks().secret("what is not stored", "the-secret");
    assert_eq!(refused("store", &store("", "alice")), "no credentials server URL\n");
    assert_eq!(refused("store", &store("other.com", "")), "no credentials username\n");
    for input in
        ["", "{", "[]", "\"text\"", &store("other.com\nevil.com", "alice"), &store("ftp://other.com", "a")]
    {
        refused("store", input);
    }
    for other in
        ["other.com", "https://other.com", "example.com.evil.com", "sub.example.com", "example.com:8443"]
    {
        let said = target.docker("get", other).expect_code(1).stdout;
        assert_eq!(said, "credentials not found in native keychain\n", "{other}");
    }
    for args in [&["docker"][..], &["docker", "frobnicate"], &["docker", "get", "get"]] {
        let said = helper(&target.usherd, args, "example.com").expect_code(1);
        assert!(said.stdout.contains("docker-credential-usher"), "{args:?}: {}", said.stdout);
    }
    for args in [&["docker", "version"][..], &["docker", "--version"], &["docker", "-v"]] {
        let said = helper(&target.usherd, args, "").expect_ok().stdout;
        assert!(said.starts_with("docker-credential-usher ("), "{args:?}: {said}");
    }
    assert_eq!(target.idp.token_requests(), 0);
    // And what it is for.
    for server in ["example.com", "example.com\n", "https://example.com", "https://example.com/v2/"] {
        let got: Value = serde_json::from_str(&target.docker("get", server).expect_ok().stdout).unwrap();
        let expected = json!({
            "ServerURL": server.trim_end(), "Username": "oauth2", "Secret": target.idp.issued()[0],
        });
        assert_eq!(got, expected);
    }
}

#[test]
fn what_kubectl_says_is_read_with_care() {
    let target = Target::new("https://example.com/");
    let ask = |info: &str| {
        target.usherd.command(&["helper", "kubectl"]).env("KUBERNETES_EXEC_INFO", info).answers_token().run()
    };
    let info = |version: &str, server: &str| {
        json!({
            "kind": "ExecCredential", "apiVersion": format!("client.authentication.k8s.io/{version}"),
            "spec": { "interactive": false, "cluster": { "server": server } },
        })
        .to_string()
    };
    let mut bad: Vec<String> = ["{}", "{", "[]", "null", "{\"kind\":\"Secret\"}"].map(str::to_owned).into();
    bad.extend(["v1alpha1", "v2", "v1\n", ""].map(|version| info(version, "https://example.com")));
    bad.extend(
        [
            "",
            "/",
            "example.com",
            "https://",
            "https://evil.com",
            "http://example.com",
            "https://example.com.evil.com",
            "https://example.com@evil.com",
            "https://evil.com#https://example.com",
            "https://example.com:8443",
            "ftp://example.com",
            "https://еxample.com",
        ]
        .map(|server| info("v1", server)),
    );
    for info in bad {
        let output = ask(&info);
        assert!(!output.status.success() && output.stdout.is_empty(), "{info}: {}", output.stdout);
        assert_eq!(target.idp.token_requests(), 0, "{info}");
    }
    for version in ["v1", "v1beta1"] {
        let answer: Value =
            serde_json::from_str(&ask(&info(version, "https://example.com")).expect_ok().stdout).unwrap();
        assert_eq!(answer["apiVersion"], format!("client.authentication.k8s.io/{version}"));
        assert_eq!(answer["status"]["token"], target.idp.issued()[0]);
    }
}

/// What a helper answers under a hostile environment: `program`, called by a name of its own.
fn called(target: &Target, program: &str, change: impl FnOnce(&mut Command), input: &str) -> Output {
    let mut command = super::client(&target.usherd, &target.usherd.dir().join("bin").join(program));
    command.arg("get");
    change(&mut command);
    super::run_for_answer(&target.usherd, command, input)
}

#[test]
fn programs_in_the_way_are_not_run() {
    let target = Target::new("https://example.com/");
    let (dir, ran) = (target.usherd.dir().join("hostile"), target.usherd.dir().join("ran"));
    for name in ["usherd", "usher", "systemctl", "sh", "git", "env", "usher.sock", "config.toml"] {
        let script = format!("#!/bin/sh\necho {name} >>'{}'\n", ran.display());
        let file = target.usherd.file(&format!("hostile/{name}"), &script);
        target.usherd.chmod(&file, 0o700);
    }
    for program in ["git-credential-usher", "docker-credential-usher"] {
        let input = if program.starts_with("git") { at("example.com") } else { "example.com".to_owned() };
        let hostile = |command: &mut Command| {
            command.current_dir(&dir).env("PATH", &dir).env("IFS", "x").env("BASH_ENV", dir.join("sh"));
        };
        let answer = called(&target, program, hostile, &input).expect_ok().stdout;
        assert!(answer.contains(&target.idp.issued()[0]), "{program}: {answer}");
        // Without a daemon to be found, one is started: the usherd beside usher, and none from here.
        let lost = |command: &mut Command| {
            command.current_dir(&dir).env("PATH", &dir).env("USHER_SOCKET", dir.join("none/usher.sock"));
        };
        let failed = called(&target, program, lost, &input);
        assert_ne!(failed.code(), Some(0), "{program}");
        assert!(!failed.stdout.contains("CANARY"), "{program}");
    }
    assert!(!ran.exists(), "{} was run", fs::read_to_string(&ran).unwrap_or_default());
}

#[test]
fn a_socket_that_is_not_named_in_full_is_not_asked() {
    let target = Target::new("https://example.com/");
    let dir = target.usherd.dir().join("home");
    let trap = UnixListener::bind(dir.join("trap.sock")).unwrap();
    trap.set_nonblocking(true).unwrap();
    for socket in ["trap.sock", "./trap.sock", "../home/trap.sock", "@trap", ""] {
        let astray = |command: &mut Command| {
            command.env("USHER_SOCKET", socket);
        };
        let failed = called(&target, "git-credential-usher", astray, &at("example.com"));
        // An empty variable is as good as none.
        assert_eq!(failed.code() == Some(0), socket.is_empty(), "{socket:?}: {}", failed.stderr);
        assert_eq!(failed.stdout.contains("password="), socket.is_empty(), "{socket:?}");
    }
    let nobody_came = trap.accept().err().map(|error| error.kind());
    assert_eq!(nobody_came, Some(std::io::ErrorKind::WouldBlock));
}

#[test]
fn a_server_of_another_user_is_told_nothing() {
    if !is_root("a helper and a server of another user") {
        return;
    }
    let target = Target::new("https://example.com/");
    let sandbox = target.usherd.sandbox();
    sandbox.chmod(sandbox.dir(), 0o711);
    let place = sandbox.dir().join("theirs");
    fs::create_dir(&place).unwrap();
    chown(&place, Some(NOBODY), Some(NOBODY)).unwrap();
    let input = "protocol=https\nhost=other.com\nusername=alice\npassword=CANARY-of-alice\n\n";
    for (program, operation, input) in [
        ("git-credential-usher", "get", at("example.com")),
        ("git-credential-usher", "store", input.to_owned()),
        ("git-credential-usher", "erase", input.to_owned()),
        ("docker-credential-usher", "get", "example.com".to_owned()),
    ] {
        let socket = place.join(format!("{program}-{operation}.sock"));
        let (mut child, mut lines) = as_nobody(&socket, true);
        assert_eq!(lines.next().as_deref(), Some("listening"));
        let mut command = super::client(sandbox, &sandbox.dir().join("bin").join(program));
        command.arg(operation).env("USHER_SOCKET", &socket);
        let failed = super::run(sandbox, command, &input);
        assert_ne!(failed.code(), Some(0), "{program} {operation}");
        let said = failed.stdout + &failed.stderr;
        assert!(said.contains("uid 65534"), "{program} {operation}: {said}");
        assert_eq!(lines.next().as_deref(), Some("read 0 bytes"), "{program} {operation}");
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(target.idp.token_requests(), 0);
}
