//! What there is at the socket's path before, while and after somebody listens.

use std::{
    fs::DirBuilder,
    io::Read as _,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, symlink},
};

use super::*;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o777
}

#[test]
fn directory_and_socket_are_for_their_owner() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("usher/usher.sock");
    let listener = Listener::bind(&path).unwrap();
    assert_eq!((mode(path.parent().unwrap()), mode(&path)), (0o700, 0o600));
    drop(listener);
    assert!(!path.exists());
}

#[test]
fn a_living_socket_is_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("usher/usher.sock");
    let first = Listener::bind(&path).unwrap();
    let error = Listener::bind(&path).unwrap_err();
    let us = std::process::id();
    assert!(matches!(error, ListenError::Occupied { pid: Some(pid), .. } if pid == us), "{error}");
    assert!(UnixStream::connect(&path).is_ok(), "the first one still listens");
    drop(first);
    // Alive, but without our lock: somebody else's.
    let _other = UnixListener::bind(&path).unwrap();
    assert!(matches!(Listener::bind(&path), Err(ListenError::Occupied { pid: None, .. })));
}

#[test]
fn a_stale_socket_is_replaced_and_anything_else_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("usher/usher.sock");
    drop(Listener::bind(&path).unwrap());
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "std leaves the path behind");
    drop(Listener::bind(&path).unwrap());
    fs::write(&path, "precious").unwrap();
    assert!(matches!(Listener::bind(&path), Err(ListenError::NotASocket { .. })));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    fs::remove_file(&path).unwrap();
    symlink("/nowhere", &path).unwrap();
    assert!(matches!(Listener::bind(&path), Err(ListenError::NotASocket { .. })));
}

#[test]
fn an_unsafe_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let open = dir.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, Permissions::from_mode(0o755)).unwrap();
    let error = Listener::bind(&open.join("usher.sock")).unwrap_err().to_string();
    assert!(error.contains("open has mode 0755") && error.contains("chmod 700"), "{error}");
    let real = dir.path().join("real");
    DirBuilder::new().mode(0o700).create(&real).unwrap();
    symlink(&real, dir.path().join("link")).unwrap();
    let error = Listener::bind(&dir.path().join("link/usher.sock")).unwrap_err();
    assert!(matches!(error, ListenError::Directory(DirectoryError::Foreign { .. })), "{error}");
}

#[test]
fn a_socket_that_was_handed_over_is_left_where_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("usher.sock");
    let managers = UnixListener::bind(&path).unwrap();
    let handed = || HandedOver { socket: managers.try_clone().unwrap(), path: path.clone() };
    let listener = Listener::handed_over(handed()).unwrap();
    let waiting = UnixStream::connect(&path).unwrap();
    assert!(listener.place.close(&listener.socket).is_empty(), "its callers wait for the next usherd");
    drop(listener);
    assert!(path.exists());
    handed().turn_away();
    assert_eq!((&waiting).read(&mut [0]).unwrap(), 0, "it was hung up on");
    fs::remove_file(&path).unwrap();
    let error = Listener::handed_over(handed()).unwrap_err();
    assert!(matches!(error, ListenError::Orphaned { .. }), "{error}");
}

#[test]
fn a_closed_socket_serves_those_who_were_in_the_queue_and_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("usher/usher.sock");
    let Listener { socket, place } = Listener::bind(&path).unwrap();
    let elsewhere = dir.path().join("link.sock");
    fs::hard_link(&path, &elsewhere).unwrap();
    let _early = [UnixStream::connect(&path).unwrap(), UnixStream::connect(&path).unwrap()];
    assert_eq!(place.close(&socket).len(), 2);
    assert!(!path.exists());
    let late = UnixStream::connect(&elsewhere).unwrap_err();
    assert_eq!(late.kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_socket_that_somebody_else_has_put_in_its_place_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("usher/usher.sock");
    let listener = Listener::bind(&path).unwrap();
    assert!(listener.place.is_ours());
    fs::remove_file(&path).unwrap();
    assert!(!listener.place.is_ours());
    let _other = UnixListener::bind(&path).unwrap();
    assert!(!listener.place.is_ours());
    drop(listener);
    assert!(path.exists(), "it took away what is not its own");
}
