//! Whole command lines against a usherd on a real socket.

use std::{
    ffi::OsString,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tonic::Status;
use usher_proto::{
    error::{ErrorReason, Failure},
    v1::{GetTokenRequest, GetTokenResponse, TokenSource},
    version::VERSION,
};

use crate::{Caller, fake::Fake};

/// Runs `usher line` with `env`: its exit code, stdout and stderr.
fn usher(line: &str, env: &[(&str, OsString)]) -> (u8, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let find = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone());
    let args = ["usher"].into_iter().chain(line.split_whitespace()).map(OsString::from);
    let code = crate::run(args, &mut Caller::new(&mut out, &mut err, &find));
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

fn at(fake: &Fake) -> [(&'static str, OsString); 1] {
    [("USHER_SOCKET", fake.socket().into())]
}

fn token(_: &GetTokenRequest) -> GetTokenResponse {
    GetTokenResponse {
        access_token: "abc".into(),
        token_type: "Bearer".into(),
        authorization: "Bearer abc".into(),
        profile: "frontdoor".into(),
        source: TokenSource::Cache.into(),
        ..Default::default()
    }
}

#[test]
fn token_prints_the_token_alone() {
    let fake = Fake::start(Some(VERSION), |request| Ok(token(request)));
    assert_eq!(usher("token frontdoor", &at(&fake)), (0, "abc\n".into(), String::new()));
    assert_eq!(usher("header", &at(&fake)), (0, "Authorization: Bearer abc\n".into(), String::new()));
    let (code, out, err) = usher("token frontdoor --json", &at(&fake));
    assert!(code == 0 && err.is_empty(), "{err}");
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&value["access_token"], &value["source"]), (&"abc".into(), &"cache".into()));
}

#[test]
fn usherd_is_asked_for_what_was_typed() {
    let fake = Fake::start(None, |request| Ok(token(request)));
    let line = "token p --scope a,b --scope c --audience x --min-ttl 45m --rejected id --timeout 5s";
    assert_eq!(usher(line, &at(&fake)).0, 0);
    let variable = [at(&fake)[0].clone(), ("USHER_PROFILE", "v".into())];
    assert_eq!(usher("token", &variable).0, 0);
    let asked = fake.asked();
    let (first, metadata) = &asked[0];
    assert_eq!(first.profile, "p");
    assert_eq!(first.scopes, ["a", "b", "c"]);
    assert_eq!((first.audience.as_str(), first.rejected_token_id.as_str()), ("x", "id"));
    assert_eq!(first.min_ttl.map(|ttl| ttl.seconds), Some(2700));
    assert_eq!(metadata.get("usher-version").unwrap(), VERSION);
    assert_eq!(metadata.get("grpc-timeout").unwrap(), "5000000u");
    assert_eq!(asked[1].0.profile, "v");
    assert_eq!(asked[1].0.min_ttl, None);
}

#[test]
fn warnings_leave_the_answer_alone() {
    let fake = Fake::start(Some("9.9.9"), |request| {
        Ok(GetTokenResponse { below_min_ttl: request.min_ttl.is_some(), ..token(request) })
    });
    let (code, out, err) = usher("token frontdoor --min-ttl 9h", &at(&fake));
    assert_eq!((code, out.as_str()), (0, "abc\n"));
    assert_eq!(err.lines().count(), 2, "{err}");
    assert!(
        err.contains("the running usherd is 9.9.9") && err.contains("not for the 9h of --min-ttl"),
        "{err}"
    );
    let (_, _, err) = usher("token frontdoor --json", &at(&fake));
    assert!(err.starts_with("{\"warning\":"), "{err}");
}

#[test]
fn a_watch_without_a_terminal_says_what_works_in_its_place() {
    let fake = Fake::start(Some(VERSION), |request| Ok(token(request)));
    let (code, out, err) = usher("status --watch", &at(&fake));
    assert_eq!((code, out.as_str()), (64, ""));
    assert!(err.contains("stdout is none") && err.contains("usher status --watch --json"), "{err}");
    let (code, _, err) = usher("status --watch frontdoor", &at(&fake));
    assert!(code == 64 && err.contains("'frontdoor'"), "{err}");
    assert!(err.contains("a profile goes before it: `usher status frontdoor --watch`"), "{err}");
    let (code, _, err) = usher("status --watch 1ms", &at(&fake));
    assert!(code == 64 && err.contains("too often"), "{err}");
}

#[test]
fn a_watch_ends_where_going_on_is_no_use() {
    let fake = Fake::start(Some(VERSION), |request| Ok(token(request)));
    let env = [at(&fake)[0].clone(), ("USHER_SERVER_UID", "4294967".into())];
    let (code, out, err) = usher("status --watch --json", &env);
    assert_eq!((code, out.as_str()), (77, ""));
    assert!(err.contains("nothing was sent"), "{err}");
}

