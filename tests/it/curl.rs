//! `usher curl` with the real curl: where the token goes, and where it does not.

#![expect(clippy::expect_used, reason = "a panic here is the failure of the test that called")]

use serde_json::Value;
use usher_testkit::{
    api::FakeApi,
    ca::Ca,
    curl::CurlSpy,
    idp::{FakeIdp, dead_address},
    process::Output,
    sandbox::Sandbox,
    usherd::Usherd,
};

use crate::support::{frontdoor, sandbox};

/// A daemon whose profile `frontdoor` is for `api`, and a curl that writes down how it is called.
pub(crate) struct Scene {
    pub(crate) usherd: Usherd,
    pub(crate) curl: CurlSpy,
    pub(crate) idp: FakeIdp,
    pub(crate) api: FakeApi,
    ca: Ca,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self::with(|_, _, profile| profile.to_owned())
    }

    /// `config` makes the configuration of the sandbox, the API and the usual profile.
    fn with(config: impl FnOnce(&Sandbox, &FakeApi, &str) -> String) -> Self {
        let ca = Ca::new();
        let idp = FakeIdp::start(&ca);
        let api = FakeApi::start(&ca, &idp);
        let sandbox = sandbox();
        let curl = CurlSpy::install(&sandbox);
        sandbox.watch(&idp);
        let profile = frontdoor(&sandbox, &ca, &idp, &format!("base_url = \"{}\"", api.base_url()));
        sandbox.config(&config(&sandbox, &api, &profile));
        Self { usherd: sandbox.start(), curl, idp, api, ca }
    }

    /// The arguments of `usher curl` for the profile.
    pub(crate) fn line(&self, args: &[&str]) -> Vec<String> {
        let pem = self.ca.pem().display().to_string();
        let all = [&["curl", "-p", "frontdoor", "--cacert", &pem], args].concat();
        all.into_iter().map(str::to_owned).collect()
    }

    /// The same, quiet but for errors.
    fn args(&self, args: &[&str]) -> Vec<String> {
        self.line(&[&["-sS"], args].concat())
    }

    pub(crate) fn run_line(&self, args: &[&str]) -> Output {
        self.usherd.usher(&self.line(args).iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn run(&self, args: &[&str]) -> Output {
        self.run_line(&[&["-sS"], args].concat())
    }

    /// usher refuses: nothing is sent to anybody.
    fn refuses(&self, args: &[&str], code: i32) -> String {
        let output = self.run(args);
        assert_eq!(output.code(), Some(code), "{args:?}: {}", output.stderr);
        assert!(self.curl.calls().is_empty() && self.api.requests().is_empty(), "{args:?} was sent");
        output.stderr
    }
}

/// The first resource of the API's answer.
fn first_name(text: &str) -> Value {
    serde_json::from_str::<Value>(text).expect("JSON")["content"][0]["name"].clone()
}

#[test]
fn the_token_is_in_no_argument_and_no_variable() {
    let scene = Scene::new();
    assert_eq!(first_name(&scene.run(&["/shares"]).expect_ok().stdout), "demo-web");
    let token = &scene.idp.issued()[0];
    let sent = scene.api.requests()[0].header("authorization").map(str::to_owned);
    assert_eq!(sent, Some(format!("Bearer {token}")));
    let calls = scene.curl.calls();
    let [call] = calls.as_slice() else { panic!("{} calls", calls.len()) };
    assert_eq!(&call.args[..3], ["-q", "-g", "-H"]);
    assert!(call.args[3].starts_with("@/dev/fd/"), "{}", call.args[3]);
    assert!(!call.env.is_empty() && !call.args.is_empty());
    assert!(!call.args.iter().chain(&call.env).any(|text| text.contains(token)));
}

#[test]
fn a_url_outside_of_urls_is_refused_and_nothing_sent() {
    let scene = Scene::new();
    let (origin, base) = (scene.api.origin(), scene.api.base_url());
    let outside = [
        "https://elsewhere.example.com/frontdoor".to_owned(),
        format!("{origin}/"),
        format!("{origin}/frontdoor"),
        format!("{base}x/shares"),
        format!("{base}/../other/shares"),
        format!("{base}/%2e%2e/other/shares"),
        "/../../core".to_owned(),
        base.replace("127.0.0.1", "localhost"),
        // The default port is another server.
        base.replace(&origin, "https://127.0.0.1"),
    ];
    for url in &outside {
        let told = scene.refuses(&[url], 77);
        assert!(told.contains("may not be presented to") && told.contains(&base), "{url}: {told}");
    }
    // One that is allowed does not help the other.
    scene.refuses(&["/shares", &outside[0]], 77);
}

#[test]
fn a_url_that_two_programs_could_read_differently_is_refused() {
    let scene = Scene::new();
    let base = scene.api.base_url();
    let origin = scene.api.origin();
    let host = origin.strip_prefix("https://").expect("an https URL");
    let lookalikes = [
        // curl would make two URLs of it, of which one is allowed.
        base.replace("127.0.0.1", "127.0.0.{1,2}"),
        format!("https://{host}@evil.example.com/"),
        format!("https://{host}.evil.example.com/"),
        format!("https://user:pw@{host}/shares"),
        "https://127.0.0.1@evil.example.com/".to_owned(),
        format!("https://{host}\\@evil.example.com/"),
        format!("https:\\\\{host}/shares"),
        format!("http://{host}/shares"),
        format!("file://{host}/shares"),
        format!("{base}/a b"),
        format!("{base}/shares\r\nX-Injected: yes"),
        format!("{base}/%0d%0aX-Injected"),
        format!("{base}/a%2f..%2f..%2fcore"),
        base.replace("127.0.0.1", "\u{ff11}27.0.0.1"),
        "example.com/shares".to_owned(),
    ];
    for url in &lookalikes {
        scene.refuses(&[url], 64);
        scene.refuses(&["--url", url], 64);
    }
}

#[test]
fn curl_is_given_the_url_that_was_checked() {
    let scene = Scene::new();
    let (origin, base) = (scene.api.origin(), scene.api.base_url());
    let typed = format!("{}/./shares?page=0&q={{1,2}}", base.replace(&origin, &format!("{origin}/x/..")));
    let typed = typed.replace("https://", "HTTPS://");
    assert_eq!(first_name(&scene.run(&[&typed]).expect_ok().stdout), "demo-web");
    let args = &scene.curl.calls()[0].args;
    assert!(args.windows(2).any(|pair| pair == ["--url", &format!("{base}/shares?page=0&q={{1,2}}")]));
    assert!(!args.contains(&typed));
    // Not every program takes this for 127.0.0.1.
    let odd = typed.replace("127.0.0.1", "0x7f.1");
    let refused = scene.run(&[&odd]).expect_code(64).stderr;
    assert!(refused.contains("an IP address or a port that is not in its usual form"), "{refused}");
}

#[test]
fn options_that_could_carry_the_token_elsewhere_are_refused() {
    let scene = Scene::new();
    let refused: [&[&str]; 20] = [
        &["-L"],
        &["--location"],
        &["--location-trusted"],
        &["-sSL"],
        &["-k"],
        &["--insecure"],
        &["-K", "-"],
        &["-K/dev/stdin"],
        &["-H", "Authorization: Bearer mine"],
        &["-Hauthorization: none"],
        &["-H", "Host: elsewhere.example.com"],
        &["-H", "X: y\r\nAuthorization: Bearer mine"],
        &["-H", "@/etc/passwd"],
        &["-u", "me:mine"],
        &["--next"],
        &["--connect-to", "::elsewhere.example.com:443"],
        &["--trace", "-"],
        &["--proto", "=all"],
        &["--some-option-of-tomorrow"],
        &["--insec"],
    ];
    for options in refused {
        let told = scene.refuses(&[options, &["/shares"]].concat(), 64);
        assert!(told.starts_with("usher: curl's ") && told.contains("is refused: "), "{options:?}: {told}");
    }
    assert_eq!(scene.idp.requests().len(), 0, "no token is fetched for what is not going to be sent");
}

#[test]
fn verbose_output_is_redacted() {
    let scene = Scene::new();
    let output = scene.run(&["-v", "/shares"]).expect_ok();
    assert_eq!(first_name(&output.stdout), "demo-web");
    let token = &scene.idp.issued()[0];
    assert!(output.stderr.contains("> Authorization: [redacted]"), "{}", output.stderr);
    assert!(output.stderr.contains("< HTTP/1.1 200"), "{}", output.stderr);
    assert!(!output.stderr.contains(token) && !output.stderr.contains(&token[..token.len() - 8]));
}

#[test]
fn a_body_is_sent_from_an_argument_and_from_stdin() {
    let scene = Scene::new();
    let json = ["-H", "Content-Type: application/json"];
    let _ = scene
        .run(&[&["-X", "POST"], &json[..], &["-d", "{\"name\":\"demo\"}", "/shares"]].concat())
        .expect_ok();
    let args = scene.args(&["-d", "@-", "/shares"]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let _ = scene.usherd.command(&args).stdin("name=from-stdin").run().expect_ok();
    let seen: Vec<_> =
        scene.api.requests().iter().map(|request| (request.method.clone(), request.text())).collect();
    let expected = ["{\"name\":\"demo\"}", "name=from-stdin"];
    assert_eq!(seen, expected.map(|body| ("POST".to_owned(), body.to_owned())));
    assert_eq!(scene.api.requests()[0].header("content-type"), Some("application/json"));
}

#[test]
fn several_urls_get_the_same_token() {
    let scene = Scene::new();
    let environments = format!("{}/environments", scene.api.base_url());
    let output = scene.run(&["/shares", "-o", "/dev/null", "--url", &environments]).expect_ok();
    assert_eq!(first_name(&output.stdout), "lab");
    let bearer = format!("Bearer {}", scene.idp.issued()[0]);
    let requests = scene.api.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(|request| request.header("authorization") == Some(&bearer)));
    assert_eq!((scene.idp.token_requests(), scene.curl.calls().len()), (1, 1));
}

#[test]
fn curls_exit_status_is_ushers() {
    let dead = format!("https://{}", dead_address());
    let scene =
        Scene::with(|_, api, profile| format!("{profile}urls = [\"{}\", \"{dead}\"]\n", api.origin()));
    let _ = scene.run(&["-f", "/shares"]).expect_ok();
    for verbose in [&[][..], &["-v"]] {
        let exits = |args: &[&str]| scene.run(&[verbose, args].concat()).code();
        assert_eq!(exits(&[&format!("{dead}/")]), Some(7), "connection refused");
        assert_eq!(exits(&["-f", "/nothing"]), Some(22), "404");
        assert_eq!(exits(&["/nothing"]), Some(0), "404 without -f");
        assert_eq!(exits(&["-o", "/no/such/directory/file", "/shares"]), Some(23), "cannot write");
    }
}

#[test]
fn a_machine_without_curl_is_told_so() {
    let scene = Scene::new();
    let args = scene.args(&["/shares"]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let told = scene.usherd.command(&args).env("PATH", "/no/such/directory").run().expect_code(69).stderr;
    assert!(told.contains("cannot run curl") && told.contains("install curl"), "{told}");
}

#[test]
fn an_answer_goes_into_a_file() {
    let scene = Scene::new();
    let output = scene.run(&["-o", "answer.json", "/shares?size=1"]).expect_ok();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""));
    let text = std::fs::read_to_string(scene.usherd.dir().join("answer.json")).unwrap();
    assert_eq!(first_name(&text), "demo-web");
}

