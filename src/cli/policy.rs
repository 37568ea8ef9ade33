//! `callboard policy`: the least that storage has to allow.

use std::process::ExitCode;

use clap::ValueEnum;

use super::{ConfigFiles, EXIT_CONFIGURATION, output};
use crate::policy::{self, Form, Kind, Place, Policy};

/// What to print a policy for.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Whose policy; without it that of each publisher that is configured.
    #[arg(value_enum)]
    kind: Option<KindName>,
    /// How to write it. The default is what is applied most directly: json for aws, cli for the others.
    #[arg(long, value_enum)]
    format: Option<FormName>,
    /// The bucket or container, for SFTP the folder on the server: in place of what is configured.
    #[arg(long, value_name = "NAME", requires = "kind")]
    bucket: Option<String>,
    /// The path in it that all sites are below.
    #[arg(long, value_name = "PATH", requires = "bucket")]
    root_path: Option<String>,
    /// The bucket's region, which tells AWS' partitions apart.
    #[arg(long, value_name = "NAME", requires = "bucket")]
    region: Option<String>,
    /// Azure's storage account, or OpenStack's project.
    #[arg(long, value_name = "NAME", requires = "kind")]
    account: Option<String>,
    /// Who reads: gcs a member, azure a principal's object id, swift project:user, sftp a user name.
    #[arg(long, value_name = "NAME", requires = "kind")]
    user: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum KindName {
    Aws,
    Gcs,
    Azure,
    Swift,
    Sftp,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FormName {
    Json,
    Terraform,
    Cli,
}

pub(super) fn run(files: ConfigFiles, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let form = arguments.format.map(FormName::form);
    let wanted = arguments.kind.map(KindName::kind);
    let places = match (wanted, &arguments.bucket) {
        (Some(kind), Some(_)) => vec![(kind, arguments.place())],
        _ => configured(files, wanted, &arguments)?,
    };
    if places.is_empty() {
        let whom = wanted.map_or_else(|| "that has a policy".to_owned(), |kind| format!("of {kind}"));
        eprintln!("callboard: no publisher {whom} is configured: name one with `callboard policy KIND --bucket NAME`");
        return Ok(ExitCode::from(EXIT_CONFIGURATION));
    }
    for (kind, place) in places {
        print(&policy::policy(kind, &place, form.unwrap_or(usual_form(kind)))?)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The form that is applied most directly.
pub(super) const fn usual_form(kind: Kind) -> Form {
    match kind {
        Kind::Aws => Form::Json,
        Kind::Gcs | Kind::Azure | Kind::Swift | Kind::Sftp => Form::Cli,
    }
}

fn configured(files: ConfigFiles, wanted: Option<Kind>, arguments: &Arguments) -> anyhow::Result<Vec<(Kind, Place)>> {
    let origins = files.read()?.resolved.storage.origins;
    let places = origins.iter().filter_map(|origin| {
        let mut place = Place::of(&origin.store, &origin.layout.root_path);
        place.account = arguments.account.clone().or(place.account);
        place.user = arguments.user.clone().or(place.user);
        Some((Kind::of(&origin.store)?, place))
    });
    Ok(places.filter(|(kind, _)| wanted.is_none_or(|wanted| wanted == *kind)).collect())
}

/// The policy to standard output, where it can be piped from, and the rest beside it.
fn print(policy: &Policy) -> anyhow::Result<()> {
    output::line(&policy.text)?;
    for note in &policy.notes {
        eprintln!("note: {note}");
    }
    Ok(())
}

impl Arguments {
    fn place(&self) -> Place {
        let path = self.root_path.as_deref().unwrap_or_default();
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        Place {
            bucket: self.bucket.clone().unwrap_or_default(),
            root_path: segments.join("/"),
            region: self.region.clone(),
            account: self.account.clone(),
            user: self.user.clone(),
        }
    }
}

impl KindName {
    const fn kind(self) -> Kind {
        match self {
            Self::Aws => Kind::Aws,
            Self::Gcs => Kind::Gcs,
            Self::Azure => Kind::Azure,
            Self::Swift => Kind::Swift,
            Self::Sftp => Kind::Sftp,
        }
    }
}

impl FormName {
    const fn form(self) -> Form {
        match self {
            Self::Json => Form::Json,
            Self::Terraform => Form::Terraform,
            Self::Cli => Form::Cli,
        }
    }
}
