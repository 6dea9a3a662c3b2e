//! A git server over HTTP: the real `git http-backend`, and a store for git-lfs, behind a gate that wants a token of the
//! IdP or a user's password, and writes down what it was sent.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tempfile::TempDir;

use crate::{
    ca::Ca,
    http::Recorded,
    idp::{FakeIdp, Reply},
    programs::{self, Age},
    server::Server,
    tokens::Issued,
};

mod lfs;

/// How the server is to be, before it starts.
#[derive(Debug, Default)]
pub struct Builder {
    issued: Vec<Issued>,
    users: Vec<(String, String)>,
    challenges: Vec<String>,
    refuses_mutely: bool,
    plain_http: bool,
}

/// A running git server on 127.0.0.1. Stops when it is dropped.
#[derive(Debug)]
pub struct GitServer {
    server: Server,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    root: TempDir,
    git: PathBuf,
    issued: Vec<Issued>,
    users: Vec<(String, String)>,
    challenges: Vec<String>,
    refuses_mutely: bool,
    plain_http: bool,
    large: lfs::Store,
    refused: Mutex<BTreeSet<String>>,
    /// The paths where it takes nothing.
    closed: Mutex<BTreeSet<String>>,
    redirects: Mutex<BTreeMap<String, String>>,
}

impl Builder {
    /// Lets in whoever brings a token of this IdP: as it is where it challenges for Bearer, as a password where it
    /// challenges for Basic.
    #[must_use]
    pub fn accept(mut self, idp: &FakeIdp) -> Self {
        self.issued.push(idp.tokens());
        self
    }

    /// Lets in this user.
    #[must_use]
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.users.push((name.to_owned(), password.to_owned()));
        self
    }

    /// One more `WWW-Authenticate` line of its 401; what it names is what it takes. Without any it asks nobody.
    #[must_use]
    pub fn challenge(mut self, line: &str) -> Self {
        self.challenges.push(line.to_owned());
        self
    }

    /// Challenges only those who bring nothing: who brings what it does not take gets a bare 401, as Gitea has it.
    #[must_use]
    pub fn refuse_mutely(mut self) -> Self {
        self.refuses_mutely = true;
        self
    }

    /// HTTP without TLS.
    #[must_use]
    pub fn plain_http(mut self) -> Self {
        self.plain_http = true;
        self
    }

    /// Starts it; panics if there is no git.
    pub fn start(self, ca: &Ca) -> GitServer {
        let git = programs::git(Age::New).or_else(|| programs::git(Age::Old)).expect("git is not installed");
        let state = Arc::new(State {
            root: tempfile::tempdir().expect("a temporary directory"),
            git,
            issued: self.issued,
            users: self.users,
            challenges: self.challenges,
            refuses_mutely: self.refuses_mutely,
            plain_http: self.plain_http,
            large: lfs::Store::default(),
            refused: Mutex::default(),
            closed: Mutex::default(),
            redirects: Mutex::default(),
        });
        let answering = Arc::clone(&state);
        let identity = (!self.plain_http).then(|| ca.server());
        let server = Server::start(identity, move |request| answering.answer(request));
        GitServer { server, state }
    }
}

impl GitServer {
    /// A server that lets nobody in yet.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Makes the bare repository `NAME.git` with one commit, of a file `README`.
    pub fn repository(&self, name: &str) {
        self.state.repository(name, "M 100644 inline README\ndata 6\nhello\n");
    }

    /// Makes a repository whose submodule `module` lies at `url`.
    pub fn repository_with_submodule(&self, name: &str, url: &str) {
        let modules = format!("[submodule \"module\"]\n\tpath = module\n\turl = {url}\n");
        let files = format!(
            "M 100644 inline .gitmodules\ndata {}\n{modules}\nM 160000 {:040x} module\n",
            modules.len(),
            1
        );
        self.state.repository(name, &files);
    }

    /// Makes a repository whose file `large.bin` is git-lfs's, with this content.
    pub fn repository_with_large_file(&self, name: &str, content: &str) {
        let pointer = self.state.large.put(content.as_bytes());
        let attributes = "*.bin filter=lfs diff=lfs merge=lfs -text\n";
        let inline =
            |name: &str, text: &str| format!("M 100644 inline {name}\ndata {}\n{text}\n", text.len());
        let files = inline(".gitattributes", attributes) + &inline("large.bin", &pointer);
        self.state.repository(name, &files);
    }

