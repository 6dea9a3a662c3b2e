//! Golden transcripts: `golden/PROTOCOL-WHAT.txt`, each a conversation with a program, and with usherd.
//!
//! A line says who speaks:
//! - `#` a comment
//! - `$ ` begins a call: the program's name and its arguments
//! - `% ` a variable of its environment
//! - `< ` a line of its stdin; `<<` the same without a line end. `\r`, `\n`, `\0`, `\xNN` are such bytes and
//!   `{c*N}` is N times c
//! - `<...` stdin stays open behind that, and comes byte by byte: who reads on would wait
//! - `? ` what usherd is asked, as [`usherd`] writes it; without such a line it is not asked
//! - `= ` what usherd replies, as [`usherd`] reads it
//! - `> ` a line of stdout, where VERSION is our own; without one there is nothing there
//! - `! ` stands on stderr; without such a line there is nothing there
//! - `exit N` ends the call

use std::{
    ffi::OsString,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use usher_proto::version::VERSION;

use crate::{Caller, fake::Fake};

mod usherd;

/// What no transcript may let out to people.
const CANARY: &str = "CANARY";

#[derive(Default)]
struct Call {
    args: Vec<OsString>,
    env: Vec<(String, OsString)>,
    input: Vec<u8>,
    stays_open: bool,
    asked: Vec<String>,
    replies: Vec<String>,
    out: String,
    told: Vec<String>,
    code: u8,
}

fn transcripts() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/helper/golden");
    let mut found: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    found.sort();
    found
}

fn of(protocol: &str) -> Vec<PathBuf> {
    let mut found = transcripts();
    found.retain(|path| path.file_stem().unwrap().to_str().unwrap().split('-').next() == Some(protocol));
    found
}

/// The calls of a transcript.
fn read(text: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut call: Option<Call> = None;
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (who, rest) = line.split_once(' ').unwrap_or((line, ""));
        if who == "$" {
            assert!(call.is_none(), "no exit before: {line}");
            let args = shlex::split(rest).unwrap().into_iter().map(OsString::from).collect();
            call = Some(Call { args, ..Call::default() });
            continue;
        }
        let now = call.as_mut().unwrap_or_else(|| panic!("no call before: {line}"));
        match who {
            "%" => {
                let (name, value) = rest.split_once('=').unwrap();
                now.env.push((name.to_owned(), value.into()));
            }
            "<" | "<<" => {
                now.input.extend(unescape(rest));
                now.input.extend((who == "<").then_some(b'\n'));
            }
            "<..." => now.stays_open = true,
            "?" => now.asked.push(rest.to_owned()),
            "=" => now.replies.push(rest.to_owned()),
            ">" => now.out.extend([&rest.replace("VERSION", VERSION), "\n"]),
            "!" => now.told.push(rest.to_owned()),
            "exit" => {
                now.code = rest.parse().unwrap();
                calls.extend(call.take());
            }
            _ => panic!("who says this? {line}"),
        }
    }
    assert!(call.is_none(), "the last call has no exit");
    calls
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = match (c, after.chars().next()) {
            ('{', Some(_)) if after.get(1..2) == Some("*") => {
                let (count, end) = after[2..].split_once('}').unwrap();
                bytes.extend(after[..1].repeat(count.parse().unwrap()).bytes());
                end
            }
            ('\\', Some('x')) => {
                bytes.push(u8::from_str_radix(&after[1..3], 16).unwrap());
                &after[3..]
            }
            ('\\', Some(named)) => {
                bytes.push(match named {
                    'r' => b'\r',
                    'n' => b'\n',
                    '0' => 0,
                    '\\' => b'\\',
                    _ => panic!("\\{named} is no escape"),
                });
                &after[1..]
            }
            _ => {
                bytes.extend(c.to_string().bytes());
                after
            }
        };
    }
    bytes
}

/// A stream that nobody ends. To wait for more would be to wait for ever: that fails instead.
struct Open<'a>(&'a [u8]);

impl Read for Open<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let ended = || io::Error::other("read on, where nothing comes any more");
        let (byte, rest) = self.0.split_first().ok_or_else(ended)?;
        self.0 = rest;
        buffer[0] = *byte;
        Ok(1)
    }
}

