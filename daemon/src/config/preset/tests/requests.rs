//! Each preset's request beside the one in its vendor's documentation: usher's byte for byte, and both
//! the same method, URL, headers and parameters.

use url::{Url, form_urlencoded};

use super::*;
use crate::{
    domain::profile::{Body, ClientAuth, ClientCredentials, Grant},
    idp::{client_auth, grants::client_credentials, wire},
    token::ports::IssueRequest,
};

/// What a token request is made of, apart from its method: that is always POST.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    url: String,
    content_type: &'static str,
    authorization: Option<String>,
    body: String,
}

/// The request that the daemon makes for a profile. Of a preset that discovers, the metadata are `found`.
fn request(profile: &Profile, secret: &str, found: Option<(&str, ClientAuth)>) -> Request {
    let Grant::ClientCredentials(grant) = &profile.grant else { panic!("no token request") };
    let url =
        found.map_or_else(|| grant.token_endpoint.configured().clone(), |(url, _)| url.parse().unwrap());
    let method = grant.client_auth.or(found.map(|(_, method)| method)).unwrap();
    let request = IssueRequest {
        grant: ClientCredentials::clone(grant),
        secret: secret.into(),
        scopes: profile.default_scopes.clone(),
        audience: profile.audience.clone(),
    };
    let mut parameters = client_credentials::parameters(&request);
    let credentials = client_auth::authenticate(&request.grant, method, &request.secret);
    (parameters.client_id, parameters.client_secret) = credentials.parameters.unzip();
    Request {
        url: Url::into(url),
        content_type: wire::content_type(grant.body),
        authorization: credentials.header.map(|header| header.to_str().unwrap().to_owned()),
        body: String::from_utf8(wire::encode(&parameters, grant.body).to_vec()).unwrap(),
    }
}

/// A vendor's example and usher's way to make it.
struct Documented {
    preset: &'static str,
    /// The keys of the preset's example that make it the vendor's.
    keys: &'static [(&'static str, Option<&'static str>)],
    secret: &'static str,
    url: &'static str,
    authorization: Option<&'static str>,
    /// The body as the documentation shows it, without its line breaks.
    shown: &'static str,
    /// What usher sends, where that differs in order, in blanks of JSON, or in how a space is encoded.
    sent: Option<&'static str>,
    /// Parameters of the documented body that usher does not send.
    left_out: &'static [&'static str],
}

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