    /// Whether git-lfs has brought this content.
    pub fn has_large_file(&self, content: &str) -> bool {
        self.state.large.has(content.as_bytes())
    }

    /// The commit that a branch of a repository is at.
    pub fn head(&self, name: &str, branch: &str) -> String {
        self.state.git(name, &["rev-parse", branch], "").trim().to_owned()
    }

    /// `https://127.0.0.1:PORT`.
    pub fn origin(&self) -> String {
        self.server.base_url()
    }

    /// The same by a name that is another host to everybody who looks at names: `https://localhost:PORT`.
    pub fn named_origin(&self) -> String {
        self.server.base_url().replace("127.0.0.1", "localhost")
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.server.addr().to_string()
    }

    /// Where to clone a repository from.
    pub fn url(&self, name: &str) -> String {
        format!("{}/{name}.git", self.origin())
    }

    /// Refuses that token or password from now on.
    pub fn refuse(&self, secret: &str) {
        lock(&self.state.refused).insert(secret.to_owned());
    }

    /// From now on nobody gets into that repository.
    pub fn close(&self, name: &str) {
        lock(&self.state.closed).insert(format!("/{name}.git/"));
    }

    /// From now on everything of that repository is at `origin`.
    pub fn redirect(&self, name: &str, origin: &str) {
        lock(&self.state.redirects).insert(format!("/{name}.git/"), origin.to_owned());
    }

    /// Every request that arrived.
    pub fn requests(&self) -> Vec<Recorded> {
        self.server.requests()
    }

    /// The `Authorization` of every request that arrived; `None` where there was none.
    pub fn authorizations(&self) -> Vec<Option<String>> {
        let of = |request: &Recorded| request.header("authorization").map(str::to_owned);
        self.requests().iter().map(of).collect()
    }
}

/// The value of a Basic `Authorization`, of a user name and a password with a colon between them.
pub fn basic_value(pair: &str) -> String {
    format!("Basic {}", STANDARD.encode(pair))
}

/// User name and password of a Basic `Authorization`.
pub fn basic(authorization: &str) -> Option<(String, String)> {
    let pair = STANDARD.decode(authorization.strip_prefix("Basic ")?).ok()?;
    let pair = String::from_utf8(pair).ok()?;
    pair.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
}

impl State {
    fn answer(&self, request: &Recorded) -> Reply {
        let challenged = !self.challenges.is_empty();
        let brought = request.header("authorization");
        let is_closed = lock(&self.closed).iter().any(|path| request.path.starts_with(path));
        if challenged && (is_closed || !brought.is_some_and(|value| self.accepts(value))) {
            let told = self.challenges.iter().filter(|_| brought.is_none() || !self.refuses_mutely);
            let refusal = Reply::raw(401, "who are you?\n");
            return told.fold(refusal, |reply, line| reply.header("WWW-Authenticate", line));
        }
        let origin = if self.plain_http { "http" } else { "https" };
        let origin = format!("{origin}://{}", request.header("host").unwrap_or_default());
        if let Some(reply) = self.large.answer(&origin, request) {
            return reply;
        }
        let target = lock(&self.redirects)
            .iter()
            .find(|(path, _)| request.path.starts_with(*path))
            .map(|(_, origin)| format!("{origin}{}", request.path));
        target.map_or_else(|| self.backend(request), |target| Reply::redirect(302, &target))
    }

    fn accepts(&self, authorization: &str) -> bool {
        let takes = |scheme: &str| self.challenges.iter().any(|line| line.starts_with(scheme));
        let good = |token: &str| self.issued.iter().any(|issued| issued.contains(token));
        let refused = |secret: &str| lock(&self.refused).contains(secret);
        if let Some(token) = authorization.strip_prefix("Bearer ") {
            return takes("Bearer") && good(token) && !refused(token);
        }
        basic(authorization).is_some_and(|pair| {
            takes("Basic") && (good(&pair.1) || self.users.contains(&pair)) && !refused(&pair.1)
        })
    }

