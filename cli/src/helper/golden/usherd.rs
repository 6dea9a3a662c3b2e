//! What a transcript has of usherd: its questions in a line each, and its replies.
//!
//! Replies are a word and `key=value`, as a shell splits it, with the escapes of stdin: `nothing`, `issued profile= token= id= scheme= user=
//! expires=`, `stored username= password= authtype= credential= expires= refresh=`, `outcome NAME profile=`,
//! `erased N`, `listed SERVER=USER ...` (`SERVER=USER@PROFILE` for a profile's) and `refused REASON profile= MESSAGE`.

use std::collections::HashMap;

use prost_types::Timestamp;
use tonic::Status;
use usher_proto::{
    error::{ErrorReason, Failure},
    v1::{
        Credential, CredentialPlace, EraseCredentialResponse, GetCredentialResponse, GetTokenRequest,
        GetTokenResponse, IssuedCredential, ListCredentialsResponse, ListedCredential,
        StoreCredentialResponse, StoreOutcome,
        credential_place::{Form, Parts},
        get_credential_response::Answer,
    },
};

use crate::fake::{Asked, Reply};

/// Several facts in one line, those left out that are not there.
struct Line(String);

impl Line {
    fn and(mut self, name: &str, value: &str) -> Self {
        if !value.is_empty() {
            self.0.extend([" ", name, "=", value]);
        }
        self
    }

    fn flag(mut self, name: &str, set: bool) -> Self {
        if set {
            self.0.extend([" ", name]);
        }
        self
    }
}

fn place(place: Option<&CredentialPlace>) -> String {
    match place.and_then(|place| place.form.as_ref()) {
        Some(Form::Parts(Parts { protocol, host, path })) => format!("{protocol}://{host}/{path}"),
        Some(Form::Server(server)) => server.clone(),
        None => "nowhere".to_owned(),
    }
}

fn seconds(duration: Option<prost_types::Duration>) -> String {
    duration.map(|duration| duration.seconds.to_string()).unwrap_or_default()
}

/// What the credential service was asked, in a line.
pub(super) fn asked(asked: &Asked) -> String {
    let line = match asked {
        Asked::Get(get) => Line(format!("get {} {}", get.collection, place(get.place.as_ref())))
            .and("username", &get.username)
            .and("profile", &get.profile)
            .and("min_ttl", &seconds(get.min_ttl))
            .and("rejected", &get.rejected_token_id)
            .flag("persist", get.persist),
        Asked::Store(store) => {
            let credential = store.credential.clone().unwrap_or_default();
            Line(format!("store {} {}", store.collection, place(store.place.as_ref())))
                .and("username", &credential.username)
                .and("password", &credential.password)
                .and("authtype", &credential.authtype)
                .and("credential", &credential.credential)
                .and("expires", &credential.expires_at.map(|at| at.seconds.to_string()).unwrap_or_default())
                .and("refresh", &credential.oauth_refresh_token)
                .and("profile", &store.profile)
                .and("timeout", &seconds(store.timeout))
                .flag("persist", store.persist)
        }
        Asked::Erase(erase) => Line(format!("erase {} {}", erase.collection, place(erase.place.as_ref())))
            .and("username", &erase.username)
            .and("secret", &erase.secret)
            .and("profile", &erase.profile)
            .flag("persist", erase.persist),
        Asked::List(list) => Line(format!("list {}", list.collection)).flag("persist", list.persist),
    };
    line.0
}

/// What the token service was asked, in a line.
pub(super) fn token_asked(request: &GetTokenRequest) -> String {
    Line("token".to_owned())
        .and("profile", &request.profile)
        .and("url", &request.url)
        .and("audience", &request.audience)
        .and("scopes", &request.scopes.join(","))
        .and("min_ttl", &seconds(request.min_ttl))
        .0
}

/// A reply, taken apart.
struct Said {
    words: Vec<String>,
    facts: HashMap<String, String>,
}

impl Said {
    fn read(text: &str) -> Self {
        let (mut words, mut facts) = (Vec::new(), HashMap::new());
        for word in shlex::split(text).unwrap() {
            match word.split_once('=') {
                Some((name, value)) => drop(facts.insert(name.to_owned(), value.to_owned())),
                None => words.push(word),
            }
        }
        Self { words, facts }
    }

    fn fact(&self, name: &str) -> String {
        let value = self.facts.get(name).map(String::as_str).unwrap_or_default();
        String::from_utf8(super::unescape(value)).unwrap()
    }

    fn expires(&self) -> Option<Timestamp> {
        self.facts.get("expires").map(|at| Timestamp { seconds: at.parse().unwrap(), nanos: 0 })
    }

    fn refused(&self) -> Status {
        let reason = ErrorReason::from_str_name(&format!("ERROR_REASON_{}", self.words[1])).unwrap();
        let failure = Failure::new(reason, self.words[2..].join(" "));
        match self.facts.get("profile") {
            Some(profile) => failure.with("profile", profile),
            None => failure,
        }
        .into()
    }

    fn issued(&self) -> GetTokenResponse {
        let scheme = self.facts.get("scheme").map_or("Bearer", String::as_str);
        GetTokenResponse {
            access_token: self.fact("token"),
            token_type: scheme.to_owned(),
            authorization: format!("{scheme} {}", self.fact("token")),
            expires_at: self.expires(),
            profile: self.fact("profile"),
            token_id: self.fact("id"),
            ..Default::default()
        }
    }
}

/// The token service's reply.
pub(super) fn token(text: &str) -> Result<GetTokenResponse, Status> {
    let said = Said::read(text);
    match said.words[0].as_str() {
        "issued" => Ok(said.issued()),
        "refused" => Err(said.refused()),
        other => panic!("the token service does not say {other}"),
    }
}

/// The credential service's reply.
pub(super) fn reply(text: &str) -> Result<Reply, Status> {
    let said = Said::read(text);
    let got = |answer| Reply::Got(GetCredentialResponse { answer });
    Ok(match said.words[0].as_str() {
        "nothing" => got(None),
        "issued" => got(Some(Answer::Issued(IssuedCredential {
            token: Some(said.issued()),
            username: said.fact("user"),
        }))),
        "stored" => got(Some(Answer::Stored(Credential {
            username: said.fact("username"),
            password: said.fact("password"),
            authtype: said.fact("authtype"),
            credential: said.fact("credential"),
            expires_at: said.expires(),
            oauth_refresh_token: said.fact("refresh"),
        }))),
        "outcome" => Reply::Stored(StoreCredentialResponse {
            outcome: StoreOutcome::from_str_name(&format!("STORE_OUTCOME_{}", said.words[1])).unwrap().into(),
            profile: said.fact("profile"),
        }),
        "erased" => Reply::Erased(EraseCredentialResponse {
            erased: said.words[1].parse().unwrap(),
            token_dropped: false,
        }),
        "listed" => {
            let credentials = said.facts.iter().map(|(server, user)| listed(server, user)).collect();
            Reply::Listed(ListCredentialsResponse { credentials })
        }
        "refused" => return Err(said.refused()),
        other => panic!("usherd does not say {other}"),
    })
}

fn listed(server: &str, user: &str) -> ListedCredential {
    let (username, profile) = user.split_once('@').unwrap_or((user, ""));
    ListedCredential {
        place: Some(CredentialPlace { form: Some(Form::Server(server.to_owned())) }),
        username: username.to_owned(),
        profile: profile.to_owned(),
        ..Default::default()
    }
}
