//! docs/presets.md is made of the presets' files and of what is tested: written here, and compared.

use std::fmt::Write as _;

use super::*;

/// Presets that a real server takes, and the test that says so: a module of tests/it, and its name.
const REAL: [(&str, &str, &str, &str); 3] = [
    ("oauth2", "npm's oidc-provider", "oidc_provider", "it_gives_one_token_to_two_callers"),
    (
        "oauth2",
        "npm's @node-oauth/oauth2-server",
        "presets",
        "a_second_implementation_gives_one_token_to_two_callers",
    ),
    ("oidc", "npm's oidc-provider", "oidc_provider", "an_issuer_is_enough"),
];

/// Presets whose server a profile can name, so that tests/it/presets.rs can be it.
const WIRE: [&str; 8] =
    ["auth0", "entra", "keycloak", "netfoundry", "okta", "pingfederate", "pingone", "zitadel"];

const HEAD: &str = "\
# The presets

What a profile need not say, as data: each preset is a file in
[daemon/src/config/presets](../daemon/src/config/presets), and a test holds this page against those files. What a
profile says itself wins over its preset.

No vendor's live service was asked. What was tested:

- *request*: usher's token request, by its own code, is held against the one in the vendor's documentation. The URL,
  Content-Type and Authorization (where it is shown in full) are equal. Of the body *byte for byte* is what the
  documentation shows; *all parameters* are there with the same values, but in another order, with other blanks in
  JSON, or with `+` for `%20`, none of which means anything; *its words* are followed where it has no example. usher's
  own bytes are in the test.
- *real server*: an integration test gets tokens from a server that others wrote.

*revokes*: `usher forget P --revoke` finds the server's endpoint (RFC 7009) by itself. Where it does not, a profile can
name one with `revocation_url`; what is known of a vendor's is said below.

These also ask a fake IdP over TLS that takes nothing but the documented method, path, Content-Type and way to
authenticate: ";

fn page() -> String {
    let wire = WIRE.map(|name| format!("`{name}`")).join(", ");
    let mut page = format!("{HEAD}{wire}.\n\n");
    page.push_str(
        "| preset | for | it needs | revokes | request | real server |\n|---|---|---|---|---|---|\n",
    );
    for preset in all() {
        let name = preset.name;
        let servers: Vec<_> = REAL.iter().filter(|real| real.0 == name).map(|real| real.1).collect();
        let servers = if servers.is_empty() { "none".to_owned() } else { servers.join(", ") };
        let request = match requests::compared(name) {
            Some(compared) => compared,
            None if preset.strings["grant"] == "static" => "there is none",
            None => "RFC 6749's, by what the metadata say",
        };
        let needs = needs(preset).join(", ");
        let (summary, revokes) = (&preset.summary, revokes(preset));
        writeln!(page, "| [`{name}`](#{name}) | {summary} | {needs} | {revokes} | {request} | {servers} |")
            .unwrap();
    }
    for preset in all() {
        section(&mut page, preset);
    }
    page
}

/// The keys that a profile has to have beside its client's id and secret.
fn needs(preset: &Preset) -> Vec<String> {
    let filled = |key: &str| preset.strings.contains_key(key) || preset.lists.contains_key(key);
    let variables = preset.variables.iter().filter(|(_, variable)| variable.default.is_none());
    let required = preset.required.keys().filter(|key| !filled(key));
    let mut needs: Vec<_> =
        variables.map(|(name, _)| name).chain(required).map(|key| format!("`{key}`")).collect();
    if needs.is_empty() && !filled("token_url") && preset.strings["grant"] != "static" {
        needs.push("`token_url`".to_owned());
    }
    needs
}

/// Whether usher can have a token of it revoked.
fn revokes(preset: &Preset) -> &'static str {
    let is = |key: &str, value: &str| preset.strings.get(key).is_some_and(|said| said == value);
    if preset.strings.contains_key("revocation_url") {
        "yes"
    } else if is("client_auth", "discovered") {
        "where its metadata say"
    } else if preset.revoked_at.is_some() {
        "its owner does"
    } else {
        "no"
    }
}

fn section(page: &mut String, preset: &Preset) {
    write!(
        page,
        "\n## {}\n\n{}.\n\n```toml\n{}\n```\n\n",
        preset.name,
        preset.summary,
        preset.example.trim()
    )
    .unwrap();
    for quirk in &preset.quirks {
        writeln!(page, "- {quirk}").unwrap();
    }
    if let Some(place) = &preset.revoked_at {
        writeln!(page, "- Its tokens are revoked in {place}.").unwrap();
    }
    if !preset.variables.is_empty() {
        page.push_str("\n| key | meaning | default |\n|---|---|---|\n");
    }
    for (name, variable) in &preset.variables {
        let default = variable.default.as_ref().map(|default| format!("`{default}`")).unwrap_or_default();
        let Variable { about, example, .. } = variable;
        writeln!(page, "| `{name}` | {about}, such as `{example}` | {default} |").unwrap();
    }
    page.push_str("\nIt fills in:\n\n```toml\n");
    for (key, value) in &preset.strings {
        writeln!(page, "{key} = {value:?}").unwrap();
    }
    for (key, list) in &preset.lists {
        writeln!(page, "{key} = {list:?}").unwrap();
    }
    page.push_str("```\n\nSources: ");
    page.push_str(&preset.sources.join("; "));
    page.push_str(".\n");
}

#[test]
fn the_page_says_what_the_files_say() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let expected = page();
    let found = std::fs::read_to_string(format!("{root}/docs/presets.md")).unwrap_or_default();
    if found != expected {
        let file = std::env::temp_dir().join("usher-presets.md");
        std::fs::write(&file, expected).unwrap();
        panic!("docs/presets.md is not what the presets' files make of it: it should be {}", file.display());
    }
}

#[test]
fn the_tests_with_real_servers_are_there() {
    for (preset, _, module, test) in REAL {
        let path = format!("{}/../tests/it/{module}.rs", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap();
        let named = text.contains(&format!("fn {test}()")) && text.contains(&format!("\"{preset}\\\""));
        assert!(named, "{path} has no {test} with the preset {preset}");
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/it/presets.rs");
    let text = std::fs::read_to_string(path).unwrap();
    for preset in WIRE {
        assert!(text.contains(&format!("\"{preset}\",")), "{path} has no server for {preset}");
    }
}
