//! A secret that a program prints, such as a password manager's.
//!
//! No shell. The program gets a clean environment, no terminal, nothing to read, and a session and process
//! group of its own, all of which ends with it. What it says on stderr is thrown away: it may hold the secret.

use std::{pin::pin, process::Stdio, time::Duration};

use tokio::{
    io::AsyncReadExt as _,
    process::{Child, ChildStdout, Command},
};
use zeroize::Zeroizing;

use super::{MAX_SECRET, secret_in};
use crate::{
    domain::secret::SecretString,
    os::{
        process::{ended, kill_group, own_session},
        trusted,
    },
    token::ports::SecretError,
};

/// How long a program may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long what it printed may take to come after its end, where something else keeps its output open.
const LEFT_OVER: Duration = Duration::from_millis(100);
/// Where programs that it calls are looked for.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// What else of the daemon's environment it gets: what password managers and their agents need.
const PASSED_ON: [&str; 14] = [
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "TZ",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "GNUPGHOME",
    "PASSWORD_STORE_DIR",
];

/// Whether the program is there and nobody else can have changed it. Does not run it: it may ask a person.
pub(super) fn check(argv: &[String]) -> Result<(), SecretError> {
    let program = argv.first().map_or("", String::as_str);
    trusted::program(program.as_ref()).map_err(|error| SecretError(error.to_string()))
}

