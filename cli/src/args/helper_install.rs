//! What `usher helper install`, `uninstall` and `print` take.

use std::{path::PathBuf, time::Duration};

use crate::time::parse_deadline;

const OWN_PROFILE: &str = "Only where this profile's token may be presented, by its `urls`";

/// `usher helper install`
#[derive(Debug, clap::Args)]
pub struct HelperInstall {
    /// In which tool.
    #[command(subcommand)]
    pub tool: InstallTool,
}

/// The tools that can be configured.
#[derive(Debug, clap::Subcommand)]
pub enum InstallTool {
    /// git, in its global configuration
    Git(InstallGit),
    /// docker, in its config.json
    Docker(InstallDocker),
}

/// `usher helper install git`
#[derive(Debug, clap::Args)]
pub struct InstallGit {
    /// For whose hosts.
    #[arg(help = OWN_PROFILE)]
    pub profile: Option<String>,
    /// Have git name the profile, also where its urls would say as much: for one with `by_name_only`
    #[arg(long, requires = "profile")]
    pub by_name: bool,
    /// How long what git hands over is kept [default: 15m]
    #[arg(long, value_name = "DURATION", value_parser = parse_deadline, conflicts_with_all = ["profile", "persist"])]
    pub timeout: Option<Duration>,
    /// Keep what git hands over for good, encrypted
    #[arg(long, conflicts_with = "profile")]
    pub persist: bool,
    /// Where the link goes.
    #[command(flatten)]
    pub place: Place,
    /// Whether to ask.
    #[command(flatten)]
    pub consent: Consent,
}

/// `usher helper install docker`
#[derive(Debug, clap::Args)]
pub struct InstallDocker {
    /// For whose registries.
    #[arg(help = OWN_PROFILE)]
    pub profile: Option<String>,
    /// Where the link goes.
    #[command(flatten)]
    pub place: Place,
    /// Whether to ask.
    #[command(flatten)]
    pub consent: Consent,
}

/// Where the link to usher goes, by whose name it is called.
#[derive(Debug, clap::Args)]
pub struct Place {
    /// Where the link goes [default: beside usher if that is yours and in PATH, else ~/.local/bin]
    #[arg(long, value_name = "DIR")]
    pub bin_dir: Option<PathBuf>,
}

/// Whether to ask before anything is changed.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Consent {
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Show what would be changed, and change nothing
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
}

/// `usher helper uninstall`
#[derive(Debug, clap::Args)]
pub struct HelperUninstall {
    /// The tool
    #[arg(value_enum)]
    pub tool: Tool,
    /// The profile that was named to install
    pub profile: Option<String>,
    /// Whether to ask.
    #[command(flatten)]
    pub consent: Consent,
}

/// The tools whose configuration is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tool {
    /// git
    Git,
    /// docker, and what reads its config.json
    Docker,
}

/// `usher helper print`
#[derive(Debug, clap::Args)]
pub struct HelperPrint {
    /// The tool
    #[arg(value_enum)]
    pub tool: PrintTool,
    #[arg(help = OWN_PROFILE)]
    /// For whose hosts.
    pub profile: Option<String>,
}

/// The tools whose configuration is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum PrintTool {
    /// git
    Git,
    /// docker, podman, skopeo and buildah
    Docker,
    /// kubectl
    Kubectl,
}