const ALL: [Documented; 12] = [
    Documented {
        preset: "auth0",
        keys: &[
            ("domain", Some("\"YOUR-AUTH0-DOMAIN\"")),
            ("client_id", Some("\"{CLIENT_ID}\"")),
            ("audience", Some("\"YOUR_API_IDENTIFIER\"")),
        ],
        secret: "{CLIENT_SECRET}",
        url: "https://your-auth0-domain/oauth/token",
        authorization: None,
        shown: r#"{"grant_type":"client_credentials","client_id": "{CLIENT_ID}","client_secret": "{CLIENT_SECRET}","audience": "YOUR_API_IDENTIFIER"}"#,
        sent: Some(
            r#"{"grant_type":"client_credentials","client_id":"{CLIENT_ID}","client_secret":"{CLIENT_SECRET}","audience":"YOUR_API_IDENTIFIER"}"#,
        ),
        left_out: &[],
    },
    Documented {
        preset: "cognito",
        keys: &[
            ("client_id", Some("\"djc98u3jiedmi283eu928\"")),
            ("scopes", Some("[\"resourceServerIdentifier1/scope1\", \"resourceServerIdentifier2/scope2\"]")),
        ],
        secret: "abcdef01234567890",
        url: "https://mydomain.auth.us-east-1.amazoncognito.com/oauth2/token",
        authorization: Some("Basic ZGpjOTh1M2ppZWRtaTI4M2V1OTI4OmFiY2RlZjAxMjM0NTY3ODkw"),
        shown: "grant_type=client_credentials&client_id=1example23456789&scope=resourceServerIdentifier1%2Fscope1%20resourceServerIdentifier2%2Fscope2",
        sent: Some(
            "grant_type=client_credentials&scope=resourceServerIdentifier1%2Fscope1+resourceServerIdentifier2%2Fscope2",
        ),
        left_out: &["client_id"],
    },
    Documented {
        preset: "entra",
        keys: &[
            ("tenant", Some("\"common\"")),
            ("client_id", Some("\"535fb089-9ff3-47b6-9bfb-4f1264799865\"")),
        ],
        secret: "qWgdYAmab0YSkuL1qKv5bPX",
        url: "https://login.microsoftonline.com/common/oauth2/v2.0/token",
        authorization: None,
        shown: "client_id=535fb089-9ff3-47b6-9bfb-4f1264799865&scope=https%3A%2F%2Fgraph.microsoft.com%2F.default&client_secret=qWgdYAmab0YSkuL1qKv5bPX&grant_type=client_credentials",
        sent: Some(
            "grant_type=client_credentials&client_id=535fb089-9ff3-47b6-9bfb-4f1264799865&client_secret=qWgdYAmab0YSkuL1qKv5bPX&scope=https%3A%2F%2Fgraph.microsoft.com%2F.default",
        ),
        left_out: &[],
    },
    Documented {
        preset: "keycloak",
        keys: &[],
        secret: "password",
        url: "https://keycloak.example.com/realms/demo/protocol/openid-connect/token",
        authorization: Some("Basic cHJvZHVjdC1zYS1jbGllbnQ6cGFzc3dvcmQ="),
        shown: "grant_type=client_credentials",
        sent: None,
        left_out: &[],
    },
    Documented {
        preset: "netfoundry",
        keys: &[("client_id", Some("\"NETFOUNDRY_CLIENT_ID\""))],
        secret: "NETFOUNDRY_PASSWORD",
        url: "https://netfoundry-production-xfjiye.auth.us-east-1.amazoncognito.com/oauth2/token",
        authorization: Some("Basic TkVURk9VTkRSWV9DTElFTlRfSUQ6TkVURk9VTkRSWV9QQVNTV09SRA=="),
        shown: "grant_type=client_credentials&scope=https%3A%2F%2Fgateway.production.netfoundry.io%2F%2Fignore-scope",
        sent: None,
        left_out: &[],
    },
    Documented {
        preset: "netfoundry-auth0",
        keys: &[("client_id", Some("\"---redacted----\""))],
        secret: "---redacted----",
        url: "https://netfoundry-production.auth0.com/oauth/token",
        authorization: None,
        shown: r#"{"client_id":"---redacted----","client_secret": "---redacted----","audience":"https://gateway.production.netfoundry.io/","grant_type":"client_credentials"}"#,
        sent: Some(
            r#"{"grant_type":"client_credentials","client_id":"---redacted----","client_secret":"---redacted----","audience":"https://gateway.production.netfoundry.io/"}"#,
        ),
        left_out: &[],
    },
    Documented {
        preset: "netfoundry-frontdoor",
        keys: &[("idp", Some("\"YOUR-IDP-DOMAIN\""))],
        secret: "YOUR_CLIENT_SECRET",
        url: "https://your-idp-domain/oauth/token",
        authorization: None,
        shown: r#"{"grant_type": "client_credentials","client_id": "YOUR_CLIENT_ID","client_secret": "YOUR_CLIENT_SECRET","audience": "https://gateway.production.netfoundry.io/frontdoor","scope": "frontdoor.read frontdoor.write"}"#,
        sent: Some(
            r#"{"grant_type":"client_credentials","client_id":"YOUR_CLIENT_ID","client_secret":"YOUR_CLIENT_SECRET","audience":"https://gateway.production.netfoundry.io/frontdoor","scope":"frontdoor.read frontdoor.write"}"#,
        ),
        left_out: &[],
    },
    Documented {
        preset: "oauth2",
        keys: &[
            ("token_url", Some("\"https://server.example.com/token\"")),
            ("client_id", Some("\"s6BhdRkqt3\"")),
            ("scopes", None),
        ],
        secret: "gX1fBat3bV",
        url: "https://server.example.com/token",
        authorization: Some("Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW"),
        shown: "grant_type=client_credentials",
        sent: None,
        left_out: &[],
    },
    Documented {
        preset: "okta",
        keys: &[("client_id", Some("\"0oa...\""))],
        secret: "secret",
        url: "https://acme.okta.com/oauth2/default/v1/token",
        // The guide shows no more than its beginning, "MG9hY..."
        authorization: Some("Basic MG9hLi4uOnNlY3JldA=="),
        shown: "grant_type=client_credentials&scope=customScope",
        sent: None,
        left_out: &[],
    },
    Documented {
        preset: "pingfederate",
        keys: &[("client_id", Some("\"client_id\""))],
        secret: "client_secret",
        url: "https://www.example.com:9031/as/token.oauth2",
        authorization: Some("Basic Y2xpZW50X2lkOmNsaWVudF9zZWNyZXQ="),
        // In words only.
        shown: "grant_type=client_credentials",
        sent: None,
        left_out: &[],
    },
    Documented {
        preset: "pingone",
        keys: &[("client_id", Some("\"client_id\""))],
        secret: "client_secret",
        url: "https://auth.pingone.com/abfba8f6-49eb-49f5-a5d9-80ad5c98f9f6/as/token",
        authorization: Some("Basic Y2xpZW50X2lkOmNsaWVudF9zZWNyZXQ="),
        shown: "grant_type=client_credentials",
        sent: None,
        left_out: &[],
    },
    Documented {
        preset: "zitadel",
        keys: &[("client_id", Some("\"CLIENT_ID\"")), ("scopes", Some("[\"openid\", \"profile\"]"))],
        secret: "CLIENT_SECRET",
        url: "https://acme-1a2b3c.zitadel.cloud/oauth/v2/token",
        authorization: Some("Basic Q0xJRU5UX0lEOkNMSUVOVF9TRUNSRVQ="),
        // curl --data leaves the space as it is.
        shown: "grant_type=client_credentials&scope=openid profile",
        sent: Some("grant_type=client_credentials&scope=openid+profile"),
        left_out: &[],
    },
];

