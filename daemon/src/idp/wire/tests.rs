//! What is sent, byte by byte, and what is made of every kind of answer.

use std::collections::BTreeMap;

use reqwest::header::HeaderMap;

use super::*;
use crate::domain::secret::ExposeSecret as _;

const SECRET: &str = "CANARY-secret";

fn answer(status: u16, body: &[u8]) -> Result<Issued, IssueError> {
    answer_of_type("application/json", status, body)
}

fn answer_of_type(content_type: &str, status: u16, body: &[u8]) -> Result<Issued, IssueError> {
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, content_type.parse().unwrap())]);
    let status = StatusCode::from_u16(status).unwrap();
    let answer = Answer { status, headers, body: body.to_vec().into() };
    read(&answer, "idp.example", Sent { client_id: "id", secret: &SECRET.into(), token: None })
}

fn parameters(audience: Option<&'static str>, scope: Option<&str>) -> Parameters<'static> {
    Parameters {
        grant_type: "client_credentials",
        client_id: Some("YOUR_CLIENT_ID"),
        client_secret: Some("YOUR \"CLIENT\" S&CRET"),
        audience,
        scope: scope.map(str::to_owned),
        resources: Vec::new(),
        params: BTreeMap::new(),
    }
}

#[test]
fn the_guides_json_body() {
    let audience = Some("https://gateway.production.netfoundry.io/frontdoor");
    let body = encode(&parameters(audience, Some("frontdoor.read frontdoor.write")), Body::Json);
    assert_eq!(
        std::str::from_utf8(&body).unwrap(),
        r#"{"grant_type":"client_credentials","client_id":"YOUR_CLIENT_ID","client_secret":"YOUR \"CLIENT\" S&CRET","audience":"https://gateway.production.netfoundry.io/frontdoor","scope":"frontdoor.read frontdoor.write"}"#
    );
    let body = encode(&parameters(None, None), Body::Json);
    assert_eq!(
        std::str::from_utf8(&body).unwrap(),
        r#"{"grant_type":"client_credentials","client_id":"YOUR_CLIENT_ID","client_secret":"YOUR \"CLIENT\" S&CRET"}"#
    );
}

#[test]
fn a_form_body() {
    let body = encode(&parameters(None, Some("a b")), Body::Form);
    assert_eq!(
        std::str::from_utf8(&body).unwrap(),
        "grant_type=client_credentials&client_id=YOUR_CLIENT_ID&client_secret=YOUR+%22CLIENT%22+S%26CRET&scope=a+b"
    );
}

#[test]
fn resources_and_further_parameters() {
    let with = |resources: &[&'static str]| Parameters {
        resources: resources.to_vec(),
        params: BTreeMap::from([("tenant", "t 1")]),
        ..parameters(None, Some("a"))
    };
    let text = |resources: &[&'static str], body| {
        String::from_utf8(encode(&with(resources), body).to_vec()).unwrap()
    };
    let json = text(&["https://a/"], Body::Json);
    assert!(json.ends_with(r#""scope":"a","resource":"https://a/","tenant":"t 1"}"#), "{json}");
    let json = text(&["https://a/", "https://b/"], Body::Json);
    assert!(json.ends_with(r#""resource":["https://a/","https://b/"],"tenant":"t 1"}"#), "{json}");
    let form = text(&["https://a/", "https://b/"], Body::Form);
    assert!(
        form.ends_with("&scope=a&resource=https%3A%2F%2Fa%2F&resource=https%3A%2F%2Fb%2F&tenant=t+1"),
        "{form}"
    );
}

#[test]
fn the_guides_answer() {
    let issued = answer(
        200,
        br#"{"access_token":"eyJhbGciOi...","token_type":"Bearer","expires_in":3600,"scope":"frontdoor.read frontdoor.write"}"#,
    )
    .unwrap();
    assert_eq!(issued.access_token.expose_secret(), "eyJhbGciOi...");
    assert_eq!(issued.expires_in, ExpiresIn::After(Duration::from_secs(3600)));
    assert_eq!(issued.scopes.unwrap().to_string(), "frontdoor.read frontdoor.write");
}

#[test]
fn expires_in_in_all_its_forms() {
    let after = |seconds| Some(ExpiresIn::After(Duration::from_secs(seconds)));
    for (text, expected) in [
        ("3600", after(3600)),
        ("\"3600\"", after(3600)),
        ("1e3", after(1000)),
        ("3600.0", after(3600)),
        ("9223372036854775808", after(1 << 63)),
        ("1e300", Some(ExpiresIn::After(Duration::MAX))),
        ("null", Some(ExpiresIn::Unknown)),
        ("0", Some(ExpiresIn::Over)),
        ("-1", Some(ExpiresIn::Over)),
        ("\"-1\"", Some(ExpiresIn::Over)),
        ("-1e300", Some(ExpiresIn::Over)),
        ("3600.5", None),
        ("\"abc\"", None),
        ("\"\"", None),
        ("\"1e3\"", None),
        ("\" 3600\"", None),
        ("true", None),
        ("[3600]", None),
        ("{}", None),
    ] {
        let body = format!(r#"{{"access_token":"t","token_type":"bearer","expires_in":{text}}}"#);
        assert_eq!(answer(200, body.as_bytes()).ok().map(|issued| issued.expires_in), expected, "{text}");
    }
    let issued = answer(200, br#"{"access_token":"t","token_type":"BEARER"}"#).unwrap();
    assert_eq!(issued.expires_in, ExpiresIn::Unknown);
}

#[test]
fn what_is_no_token_response_is_said_without_quoting_it() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    for body in [
        "",
        "<html>CANARY</html>",
        "access_token=CANARY&token_type=bearer",
        "\u{feff}{\"access_token\":\"CANARY\",\"token_type\":\"bearer\"}",
        "{\"access_token\":\"CANARY\",\"token_type\":\"bearer\"",
        "{\"access_token\":\"CANARY\",\"access_token\":\"x\",\"token_type\":\"bearer\"}",
        "{\"access_token\":\"CANARY\"}",
        "{\"access_token\":\"CANARY\",\"token_type\":\"mac\"}",
        "{\"access_token\":\"CANARY\",\"token_type\":\"DPoP\"}",
        "{\"access_token\":\"\",\"token_type\":\"bearer\"}",
        "{\"access_token\":\"CANARY\\r\\nX: y\",\"token_type\":\"bearer\"}",
        "{\"access_token\":\"CANARY \u{e4}\",\"token_type\":\"bearer\"}",
        "{\"access_token\":{\"CANARY\":1},\"token_type\":\"bearer\"}",
        "{\"access_token\":\"CANARY\",\"token_type\":\"bearer\",\"expires_in\":\"CANARY\"}",
        "{\"token_type\":\"bearer\"}",
        // An error that cannot be read is one all the same.
        "{\"error\":7,\"access_token\":\"CANARY\",\"token_type\":\"bearer\"}",
        "{\"error\":\"a\",\"error\":\"b\",\"access_token\":\"CANARY\",\"token_type\":\"bearer\"}",
        "{\"error\":\"a\",\"error_description\":7,\"access_token\":\"CANARY\",\"token_type\":\"bearer\"}",
        &deep,
    ] {
        let error = answer(200, body.as_bytes()).expect_err(body);
        assert_eq!(error.kind, IssueErrorKind::Invalid, "{body}");
        assert!(error.message.contains("idp.example answered 200"), "{}", error.message);
        assert!(!error.message.contains("CANARY"), "{}", error.message);
    }
}

#[test]
fn failures_by_what_asking_again_can_do() {
    use IssueErrorKind::{Refused, Unavailable};
    for (status, body, kind, code) in [
        (400, r#"{"error":"invalid_scope"}"#, Refused, Some("invalid_scope")),
        (401, r#"{"error":"invalid_client"}"#, Refused, Some("invalid_client")),
        (403, "<html>", Refused, None),
        (404, "", Refused, None),
        (302, "", Refused, None),
        (429, r#"{"error":"invalid_request"}"#, Unavailable, Some("invalid_request")),
        (500, "", Unavailable, None),
        (503, r#"{"error":"x y"}"#, Unavailable, None),
        (400, r#"{"error":"temporarily_unavailable"}"#, Unavailable, Some("temporarily_unavailable")),
        (400, r#"{"error":"server_error"}"#, Unavailable, Some("server_error")),
        (200, r#"{"error":"invalid_grant"}"#, Refused, Some("invalid_grant")),
        (
            200,
            r#"{"error":"invalid_grant","access_token":"t","token_type":"bearer"}"#,
            Refused,
            Some("invalid_grant"),
        ),
    ] {
        let error = answer(status, body.as_bytes()).unwrap_err();
        assert_eq!((error.kind, error.oauth_error.as_deref()), (kind, code), "{status} {body}");
        assert_eq!(error.http_status, Some(status));
    }
}

#[test]
fn what_vendors_answer_when_they_mean_slow_down() {
    for (vendor, status, body) in [
        ("RFC 8628", 400, r#"{"error":"slow_down"}"#),
        (
            "AWS IAM Identity Center",
            400,
            r#"{"error":"slow_down","error_description":"Slow down to avoid throttling"}"#,
        ),
        (
            "Vertex",
            400,
            r#"{"error":"invalid_request","error_description":"Client abc audience verx://x has exceeded the rate limit of 10 tokens/28800 seconds"}"#,
        ),
        ("Cognito", 400, r#"{"__type":"TooManyRequestsException","message":"Rate exceeded"}"#),
        (
            "AWS, with its namespace",
            400,
            r#"{"__type":"com.amazonaws.x#ThrottlingException","Message":"Rate exceeded"}"#,
        ),
        ("Google", 403, r#"{"error":"rate_limit_exceeded","error_description":"Rate Limit Exceeded"}"#),
        ("Google", 403, r#"{"error":"quota_exceeded"}"#),
        (
            "Entra",
            400,
            r#"{"error":"invalid_request","error_description":"AADSTS90055: There are too many incoming requests. Trace ID: 1 Correlation ID: 2","error_codes":[90055]}"#,
        ),
        (
            "Entra",
            400,
            r#"{"error":"invalid_grant","error_description":"AADSTS50196: The server terminated an operation because it encountered a loop while processing a request","error_codes":[50196]}"#,
        ),
        (
            "Entra",
            400,
            r#"{"error":"temporarily_unavailable","error_description":"AADSTS90033: A transient error"}"#,
        ),
        (
            "Zoho",
            400,
            r#"{"error_description":"Token creation throttle limit reached. Please reuse the valid tokens you currently have.","error":"Access Denied"}"#,
        ),
        (
            "Exact Online",
            400,
            r#"{"error":"access_denied","error_description":"Rate limit exceeded: access_token not expired"}"#,
        ),
        (
            "Fiat Republic",
            400,
            r#"{"errorCode":"AUTHENTICATION FAILED","message":"Too many requests, please try again after 20 seconds."}"#,
        ),
    ] {
        let error = answer(status, body.as_bytes()).unwrap_err();
        assert_eq!(error.kind, IssueErrorKind::Unavailable, "{vendor}: {error}");
        assert!(!error.refuses_client(), "{vendor}");
    }
}

#[test]
fn what_vendors_answer_to_a_wrong_secret_is_a_refusal() {
    for (vendor, status, body) in [
        ("RFC 6749", 401, r#"{"error":"invalid_client"}"#),
        ("Auth0", 401, r#"{"error":"access_denied","error_description":"Unauthorized"}"#),
        (
            "Entra",
            401,
            r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided. Too many requests"}"#,
        ),
        ("Cognito", 400, r#"{"error":"invalid_client","error_description":"invalid_client_secret"}"#),
        (
            "Cognito",
            400,
            r#"{"__type":"NotAuthorizedException","message":"Too many requests with a wrong secret"}"#,
        ),
        (
            "Cognito",
            400,
            r#"{"__type":"TooManyFailedAttemptsException","message":"Too many failed attempts"}"#,
        ),
        (
            "Salesforce",
            400,
            r#"{"error":"invalid_client_id","error_description":"client identifier invalid"}"#,
        ),
        (
            "a lock",
            403,
            r#"{"error":"access_denied","error_description":"Rate limit exceeded: the account is locked"}"#,
        ),
    ] {
        let error = answer(status, body.as_bytes()).unwrap_err();
        assert_eq!(error.kind, IssueErrorKind::Refused, "{vendor}: {error}");
    }
}

#[test]
fn a_rate_limit_says_why_it_is_taken_for_one() {
    let body = r#"{"error":"invalid_request","error_description":"it has exceeded the rate limit"}"#;
    let message = answer(400, body.as_bytes()).unwrap_err().message;
    assert!(message.ends_with("; usher takes that for a rate limit (as Vertex says it)"), "{message}");
    assert!(!message.contains("check body"), "{message}");
}

#[test]
fn a_description_is_cleaned_and_cut() {
    let long = "x".repeat(300);
    let body =
        format!(r#"{{"error":"invalid_client","error_description":"bad \u001b[31m\r\n\u202e{long}"}}"#);
    let message = answer(401, body.as_bytes()).unwrap_err().message;
    assert!(message.contains("invalid_client: bad [31mxxx"), "{message}");
    assert!(!message.contains(&"x".repeat(200)), "{message}");
    assert!(message.ends_with("check client_id, the secret, and client_auth"), "{message}");
}

#[test]
fn what_quotes_the_secret_is_withheld() {
    let body = format!(r#"{{"error":"{SECRET}","error_description":"you sent {SECRET}"}}"#);
    let error = answer(401, body.as_bytes()).unwrap_err();
    assert_eq!((error.kind, error.oauth_error), (IssueErrorKind::Refused, None));
    assert!(!error.message.contains(SECRET) && error.message.contains("withheld"), "{}", error.message);
}

#[test]
fn what_would_quote_the_secret_once_it_is_cleaned_is_withheld() {
    let (begin, end) = SECRET.split_at(5);
    let body = format!(r#"{{"error":"invalid_client","error_description":"{begin}\u200b{end}"}}"#);
    let message = answer(401, body.as_bytes()).unwrap_err().message;
    assert!(!message.contains(SECRET) && message.contains("withheld"), "{message}");
    let message = answer_of_type(&format!("{begin}\t{end}"), 200, b"x").unwrap_err().message;
    assert!(!message.contains(SECRET) && message.contains("no Content-Type"), "{message}");
}

#[test]
fn a_redirect_names_no_target() {
    let message = answer(307, b"").unwrap_err().message;
    assert!(message.contains("answered 307") && message.contains("follows no redirect"), "{message}");
}