#[test]
fn a_curlrc_is_not_read_and_a_redirect_not_followed() {
    let scene = Scene::with(|_, api, profile| format!("{profile}urls = [\"{}\"]\n", api.origin()));
    scene.usherd.file("home/.curlrc", "verbose\nlocation-trusted\ninsecure\n");
    let trap = FakeApi::builder().start(&scene.ca);
    let url = scene.api.redirect_url(&trap.base_url());
    let output = scene.run(&["-w", "%{http_code} %{num_redirects}", &url]).expect_ok();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("302 0", ""));
    assert!(trap.requests().is_empty());
    // Nor is the CA left unchecked.
    let unchecked = scene.usherd.usher(&["curl", "-p", "frontdoor", "-s", "/shares"]);
    assert_eq!(unchecked.code(), Some(60), "{}", unchecked.stderr);
}

#[test]
fn the_profile_follows_from_name_variable_or_url() {
    let ca = Ca::new();
    let idp = FakeIdp::start(&ca);
    let apis = ["one", "two"].map(|name| (name, FakeApi::start(&ca, &idp)));
    let sandbox = sandbox();
    sandbox.watch(&idp);
    let profile = |(name, api): &(&str, FakeApi)| {
        let profile = frontdoor(&sandbox, &ca, &idp, &format!("base_url = \"{}\"", api.base_url()));
        profile.replace("[profile.frontdoor]", &format!("[profile.{name}]"))
    };
    let config: String = apis.iter().map(profile).collect();
    sandbox.config(&config);
    let usherd = sandbox.start();
    let pem = ca.pem().display().to_string();
    let curl = |args: &[&str]| usherd.command(&[&["curl"], args, &["-sSf", "--cacert", &pem]].concat());
    let counts = || apis.each_ref().map(|(_, api)| api.requests().len());

    for (_, api) in &apis {
        let _ = curl(&[&format!("{}/shares", api.base_url())]).run().expect_ok();
    }
    assert_eq!(counts(), [1, 1], "by URL");
    let _ = curl(&["/shares"]).env("USHER_PROFILE", "two").run().expect_ok();
    assert_eq!(counts(), [1, 2], "by variable");
    let _ = curl(&["-p", "one", "/shares"]).env("USHER_PROFILE", "two").run().expect_ok();
    assert_eq!(counts(), [2, 2], "a name goes before the variable");
    let told = curl(&["/shares"]).run().expect_code(64).stderr;
    assert!(told.contains("one") && told.contains("two") && told.contains("USHER_PROFILE"), "{told}");
    // The first URL's profile is that of all: its token goes nowhere else.
    let both = apis.each_ref().map(|(_, api)| format!("{}/shares", api.base_url()));
    assert_eq!(curl(&[&both[0], &both[1]]).run().code(), Some(77));
    assert_eq!((counts(), idp.token_requests()), ([2, 2], 2));
}
