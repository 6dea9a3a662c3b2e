//! Both renderings, at a fixed time.

use serde_json::{Value, json};

use super::*;

const NOW: i64 = 1_764_000_000;

fn answer(token: &str) -> GetTokenResponse {
    GetTokenResponse {
        access_token: token.into(),
        token_type: "Bearer".into(),
        profile: "prod".into(),
        token_id: "k1".into(),
        scopes: vec!["a".into(), "b".into()],
        expires_at: Some(prost_types::Timestamp { seconds: NOW + 3130, nanos: 0 }),
        ..Default::default()
    }
}

fn jwt(header: &str, claims: &str) -> String {
    format!("{}.{}.SIGNATURE", jwt::part(header), jwt::part(claims))
}

fn people(token: &str) -> String {
    human::render(&answer(token), &jwt::read(token), NOW)
}

fn programs(token: &str) -> Value {
    let text = json(&answer(token), &jwt::read(token), NOW).unwrap();
    assert!(!text.contains("SIGNATURE") && text.trim_end().chars().all(|c| !c.is_control()), "{text:?}");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn the_claims_of_a_jwt() {
    let header = r#"{"alg":"RS256","typ":"JWT","kid":"k"}"#;
    let claims = r#"{"zip":{"a":[1]},"exp":1764003600,"iat":1763999900.5,"iss":"https://i/","aud":["x","y"],"scope":"r w"}"#;
    let token = jwt(header, claims);
    let expected = format!(
        "prod: a JWT of {} characters; its signature was NOT checked
header
  alg       RS256
  kid       k
  typ       JWT
claims
  iss       https://i/
  aud       x y
  scope     r w
  iat       1m 40s ago (1763999900)
  exp       in 1h (1764003600)
  zip       {{\"a\":[1]}}
usherd knows
  type      Bearer
  scopes    a b
  expires   in 52m 10s (1764003130)
  token_id  k1
",
        token.len()
    );
    assert_eq!(people(&token), expected);
    assert_eq!(
        programs(&token),
        json!({
            "profile": "prod", "token_id": "k1", "token_type": "Bearer", "format": "jwt", "length": token.len(),
            "signature_checked": false, "header": serde_json::from_str::<Value>(header).unwrap(),
            "claims": serde_json::from_str::<Value>(claims).unwrap(), "claims_expire_in": 3600,
            "scopes": ["a", "b"], "expires_at": NOW + 3130, "expires_in": 3130,
        })
    );
}

#[test]
fn an_opaque_token_is_called_one() {
    let text = people("CANARY-0123456789");
    assert!(text.starts_with("prod: no JWT, but an opaque token of 17 characters"), "{text}");
    assert!(text.contains("in 52m 10s") && !text.contains("CANARY"), "{text}");
    let facts = programs("CANARY-0123456789");
    assert_eq!((&facts["format"], &facts["claims"]), (&json!("opaque"), &Value::Null));
    let endless = GetTokenResponse { expires_at: None, ..answer("x") };
    assert!(human::render(&endless, &Said::Opaque, NOW).contains("no expiry is known"));
}

#[test]
fn an_encrypted_one_shows_its_header_alone() {
    let token = format!("{}.a.b.c.SIGNATURE", jwt::part(r#"{"alg":"dir","enc":"A256GCM"}"#));
    assert!(people(&token).contains("only its header can be read\nheader\n  alg       dir\n"));
    assert_eq!(programs(&token)["format"], "encrypted_jwt");
}

#[test]
fn nothing_in_it_steers_the_terminal_or_makes_a_line() {
    let evil = "\u{1b}]0;x\u{7}\u{9b}2J\u{202e}a\nusherd knows\r\u{2028}\u{7f}\u{e0041}";
    let claims = json!({ evil: evil, "iss": evil, "aud": [evil, evil], "x": { "y": evil } }).to_string();
    let token = jwt(&json!({ "alg": evil }).to_string(), &claims);
    let text = people(&token);
    assert!(text.chars().all(|c| c == '\n' || !(c.is_control() || is_invisible(c))), "{text:?}");
    assert_eq!(text.lines().filter(|line| line.starts_with("usherd knows")).count(), 1, "{text}");
    assert_eq!(programs(&token)["claims"]["iss"], evil);
}

#[test]
fn a_huge_one_does_not_fill_the_screen() {
    let mut claims = Map::new();
    claims.insert("iss".to_owned(), json!("x".repeat(100_000)));
    claims.insert("n".repeat(5000), json!(1));
    claims.extend((0..5000).map(|n| (format!("claim{n}"), json!(vec![n; 100]))));
    let text = people(&jwt("{}", &Value::Object(claims).to_string()));
    assert!(text.len() < 20_000 && text.contains("and 4961 more"), "{} {text}", text.len());
    assert!(text.contains("(100000 characters"), "{text}");
}

#[test]
fn dates_out_of_this_world_are_told_all_the_same() {
    for exp in ["9223372036854775807", "-9223372036854775808", "1e300", "-1e300", "18446744073709551615"] {
        let token = jwt("{}", &format!("{{\"exp\":{exp}}}"));
        assert!(people(&token).contains("  exp       "), "{exp}");
        assert!(programs(&token)["claims_expire_in"].is_i64(), "{exp}");
    }
    assert!(people(&jwt("{}", r#"{"exp":"soon"}"#)).contains("  exp       soon\n"));
}
