//! What becomes of the file when something fails: the disk, the IdP, the command, the terminal.

use super::*;

/// One line of stderr for each of these, in this order, and no other.
fn says_in_turn(stderr: &str, wanted: &[&str]) {
    let lines: Vec<&str> = stderr.lines().collect();
    let found =
        lines.len() == wanted.len() && lines.iter().zip(wanted).all(|(line, part)| line.contains(part));
    assert!(found, "not {wanted:?}:\n{stderr}");
}

/// Takes the file's directory away and waits until `running` says so; brings it back and waits for a new token.
fn without_its_directory(file: &Watched, running: &usher_testkit::sandbox::Running) {
    let before = file.after("");
    let directory = file.path.parent().unwrap();
    let away = directory.with_extension("away");
    fs::rename(directory, &away).unwrap();
    running.wait_for_stderr("the new token is written as soon as that works");
    fs::rename(&away, directory).unwrap();
    let next = file.after(&before);
    // And on it goes.
    file.after(&next);
}

#[test]
fn a_file_that_could_not_be_written_for_a_while_is_written_afterwards() {
    let world = short_lived(4);
    let file = Watched::new(&world, "token");
    let follower = world.usherd.spawn_usher(&["token", "frontdoor", "--output", file.text(), "--follow"]);
    without_its_directory(&file, &follower);
    assert!(follower.is_running());
    follower.signal(Signal::SIGTERM);
    let said = follower.wait().stderr;
    assert!(said.contains("cannot write") && said.matches("as soon as that works").count() == 1, "{said}");
    assert!(said.contains("holds the newest token again") && !said.contains(".usher-"), "{said}");
}

#[test]
fn so_is_the_file_of_a_command() {
    let world = short_lived(4);
    let file = Watched::new(&world, "token");
    let script = "trap 'exit 4' TERM; while :; do sleep 0.1; done";
    let args = ["run", "-p", "frontdoor", "--refresh-file", file.text(), "--", "sh", "-c", script];
    let running = world.usherd.spawn_usher(&args);
    without_its_directory(&file, &running);
    running.signal(Signal::SIGTERM);
    let said = running.wait().expect_code(4).stderr;
    assert!(said.contains("holds the newest token again"), "{said}");
    assert!(!file.path.exists());
}

#[test]
fn a_place_that_is_wrong_from_the_start_is_an_error_and_the_command_is_not_run() {
    let world = World::new("");
    let nowhere = world.usherd.dir().join("nowhere/token");
    let ran = world.usherd.dir().join("ran");
    let (nowhere, touched) = (nowhere.to_str().unwrap(), ran.to_str().unwrap());
    for args in [
        &["token", "frontdoor", "--output", nowhere, "--follow"][..],
        &["run", "-p", "frontdoor", "--refresh-file", nowhere, "--", "touch", touched],
        &["run", "-p", "frontdoor", "--refresh-file", "/dev/null", "--", "touch", touched],
    ] {
        let said = world.usherd.usher(args).expect_code(74).stderr;
        assert!(said.contains("cannot write ") && !said.contains("as soon as"), "{said}");
    }
    assert!(!ran.exists() && !Path::new("/dev/null").is_file());
}

#[test]
fn a_newer_token_takes_the_place_of_one_that_could_not_be_written() {
    let world = short_lived(4);
    let file = Watched::new(&world, "token");
    let follower = world.usherd.spawn_usher(&["token", "frontdoor", "--output", file.text(), "--follow"]);
    let first = file.after("");
    let directory = file.path.parent().unwrap();
    let away = directory.with_extension("away");
    fs::rename(directory, &away).unwrap();
    follower.wait_for_stderr("has expired (at ");
    world.idp.wait_for_requests(4, PATIENCE);
    fs::rename(&away, directory).unwrap();
    let next = file.after(&first);
    assert!(
        world.idp.issued()[2..].contains(&next.trim_end().to_owned()),
        "the second token, which has expired"
    );
    follower.signal(Signal::SIGTERM);
    let said = follower.wait().stderr;
    assert_eq!(said.matches("as soon as that works").count(), 1, "{said}");
}

#[test]
fn a_token_that_has_expired_in_the_file_is_told_once_and_when_the_idp_is_asked_again() {
    let world = short_lived(4);
    let file = Watched::new(&world, "token");
    let follower = world.usherd.spawn_usher(&["token", "frontdoor", "--output", file.text(), "--follow"]);
    let first = file.after("");
    world.idp.set_default(Reply::status(503));
    follower.wait_for_stderr("no new token yet: ");
    follower.wait_for_stderr("has expired (at ");
    world.idp.set_default(Reply::token());
    file.after(&first);
    follower.signal(Signal::SIGTERM);
    let said = follower.wait().stderr;
    assert!(said.contains("the next try is in "), "{said}");
    assert_eq!(said.matches("has expired").count(), 1, "{said}");
    assert!(said.contains(&format!("the token in {} has expired", file.text())), "{said}");
}

#[test]
fn a_command_that_does_as_it_likes_with_its_file_keeps_its_exit_code() {
    let world = World::new("");
    for (script, warnings) in [
        ("rm \"$0\"; exit 0", &[][..]),
        ("rm \"$0\"; exit 3", &[]),
        ("rm \"$0\"; mkdir -p \"$0/x\"; exit 5", &["usher: warning: cannot remove "]),
    ] {
        let file = Watched::new(&world, "token");
        let args =
            ["run", "-p", "frontdoor", "--refresh-file", file.text(), "--", "sh", "-c", script, file.text()];
        let code = script.rsplit(' ').next().unwrap().parse().unwrap();
        says_in_turn(&world.usherd.usher(&args).expect_code(code).stderr, warnings);
    }
}

#[test]
fn what_was_ignored_stays_ignored_in_usher_and_in_the_command() {
    let world = World::new("");
    let file = Watched::new(&world, "token");
    let ready = Watched::new(&world, "ready");
    let script =
        "echo ready > \"$0.new\"; mv \"$0.new\" \"$0\"; read -r line; grep SigIgn /proc/$$/status; exit 6";
    let go = world.usherd.dir().join("tokens/go");
    nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let script = format!("exec < '{}'; {script}", go.display());
    // As nohup has it, and as a shell starts what is put in the background.
    let wrapper = ["sh", "-c", "trap '' HUP INT; exec \"$@\"", "sh"];
    let args =
        ["run", "-p", "frontdoor", "--refresh-file", file.text(), "--", "sh", "-c", &script, ready.text()];
    let running = world.usherd.command(&args).under(&wrapper).spawn();
    let mut input = fs::OpenOptions::new().write(true).open(&go).unwrap();
    ready.after("");
    running.signal(Signal::SIGHUP);
    running.signal(Signal::SIGINT);
    std::io::Write::write_all(&mut input, b"go on\n").unwrap();
    let output = running.wait().expect_code(6);
    let ignored = u64::from_str_radix(output.stdout.rsplit('\t').next().unwrap().trim(), 16).unwrap();
    assert_eq!(ignored & 0b11, 0b11, "{}", output.stdout);
    assert!(!file.path.exists());
}
