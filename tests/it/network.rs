//! The way to the IdP: proxies and certificate authorities.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is the failure of the test"
)]
#![allow(clippy::disallowed_methods, reason = "how long a test takes is no matter of suspend")]

use std::{fs, path::Path};

use usher_testkit::{
    ca::Ca,
    idp::{FakeIdp, dead_address},
    proxy::Proxy,
    tokens::canary,
};

use crate::support::{
    World, contains_all, facts, frontdoor, named, sandbox, unreachable, wait_until_fetched,
};

/// What `usherd --check-config` says to a profile with these lines, and `head` at the top of the file.
fn refused(head: &str, extra: &str) -> String {
    let (ca, sandbox) = (Ca::new(), sandbox());
    let idp = FakeIdp::start(&ca);
    sandbox.config(&format!("{head}\n{}", frontdoor(&sandbox, &ca, &idp, extra)));
    sandbox.usherd(&["--check-config"]).expect_code(78).stderr
}

// --- Proxies ---------------------------------------------------------------------------------------

#[test]
fn a_request_goes_through_the_proxy_which_sees_nothing_but_where_to() {
    let proxy = Proxy::start();
    let world = World::new(&format!("proxy = \"{}\"", proxy.url()));
    facts(&world.usherd, &["frontdoor"]);
    assert_eq!(proxy.requests(), [format!("CONNECT {} HTTP/1.1", world.idp.host())]);
    world.usherd.leaks().note("the proxy's log", proxy.said());
    // TLS is the IdP's own: what arrived is the request of every other test.
    assert_eq!(world.idp.requests().len(), 1);
    assert_eq!(world.idp.requests()[0].header("proxy-authorization"), None);
}

#[test]
fn a_proxy_for_all_is_overruled_by_profiles() {
    let (general, own, ca, sandbox) = (Proxy::start(), Proxy::start(), Ca::new(), sandbox());
    let idp = FakeIdp::start(&ca);
    sandbox.watch(&idp);
    let profile = |name, extra: &str| named(name, &sandbox, &ca, &idp, extra);
    sandbox.config(&format!(
        "proxy = \"{}\"\n{}{}{}{}{}{}",
        general.url(),
        profile("plain", ""),
        profile("own", &format!("proxy = \"{}\"", own.url())),
        profile("none", "proxy = \"\""),
        profile("address", "no_proxy = [\"elsewhere.example.com\", \"127.0.0.1\"]"),
        profile("block", "no_proxy = [\"127.0.0.0/8\"]"),
        profile("others", "no_proxy = [\".example.com\", \"10.0.0.0/8\"]"),
    ));
    let usherd = sandbox.start();
    for (name, through) in [
        ("plain", (1, 0)),
        ("own", (1, 1)),
        ("none", (1, 1)),
        ("address", (1, 1)),
        ("block", (1, 1)),
        ("others", (2, 1)),
    ] {
        facts(&usherd, &[name]);
        assert_eq!((general.requests().len(), own.requests().len()), through, "{name}");
    }
    assert_eq!(idp.token_requests(), 6);
}

#[test]
fn exceptions_from_the_proxy_hold_for_names_and_for_all_profiles() {
    let (proxy, ca, sandbox) = (Proxy::start(), Ca::new(), sandbox());
    let idp = FakeIdp::start(&ca);
    sandbox.watch(&idp);
    let by_name = |name, extra| {
        let by_name = idp.host().replace("127.0.0.1", "localhost");
        named(name, &sandbox, &ca, &idp, extra).replace(&idp.host(), &by_name)
    };
    sandbox.config(&format!(
        "proxy = \"{}\"\nno_proxy = [\"localhost\"]\n{}{}",
        proxy.url(),
        by_name("direct", ""),
        by_name("proxied", "no_proxy = []"),
    ));
    let usherd = sandbox.start();
    facts(&usherd, &["direct"]);
    assert_eq!(proxy.requests().len(), 0);
    facts(&usherd, &["proxied"]);
    assert_eq!(proxy.requests().len(), 1);
    contains_all(&proxy.requests()[0], &["CONNECT localhost:"]);
}

