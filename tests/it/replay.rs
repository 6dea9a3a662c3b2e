//! `usher curl` and a 401: the token is reported, and the request made once more where that can be done
//! without anybody having seen the first answer.

#![allow(clippy::unwrap_used, reason = "a panic is the failure of the test")]

use std::{ops::Deref, process::Command};

use usher_testkit::{http::Recorded, idp::Reply, process::Output};

use crate::curl;

/// A daemon whose token the API has just revoked.
struct Scene(curl::Scene);

impl Deref for Scene {
    type Target = curl::Scene;

    fn deref(&self) -> &curl::Scene {
        &self.0
    }
}

impl Scene {
    fn new() -> Self {
        let scene = Self(curl::Scene::new());
        let _ = scene.usherd.usher(&["token", "frontdoor"]).expect_ok();
        scene.revoke();
        scene
    }

    fn revoke(&self) {
        self.api.revoke(self.idp.issued().last().unwrap());
    }

    fn run(&self, args: &[&str]) -> Output {
        self.run_line(args)
    }

    /// Token requests, requests to the API, runs of curl.
    fn counts(&self) -> (usize, usize, usize) {
        (self.idp.token_requests(), self.api.requests().len(), self.curl.calls().len())
    }
}

#[test]
fn a_refused_token_is_replaced_and_nobody_sees_it() {
    for options in [&["-sSf"][..], &["-sS"], &["-sS", "--fail-with-body"]] {
        let scene = Scene::new();
        let output = scene.run(&[options, &["/shares"]].concat()).expect_ok();
        assert!(output.stdout.contains("demo-web") && !output.stdout.contains("unauthorized"), "{options:?}");
        assert_eq!((output.stderr.as_str(), scene.counts()), ("", (2, 2, 2)), "{options:?}");
        let sent = scene.api.requests();
        assert_eq!(
            sent[1].header("authorization"),
            Some(format!("Bearer {}", scene.idp.issued()[1]).as_str())
        );
    }
}

#[test]
fn a_body_is_sent_again() {
    let scene = Scene::new();
    let body = scene.usherd.file("body", "from a file");
    let _ = scene.run(&["-sS", "-d", "one=1", "-d", &format!("@{}", body.display()), "/shares"]).expect_ok();
    let sent: Vec<String> = scene.api.requests().iter().map(Recorded::text).collect();
    assert_eq!(sent, ["one=1&from a file", "one=1&from a file"]);
}

#[test]
fn what_cannot_be_repeated_is_left_as_it_is() {
    let scene = Scene::new();
    for args in [&["-sSf", "-o", "answer", "/shares"][..], &["-sSf", "-d", "@-", "/shares"]] {
        assert_eq!(scene.run(args).code(), Some(22), "{args:?}");
    }
    assert_eq!(scene.counts(), (1, 2, 2));
}

#[test]
fn without_another_token_the_answer_is_the_first_ones() {
    let scene = Scene::new();
    scene.idp.push(Reply::oauth_error(401, "invalid_client", "no"));
    let output = scene.run(&["-sS", "-w", "%{http_code}", "/shares"]).expect_ok();
    assert!(output.stdout.contains("unauthorized") && output.stdout.ends_with("401"), "{}", output.stdout);
    assert!(
        output.stderr.contains("warning: the API refused the token (401), and there is no other: "),
        "{}",
        output.stderr
    );
    assert_eq!(scene.counts(), (2, 1, 1));
}

#[test]
fn it_is_tried_once_more_and_no_oftener() {
    let scene = Scene::new();
    // The next token is refused as well.
    let next = usher_testkit::tokens::canary("NEXT");
    scene.api.revoke(&next);
    scene.idp.push(Reply::token().field("access_token", next.into()));
    let output = scene.run(&["-sSf", "/shares"]).expect_code(22);
    assert!(output.stderr.contains("401") && output.stdout.is_empty(), "{}", output.stderr);
    assert_eq!(scene.counts(), (2, 2, 2));
}

#[test]
fn other_answers_and_failures_pass_as_they_are() {
    let scene = Scene::new();
    let _ = scene.run(&["-sSf", "/shares"]).expect_ok();
    assert_eq!(scene.run(&["-sSf", "/nothing"]).code(), Some(22));
    assert!(scene.run(&["-sS", "/nothing"]).expect_ok().stdout.contains("not_found"));
    assert!(scene.run(&["-sSi", "/shares"]).expect_ok().stdout.starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(scene.run(&["-sSI", "/shares"]).expect_ok().stdout.starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(scene.run(&["/shares"]).expect_ok().stderr.contains("% Total"), "the progress meter");
    let unchecked = scene.usherd.usher(&["curl", "-p", "frontdoor", "-sS", "/shares"]).expect_code(60);
    assert!(unchecked.stderr.contains("curl: (60)"), "{}", unchecked.stderr);
    assert_eq!(scene.idp.token_requests(), 2);
}

#[test]
fn a_reader_that_has_gone_is_curls_to_complain_about() {
    let scene = Scene::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_usher"))
        .args(scene.line(&["-sS", "/shares"]))
        .env("USHER_SOCKET", scene.usherd.socket())
        .stdout(writer)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(23), "{}", String::from_utf8_lossy(&output.stderr));
}
