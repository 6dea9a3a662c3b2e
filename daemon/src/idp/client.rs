//! HTTP clients for token endpoints: one for each set of TLS settings, with its connections.

use std::{
    collections::HashMap,
    error::Error,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::{Certificate, Client, NoProxy, Proxy, redirect::Policy};
use url::Url;

use crate::{
    domain::profile::Network,
    os::trusted::{self, Readers},
    token::ports::{IssueError, IssueErrorKind},
};

/// From the first byte sent to the last one received.
pub const TOTAL_DEADLINE: Duration = Duration::from_secs(10);
/// Until there is a connection, TLS included.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(30);
/// The largest file of CA certificates: a system's whole store is smaller.
const MAX_CA_FILE: u64 = 1024 * 1024;

/// Whom a request goes to, as messages call it, and how.
#[derive(Clone, Copy)]
pub struct Destination<'a> {
    /// The URL.
    pub url: &'a Url,
    /// How it is reached.
    pub network: &'a Network,
}

impl Destination<'_> {
    /// Host and port: what errors and logs call an IdP.
    pub fn server(&self) -> &str {
        self.url.authority()
    }
}

/// What tells clients apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Settings {
    network: Network,
    loopback_http: bool,
}

struct Built {
    /// What the CA file held: when that changes, the client is built anew.
    certificates: Vec<u8>,
    client: Client,
}

/// All clients, built when first needed: loading the system's certificates takes milliseconds.
#[derive(Default)]
pub struct Clients(Mutex<HashMap<Settings, Built>>);

impl Clients {
    /// The client for servers that are reached this way; by http only if they are on this machine.
    pub async fn get(&self, network: &Network, loopback_http: bool) -> Result<Client, IssueError> {
        let settings = Settings { network: network.clone(), loopback_http };
        let certificates = match &network.ca_file {
            Some(path) => read_ca_file(path.clone()).await?,
            None => Vec::new(),
        };
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(built) = clients.get(&settings)
            && built.certificates == certificates
        {
            return Ok(built.client.clone());
        }
        let client = build(&settings, &certificates)?;
        clients.insert(settings, Built { certificates, client: client.clone() });
        Ok(client)
    }
}

/// The proxy that a request to `url` goes through.
pub fn proxy<'a>(network: &'a Network, url: &Url) -> Option<&'a Url> {
    let proxy = network.proxy.as_ref()?;
    // As reqwest decides it.
    let matcher = Matcher::builder().https(proxy.as_str()).no(network.no_proxy.join(",")).build();
    matcher.intercept(&url.as_str().parse().ok()?).map(|_| proxy)
}

async fn read_ca_file(path: PathBuf) -> Result<Vec<u8>, IssueError> {
    let read = tokio::task::spawn_blocking(move || trusted::read(&path, Readers::Anyone, MAX_CA_FILE));
    match tokio::time::timeout(TOTAL_DEADLINE, read).await {
        Ok(Ok(Ok(certificates))) => Ok(certificates),
        Ok(Ok(Err(error))) => Err(unusable(format!(
            "the ca_file cannot be used: {error}; it is read anew for every token request"
        ))),
        Ok(Err(_)) | Err(_) => Err(unusable("the ca_file did not answer in time".to_owned())),
    }
}

fn build(settings: &Settings, certificates: &[u8]) -> Result<Client, IssueError> {
    let mut builder = Client::builder()
        // A redirect would carry the secret to wherever it points.
        .redirect(Policy::none())
        .https_only(!settings.loopback_http)
        .referer(false)
        // Only what the configuration says, never the environment of whoever started the daemon.
        .no_proxy()
        .timeout(TOTAL_DEADLINE)
        .connect_timeout(CONNECT_DEADLINE)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(2)
        .user_agent(concat!("usher/", env!("CARGO_PKG_VERSION")));
    if let Some(url) = &settings.network.proxy
        && !settings.loopback_http
    {
        let unusable = |error| unusable(format!("the proxy cannot be used: {error}"));
        let except = NoProxy::from_string(&settings.network.no_proxy.join(","));
        builder = builder.proxy(Proxy::https(url.clone()).map_err(unusable)?.no_proxy(except));
    }
    if let Some(path) = &settings.network.ca_file {
        let bundle = Certificate::from_pem_bundle(certificates)
            .ok()
            .filter(|bundle| !bundle.is_empty())
            .ok_or_else(|| unusable(format!("the ca_file {} holds no PEM certificates", path.display())))?;
        // In place of the system's: a private CA is named to be the only one that counts.
        builder = builder.tls_certs_only(bundle);
    }
    builder.build().map_err(|error| {
        // Its own words are "builder error".
        let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        unusable(format!("the HTTP client cannot be set up: {cause}"))
    })
}

fn unusable(message: String) -> IssueError {
    IssueError::new(IssueErrorKind::Unreachable, message)
}
