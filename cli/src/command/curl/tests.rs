//! What curl is called with.

use std::os::unix::process::ExitStatusExt as _;

use super::*;

fn called(typed: &[&str], urls: &[&str]) -> String {
    let parsed = parse(typed.iter().map(OsString::from).collect()).unwrap();
    let urls: Vec<String> = urls.iter().map(|url| (*url).to_owned()).collect();
    let words =
        arguments(&parsed, &urls, "/dev/fd/3", &[]).into_iter().map(|word| word.into_string().unwrap());
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn curl_gets_the_urls_that_were_checked() {
    assert_eq!(
        called(&["-sSo", "a", "/x", "--url", "/y", "-i"], &["https://h/b/x", "https://h/b/y"]),
        "-q -g -H @/dev/fd/3 -s -S -o a --url https://h/b/x --url https://h/b/y -i --proto =https"
    );
}

#[test]
fn http_takes_no_proxy() {
    assert_eq!(
        called(&["-x", "http://p", "/x"], &["http://127.0.0.1:8/x"]),
        "-q -g -H @/dev/fd/3 -x http://p --url http://127.0.0.1:8/x --proto =http,https --noproxy *"
    );
}

#[test]
fn the_exit_code_is_curls() {
    assert_eq!(code(ExitStatus::from_raw(22 << 8)), 22);
    assert_eq!(code(ExitStatus::from_raw(0)), 0);
    assert_eq!(code(ExitStatus::from_raw(15)), 143);
}