#[test]
fn a_refusal_is_told_with_its_hint_and_its_exit_code() {
    let fake = Fake::start(None, |_| {
        let failure = Failure::new(ErrorReason::RateLimited, "the budget is used up");
        Err(Status::from(Failure { retry_after: Some(Duration::from_secs(28)), ..failure }))
    });
    let (code, out, err) = usher("token frontdoor", &at(&fake));
    assert_eq!((code, out.as_str()), (75, ""));
    assert_eq!(err, "usher: the budget is used up\n  hint: try again in 28s\n");
    let (_, _, err) = usher("token frontdoor --json", &at(&fake));
    let value: serde_json::Value = serde_json::from_str(&err).unwrap();
    assert_eq!(value["error"]["reason"], "RATE_LIMITED");
    assert_eq!(value["error"]["retry_after_seconds"], 28);
}

#[test]
fn a_daemon_that_hangs_is_waited_for_until_the_deadline() {
    let fake = Fake::start(None, |_| {
        loop {
            std::thread::park();
        }
    });
    let (code, _, err) = usher("token frontdoor --timeout 100ms", &at(&fake));
    assert_eq!(code, 75, "{err}");
    assert!(err.contains("--timeout"), "{err}");
}

#[test]
fn without_a_daemon_it_says_how_to_start_one() {
    let dir = tempfile::tempdir().unwrap();
    let env =
        [("USHER_SOCKET", OsString::from(dir.path().join("none"))), ("USHER_AUTOSTART", OsString::from("0"))];
    let (code, out, err) = usher("token frontdoor", &env);
    assert_eq!((code, out.as_str()), (69, ""));
    assert!(err.contains("usherd is not running") && err.contains("systemctl --user start usherd"), "{err}");
    let (code, out, err) = usher("--version", &env);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(out, format!("usher {VERSION}\nusherd: not running\n"));
}

#[test]
fn the_server_has_to_be_the_one_expected() {
    let fake = Fake::start(None, |request| Ok(token(request)));
    let with = |uid: &str| [at(&fake)[0].clone(), ("USHER_SERVER_UID", uid.into())];
    let (code, _, err) = usher("token p", &with("4294967"));
    assert!(code == 77 && err.contains("nothing was sent"), "{code} {err}");
    let (code, _, err) = usher("token p", &with("root"));
    assert!(code == 78 && err.contains("USHER_SERVER_UID is root"), "{code} {err}");
    assert!(fake.asked().is_empty());
}

#[test]
fn the_admin_verbs() {
    let fake = Fake::start(None, |request| Ok(token(request)));
    let env = at(&fake);
    assert_eq!(usher("reload", &env).1, "reloaded: nothing changed (2 profiles)\n");
    assert_eq!(
        usher("forget f --json", &env).1,
        "{\"forgotten\":2,\"profile\":\"f\",\"still_on_disk\":false}\n"
    );
    assert!(usher("status", &env).1.starts_with("usherd 9.9.9, pid 42, config"));
    assert_eq!(usher("-V", &env).1, format!("usher {VERSION}\nusherd 9.9.9 (running, pid 42)\n"));
}

#[test]
fn curl_stays_where_usherd_allows() {
    let fake = Fake::start(None, |request| match request.url.as_str() {
        "/old" => Ok(token(request)),
        _ => Err(Failure::new(ErrorReason::UrlNotAllowed, "outside of urls").into()),
    });
    let (code, _, err) = usher("curl -p f https://evil.example/", &at(&fake));
    assert!(code == 77 && err.contains("outside of urls"), "{code} {err}");
    // A usherd that does not say which URL it checked has checked none.
    let (code, _, err) = usher("curl -p f /old", &at(&fake));
    assert!(code == 70 && err.contains("did not say"), "{code} {err}");
    for (line, said) in [("curl -p f", "no URL"), ("curl -p f -L /s", "-L is refused")] {
        let (code, _, err) = usher(line, &at(&fake));
        assert!(code == 64 && err.contains(said), "{code} {err}");
    }
}

#[test]
fn curl_asks_for_each_url_and_stays_with_the_first_ones_profile() {
    let fake = Fake::start(None, |request| {
        // http and --resolve: refused after the last answer, so that no curl is run.
        Ok(GetTokenResponse { url: format!("http://127.0.0.1{}", request.url), ..token(request) })
    });
    let (code, _, err) = usher("curl --resolve x:1:2 /a /b", &at(&fake));
    assert!(code == 64 && err.contains("--resolve is refused"), "{code} {err}");
    let asked: Vec<_> = fake.asked().into_iter().map(|(asked, _)| (asked.profile, asked.url)).collect();
    assert_eq!(asked, [(String::new(), "/a".into()), ("frontdoor".into(), "/b".into())]);
}

