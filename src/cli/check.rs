//! `callboard check`: tries what the configuration names and says what is wrong with it.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::policy::usual_form;
use super::{ConfigFiles, EXIT_FAILURE, output, runtime};
use crate::app;
use crate::auth::Authenticator;
use crate::clock::Clock;
use crate::config::{Configuration, Resolved};
use crate::docs::Locator;
use crate::policy::{self, Kind, Place};
use crate::proof::{Proof, Prover};
use crate::redis;
use crate::storage::{Contact, Forbidden, Means, Origin, OriginOptions, RequireReadOnly, StoreError};
use crate::telemetry::Instruments;

/// Keys that are listed to find some sites: enough to show, not so many that a large bucket takes long.
const KEYS_LISTED: usize = 1000;

/// How long to wait before Redis is asked again.
const PING_PAUSE: Duration = Duration::from_millis(100);

/// What there is to say where neither listing nor a missing object tells anything.
const UNDECIDED: &str = "knows the credential, but may not be listed, and refuses what is absent as well: whether pages can be \
                         read shows with the first one. Grant listing (s3:ListBucket)";

/// What verdicts on the credential's rights are called.
const READ_ONLY: &str = "read only";

/// Sites that are named.
const SITES_SHOWN: usize = 3;

pub(super) fn run(files: ConfigFiles) -> anyhow::Result<ExitCode> {
    let Configuration { resolved, warnings, .. } = files.read()?;
    let mut report = Report::default();
    report.good("configuration", "has no problems");
    for warning in &warnings {
        report.warning("configuration", &warning.to_string());
    }
    check_certificates(&resolved, &mut report);
    runtime()?.block_on(async {
        check_storage(&resolved, &mut report).await?;
        check_redis(&resolved, &mut report).await;
        check_keys(resolved, &mut report).await
    })?;
    output::line(&format!("\n{}", report.verdict()))?;
    Ok(if report.failures == 0 { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILURE) })
}

fn check_certificates(resolved: &Resolved, report: &mut Report) {
    for source in resolved.server.tls.iter().flat_map(|tls| &tls.certificates) {
        match source.load(Clock::System.now()) {
            Ok(served) => {
                let names = served.names().join(", ");
                report.good("certificate", &format!("for {names}, valid until {}", served.valid_until()));
            }
            Err(error) => report.bad("certificate", &format!("{} {error}", source.place(error.part()))),
        }
    }
}

async fn check_storage(resolved: &Resolved, report: &mut Report) -> anyhow::Result<()> {
    let trust = app::trust(&resolved.trust)?;
    let origins = app::origins(&resolved.storage, &Clock::System, &trust, &Instruments::new()?)?;
    let probe = Locator::new(resolved.docs.clone()).probe();
    for (origin, options) in origins.iter().zip(&resolved.storage.origins) {
        let only = resolved.storage.origins.len() == 1;
        let place = if only { options.store.to_string() } else { format!("{}, {}", options.name, options.store) };
        let contact = origin.contact(KEYS_LISTED, &probe).await;
        check_credential(origin, &place, report);
        match contact {
            Ok(Contact::Keys(keys)) => report.sites(&place, &keys),
            Ok(Contact::Unlistable) => report.good("storage", &format!("{place} answers; it may not be listed")),
            Ok(Contact::Undecided) => report.warning("storage", &format!("{place} {UNDECIDED}")),
            Err(error) => {
                report.bad("storage", &format!("{place}: {}", describe(error)));
                continue;
            }
        }
        let means = Means {
            timeout: options.bounds.timeout,
            trust: &trust,
            instruments: origin.instruments(),
            kept: origin.kept(),
        };
        match Prover::new(options, &means) {
            Ok(prover) => tell_proof(&place, options, &prover.prove().await, report),
            Err(error) => untold(&place, options, &format!("whether it can write: {error:#}"), report),
        }
        if let Some(how) = how_absence_is_told(origin.forbidden()) {
            report.good("missing pages", &format!("{place}: {how}"));
        }
    }
    Ok(())
}

/// Where the credential was found, or why there is none.
fn check_credential(origin: &Origin, place: &str, report: &mut Report) {
    match (origin.credential_trouble(), origin.credential_place()) {
        (Some(trouble), _) => report.bad("credential", &format!("for {place}: {trouble}")),
        (None, Some(found)) => report.good("credential", &format!("for {place}: {found}")),
        (None, None) => {}
    }
}

/// What was decided about refusals of single objects, and why; nothing where a refusal is a refusal.
fn how_absence_is_told(forbidden: Forbidden) -> Option<&'static str> {
    match forbidden {
        Forbidden::Told | Forbidden::Listed => None,
        Forbidden::Absent => Some("whatever is refused is 404, since callboard.storage.s3.forbiddenIsAbsent is true"),
        Forbidden::Denied => Some("whatever is refused is 502, since callboard.storage.s3.forbiddenIsAbsent is false"),
        Forbidden::Compared | Forbidden::Undecided => Some(
            "since it may not be listed, what is refused is 404 as long as a page that was read before can still be read, \
             and 502 until one has been (callboard.storage.s3.forbiddenIsAbsent is auto)",
        ),
    }
}

/// What trying to do more than read came to, and the policy that would not allow it.
fn tell_proof(place: &str, options: &OriginOptions, proof: &Proof, report: &mut Report) {
    if !proof.has_tried() {
        return;
    }
    let doubt = proof.doubt().map_or(String::new(), |doubt| format!(". It could not be told {doubt}"));
    let finding = format!("{place}: its credential {proof}{doubt}");
    let is_required = options.require_read_only == RequireReadOnly::Enforce;
    if proof.can_do_more() {
        let policy = least_policy(options).map_or(String::new(), |policy| format!(". This is enough:\n{policy}"));
        let finding = format!("{finding}{policy}");
        if is_required && proof.can_change() {
            report.bad(READ_ONLY, &finding)
        } else {
            report.warning(READ_ONLY, &finding)
        }
    } else if proof.is_read_only() {
        report.good(READ_ONLY, &finding);
    } else {
        untold(place, options, &proof.doubt().unwrap_or_default(), report);
    }
}

