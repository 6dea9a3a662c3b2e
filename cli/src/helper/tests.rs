//! Which helper a command line is of.

use std::ffi::OsString;

use super::*;

fn called_by(line: &str) -> Option<(&'static str, Vec<String>)> {
    let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
    called(&args)
        .map(|(helper, rest)| (helper.name, rest.iter().map(|arg| arg.to_string_lossy().into()).collect()))
}

#[test]
fn a_helper_is_called_by_its_programs_name_or_behind_usher_helper() {
    for helper in HELPERS {
        let rest = Some((helper.name, vec!["-p".to_owned(), "x".to_owned()]));
        for program in ["", "/usr/bin/", "./"] {
            assert_eq!(called_by(&format!("{program}{} -p x", helper.argv0)), rest);
        }
        assert_eq!(called_by(&format!("usher helper {} -p x", helper.name)), rest);
    }
    for line in
        ["usher", "usher helper", "usher helper other", "usher token git", "git-credential-usherd get"]
    {
        assert_eq!(called_by(line), None, "{line}");
    }
}

#[test]
fn every_helper_has_its_page_and_describes_itself() {
    for helper in HELPERS {
        let command = (helper.command)();
        assert_eq!(command.get_name(), helper.name);
        assert!(command.get_about().is_some(), "{}", helper.name);
        command.debug_assert();
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/{}.md", helper.name));
        let text =
            std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        assert!(text.contains(helper.argv0), "{} does not name {}", page.display(), helper.argv0);
    }
}
