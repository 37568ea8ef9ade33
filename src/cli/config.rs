//! `callboard config`.

use std::process::ExitCode;

use clap::ValueEnum;

use super::ConfigFiles;

/// How to print the configuration.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Say beside each value where it comes from: a file, a variable, or a default.
    #[arg(long)]
    origin: bool,
    /// The format to print.
    #[arg(long, value_enum, default_value = "yaml")]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Yaml,
    Json,
}

pub(super) fn run(files: ConfigFiles, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let configuration = files.read()?;
    let text = match arguments.format {
        Format::Yaml => configuration.effective.to_yaml(arguments.origin),
        Format::Json => format!("{:#}", configuration.effective.to_json(arguments.origin)),
    };
    println!("{}", text.trim_end());
    for warning in &configuration.warnings {
        eprintln!("warning: {warning}");
    }
    Ok(ExitCode::SUCCESS)
}