    /// CGI (RFC 3875), as far as `git http-backend` needs it.
    fn backend(&self, request: &Recorded) -> Reply {
        let query = request.path.split_once('?').map_or("", |(_, query)| query);
        let mut command = self.command();
        command
            .arg("http-backend")
            .env("GIT_PROJECT_ROOT", self.root.path())
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("REQUEST_METHOD", &request.method)
            .env("PATH_INFO", request.route())
            .env("QUERY_STRING", query)
            .env("CONTENT_LENGTH", request.body.len().to_string())
            .env("REMOTE_ADDR", "127.0.0.1")
            // Whoever came so far may push.
            .env("REMOTE_USER", "somebody");
        for (header, variable) in [
            ("content-type", "CONTENT_TYPE"),
            ("content-encoding", "HTTP_CONTENT_ENCODING"),
            ("git-protocol", "GIT_PROTOCOL"),
        ] {
            command.envs(request.header(header).map(|value| (variable, value)));
        }
        let output = run(command, &request.body);
        let end = output.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a CGI answer");
        let head = String::from_utf8_lossy(&output[..end]).into_owned();
        let fields: Vec<_> = head.lines().filter_map(|line| line.split_once(": ")).collect();
        let status = fields.iter().find(|(name, _)| *name == "Status");
        let status = status.and_then(|(_, value)| value.get(..3)?.parse().ok()).unwrap_or(200);
        fields
            .iter()
            .filter(|(name, _)| *name != "Status")
            .fold(Reply::raw(status, &output[end + 4..]), |reply, (name, value)| reply.header(name, value))
    }

    fn repository(&self, name: &str, files: &str) {
        let bare = self.path(name);
        fs::create_dir(&bare).expect("a new repository");
        self.git(name, &["init", "--quiet", "--bare", "--initial-branch=main"], "");
        let commit = format!(
            "commit refs/heads/main\ncommitter Test <test@example.com> 1700000000 +0000\ndata 5\nfirst\n{files}\n"
        );
        self.git(name, &["fast-import", "--quiet"], &commit);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(format!("{name}.git"))
    }

    fn git(&self, name: &str, args: &[&str], input: &str) -> String {
        let mut command = self.command();
        command.args(args).current_dir(self.path(name));
        String::from_utf8_lossy(&run(command, input.as_bytes())).into_owned()
    }

    /// git, which knows nothing of whoever runs the tests.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.git);
        command
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("HOME", self.root.path())
            .env("GIT_CONFIG_NOSYSTEM", "1");
        command
    }
}

/// What the command answers to `input`; panics if it fails.
fn run(mut command: Command, input: &[u8]) -> Vec<u8> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start git");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec();
    let feed = std::thread::spawn(move || {
        // It may answer before it has read all.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().expect("git to end");
    let _ = feed.join();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    output.stdout
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clone(ca: &Ca, url: &str, authorization: &str) -> bool {
        let dir = tempfile::tempdir().unwrap();
        let git = programs::git(Age::New).or_else(|| programs::git(Age::Old)).unwrap();
        let mut command = Command::new(git);
        command.env_clear().env("HOME", dir.path()).env("GIT_TERMINAL_PROMPT", "0");
        command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.args(["-c", &format!("http.sslCAInfo={}", ca.pem().display())]);
        command.args(["-c", &format!("http.extraHeader=Authorization: {authorization}")]);
        command.args(["clone", "--quiet", url]).arg(dir.path().join("clone"));
        command.output().unwrap().status.success() && dir.path().join("clone/README").is_file()
    }

    #[test]
    fn the_real_git_clones_with_a_token_and_not_without() {
        let ca = Ca::new();
        let idp = FakeIdp::start(&ca);
        let (token, url) = (idp.tokens().issue(), "Bearer realm=\"git\"");
        for builder in [GitServer::builder(), GitServer::builder().plain_http()] {
            let server = builder.accept(&idp).challenge(url).start(&ca);
            server.repository("a");
            assert!(clone(&ca, &server.url("a"), &format!("Bearer {token}")));
            assert!(!clone(&ca, &server.url("a"), "Bearer CANARY-of-nobody"));
            let basic = basic_value(&format!("oauth2:{token}"));
            assert!(!clone(&ca, &server.url("a"), &basic), "it did not offer Basic");
            server.refuse(&token);
            assert!(!clone(&ca, &server.url("a"), &format!("Bearer {token}")));
        }
    }

    #[test]
    fn a_user_has_a_password() {
        let ca = Ca::new();
        let server =
            GitServer::builder().user("alice", "password").challenge("Basic realm=\"git\"").start(&ca);
        server.repository("a");
        assert!(clone(&ca, &server.url("a"), &basic_value("alice:password")));
        assert!(!clone(&ca, &server.url("a"), &basic_value("bob:password")));
        assert_eq!(server.head("a", "main").len(), 40);
    }
}