#[test]
fn verbose_curl_tells_everything_but_the_token() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap());
    let api = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        stream.write_all(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        String::from_utf8(request).unwrap()
    });
    let fake = Fake::start(None, move |request| {
        Ok(GetTokenResponse {
            url: url.clone(),
            access_token: "CANARY-0123456789".into(),
            authorization: "Bearer CANARY-0123456789".into(),
            ..token(request)
        })
    });
    let body = fake.dir().join("body");
    let (code, out, err) = usher(&format!("curl -p f -v -s -f -o {} /x", body.display()), &at(&fake));
    assert_eq!((code, out.as_str()), (22, ""), "{err}");
    assert!(api.join().unwrap().contains("Authorization: Bearer CANARY-0123456789\r\n"));
    assert!(err.contains("Authorization: [redacted]") && !err.contains("CANARY"), "{err}");
}

#[test]
fn wrong_use_exits_64_and_help_0() {
    for line in ["", "tokn x", "token --min-ttl soon", "token --timeout 0", "forget"] {
        let (code, out, err) = usher(line, &[]);
        assert_eq!((code, out.as_str()), (64, ""), "{line}: {err}");
        assert!(!err.is_empty(), "{line}");
    }
    for line in ["--help", "token --help", "curl --help"] {
        let (code, out, err) = usher(line, &[]);
        assert!(code == 0 && err.is_empty() && out.contains("Usage:"), "{line}: {err}");
    }
}

#[test]
fn env_prints_what_a_shell_reads_and_warns_of_what_does_not_expire() {
    let fake = Fake::start(None, |request| {
        let expires_at =
            (request.profile == "short").then_some(prost_types::Timestamp { seconds: 1, nanos: 0 });
        Ok(GetTokenResponse { access_token: "it's $x".into(), expires_at, ..token(request) })
    });
    let (code, out, err) = usher("env short", &at(&fake));
    assert_eq!((code, out.as_str(), err.as_str()), (0, "export USHER_TOKEN=\"it's \"'$x'\n", ""));
    let (code, out, err) = usher("env short --shell fish", &at(&fake));
    assert_eq!((code, out.as_str(), err.as_str()), (0, "set -gx USHER_TOKEN 'it\\'s $x'\n", ""));
    let (code, _, err) = usher("env long", &at(&fake));
    assert!(code == 0 && err.contains("a long-lived secret"), "{err}");
    let (code, out, _) = usher("env --unset", &[]);
    assert_eq!((code, out.lines().count()), (0, 4));
}

#[test]
fn use_changes_no_file_that_it_does_not_know() {
    let fake = Fake::start(None, |request| Ok(token(request)));
    let (code, _, err) = usher("use", &at(&fake));
    assert!(code == 64 && err.contains("`usher use PROFILE`"), "{code} {err}");
    assert_eq!(usher("use --json", &at(&fake)).1, "{\"default_profile\":null}\n");
    let (code, _, err) = usher("use f", &at(&fake));
    assert!(code == 78 && err.contains("absolute path"), "{code} {err}");
}

#[test]
fn a_connection_that_has_to_be_renewed_is_renewed_without_a_word() {
    // The first token, then three connections of one token each, then the profile is gone.
    let (calls, expires_at) =
        (AtomicUsize::new(0), Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }));
    let fake = Fake::start(None, move |request| match calls.fetch_add(1, Ordering::Relaxed) {
        0..4 => Ok(GetTokenResponse { expires_at, ..token(request) }),
        _ => Err(Failure::new(ErrorReason::ProfileUnknown, "it is gone").into()),
    });
    let file = fake.dir().join("token");
    let (code, _, err) = usher(&format!("token f --output {} --follow", file.display()), &at(&fake));
    assert_eq!((code, fake.asked().len()), (78, 5));
    assert!(err.starts_with("usher: it is gone\n") && !err.contains("warning"), "{err}");
}

#[test]
fn a_token_goes_into_no_file_that_is_none() {
    let fake = Fake::start(None, |request| Ok(token(request)));
    let (code, _, err) = usher("token f --output -", &at(&fake));
    assert!(code == 64 && err.contains("without --output the token goes to stdout"), "{err}");
    let (code, _, err) = usher(&format!("token f --output {}", fake.dir().display()), &at(&fake));
    assert!(code == 74 && err.contains("it is a directory") && err.contains("name a file"), "{err}");
    let (code, _, err) = usher(&format!("token f --output {}", fake.socket().display()), &at(&fake));
    assert!(code == 74 && err.contains("no regular file"), "{err}");
}

#[test]
fn completions_and_manual_need_no_daemon() {
    for line in ["completions bash", "completions zsh", "completions fish", "man"] {
        let (code, out, err) = usher(line, &[]);
        assert!(code == 0 && err.is_empty() && out.contains("inspect"), "{line}: {err}");
    }
}