/// Names and values, sorted: neither a form nor a JSON object gives order a meaning.
fn parameters(body: &str, content_type: &str) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = if content_type == JSON {
        serde_json::from_str::<BTreeMap<_, _>>(body).unwrap().into_iter().collect()
    } else {
        form_urlencoded::parse(body.as_bytes()).into_owned().collect()
    };
    pairs.sort();
    pairs
}

/// How far a preset's request was held against its documentation.
pub(super) fn compared(preset: &str) -> Option<&'static str> {
    let documented = ALL.iter().find(|documented| documented.preset == preset)?;
    Some(match documented {
        Documented { preset: "pingfederate", .. } => "its words",
        Documented { sent: None, .. } => "byte for byte",
        Documented { left_out: [], .. } => "all parameters",
        _ => "all parameters but `client_id`",
    })
}

#[test]
fn every_request_is_the_documented_one() {
    for documented in ALL {
        let Documented { preset, keys, secret, url, authorization, left_out, .. } = documented;
        let profile = profile(&example(preset, keys));
        let Grant::ClientCredentials(grant) = &profile.grant else { panic!("{preset}") };
        let content_type = if grant.body == Body::Json { JSON } else { FORM };
        let made = request(&profile, secret, None);
        let sent = Request {
            url: url.to_owned(),
            content_type,
            authorization: authorization.map(str::to_owned),
            body: documented.sent.unwrap_or(documented.shown).to_owned(),
        };
        assert_eq!(made, sent, "{preset}");
        let mut shown = parameters(documented.shown, content_type);
        shown.retain(|(name, _)| !left_out.contains(&name.as_str()));
        assert_eq!(parameters(&made.body, content_type), shown, "{preset}");
    }
}

#[test]
fn no_preset_that_asks_goes_without() {
    let missing: Vec<_> =
        all().iter().map(|preset| preset.name).filter(|name| compared(name).is_none()).collect();
    // The one asks as its metadata say, the other does not ask.
    assert_eq!(missing, ["netfoundry-api-token", "oidc"]);
}

#[test]
fn an_issuers_metadata_decide_between_header_and_body() {
    let profile = profile(&example("oidc", &[("client_id", Some("\"s6BhdRkqt3\"")), ("scopes", None)]));
    let by = |method| request(&profile, "gX1fBat3bV", Some(("https://server.example.com/token", method)));
    let basic = by(ClientAuth::Basic);
    assert_eq!(basic.authorization.as_deref(), Some("Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW"));
    assert_eq!((basic.body.as_str(), basic.content_type), ("grant_type=client_credentials", FORM));
    let body = by(ClientAuth::Body);
    assert_eq!(body.authorization, None);
    // RFC 6749 section 2.3.1 has these two in its example.
    assert_eq!(body.body, "grant_type=client_credentials&client_id=s6BhdRkqt3&client_secret=gX1fBat3bV");
}

#[test]
fn the_environment_of_a_netfoundry_account_is_wherever_it_belongs() {
    let staging = profile(&example("netfoundry", &[("env", Some("\"staging\""))]));
    assert_eq!(staging.scopes.to_string(), "https://gateway.staging.netfoundry.io//ignore-scope");
    assert_eq!(staging.urls[0].to_string(), "https://gateway.staging.netfoundry.io/");
    let legacy = profile(&example("netfoundry-auth0", &[("env", Some("\"sandbox\""))]));
    assert_eq!(legacy.audience.as_deref(), Some("https://gateway.sandbox.netfoundry.io/"));
    assert_eq!(request(&legacy, "x", None).url, "https://netfoundry-sandbox.auth0.com/oauth/token");
}
