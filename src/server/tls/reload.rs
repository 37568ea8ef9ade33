//! Certificates that are replaced while the program runs.
//!
//! The files' contents are looked at every few seconds, which works for whatever replaces them: an editor, a rename, or the
//! links that Kubernetes swaps. Each pair is taken up as soon as it is whole; until then the one before stays.

use std::sync::Arc;
use std::time::Duration;

use rustls::{RootCertStore, ServerConfig};
use tokio::sync::watch;

use super::acceptor::{Resumption, read_authorities, server_config};
use super::certificate::{Fingerprint, Served, fingerprint};
use super::{CertificateSource, SetupError, TlsOptions};
use crate::clock::{Clock, Timestamp};
use crate::server::Stop;
use crate::trust;

/// A certificate that runs out is warned of this often.
const WARN_EVERY: Duration = Duration::from_secs(24 * 3600);

/// Keeps an [`Acceptor`](super::Acceptor)'s certificates up to date while it runs.
pub struct Reloader {
    options: TlsOptions,
    clock: Clock,
    pairs: Vec<Pair>,
    authorities: Authorities,
    resumption: Resumption,
    warned_at: Option<Timestamp>,
    config: watch::Sender<Arc<ServerConfig>>,
    /// Told when other clients are let in than before.
    authorities_changed: watch::Sender<()>,
}

/// What an [`Acceptor`](super::Acceptor) works with.
#[derive(Debug, Clone)]
pub(super) struct Current {
    /// For the next handshake.
    pub(super) config: watch::Receiver<Arc<ServerConfig>>,
    /// Changes when other clients are let in than before.
    pub(super) authorities: watch::Receiver<()>,
}

/// A pair in use, and what became of its files since.
struct Pair {
    source: CertificateSource,
    served: Served,
    watched: Watched,
}

/// The authorities in use.
struct Authorities {
    store: RootCertStore,
    watched: Watched,
}

/// By what to know that files have changed.
struct Watched {
    in_use: Fingerprint,
    /// What was there last and could not be used, and whether that was told.
    broken: Option<(Fingerprint, bool)>,
}

impl Watched {
    fn new(in_use: Fingerprint) -> Self {
        Self { in_use, broken: None }
    }

    fn is_in_use(&mut self, found: Fingerprint) -> bool {
        if found == self.in_use {
            self.broken = None;
        }
        found == self.in_use
    }

    /// Whether to tell that `found` is broken: once, and not before a second look, since two files are not written at
    /// the same moment.
    fn should_tell(&mut self, found: Fingerprint) -> bool {
        match &mut self.broken {
            Some((known, told)) if *known == found => !std::mem::replace(told, true),
            _ => {
                self.broken = Some((found, false));
                false
            }
        }
    }
}

impl Reloader {
    pub(super) fn new(options: TlsOptions, clock: Clock) -> Result<(Self, Current), SetupError> {
        let now = clock.now();
        let pairs = options.certificates.iter().map(|source| Pair::load(source, now)).collect::<Result<Vec<_>, _>>()?;
        let watched = Watched::new(authorities_found(&options));
        let authorities = Authorities { store: read_authorities(&options.client_certificates)?, watched };
        let resumption = Resumption::new()?;
        let served = pairs.iter().map(|pair| &pair.served);
        let config = server_config(served, &options.client_certificates, &authorities.store, &resumption)?;
        let (config, current) = watch::channel(config);
        // Those that run out at start were told with the configuration.
        let warned_at = pairs.iter().any(|pair| pair.served.is_running_out(now)).then_some(now);
        let (authorities_changed, changes) = watch::channel(());
        let reloader = Self { options, clock, pairs, authorities, resumption, warned_at, config, authorities_changed };
        Ok((reloader, Current { config: current, authorities: changes }))
    }

    /// Looks at the files until `stop`.
    pub async fn run(mut self, mut stop: Stop) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.options.reload_every) => {}
                () = stop.requested() => return,
            }
            // Files may lie on a slow disk or a network's.
            let looked = tokio::task::spawn_blocking(move || {
                self.look();
                self
            });
            match looked.await {
                Ok(reloader) => self = reloader,
                Err(error) => {
                    tracing::error!(%error, "certificates are not reloaded any more");
                    return;
                }
            }
        }
    }

    fn look(&mut self) {
        let now = self.clock.now();
        let mut changed = false;
        for pair in &mut self.pairs {
            changed |= pair.look(now);
        }
        let admits_others = self.look_at_authorities();
        if changed || admits_others {
            self.warned_at = None;
            self.take_up();
        }
        // After that, so that whoever comes back meets the new ones.
        if admits_others {
            self.authorities_changed.send_replace(());
        }
        self.warn_of_expiry(now);
    }

    fn look_at_authorities(&mut self) -> bool {
        let found = authorities_found(&self.options);
        if self.authorities.watched.is_in_use(found) {
            return false;
        }
        let store = read_authorities(&self.options.client_certificates);
        match store.and_then(|store| Ok((store, Resumption::new()?))) {
            Ok((store, resumption)) => {
                self.authorities = Authorities { store, watched: Watched::new(found) };
                self.resumption = resumption;
                tracing::info!("authorities of clients' certificates reloaded");
                true
            }
            Err(error) => {
                if self.authorities.watched.should_tell(found) {
                    tracing::warn!(%error, "new authorities of clients' certificates refused: the old ones stay");
                }
                false
            }
        }
    }

    fn take_up(&mut self) {
        let served = self.pairs.iter().map(|pair| &pair.served);
        match server_config(served, &self.options.client_certificates, &self.authorities.store, &self.resumption) {
            Ok(config) => {
                self.config.send_replace(config);
            }
            Err(error) => tracing::error!(%error, "new certificates can't be used: the old ones stay"),
        }
    }

    fn warn_of_expiry(&mut self, now: Timestamp) {
        if self.warned_at.is_some_and(|at| now.since(at) < WARN_EVERY) {
            return;
        }
        for served in self.pairs.iter().map(|pair| &pair.served).filter(|served| served.is_running_out(now)) {
            let (names, valid_until) = (served.names().join(", "), served.valid_until());
            tracing::warn!(names, valid_until, "certificate runs out: replace its files");
            self.warned_at = Some(now);
        }
    }
}

