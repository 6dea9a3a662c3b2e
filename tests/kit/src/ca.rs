//! A certificate authority made on the spot, and server certificates for the loopback interface:
//! one to trust, and the ones no client may trust.

use std::{
    fs,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer},
};
use tempfile::TempDir;

/// The names that a good certificate is for.
const NAMES: [&str; 3] = ["127.0.0.1", "localhost", "::1"];

/// A certificate authority whose root is at [`Ca::pem`].
#[derive(Debug)]
pub struct Ca {
    dir: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
    server: Identity,
    _own_dir: Option<TempDir>,
}

/// A server's certificate and key, as files and ready for rustls.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate, PEM.
    pub cert: PathBuf,
    /// The private key, PEM, mode 0600.
    pub key: PathBuf,
    pub(crate) tls: Arc<ServerConfig>,
}

impl Ca {
    /// A new authority in a directory of its own, which goes away with it.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let ca = Self::in_dir(dir.path());
        Self { _own_dir: Some(dir), ..ca }
    }

    /// A new authority that writes `ca.pem`, `server.pem` and `server.key` into `dir`.
    pub fn in_dir(dir: &Path) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, "usher test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, new_key()).expect("a root certificate");
        fs::write(dir.join("ca.pem"), issuer.pem()).expect("write ca.pem");
        let server = issue(dir, "server", &leaf(&NAMES), Some(&issuer));
        Self { dir: dir.to_owned(), issuer, server, _own_dir: None }
    }

    /// The file with the root certificate: what a profile's `ca_file` names.
    pub fn pem(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// A good certificate for 127.0.0.1, `::1` and localhost.
    pub fn server(&self) -> &Identity {
        &self.server
    }

    /// A certificate of this authority for these names.
    pub fn named(&self, file: &str, names: &[&str]) -> Identity {
        issue(&self.dir, file, &leaf(names), Some(&self.issuer))
    }

    /// A certificate of this authority that ran out years ago.
    pub fn expired(&self) -> Identity {
        let mut params = leaf(&NAMES);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2020, 2, 1);
        issue(&self.dir, "expired", &params, Some(&self.issuer))
    }

    /// A certificate of this authority for somebody else.
    pub fn wrong_name(&self) -> Identity {
        self.named("wrong-name", &["idp.example.com"])
    }

    /// A certificate for the right names that this authority knows nothing of.
    pub fn self_signed(&self) -> Identity {
        issue(&self.dir, "self-signed", &leaf(&NAMES), None)
    }

    /// A certificate for the right names that says it is an authority's, as `openssl req -x509` makes them.
    pub fn of_an_authority(&self) -> Identity {
        let mut params = leaf(&NAMES);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        issue(&self.dir, "of-an-authority", &params, None)
    }

    /// What a client needs that trusts this authority alone.
    pub(crate) fn client_config(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("our own root");
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }
}

impl Default for Ca {
    fn default() -> Self {
        Self::new()
    }
}

// Named, never the process's default: the kit works whichever provider the program under test installs.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("a P-256 key")
}

fn leaf(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("valid names");
    params.distinguished_name.push(DnType::CommonName, "usher test server");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params
}

fn issue(
    dir: &Path,
    name: &str,
    params: &CertificateParams,
    issuer: Option<&CertifiedIssuer<'static, KeyPair>>,
) -> Identity {
    let key = new_key();
    let cert = match issuer {
        Some(issuer) => params.signed_by(&key, issuer),
        None => params.self_signed(&key),
    }
    .expect("a certificate");
    let (cert_file, key_file) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
    fs::write(&cert_file, cert.pem()).expect("write a certificate");
    write_private(&key_file, key.serialize_pem().as_bytes());
    let chain: Vec<CertificateDer<'static>> = vec![cert.der().clone()];
    let tls = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .expect("a key that fits its certificate");
    Identity { cert: cert_file, key: key_file, tls: Arc::new(tls) }
}

/// Writes a file that nobody else could ever read.
pub(crate) fn write_private(path: &Path, contents: &[u8]) {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    std::io::Write::write_all(&mut file, contents).expect("write a private file");
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::{client, idp::FakeIdp};

    #[test]
    fn the_files_are_there_and_the_key_is_private() {
        let dir = tempfile::tempdir().unwrap();
        Ca::in_dir(dir.path());
        for name in ["ca.pem", "server.pem", "server.key"] {
            assert!(dir.path().join(name).is_file(), "{name}");
        }
        let mode = fs::metadata(dir.path().join("server.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_client_trusts_the_good_certificate_alone() {
        let ca = Ca::new();
        let try_with = |ca: &Ca, identity: Identity| {
            let idp = FakeIdp::builder().identity(identity).start(ca);
            client::get(ca, &idp.token_url(), &[])
                .map(|answer| answer.status)
                .map_err(|error| error.to_string())
        };
        assert_eq!(try_with(&ca, ca.server().clone()), Ok(405));
        let cases = [
            (ca.expired(), "expired"),
            (ca.wrong_name(), "not valid for name"),
            (ca.self_signed(), "UnknownIssuer"),
            (Ca::new().server().clone(), "BadSignature"),
        ];
        for (identity, why) in cases {
            let error = try_with(&ca, identity).unwrap_err();
            assert!(error.contains(why), "{why}: {error}");
        }
    }
}
