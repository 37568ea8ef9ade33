//! The command line.

mod check;
mod config;
mod health;
mod output;
mod policy;
mod purge;
mod running;
mod serve;
mod token;
mod warm;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};

use crate::config::{Configuration, Environment, Problems, Sources};

/// What `sysexits.h` calls `EX_USAGE`: the command or the configuration is wrong, and starting again won't help.
const EXIT_CONFIGURATION: u8 = 64;

/// Something that the configuration names did not work out.
const EXIT_FAILURE: u8 = 1;

const EXAMPLES: &str = "\
Examples:
  callboard
      Without any configuration file: serves a sample site on 127.0.0.1:7008 and prints a curl line to try it.
      With app-config.yaml in the working directory: serves what its techdocs.publisher names.

  callboard --config app-config.yaml --config app-config.production.yaml
      Serves; each file is laid over the one before.

  callboard check --config app-config.yaml
      Tries the configuration, storage and keys, and says what is wrong with them.

  callboard policy --format terraform
      Prints the least policy for the bucket that the configuration names.

  callboard config --origin
      Shows every setting in effect and where it comes from.

Exit codes: 0 done, 1 something did not work, 64 the configuration or the command line is wrong.";

/// A read-only caching reverse proxy in front of the storage that holds TechDocs sites.
///
/// Callboard verifies Backstage's tokens, maps entity and path to a storage key and serves the file from memory, else
/// from storage, with credentials that need only be able to read. It takes its settings from Backstage's own
/// app-config.yaml and from a section `callboard:` in it.
#[derive(Debug, Parser)]
#[command(name = "callboard", version, after_help = EXAMPLES, max_term_width = 110)]
struct Arguments {
    #[command(flatten)]
    config: ConfigFiles,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve documents (the default).
    Serve,
    /// Try the configuration, storage and token keys, and print a verdict a line each.
    ///
    /// Tries as well whether the credential for storage can do more than read, in a way that leaves nothing behind. Exits
    /// with 1 if anything failed. Changes nothing and serves nothing.
    Check,
    /// Print the configuration in effect: defaults and durations resolved, secrets masked.
    Config(config::Arguments),
    /// Ask the Callboard that runs on this machine with this configuration how it is.
    ///
    /// Exits with 0 if it is well, with 1 if it is not or does not answer. For container health checks.
    Health(health::Arguments),
    /// Print the least policy that storage has to grant, ready to apply.
    ///
    /// For the publishers that are configured, or for a bucket that is named. What else is to be known goes to standard
    /// error.
    Policy(policy::Arguments),
    /// Have a running Callboard confirm sites with storage before it serves them again.
    ///
    /// Asks the one on this machine with this configuration by its admin listener, or another by --url.
    Purge(purge::Arguments),
    /// Have the Callboard that runs on this machine with this configuration fetch sites before anyone reads them.
    ///
    /// Fills its memory and, where there is one, Redis. Ctrl-C ends it.
    Warm(warm::Arguments),
    /// Make a key and a plugin token for local trials.
    Token(token::Arguments),
}

/// Where the configuration is.
#[derive(Debug, clap::Args)]
struct ConfigFiles {
    /// Configuration file; may be repeated, each is laid over the one before. Without it: app-config.yaml, then
    /// app-config.local.yaml, where they exist.
    #[arg(long = "config", value_name = "FILE", global = true)]
    files: Vec<PathBuf>,
}

/// Runs the command that the arguments name.
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are errors to clap, but not to whoever asked for them.
            let code = if error.use_stderr() { EXIT_CONFIGURATION } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let config = arguments.config;
    let done = match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::run(config),
        Command::Check => check::run(config),
        Command::Config(arguments) => config::run(config, &arguments),
        Command::Health(arguments) => health::run(config, &arguments),
        Command::Policy(arguments) => policy::run(config, arguments),
        Command::Purge(arguments) => purge::run(config, arguments),
        Command::Warm(arguments) => warm::run(config, &arguments),
        Command::Token(arguments) => token::run(&arguments),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            if let Some(problems) = error.downcast_ref::<Problems>() {
                eprintln!("{}", problems.to_string().trim_end());
                return ExitCode::from(EXIT_CONFIGURATION);
            }
            eprintln!("callboard: {error:#}");
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

impl ConfigFiles {
    /// Reads the configuration.
    fn read(self) -> anyhow::Result<Configuration> {
        let environment = Environment::of_process()?;
        Ok(crate::config::read(&Sources { files: self.files, environment })?)
    }
}

/// The runtime that everything asynchronous runs on.
fn runtime() -> std::io::Result<Runtime> {
    // With one core, or a quota of one, there is nobody to share work with, and each request is spared the means to.
    let mut builder = match std::thread::available_parallelism() {
        Ok(cores) if cores.get() == 1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.enable_all().build()
}
