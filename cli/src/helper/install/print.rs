//! `usher helper print`: the configuration to paste.

use std::path::Path;

use super::{
    docker::{self, Docker},
    format::{Change, Format as _},
    git::{self, Git},
    links, named,
    places::{self, Place},
};
use crate::{
    args::{HelperPrint, PrintTool, Tool},
    caller::Caller,
    error::Error,
    exit,
};

pub(crate) fn run(args: &HelperPrint, caller: &mut Caller<'_>) -> Result<u8, Error> {
    let usher = links::usher()?;
    let profile = args.profile.as_deref();
    check_names(&usher, profile)?;
    let mut places = |tool| profile.map_or(Ok(Vec::new()), |profile| places::of(profile, tool, caller));
    let text = match args.tool {
        PrintTool::Kubectl => kubectl(&usher, profile)?,
        PrintTool::Docker => for_docker(&usher, &places(Tool::Docker)?)?,
        PrintTool::Git => {
            let places = places(Tool::Git)?;
            for_git(&usher, profile, &places, caller)?
        }
    };
    caller.answer(&text)?;
    Ok(exit::OK)
}

/// What is printed is pasted, its comments too: none of them may end early.
fn check_names(usher: &Path, profile: Option<&str>) -> Result<(), Error> {
    let is_odd = |text: &str| text.contains(char::is_control);
    if profile.is_some_and(is_odd) {
        return Err(Error::usage(
            "there is a control character in the name of the profile",
            "`usher status` lists the profiles",
        ));
    }
    if is_odd(&usher.to_string_lossy()) {
        let usher = named(usher);
        return Err(Error::Configuration(format!(
            "there is a control character in {usher}, which nothing can be pasted with: have usher in another directory"
        )));
    }
    Ok(())
}

/// As git itself writes it. usher is called by its own name: no link is needed.
fn for_git(
    usher: &Path,
    profile: Option<&str>,
    places: &[Place],
    caller: &Caller<'_>,
) -> Result<String, Error> {
    let git = Git::alone(Path::new("git's configuration"), caller);
    let usher = git::escaped(usher)?;
    let value = |place: Option<&Place>| {
        let by_url = format!("!{usher} helper git");
        match profile.filter(|_| place.is_some_and(|place| place.by_name)) {
            Some(profile) => Ok(format!("{by_url} --profile {}", git::escaped(Path::new(profile))?)),
            None => Ok(by_url),
        }
    };
    let mut text = String::new();
    for want in git::wants(places, value)? {
        text = git.put(&text, &Change::new(&want))?;
    }
    Ok(text)
}

fn for_docker(usher: &Path, places: &[Place]) -> Result<String, Error> {
    let docker = Docker(Path::new("config.json"));
    let mut text = String::new();
    for want in docker::wants(places) {
        text = docker.put(&text, &Change::new(&want))?;
    }
    let link = links::name(Tool::Docker);
    let usher = quoted(&usher.display().to_string());
    let mut all = format!(
        "# docker: ~/.docker/config.json, and a link in PATH: ln -s {usher} ~/.local/bin/{link}\n{text}\n"
    );
    all += if places.is_empty() {
        "\n# podman, skopeo, buildah: ~/.config/containers/registries.conf.d/usher.conf, and the same link\n\
         credential-helpers = [\"usher\"]\n"
    } else {
        "\n# podman, skopeo, buildah: the same credHelpers in ${XDG_RUNTIME_DIR}/containers/auth.json, or in \
         $REGISTRY_AUTH_FILE,\n# and the same link; for every registry ~/.config/containers/registries.conf.d/usher.conf:\n\
         # credential-helpers = [\"usher\"]\n"
    };
    Ok(all)
}

fn kubectl(usher: &Path, profile: Option<&str>) -> Result<String, Error> {
    let usher = usher.to_str().ok_or_else(|| {
        Error::Configuration(format!("{} is no UTF-8, and cannot be named in a kubeconfig", usher.display()))
    })?;
    let name = profile.unwrap_or("usher");
    let mut args = vec!["helper", "kubectl"];
    args.extend(profile.iter().flat_map(|profile| ["--profile", profile]));
    // A string of JSON is one of YAML.
    let json = |text: &str| serde_json::Value::from(text).to_string();
    let listed = serde_json::Value::from(args.clone()).to_string();
    let entry = format!(
        "# Below `users:` in ~/.kube/config; contexts name it as their user.\n- name: {}\n  user:\n    exec:\n      \
         apiVersion: client.authentication.k8s.io/v1\n      command: {}\n      args: {listed}\n      \
         interactiveMode: Never\n      provideClusterInfo: true\n",
        json(name),
        json(usher)
    );
    let given: Vec<_> = args.iter().map(|arg| format!("--exec-arg={}", quoted(arg))).collect();
    let command = format!(
        "\n# Or, with a kubectl that knows these options (`kubectl config set-credentials --help`):\n\
         # kubectl config set-credentials {} --exec-api-version=client.authentication.k8s.io/v1 \
         --exec-command={} {} --exec-interactive-mode=Never --exec-provide-cluster-info=true\n",
        quoted(name),
        quoted(usher),
        given.join(" ")
    );
    Ok(entry + &command)
}

/// For a shell; a NUL is in no path and no argument.
fn quoted(text: &str) -> String {
    shlex::try_quote(text).map_or_else(|_| text.to_owned(), std::borrow::Cow::into_owned)
}