/// What usherd was asked, and what it still has to reply.
#[derive(Default)]
struct Script {
    asked: Vec<String>,
    replies: Vec<String>,
}

fn play(call: Call, named: &str) {
    let script = Arc::new(Mutex::new(Script { asked: Vec::new(), replies: call.replies }));
    let next = |script: &Arc<Mutex<Script>>| {
        let script = script.clone();
        move |asked: String| {
            let mut script = script.lock().unwrap();
            script.asked.push(asked);
            if script.replies.is_empty() {
                "refused INTERNAL no-reply-is-left".into()
            } else {
                script.replies.remove(0)
            }
        }
    };
    let (token, credential) = (next(&script), next(&script));
    let fake = Fake::start_with(
        Some(VERSION),
        move |request| usherd::token(&token(usherd::token_asked(request))),
        move |asked| usherd::reply(&credential(usherd::asked(&asked))),
    );
    let mut env = call.env;
    env.push(("USHER_SOCKET".into(), fake.socket().into()));
    let find = |name: &str| env.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let (mut ended, mut open) = (&call.input[..], Open(&call.input));
    let input: &mut dyn Read = if call.stays_open { &mut open } else { &mut ended };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = crate::run(call.args.clone(), &mut Caller::new(&mut out, &mut err, &find).with_input(input));
    let (out, err) = (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap());
    let script = script.lock().unwrap();
    let what = format!("{named}: {:?}", call.args);
    assert!(!err.contains(CANARY), "{what}: a secret on stderr: {err}");
    assert_eq!(script.asked, call.asked, "{what}: {err}");
    assert!(script.replies.is_empty(), "{what}: never asked for {:?}", script.replies);
    assert_eq!(out, call.out, "{what}: {err}");
    assert_eq!(code, call.code, "{what}: {err}");
    assert_eq!(err.is_empty(), call.told.is_empty(), "{what}: {err}");
    for told in &call.told {
        assert!(err.contains(told), "{what}: {told:?} is not in {err}");
    }
}

fn play_all(protocol: &str) {
    let found = of(protocol);
    assert!(!found.is_empty(), "no transcript of {protocol}");
    for path in found {
        let named = path.file_name().unwrap().to_string_lossy();
        let calls = read(&fs::read_to_string(&path).unwrap());
        assert!(!calls.is_empty(), "{named} is empty");
        for call in calls {
            play(call, &named);
        }
    }
}

#[test]
fn git_is_answered_as_the_transcripts_have_it() {
    play_all("git");
}

#[test]
fn docker_is_answered_as_the_transcripts_have_it() {
    play_all("docker");
}

#[test]
fn kubectl_is_answered_as_the_transcripts_have_it() {
    play_all("kubectl");
}

#[test]
fn no_transcript_lies_about() {
    let known = super::HELPERS.iter().map(|helper| of(helper.name).len()).sum::<usize>();
    assert_eq!(transcripts().len(), known, "a transcript that no test plays");
    for path in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/helper/golden")).unwrap() {
        let path = path.unwrap().path();
        let known = ["txt", "rs"].map(Some);
        assert!(known.contains(&path.extension().and_then(|e| e.to_str())), "{}", path.display());
    }
}

#[test]
fn the_runner_notices_what_is_not_as_written() {
    let wrong = [
        "$ git-credential-usher capability\nexit 0",
        "$ git-credential-usher other\n> x\nexit 0",
        "$ git-credential-usher other\n? get\nexit 0",
        "$ git-credential-usher other\n= nothing\nexit 0",
        "$ git-credential-usher other\nexit 1",
        "$ git-credential-usher get\n<< CANARY\nexit 1",
        "$ git-credential-usher store\n< protocol=https\n< host=a.example\n<...\nexit 0",
        "$ git-credential-usher other\n! said\nexit 0",
    ];
    for text in wrong {
        let played =
            std::panic::catch_unwind(|| read(text).into_iter().for_each(|call| play(call, "planted")));
        assert!(played.is_err(), "{text}");
    }
}
