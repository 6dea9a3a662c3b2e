//! The unit files: those of this build, with the place of its usherd, and what lies where they belong.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use crate::{caller::Caller, error::Error};

/// What is enabled: usherd starts with the first call.
pub(super) const SOCKET: &str = "usherd.socket";
/// What the socket starts.
pub(super) const SERVICE: &str = "usherd.service";

/// The first line of a file that this command wrote, and may replace or remove.
const MARKER: &str = "# Written by `usher service install`, which replaces it, and `usher service uninstall` removes \
                      it. Changes belong into a drop-in: `systemctl --user edit`.";

/// The units as they are in the source tree.
const TEXTS: [(&str, &str); 2] = [
    (SOCKET, include_str!("../../../../systemd/user/usherd.socket")),
    (SERVICE, include_str!("../../../../systemd/user/usherd.service")),
];

/// What the source tree has for the directory of both programs.
const PLACE: &str = "%h/.cargo/bin/";

/// One of them, and where it belongs.
pub(super) struct Unit {
    pub(super) name: &'static str,
    pub(super) path: PathBuf,
    source: &'static str,
}

/// What lies there.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    /// What this command wrote, now or some versions ago.
    Ours(String),
    /// What somebody else wrote.
    Foreign,
}

/// Both, below `$XDG_CONFIG_HOME` or `~/.config`.
pub(super) fn units(caller: &Caller<'_>) -> Result<[Unit; 2], Error> {
    let absolute = |name| caller.var(name).map(PathBuf::from).filter(|dir: &PathBuf| dir.is_absolute());
    let config = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")));
    let directory = config
        .ok_or_else(|| Error::Environment("no place for units: set HOME or XDG_CONFIG_HOME".to_owned()))?
        .join("systemd/user");
    Ok(TEXTS.map(|(name, source)| Unit { name, path: directory.join(name), source }))
}

impl Unit {
    /// Its text for the programs in the directory of `usherd`.
    pub(super) fn text(&self, usherd: &Path) -> Result<String, Error> {
        let directory = usherd.parent().and_then(Path::to_str).unwrap_or_default();
        // What systemd would read as something else than itself (systemd.service(5), "Command lines").
        let odd = |c: char| c.is_control() || c.is_whitespace() || "\"'\\$;".contains(c);
        if !directory.starts_with('/') || directory.contains(odd) {
            return Err(Error::Configuration(format!(
                "{} cannot be named in a unit: install usher into a directory without spaces, quotes, `$`, `;` \
                 and backslashes",
                usherd.display()
            )));
        }
        let place = format!("{}/", directory.trim_end_matches('/').replace('%', "%%"));
        Ok(format!("{MARKER}\n{}", self.source.replace(PLACE, &place)))
    }

