//! `callboard purge`: asks a running Callboard to have sites confirmed by storage before it serves them again.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use reqwest::RequestBuilder;
use url::Url;

use super::{ConfigFiles, output, running, runtime};
use crate::app;
use crate::docs::EntityRef;
use crate::pipeline::{PURGE, PurgeReport, PurgedSites};

/// Longer than Redis may take, and a walk through all of memory.
const PATIENCE: Duration = Duration::from_secs(30);

const EXAMPLES: &str = "\
Examples:
  callboard purge component:default/shop
      On the machine that Callboard runs on, or inside of its container. All replicas are told.

  callboard purge component:default/shop --url https://docs.example.com --token-env CALLBOARD_TOKEN
      From CI, after `techdocs-cli publish`, with a token whose subject callboard.purge.subjects lists.";

/// What to purge.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(flatten)]
    what: What,
    /// The admin listener's address, where the configuration is not to be asked for it.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "url")]
    address: Option<SocketAddr>,
    /// The main listener of a Callboard elsewhere, such as https://docs.example.com. It wants a token.
    #[arg(long, value_name = "URL")]
    url: Option<Url>,
    /// The file that holds the token.
    #[arg(long, value_name = "FILE", requires = "url", conflicts_with = "token_env")]
    token_file: Option<PathBuf>,
    /// The environment variable that holds the token.
    #[arg(long, value_name = "VARIABLE", requires = "url")]
    token_env: Option<String>,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct What {
    /// Entities whose sites are purged, such as component:default/shop.
    #[arg(value_name = "ENTITY REF")]
    entities: Vec<EntityRef>,
    /// Purges every site whose files begin so below the root path, such as default/component/.
    #[arg(long)]
    prefix: Option<String>,
    /// Purges all sites.
    #[arg(long)]
    all: bool,
}

pub(super) fn run(files: ConfigFiles, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let token = token(&arguments)?;
    let (base, client) = match arguments.url {
        Some(url) => (url, client_of_others(files)?),
        None => {
            let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
            (running::admin(files, arguments.address)?, client)
        }
    };
    let mut url = running::operation(&base, PURGE, &arguments.what.entities)?;
    if let Some(prefix) = &arguments.what.prefix {
        url.query_pairs_mut().append_pair("prefix", prefix);
    }
    if arguments.what.all {
        url.query_pairs_mut().append_pair("all", "true");
    }
    let request = client.post(url);
    let request = token.into_iter().fold(request, RequestBuilder::bearer_auth);
    let report: PurgeReport =
        runtime()?.block_on(async { anyhow::Ok(running::done(request, &base).await?.json().await?) })?;
    output::line(&told(&report))?;
    Ok(ExitCode::SUCCESS)
}

/// Reaches other machines as Callboard itself does, believing whom the configuration says, where there is one.
fn client_of_others(files: ConfigFiles) -> anyhow::Result<reqwest::Client> {
    let trust = files.read().map(|configuration| configuration.resolved.trust).unwrap_or_default();
    let builder = app::trust(&trust)?.http_client(false).redirect(reqwest::redirect::Policy::none());
    Ok(builder.timeout(PATIENCE).build()?)
}

fn token(arguments: &Arguments) -> anyhow::Result<Option<String>> {
    let token = match (&arguments.token_file, &arguments.token_env) {
        (Some(file), _) => {
            Some(std::fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))?)
        }
        (None, Some(name)) => Some(std::env::var(name).with_context(|| format!("there is no token in {name}"))?),
        (None, None) => None,
    };
    Ok(token.map(|token| token.trim().to_owned()))
}

fn told(report: &PurgeReport) -> String {
    let PurgeReport { purged, sites, documents, replicas } = report;
    let what = match purged {
        PurgedSites::Entities(entities) => format!("the sites of {}", entities.join(", ")),
        PurgedSites::Prefix(prefix) => format!("every site whose files begin with {prefix}"),
        PurgedSites::All(_) => "all sites".to_owned(),
    };
    let replicas = match replicas.as_str() {
        "told" => "All replicas are told.",
        "none" => "Without Redis no other replica is told: where there are others, purge each of them.",
        _ => "Redis can't be reached: other replicas find out when they next look at the sites.",
    };
    format!(
        "Purged {what}: storage confirms each page before it is served again.\n\
         Held here: documents {documents}, sites {sites}. {replicas}"
    )
}