#[test]
fn a_proxy_that_is_down_is_named() {
    let (dead, gone) = (dead_address().to_string(), dead_address().to_string());
    let world = World::with(FakeIdp::builder(), |sandbox, ca, idp| {
        let proxy = format!("proxy = \"http://{dead}\"\n");
        let direct = named("direct", sandbox, ca, idp, &format!("{proxy}no_proxy = [\"127.0.0.1\"]"));
        frontdoor(sandbox, ca, idp, &proxy) + &direct.replace(&idp.host(), &gone)
    });
    contains_all(
        &unreachable(&world.usherd, "frontdoor"),
        &[&format!("cannot connect to the IdP {} by way of the proxy {dead}: ", world.idp.host()), "refused"],
    );
    // It has no part in what goes past it.
    let message = unreachable(&world.usherd, "direct");
    contains_all(&message, &[&format!("cannot connect to the IdP {gone}: ")]);
    assert!(world.idp.requests().is_empty());
}

#[test]
fn a_proxy_that_refuses_is_named() {
    let (closed, asking) = (Proxy::with("ConnectPort 9"), Proxy::with("BasicAuth somebody s3cr3t"));
    let world = World::with(FakeIdp::builder(), |sandbox, ca, idp| {
        let through =
            |name, proxy: &Proxy| named(name, sandbox, ca, idp, &format!("proxy = \"{}\"", proxy.url()));
        through("closed", &closed) + &through("asking", &asking)
    });
    let by_way = |proxy: &Proxy| format!("by way of the proxy {}: ", proxy.authority());
    contains_all(&unreachable(&world.usherd, "closed"), &[&by_way(&closed), "the proxy refuses to"]);
    contains_all(&unreachable(&world.usherd, "asking"), &[&by_way(&asking), "user name and a password"]);
    assert!(world.idp.requests().is_empty());
}

#[test]
fn a_proxy_that_says_nothing_is_given_up_and_named() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = silent.local_addr().unwrap();
    let world = World::new(&format!("proxy = \"http://{addr}\""));
    contains_all(
        &unreachable(&world.usherd, "frontdoor"),
        &[&format!("by way of the proxy {addr}: no answer within 5 s")],
    );
}

#[test]
fn the_environment_names_no_proxy() {
    let (ca, sandbox) = (Ca::new(), sandbox());
    let idp = FakeIdp::start(&ca);
    sandbox.watch(&idp);
    let dead = format!("http://{}", dead_address());
    for variable in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        sandbox.set_env(variable, &dead);
    }
    sandbox.config(&frontdoor(&sandbox, &ca, &idp, ""));
    facts(&sandbox.start(), &["frontdoor"]);
    assert_eq!(idp.token_requests(), 1);
}

#[test]
fn the_environment_makes_no_exception_from_a_proxy() {
    let (proxy, ca, sandbox) = (Proxy::start(), Ca::new(), sandbox());
    let idp = FakeIdp::start(&ca);
    sandbox.watch(&idp);
    for variable in ["NO_PROXY", "no_proxy"] {
        sandbox.set_env(variable, "*");
    }
    sandbox.config(&frontdoor(&sandbox, &ca, &idp, &format!("proxy = \"{}\"", proxy.url())));
    facts(&sandbox.start(), &["frontdoor"]);
    assert_eq!(proxy.requests().len(), 1);
}