    /// What lies in its place.
    pub(super) fn found(&self) -> Result<Found, Error> {
        match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            // A link to somewhere, also to /dev/null, which masks the unit.
            Ok(meta) if !meta.is_file() => return Ok(Found::Foreign),
            _ => {}
        }
        let text = fs::read(&self.path).map_err(|error| self.cannot("read", &error))?;
        Ok(match String::from_utf8(text) {
            Ok(text) if text.starts_with(MARKER) => Found::Ours(text),
            _ => Found::Foreign,
        })
    }

    /// The place has to be the caller's own: with `sudo -E` it is somebody else's home, in which root's files
    /// would be in the way.
    pub(super) fn check_owner(&self) -> Result<(), Error> {
        let there = self.path.ancestors().skip(1).find_map(|path| Some((path, fs::metadata(path).ok()?)));
        let uid = nix::unistd::geteuid().as_raw();
        match there {
            Some((path, meta)) if meta.uid() != uid => Err(Error::Configuration(format!(
                "{} belongs to uid {}, and you are uid {uid}: say this as that user, without sudo, or set HOME",
                path.display(),
                meta.uid()
            ))),
            _ => Ok(()),
        }
    }

    /// Puts `text` there, as a whole or not at all.
    pub(super) fn write(&self, text: &str) -> Result<(), Error> {
        let write = || {
            let directory = self.path.parent().unwrap_or(Path::new("/"));
            fs::create_dir_all(directory)?;
            let mut new = tempfile::Builder::new().prefix(".usher-").tempfile_in(directory)?;
            new.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
            new.write_all(text.as_bytes())?;
            new.as_file().sync_all()?;
            new.persist(&self.path)?;
            Ok(())
        };
        write().map_err(|error: io::Error| self.cannot("write", &error))
    }

    /// The links that enable it, by the unit's [Install].
    pub(super) fn links(&self) -> impl Iterator<Item = PathBuf> {
        ["sockets.target.wants", "default.target.wants"]
            .into_iter()
            .map(|wants| self.path.with_file_name(wants).join(self.name))
    }

    /// Takes it away.
    pub(super) fn remove(&self) -> Result<(), Error> {
        fs::remove_file(&self.path).map_err(|error| self.cannot("remove", &error))
    }

    /// Why nothing is done: somebody else wrote it.
    pub(super) fn foreign(&self) -> Error {
        let path = self.path.display();
        Error::Configuration(format!(
            "{path} was not written by `usher service install` and is left as it is: keep it and do without this \
             command, or move it away (`systemctl --user disable --now {}; mv {path} {path}.old`)",
            self.name
        ))
    }

    fn cannot(&self, what: &str, error: &io::Error) -> Error {
        Error::Configuration(format!("cannot {what} {}: {error}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsString, os::unix::fs::symlink};

    use super::*;

    fn in_home(home: &Path) -> [Unit; 2] {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let env = |name: &str| (name == "HOME").then(|| OsString::from(home));
        units(&Caller::new(&mut out, &mut err, &env)).unwrap()
    }

    #[test]
    fn the_units_name_the_usherd_beside_this_usher() {
        let dir = tempfile::tempdir().unwrap();
        let [socket, service] = in_home(dir.path());
        assert_eq!(socket.path, dir.path().join(".config/systemd/user/usherd.socket"));
        let text = service.text(Path::new("/opt/100%/usherd")).unwrap();
        assert!(text.contains("\nExecStart=/opt/100%%/usherd\n"), "{text}");
        assert!(text.contains("\nExecReload=/opt/100%%/usher reload\n"), "{text}");
        assert!(!text.contains("cargo"), "{text}");
        for odd in ["/a b/usherd", "/a$b/usherd", "/a\"/usherd", "/a\n/usherd", "usherd"] {
            assert!(service.text(Path::new(odd)).is_err(), "{odd}");
        }
    }

    #[test]
    fn a_place_of_somebody_elses_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        in_home(dir.path())[0].check_owner().unwrap();
        // Nobody's own: neither root nor a user has this uid.
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::chown(dir.path(), Some(4242), None).unwrap();
            let told = in_home(dir.path())[0].check_owner().unwrap_err().to_string();
            assert!(told.contains("belongs to uid 4242"), "{told}");
        } else {
            assert!(in_home(Path::new("/"))[0].check_owner().is_err());
        }
    }

    #[test]
    fn only_what_this_command_wrote_is_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let [socket, _] = in_home(dir.path());
        assert_eq!(socket.found().unwrap(), Found::Nothing);
        let text = socket.text(Path::new("/usr/bin/usherd")).unwrap();
        socket.write(&text).unwrap();
        assert_eq!(socket.found().unwrap(), Found::Ours(text));
        socket.remove().unwrap();
        fs::write(&socket.path, TEXTS[0].1).unwrap();
        assert_eq!(socket.found().unwrap(), Found::Foreign);
        fs::remove_file(&socket.path).unwrap();
        symlink("/dev/null", &socket.path).unwrap();
        assert_eq!(socket.found().unwrap(), Found::Foreign);
        let told = socket.foreign().to_string();
        assert!(told.contains("usherd.socket was not written by"), "{told}");
    }
}