/// What is not known is in the way of serving where it has to be.
fn untold(place: &str, options: &OriginOptions, reason: &str, report: &mut Report) {
    let finding = format!("{place}: it could not be told {reason}");
    match options.require_read_only {
        RequireReadOnly::Enforce => report.bad(READ_ONLY, &finding),
        RequireReadOnly::Warn | RequireReadOnly::Off => report.warning(READ_ONLY, &finding),
    }
}

fn least_policy(options: &OriginOptions) -> Option<String> {
    let kind = Kind::of(&options.store)?;
    let place = Place::of(&options.store, &options.layout.root_path);
    Some(policy::policy(kind, &place, usual_form(kind)).ok()?.text)
}

/// Whether Redis answers, where there is one. Without it everything is served all the same, so that it is a warning.
async fn check_redis(resolved: &Resolved, report: &mut Report) {
    let Some(options) = &resolved.redis else { return };
    let place = options.form.to_string();
    match ping(resolved, options.clone()).await {
        Ok(()) => report.good("redis", &format!("{place} answers")),
        Err(error) => report.warning("redis", &format!("{place}: {error:#}. Callboard serves without it")),
    }
}

async fn ping(resolved: &Resolved, options: redis::Options) -> anyhow::Result<()> {
    let patience = options.connect_timeout;
    let client = redis::Client::new(options, &app::trust(&resolved.trust)?, Arc::new(Instruments::new()?))?;
    let ping = ::redis::pipe().cmd("PING").ignore().to_owned();
    // Its first connection may take longer than a command may.
    let answered = async {
        loop {
            match client.run::<()>(&ping).await {
                Err(redis::Failure::Timeout(_) | redis::Failure::Resting) => {
                    tokio::time::sleep(PING_PAUSE).await;
                }
                answer => return answer,
            }
        }
    };
    match tokio::time::timeout(patience, answered).await {
        Ok(answer) => Ok(answer?),
        Err(_) => anyhow::bail!("no answer within {patience:?}"),
    }
}

/// What an error means, with all its causes: here the reader is the operator.
fn describe(error: StoreError) -> String {
    let advice = match &error {
        StoreError::Denied(_) => {
            ". The credential must be allowed to read objects (s3:GetObject) and to list the bucket (s3:ListBucket)"
        }
        StoreError::Timeout(_) => ". Check the address and the network, or raise callboard.storage.timeout",
        _ => "",
    };
    format!("{:#}{advice}", anyhow::Error::from(error))
}

async fn check_keys(resolved: Resolved, report: &mut Report) -> anyhow::Result<()> {
    if !resolved.auth.required {
        return Ok(());
    }
    let takes_users = resolved.auth.users || resolved.auth.cookies;
    let authenticator =
        Authenticator::new(resolved.auth, Clock::System, app::key_set_client(&app::trust(&resolved.trust)?)?);
    for probe in authenticator.probe().await {
        let what = format!("keys of {}", probe.issuer);
        match probe.keys {
            // A plugin that has called nobody yet has made no key.
            Ok(0) => report.good(&what, &format!("{} answers, with no key yet", probe.place)),
            Ok(keys) => report.good(&what, &format!("{keys} from {}", probe.place)),
            // Without users of its own it needs their keys only for plugins that act on a user's behalf.
            Err(error) if probe.issuer == "users" && !takes_users => {
                report.warning(&what, &format!("{}: {error}", probe.place));
            }
            Err(error) => report.bad(&what, &format!("{}: {error}", probe.place)),
        }
    }
    Ok(())
}

/// The verdicts so far.
#[derive(Debug, Default)]
struct Report {
    failures: usize,
    warnings: usize,
}

impl Report {
    fn good(&mut self, what: &str, finding: &str) {
        Self::tell("ok", what, finding);
    }

    fn warning(&mut self, what: &str, finding: &str) {
        self.warnings += 1;
        Self::tell("warning", what, finding);
    }

    fn bad(&mut self, what: &str, finding: &str) {
        self.failures += 1;
        Self::tell("FAILED", what, finding);
    }

    /// One verdict, at once: the next may take its time. Where nobody hears it, the exit code still counts.
    fn tell(verdict: &str, what: &str, finding: &str) {
        let _ = output::line(&format!("{verdict:<8} {what}: {finding}"));
    }

    fn sites(&mut self, place: &str, keys: &[String]) {
        let metadata = keys.iter().filter_map(|key| key.strip_suffix("/techdocs_metadata.json"));
        let sites: BTreeSet<_> = metadata.collect();
        let shown: Vec<_> = sites.iter().take(SITES_SHOWN).copied().collect();
        let listed = if keys.len() == KEYS_LISTED { "among its first keys " } else { "" };
        match (keys.len(), shown.len()) {
            (0, _) => self.warning("storage", &format!("{place} answers, but holds nothing below the root path")),
            (_, 0) => self.warning("storage", &format!("{place} answers, but {listed}there is no published site")),
            _ => self.good("storage", &format!("{place} has {listed}{} sites: {}", sites.len(), shown.join(", "))),
        }
    }

    fn verdict(&self) -> String {
        match (self.failures, self.warnings) {
            (0, 0) => "All is well.".to_owned(),
            (0, warnings) => format!("It will serve; {warnings} things to look at."),
            (failures, _) => format!("{failures} things failed."),
        }
    }
}
