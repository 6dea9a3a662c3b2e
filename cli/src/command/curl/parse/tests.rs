//! Reading curl's arguments: clusters, values, URLs, and everything that is refused.

use super::*;

fn read(args: &[&str]) -> Result<Parsed, String> {
    parse(args.iter().map(OsString::from).collect()).map_err(|error| error.to_string())
}

/// The parts, written as usher writes them, URLs in angle brackets.
fn written(args: &[&str]) -> String {
    let words = read(args).unwrap().parts.into_iter().map(|part| match part {
        Part::Url(url) => format!("<{url}>"),
        Part::Option(name, None) => name.into_string().unwrap(),
        Part::Option(name, Some(value)) => format!("{}={}", name.display(), value.display()),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn options_are_read_as_curl_reads_them() {
    let cases: [(&[&str], &str); 16] = [
        (&["/shares"], "</shares>"),
        (&["-sSfo", "file", "/s"], "-s -S -f -o=file </s>"),
        (&["-sSfofile", "/s"], "-s -S -f -o=file </s>"),
        (&["-XPOST", "/s"], "-X=POST </s>"),
        (&["-X", "POST", "/s"], "-X=POST </s>"),
        (&["--request", "POST", "/s"], "--request=POST </s>"),
        (&["-o", "-v", "/s"], "-o=-v </s>"),
        (&["-d", "-", "/s"], "-d=- </s>"),
        (&["-d", "", "/s"], "-d= </s>"),
        (&["--json", "{}", "--url", "/a", "/b"], "--json={} </a> </b>"),
        (&["-s", "--", "-odd", "/s"], "-s <-odd> </s>"),
        (&["-H", "Accept: x", "/s"], "-H=Accept: x </s>"),
        (&["-HX-Host: y", "/s"], "-H=X-Host: y </s>"),
        (&["-#", "-0", "/s"], "-# -0 </s>"),
        (&["/s", "-i"], "</s> -i"),
        (&["-d@body.json", "-H", "Content-Type: x", "/s"], "-d=@body.json -H=Content-Type: x </s>"),
    ];
    for (args, expected) in cases {
        assert_eq!(written(args), expected, "{args:?}");
    }
}

#[test]
fn verbose_is_noticed_wherever_it_hides_and_passed_on_once() {
    for args in [&["-v", "/s"][..], &["-vvv", "/s"], &["--verbose", "-v", "/s"], &["-sv", "/s"]] {
        let parsed = read(args).unwrap();
        assert!(parsed.verbose, "{args:?}");
        let is_v =
            |part: &&Part| matches!(part, Part::Option(name, None) if name == "-v" || name == "--verbose");
        assert_eq!(parsed.parts.iter().filter(is_v).count(), 1, "{args:?}");
    }
    // Here it is a value.
    assert!(!read(&["-o", "-v", "/s"]).unwrap().verbose);
    assert!(!read(&["-ov", "/s"]).unwrap().verbose);
}

#[test]
fn what_could_carry_the_token_elsewhere_is_refused_by_name() {
    let cases: [(&[&str], &str); 31] = [
        (&["-L", "/s"], "-L is refused: a redirect"),
        (&["-X", "GET /core HTTP/1.1", "/s"], "-X is refused: its value is no request method"),
        (&["-X", "", "/s"], "-X is refused: its value is no request method"),
        (&["-H", "Content-Length: 3", "/s"], "-H Content-Length or Transfer-Encoding is refused"),
        (&["-H", "transfer-encoding: chunked", "/s"], "-H Content-Length or Transfer-Encoding is refused"),
        (&["-sL", "/s"], "-L is refused: a redirect"),
        (&["--location", "/s"], "redirect"),
        (&["--location-trusted", "/s"], "redirect"),
        (&["-k", "/s"], "certificate"),
        (&["--insecure", "/s"], "certificate"),
        (&["-K", "file", "/s"], "cannot see"),
        (&["--config", "file", "/s"], "cannot see"),
        (&["--trace", "-", "/s"], "would write the token"),
        (&["--trace-ascii", "-", "/s"], "would write the token"),
        (&["--libcurl", "f", "/s"], "would write the token"),
        (&["--stderr", "f", "/s"], "would write the token"),
        (&["/s", "--next", "/t"], "another request"),
        (&["/s", "-:", "/t"], "another request"),
        (&["-Z", "/s"], "one request after another"),
        (&["--oauth2-bearer", "x", "/s"], "usher adds"),
        (&["-u", "me:pw", "/s"], "usher adds"),
        (&["-n", "/s"], "usher adds"),
        (&["--connect-to", "::evil:443", "/s"], "another server"),
        (&["--path-as-is", "/s"], "checked"),
        (&["-H", "authorization : x", "/s"], "usher adds"),
        (&["-H", "Authorization;", "/s"], "usher adds"),
        (&["-H", "Host: evil.example", "/s"], "another site"),
        (&["-pfrontdoor", "/s"], "write it first"),
        (&["/s", "--min-ttl", "5m"], "write it first"),
        (&["-H", "@headers", "/s"], "cannot see"),
        (&["-H", "X: y\r\nAuthorization: z", "/s"], "line break"),
    ];
    for (args, expected) in cases {
        let error = read(args).unwrap_err();
        assert!(error.contains("is refused") && error.contains(expected), "{args:?}: {error}");
    }
}

#[test]
fn what_usher_does_not_know_is_refused() {
    // The unknown, abbreviations, negations, and what is no option at all.
    for args in ["--dns-servers", "--insec", "--no-silent", "-", "-\u{e9}"] {
        let error = read(&[args, "/s"]).unwrap_err();
        assert!(error.contains("usher does not know it"), "{args}: {error}");
    }
}

#[test]
fn a_value_by_equals_sign_is_refused_with_what_to_write() {
    let error = parse(vec!["--request=POST".into()]).unwrap_err();
    assert_eq!(error.to_string(), "curl takes no --request=VALUE");
    assert_eq!(error.hint().unwrap(), "write its value as the next argument: --request POST");
}

#[test]
fn a_missing_value_or_url_is_said() {
    assert!(read(&["/s", "-o"]).unwrap_err().contains("-o needs a value"));
    assert!(read(&["/s", "--output"]).unwrap_err().contains("--output needs a value"));
    assert!(read(&["-s", ""]).unwrap_err().contains("empty"));
    assert_eq!(read(&["-s"]).unwrap().urls().count(), 0);
    let broken = OsString::from_vec(b"/\xff".to_vec());
    assert!(parse(vec![broken]).is_err());
}
