//! What `usher helper` takes. The protocols are those of the table in [`crate::helper`]; each reads its own arguments.

use clap::{ArgMatches, Command, FromArgMatches, Subcommand};

use super::{HelperInstall, HelperPrint, HelperUninstall};
use crate::helper::{self, HELPERS};

/// `usher helper`
#[derive(Debug, clap::Args)]
pub struct Helper {
    /// Which one, or what about them.
    #[command(subcommand)]
    pub command: HelperCommand,
}

/// The verbs of `usher helper`.
#[derive(Debug, Subcommand)]
pub enum HelperCommand {
    /// Have a tool ask usher for its credentials
    #[command(after_help = "\
Shows what it will change, and asks. Nothing else in the tool's file is touched, and `usher helper uninstall` \
takes back exactly that. Can be repeated, after a change of the profile's urls, say.

Examples:
  usher helper install git                 for every host
  usher helper install git frontdoor       for the urls of this profile alone
  usher helper install docker frontdoor --dry-run")]
    Install(HelperInstall),
    /// Take back what install did, and nothing else
    Uninstall(HelperUninstall),
    /// Print the configuration to paste, and change nothing
    #[command(after_help = "\
Examples:
  usher helper print git frontdoor
  usher helper print docker frontdoor      also for podman, skopeo and buildah
  usher helper print kubectl prod")]
    Print(HelperPrint),
    /// A program asks.
    #[command(flatten)]
    Protocol(Protocol),
}

/// A protocol of the table, for help, completions and manual pages: when one is called, the tree of commands is not
/// there.
#[derive(Debug)]
pub struct Protocol(&'static helper::Helper);

impl Protocol {
    /// Its name.
    pub fn name(&self) -> &'static str {
        self.0.name
    }
}

impl Subcommand for Protocol {
    fn augment_subcommands(command: Command) -> Command {
        HELPERS.iter().fold(command, |command, helper| command.subcommand((helper.command)()))
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        helper::named(name).is_some()
    }
}

impl FromArgMatches for Protocol {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let found = matches.subcommand_name().and_then(helper::named);
        found.map(Self).ok_or_else(|| clap::Error::new(clap::error::ErrorKind::MissingSubcommand))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