#[test]
fn what_is_no_proxy_is_a_mistake_in_the_configuration() {
    let password = canary("PROXY-PASSWORD");
    for (url, words) in [
        (format!("http://user:{password}@proxy.example.com:3128"), "has a user name or password"),
        ("http://user@proxy.example.com:3128".to_owned(), "has a user name or password"),
        ("https://proxy.example.com:3128".to_owned(), "http://proxy.example.com:3128"),
        ("socks5://proxy.example.com:1080".to_owned(), "http://proxy.example.com:3128"),
        ("proxy.example.com:3128".to_owned(), "http://proxy.example.com:3128"),
        ("http://proxy.example.com:3128/path".to_owned(), "http://proxy.example.com:3128"),
    ] {
        for (head, extra, key) in [
            (format!("proxy = \"{url}\""), String::new(), "line 1: proxy: "),
            (String::new(), format!("proxy = \"{url}\""), "profile.frontdoor.proxy: "),
        ] {
            let report = refused(&head, &extra);
            contains_all(&report, &[key, words]);
            assert!(!report.contains(&password), "{url}");
        }
    }
}

#[test]
fn an_exception_that_would_never_match_is_a_mistake_in_the_configuration() {
    for entry in
        ["idp.example.com:443", "https://idp.example.com", "a.example.com,b.example.com", "10.0.0.0/33", ""]
    {
        let report = refused(&format!("no_proxy = [\"{entry}\"]"), "");
        contains_all(&report, &["line 1: no_proxy: ", &format!("{entry:?}"), "CIDR block"]);
    }
}

// --- Certificate authorities -----------------------------------------------------------------------

/// Profiles without a `ca_file` of their own.
fn without_ca_file(profile: &str) -> String {
    let lines: Vec<&str> = profile.lines().filter(|line| !line.starts_with("ca_file")).collect();
    lines.join("\n") + "\n"
}

/// Puts another authority's certificate where the daemon looks for one.
fn replace(file: &Path, ca: &Ca) {
    fs::copy(ca.pem(), file).unwrap();
}

#[test]
fn a_ca_file_for_all_is_overruled_by_a_profiles_own() {
    let (general, own, sandbox) = (Ca::new(), Ca::new(), sandbox());
    let (first, second) = (FakeIdp::start(&general), FakeIdp::start(&own));
    sandbox.watch(&first);
    sandbox.watch(&second);
    sandbox.config(&format!(
        "ca_file = \"{}\"\n{}{}{}",
        general.pem().display(),
        without_ca_file(&named("first", &sandbox, &general, &first, "")),
        named("second", &sandbox, &own, &second, ""),
        without_ca_file(&named("third", &sandbox, &own, &second, "")),
    ));
    // A later profile's secret has replaced that of an earlier one: both IdPs take it.
    first.set_client(first.client_id(), second.client_secret());
    let usherd = sandbox.start();
    facts(&usherd, &["first"]);
    facts(&usherd, &["second"]);
    contains_all(
        &unreachable(&usherd, "third"),
        &["is not signed by a CA in ca_file", general.pem().to_str().unwrap()],
    );
}

#[test]
fn a_changed_ca_file_counts_at_once() {
    let other = Ca::new();
    let world = World::with(FakeIdp::builder().expires_in(0), |sandbox, _, idp| {
        let file = sandbox.file("ca.pem", &fs::read_to_string(other.pem()).unwrap());
        let profile = without_ca_file(&frontdoor(sandbox, &other, idp, ""));
        format!("ca_file = \"{}\"\n{profile}", file.display())
    });
    let file = world.usherd.dir().join("ca.pem");
    contains_all(&unreachable(&world.usherd, "frontdoor"), &["is not signed by a CA in ca_file"]);
    replace(&file, &world.ca);
    let _ = world.usherd.usher(&["forget", "frontdoor"]).expect_ok();
    wait_until_fetched(&world.usherd, "frontdoor");
    // An authority that is no longer trusted is not trusted for a kept connection, either.
    replace(&file, &other);
    contains_all(&unreachable(&world.usherd, "frontdoor"), &["is not signed by a CA in ca_file"]);
}