/// Runs the program and takes what it prints. One line end after the secret is not part of it.
pub(super) async fn run(argv: Vec<String>) -> Result<SecretString, SecretError> {
    check(&argv)?;
    let Some((program, arguments)) = argv.split_first() else {
        return Err(SecretError("the command is empty".to_owned()));
    };
    let failed = |what: String| SecretError(format!("the command {program} {what}"));
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .envs(PASSED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    own_session(&mut command);
    let child = command.spawn().map_err(|error| failed(format!("cannot be run: {error}")))?;
    let printed = tokio::time::timeout(DEADLINE, answer(child)).await;
    let printed = printed.map_err(|_| failed(format!("did not end within {} s", DEADLINE.as_secs())))?;
    let printed = printed.map_err(failed)?;
    secret_in(&printed).map_err(|what| failed(format!("printed a secret that {what}")))
}

/// What the program prints until it ends, with all that it started. An error says what the program did.
async fn answer(mut child: Child) -> Result<Zeroizing<Vec<u8>>, String> {
    let group = Group(child.id());
    let mut output = child.stdout.take().ok_or_else(|| "has no output".to_owned())?;
    let mut printed = Zeroizing::new(Vec::with_capacity(MAX_SECRET + 1));
    let mut ended = pin!(ended(child.id().unwrap_or_default()));
    let lost = |error| format!("is lost: {error}");
    let unreadable = |error| format!("cannot be read: {error}");
    let all_came = tokio::select! {
        biased;
        read = read(&mut output, &mut printed) => { read.map_err(unreadable)?; true }
        end = &mut ended => { end.map_err(lost)?; false }
    };
    if all_came && printed.len() <= MAX_SECRET {
        ended.await.map_err(lost)?;
    }
    drop(group);
    if !all_came {
        // Something that it left behind kept its output open. What has left the group, as daemons do, may
        // still do so, and is not waited for.
        let rest = tokio::time::timeout(LEFT_OVER, read(&mut output, &mut printed)).await;
        rest.unwrap_or(Ok(())).map_err(unreadable)?;
    }
    if printed.len() > MAX_SECRET {
        return Err(format!("printed more than {MAX_SECRET} bytes, which no secret is"));
    }
    let status = child.wait().await.map_err(lost)?;
    if !status.success() {
        return Err(format!("failed ({status}); run it yourself to see what it says"));
    }
    Ok(printed)
}

/// Reads to the end, or one byte more than a secret can have. Broken off, it has put what came into
/// `printed`, which has the room already, so that no copy is left behind.
async fn read(output: &mut ChildStdout, printed: &mut Vec<u8>) -> std::io::Result<()> {
    while printed.len() <= MAX_SECRET {
        let room = (MAX_SECRET + 1 - printed.len()) as u64;
        if (&mut *output).take(room).read_buf(printed).await? == 0 {
            break;
        }
    }
    Ok(())
}

/// The program and whatever it started, which ends when this goes. The program itself is reaped later, so
/// that the group is its own until then.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(id) = self.0 {
            kill_group(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::secret::ExposeSecret as _;

    async fn sh(script: &str) -> Result<String, String> {
        let argv = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        run(argv).await.map(|secret| secret.expose_secret().to_owned()).map_err(|error| error.0)
    }

    #[tokio::test]
    async fn what_it_prints_is_the_secret_and_nothing_else_gets_in() {
        assert_eq!(sh("echo s3cr3t").await.as_deref(), Ok("s3cr3t"));
        assert_eq!(sh("echo s3cr3t; echo CANARY >&2").await.as_deref(), Ok("s3cr3t"));
        assert_eq!(sh("cat; echo end").await.as_deref(), Ok("end"), "stdin is empty");
        assert_eq!(sh("pwd").await.as_deref(), Ok("/"));
        let names = sh("env | cut -d= -f1 | sort | tr '\\n' ' '").await.unwrap();
        let allowed =
            |name: &str| PASSED_ON.contains(&name) || ["PATH", "PWD", "SHLVL", "_", "OLDPWD"].contains(&name);
        assert!(names.split_whitespace().all(allowed), "{names}");
        assert_eq!(sh("echo $PATH").await.as_deref(), Ok(PATH));
    }

    #[tokio::test]
    async fn failures_say_what_to_do_and_quote_nothing() {
        for (script, expected) in [
            ("echo CANARY >&2; exit 3", "exit status: 3"),
            ("echo CANARY; exit 1", "run it yourself"),
            ("true", "is empty"),
            ("printf '\\377'", "is not UTF-8"),
            ("kill -9 $$", "signal: 9"),
            ("yes CANARY", "printed more than 65536 bytes"),
            ("read answer < /dev/tty", "exit status"),
        ] {
            let error = sh(script).await.unwrap_err();
            assert!(error.contains(expected) && !error.contains("CANARY"), "{script}: {error}");
        }
        let missing = run(vec!["/nonexistent".to_owned()]).await.unwrap_err().0;
        assert!(missing.contains("/nonexistent"), "{missing}");
    }

    #[tokio::test]
    async fn it_leads_a_session_of_its_own_so_that_no_terminal_is_its() {
        let stat = sh("cat /proc/$$/stat").await.unwrap();
        let fields = stat.split(' ').collect::<Vec<_>>();
        let (pid, group, session, terminal) = (fields[0], fields[4], fields[5], fields[6]);
        assert_eq!((group, session, terminal), (pid, pid, "0"));
    }

    #[tokio::test]
    async fn what_keeps_its_output_open_is_not_waited_for() {
        for script in ["echo s3cr3t; sleep 60 &", "setsid sleep 15 & sleep 0.3; printf s3cr3t"] {
            let answer = tokio::time::timeout(Duration::from_secs(5), sh(script)).await;
            assert_eq!(answer.expect(script).as_deref(), Ok("s3cr3t"));
        }
        assert!(sh("sleep 60 & exit 3").await.unwrap_err().contains("exit status: 3"));
    }

    #[tokio::test]
    async fn what_it_leaves_behind_ends_with_it() {
        // The grandchild keeps no pipe open, and would live for a minute.
        let pid = sh("sleep 60 >/dev/null 2>&1 & echo $!").await.unwrap();
        let gone = async {
            while std::path::Path::new(&format!("/proc/{pid}/cwd")).exists() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), gone).await.expect("the grandchild is gone");
    }
}