impl std::fmt::Debug for Reloader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reloader").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Pair {
    fn load(source: &CertificateSource, now: Timestamp) -> Result<Self, SetupError> {
        let (found, pem) = source.read();
        let served = pem.and_then(|pem| Served::new(&pem, now));
        let served = served.map_err(|error| SetupError::Certificate { place: source.place(error.part()), error })?;
        Ok(Self { source: source.clone(), served, watched: Watched::new(found) })
    }

    /// Takes up what stands in the files where it has changed and can be served; tells whether it did.
    fn look(&mut self, now: Timestamp) -> bool {
        let (found, pem) = self.source.read();
        if self.watched.is_in_use(found) {
            return false;
        }
        match pem.and_then(|pem| Served::new(&pem, now)) {
            Ok(served) => {
                let (names, valid_until) = (served.names().join(", "), served.valid_until());
                tracing::info!(names, valid_until, "certificate reloaded");
                (self.served, self.watched) = (served, Watched::new(found));
                true
            }
            Err(error) => {
                if self.watched.should_tell(found) {
                    let place = self.source.place(error.part());
                    tracing::warn!(error = format!("{place} {error}"), "new certificate refused: the old one stays");
                }
                false
            }
        }
    }
}

/// By what to know the authorities' files again.
fn authorities_found(options: &TlsOptions) -> Fingerprint {
    let read = |file| trust::read(file).unwrap_or_else(|error| error.to_string().into_bytes());
    let files: Vec<Vec<u8>> = options.client_certificates.ca_files().iter().map(|file| read(file)).collect();
    fingerprint(files.iter().map(Vec::as_slice))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_broken_is_told_once_at_the_second_look() {
        let [old, half, other] = [[1; 32], [2; 32], [3; 32]];
        let mut watched = Watched::new(old);
        assert!(watched.is_in_use(old) && !watched.is_in_use(half));
        assert_eq!([half; 4].map(|found| watched.should_tell(found)), [false, true, false, false]);
        assert_eq!([other; 3].map(|found| watched.should_tell(found)), [false, true, false]);
        // Put back, and broken again, is news.
        assert!(watched.is_in_use(old));
        assert_eq!([other; 2].map(|found| watched.should_tell(found)), [false, true]);
    }

    #[test]
    fn a_certificate_that_runs_out_is_warned_of_once_a_day_and_its_successor_is_not() {
        use rcgen::{CertificateParams, KeyPair, date_time_ymd};

        use crate::clock::Hand;
        use crate::server::tls::ClientCertificates;

        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
        let write = |until: i32| {
            let pair = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(vec!["docs.test".to_owned()]).unwrap();
            (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(until, 1, 1));
            std::fs::write(&cert, params.self_signed(&pair).unwrap().pem()).unwrap();
            std::fs::write(&key, pair.serialize_pem()).unwrap();
        };
        write(2030);
        let options = TlsOptions {
            certificates: vec![CertificateSource::Files { cert: cert.clone(), key: key.clone() }],
            client_certificates: ClientCertificates::None,
            reload_every: Duration::from_secs(1),
        };
        let day = |days: i64| {
            crate::server::tls::certificate::timestamp((date_time_ymd(2030, 1, 1).unix_timestamp()) + days * 86_400)
        };
        let hand = Hand::at(day(-20));
        let (mut reloader, _current) = Reloader::new(options, Clock::Manual(hand.clone())).unwrap();
        reloader.look();
        assert_eq!(reloader.warned_at, None);
        hand.advance(Duration::from_secs(7 * 86_400));
        reloader.look();
        assert_eq!(reloader.warned_at, Some(day(-13)));
        hand.advance(Duration::from_secs(3600));
        reloader.look();
        assert_eq!(reloader.warned_at, Some(day(-13)));
        hand.advance(Duration::from_secs(86_400));
        reloader.look();
        assert!(reloader.warned_at > Some(day(-13)));
        write(2031);
        reloader.look();
        assert_eq!(reloader.warned_at, None);
    }
}