#[test]
fn a_ca_file_that_cannot_be_used_says_so() {
    let world = World::with(FakeIdp::builder(), |sandbox, ca, idp| {
        let with = |name, file: &Path| {
            let profile = without_ca_file(&named(name, sandbox, ca, idp, ""));
            profile + &format!("ca_file = \"{}\"\n", file.display())
        };
        let writable = sandbox.file("writable.pem", "");
        sandbox.chmod(&writable, 0o666);
        [
            with("missing", &sandbox.dir().join("missing.pem")),
            with("empty", &sandbox.file("empty.pem", "")),
            with("text", &sandbox.file("text.pem", "-----BEGIN CERTIFICATE-----\nno\n")),
            with("writable", &writable),
        ]
        .concat()
    });
    for (profile, words) in [
        ("missing", "missing.pem: No such file"),
        ("empty", "empty.pem holds no PEM certificates"),
        ("text", "text.pem holds no PEM certificates"),
        ("writable", "writable.pem has mode 0666"),
    ] {
        contains_all(&unreachable(&world.usherd, profile), &["ca_file", words]);
    }
    assert_eq!(world.idp.connections(), 0);
}

#[test]
fn ssl_cert_file_stands_for_the_systems_certificates() {
    let (right, other, sandbox) = (Ca::new(), Ca::new(), sandbox());
    let idp = FakeIdp::builder().expires_in(0).start(&right);
    sandbox.watch(&idp);
    let file = sandbox.file("bundle.pem", &fs::read_to_string(right.pem()).unwrap());
    sandbox.set_env("SSL_CERT_FILE", file.to_str().unwrap());
    let plain = without_ca_file(&named("plain", &sandbox, &right, &idp, ""));
    let own = named("own", &sandbox, &other, &idp, "");
    sandbox.config(&(plain.clone() + &own));
    let usherd = sandbox.start();
    facts(&usherd, &["plain"]);
    contains_all(&unreachable(&usherd, "own"), &["is not signed by a CA in ca_file"]);
    // Its change counts at once, as a ca_file's does.
    replace(&file, &other);
    contains_all(&unreachable(&usherd, "plain"), &["is not signed by a CA in", "bundle.pem"]);
    replace(&file, &right);
    wait_until_fetched(&usherd, "plain");
    // And it outlives a reload.
    let _ = usherd.usher(&["reload"]).expect_ok();
    facts(&usherd, &["plain"]);
}

#[test]
fn without_either_the_systems_certificates_count() {
    let world =
        World::with(FakeIdp::builder(), |sandbox, ca, idp| without_ca_file(&frontdoor(sandbox, ca, idp, "")));
    contains_all(
        &unreachable(&world.usherd, "frontdoor"),
        &["is not signed by a CA that this system knows", "ca_file"],
    );
    assert!(world.idp.requests().is_empty());
}

#[test]
fn verification_cannot_be_switched_off() {
    for key in ["insecure = true", "verify = false", "tls_verify = false", "insecure_skip_verify = true"] {
        let name = key.split_once(' ').unwrap().0;
        for report in [refused(key, ""), refused("", key)] {
            contains_all(&report, &[&format!("{name}: is not a key here")]);
        }
    }
    let (ca, sandbox) = (Ca::new(), sandbox());
    let idp = FakeIdp::builder().identity(ca.self_signed()).start(&ca);
    sandbox.watch(&idp);
    for (variable, value) in [
        ("NODE_TLS_REJECT_UNAUTHORIZED", "0"),
        ("CURL_INSECURE", "1"),
        ("GIT_SSL_NO_VERIFY", "1"),
        ("PYTHONHTTPSVERIFY", "0"),
        ("USHER_INSECURE", "1"),
    ] {
        sandbox.set_env(variable, value);
    }
    sandbox.config(&frontdoor(&sandbox, &ca, &idp, ""));
    unreachable(&sandbox.start(), "frontdoor");
    assert!(idp.requests().is_empty());
}

// --- Discovery -------------------------------------------------------------------------------------
