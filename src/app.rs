//! The composition root: from a resolved configuration to a running program. The only file that names every concrete
//! type.

mod read_only;
mod upkeep;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::admin::Admin;
use crate::auth::Authenticator;
use crate::cache::shared::Seal;
use crate::cache::{DocCache, RedisOptions};
use crate::clock::Clock;
use crate::config::Resolved;
use crate::docs::{Locator, StorageKey};
use crate::events::Events;
use crate::limit::Limiter;
use crate::pipeline::{Health, Journey, Notifications, Operations, Rooms};
use crate::redis;
use crate::sample;
use crate::secret::Secret;
use crate::server::tls::{Acceptor, Reloader, TlsOptions};
use crate::server::{Listener, Stop, Stopper, raise_open_files};
use crate::storage::{
    self, DocStore, Kept, LocalStore, Means, Options as StorageOptions, Origin, OriginOptions, Origins, SftpStore,
    StoreError, StoreOptions,
};
use crate::telemetry::{AccessLog, Instruments, ListenerName, OriginInstruments, Telemetry};
use crate::trust::{self, Trust};
use read_only::Requirement;

/// How long what is left of telemetry may take to be sent: at least, however long requests in flight took to finish, and
/// at most, however quickly they did.
const FLUSH: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// How long what was found last may take to get into Redis.
const CACHE_FLUSH: Duration = Duration::from_millis(500);

/// How long the admin listener's last answers may take, once the main listener is done.
const ADMIN_GRACE: Duration = Duration::from_millis(500);

/// How long one request for a key set may take to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Everything that serves, wired together and not listening yet.
#[derive(Debug)]
pub struct App {
    journey: Arc<Journey>,
    admin: Arc<Admin>,
    health: Arc<Health>,
    origins: Arc<Origins>,
    cache: Arc<DocCache>,
    limiter: Arc<Limiter>,
    instruments: Arc<Instruments>,
    probe: StorageKey,
    server: crate::server::Options,
    tls: Option<(Acceptor, Reloader)>,
    telemetry: Telemetry,
    requirement: Requirement,
}

/// Why the program could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address can't be listened on.
    #[error("can't listen on {address} ({key}): {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The configuration's key that names it.
        key: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// A client can't be built from its options.
    #[error("{what} can't be set up")]
    Setup {
        /// Which client.
        what: &'static str,
        /// What it says.
        source: anyhow::Error,
    },
    /// A credential can write, and must not be able to.
    #[error(
        "the credential of {place} {finding}. callboard.storage.requireReadOnly is enforce: give it the policy that \
         `callboard policy` prints"
    )]
    Writable {
        /// The origin and its store.
        place: String,
        /// What it can do.
        finding: String,
    },
    /// It was not proven yet that a credential can't write, and must be.
    #[error(
        "it is not proven that the credentials of storage can't write, and callboard.storage.requireReadOnly is enforce"
    )]
    Unproven,
}

impl App {
    /// Wires everything together.
    ///
    /// # Errors
    /// Where a client can't be built from its options.
    pub fn new(resolved: Resolved, clock: Clock) -> Result<Self, StartError> {
        let trust = trust(&resolved.trust)?;
        let telemetry = telemetry(&resolved, &trust)?;
        Self::with_telemetry(resolved, clock, &trust, telemetry)
    }

    /// The same, with telemetry that was started before, for the sake of the log.
    ///
    /// # Errors
    /// Where a client can't be built from its options.
    pub fn with_telemetry(
        resolved: Resolved,
        clock: Clock,
        trust: &Trust,
        telemetry: Telemetry,
    ) -> Result<Self, StartError> {
        let origins = origins(&resolved.storage, &clock, trust, &telemetry.instruments)?;
        let requirement = Requirement::new(&resolved.storage, &origins, trust);
        let app = Self::assemble(resolved, clock, origins, trust, telemetry)?;
        Ok(Self { requirement, ..app })
    }

    /// The same, in front of this store in place of the first of those that are configured.
    ///
    /// # Errors
    /// Where a client can't be built from its options.
    pub fn with_store(resolved: Resolved, clock: Clock, store: Arc<dyn DocStore>) -> Result<Self, StartError> {
        let trust = trust(&resolved.trust)?;
        let telemetry = telemetry(&resolved, &trust)?;
        let options = OriginOptions::new("docs", StoreOptions::Sample);
        let options = resolved.storage.origins.first().unwrap_or(&options);
        let origins = Origins::only(store, options, &telemetry.instruments, clock.clone());
        Self::assemble(resolved, clock, origins, &trust, telemetry)
    }

    fn assemble(
        resolved: Resolved,
        clock: Clock,
        origins: Origins,
        trust: &Trust,
        telemetry: Telemetry,
    ) -> Result<Self, StartError> {
        let instruments = Arc::clone(&telemetry.instruments);
        let origins = Arc::new(origins);
        let storage = &resolved.storage;
        let redis = resolved.redis.map(|options| redis(options, storage, trust, &instruments)).transpose()?;
        let cache = DocCache::new(Arc::clone(&origins), redis, resolved.cache, clock.clone(), Arc::clone(&instruments));
        let health = Arc::new(Health::new(Arc::clone(&origins)));
        let access_log = AccessLog::new(&resolved.telemetry, Arc::clone(&instruments));
        let tls = resolved.server.tls.clone().map(|options| tls(options, &clock, &instruments)).transpose()?;
        let limiter = Arc::new(Limiter::new(resolved.limits, &clock));
        let locator = Locator::new(resolved.docs);
        let probe = locator.probe();
        let purgers = resolved.pipeline.purgers.clone();
        let operations = Arc::new(Operations::new(Arc::clone(&cache), locator.clone(), purgers));
        let events = Events::new(resolved.events, clock.clone(), key_set_client(trust)?, Arc::clone(&instruments));
        let (told, places, counted) = (Arc::clone(&cache), locator.clone(), Arc::clone(&instruments));
        let notifications = Notifications::new(events, Arc::clone(&origins), told, places, counted);
        let rooms = Rooms {
            authenticator: Authenticator::new(resolved.auth, clock, key_set_client(trust)?),
            limiter: Arc::clone(&limiter),
            locator,
            cache: Arc::clone(&cache),
            operations: Arc::clone(&operations),
            notifications,
            health: Arc::clone(&health),
            instruments: Arc::clone(&instruments),
            access_log,
        };
        let journey = Journey::new(rooms, resolved.pipeline).traced(telemetry.tracing.clone());
        let admin = Admin::new(Arc::clone(&health), operations, Arc::clone(&instruments));
        Ok(Self {
            journey: Arc::new(journey),
            admin: Arc::new(admin),
            health,
            origins,
            cache,
            limiter,
            instruments,
            probe,
            server: resolved.server,
            tls,
            telemetry,
            requirement: Requirement::default(),
        })
    }

    /// Proves that no credential can write of which that is required before anything is served, however long it takes
    /// until storage answers.
    ///
    /// # Errors
    /// Where one can.
    pub async fn prove_read_only(&mut self) -> Result<(), StartError> {
        self.requirement.enforce().await
    }

    /// Listens and serves.
    ///
    /// # Errors
    /// Where an address can't be listened on, or a proof is required that there is not.
    pub fn start(self) -> Result<Running, StartError> {
        if !self.requirement.is_met() {
            return Err(StartError::Unproven);
        }
        raise_open_files(&self.server.limits);
        let main = self.bind(self.server.listen, ListenerName::Main, "callboard.listen")?;
        let admin = self.bind(self.server.admin_listen, ListenerName::Admin, "callboard.admin.listen")?;
        let addresses = (address_of(&main, self.server.listen)?, address_of(&admin, self.server.admin_listen)?);
        let (stop, stopped) = Stop::channel();
        let (acceptor, reloader) = self.tls.unzip();
        if let Some(reloader) = reloader {
            tokio::spawn(reloader.run(stopped.clone()));
        }
        let (grace, delay) = (self.server.drain_grace, self.server.drain_delay);
        let health = Arc::clone(&self.health);
        let contact = upkeep::keep_contact(self.origins, self.probe, stopped.clone());
        let sweep = upkeep::sweep(self.limiter, stopped.clone());
        let proof = self.requirement.watch(stopped.clone());
        let cache = self.cache;
        let hearing = tokio::spawn(Arc::clone(&cache).keep_hearing());
        let watch = tokio::spawn(Arc::clone(&cache).keep_watch());
        let serving = tokio::spawn(async move {
            // Until the last document is through, there is somebody to be asked how that goes.
            let (stop_admin, admin_stopped) = Stop::channel();
            let main = async {
                let broken_off = main.with_tls(acceptor).serve(self.journey, stopped).await;
                // Whoever was served until now was served by the same rules as ever.
                hearing.abort();
                watch.abort();
                cache.flush(CACHE_FLUSH).await;
                stop_admin.close(Instant::now() + ADMIN_GRACE);
                broken_off
            };
            let admin = admin.serve(self.admin, admin_stopped);
            let (broken_off, _, (), (), ()) = tokio::join!(main, admin, contact, sweep, proof);
            broken_off
        });
        let (address, admin_address) = addresses;
        Ok(Running { address, admin_address, health, stop, serving, grace, delay, telemetry: self.telemetry })
    }

    fn bind(&self, address: SocketAddr, name: ListenerName, key: &'static str) -> Result<Listener, StartError> {
        let listener = Listener::bind(address, self.server.limits.clone(), name, Arc::clone(&self.instruments));
        listener.map_err(|source| StartError::Listen { address, key, source })
    }
}

/// A program that serves.
#[derive(Debug)]
pub struct Running {
    /// Where documents are served.
    pub address: SocketAddr,
    /// Where metrics and health are served.
    pub admin_address: SocketAddr,
    health: Arc<Health>,
    stop: Stopper,
    serving: JoinHandle<usize>,
    grace: Duration,
    delay: Duration,
    telemetry: Telemetry,
}

impl Running {
    /// Says that it is not ready, goes on serving for the drain delay, stops accepting then, lets requests in flight
    /// finish within the grace time (counted from now), sends what is left of telemetry, and returns how many
    /// connections had to be broken off.
    pub async fn stop(self) -> usize {
        let delay = self.delay;
        self.stop_after(delay).await
    }

    /// The same without the delay: for where no load balancer has to hear of it first.
    pub async fn stop_without_delay(self) -> usize {
        self.stop_after(Duration::ZERO).await
    }

    async fn stop_after(self, delay: Duration) -> usize {
        let start = Instant::now();
        self.health.draining();
        if !delay.is_zero() {
            self.stop.drain();
            tokio::time::sleep(delay).await;
        }
        self.stop.close(start + self.grace);
        let broken_off = self.serving.await.unwrap_or_default();
        let (least, most) = FLUSH;
        self.telemetry.stop(self.grace.saturating_sub(start.elapsed()).clamp(least, most)).await;
        broken_off
    }
}

/// Whom every outbound client believes.
///
/// # Errors
/// Where one of the files can't be used, or no authority is known at all.
pub fn trust(options: &trust::Options) -> Result<Trust, StartError> {
    Trust::load(options).map_err(|error| StartError::Setup { what: "the trust in servers", source: error.into() })
}

fn telemetry(resolved: &Resolved, trust: &Trust) -> Result<Telemetry, StartError> {
    Telemetry::start(&resolved.telemetry, trust).map_err(|source| StartError::Setup { what: "telemetry", source })
}

fn tls(options: TlsOptions, clock: &Clock, instruments: &Arc<Instruments>) -> Result<(Acceptor, Reloader), StartError> {
    let tls = Acceptor::new(options, clock.clone(), Arc::clone(instruments));
    tls.map_err(|error| StartError::Setup { what: "TLS", source: error.into() })
}

/// The stores that `options` name. It must be called inside a runtime, which their clients use.
///
/// # Errors
/// Where one of their clients can't be built.
pub fn origins(
    options: &StorageOptions,
    clock: &Clock,
    trust: &Trust,
    instruments: &Instruments,
) -> Result<Origins, StartError> {
    let origin = |options: &OriginOptions| {
        let instruments = origin_instruments(options, instruments);
        let kept = Arc::default();
        let store = store(options, trust, &instruments, &kept)?;
        Ok(Origin::new(store, options, instruments).keeping(kept))
    };
    let all: Result<_, StartError> = options.origins.iter().map(origin).collect();
    Ok(Origins::new(all?, clock.clone()))
}

fn origin_instruments(options: &OriginOptions, instruments: &Instruments) -> Arc<OriginInstruments> {
    Arc::new(instruments.origin(&options.name, &StoreError::RESULTS))
}

/// The store of one origin. It must be called inside a runtime, which its client uses.
///
/// # Errors
/// Where the client can't be built.
pub fn store(
    options: &OriginOptions,
    trust: &Trust,
    instruments: &Arc<OriginInstruments>,
    kept: &Arc<Kept>,
) -> Result<Arc<dyn DocStore>, StartError> {
    let means = Means { timeout: options.bounds.timeout, trust, instruments, kept };
    let setup = |what| move |error: StoreError| StartError::Setup { what, source: error.into() };
    match &options.store {
        StoreOptions::Local { directory } => Ok(Arc::new(LocalStore::new(directory.clone()))),
        StoreOptions::S3(s3) => storage::s3(s3, &means).map_err(setup("the S3 client")),
        StoreOptions::Azure(azure) => storage::azure(azure, &means).map_err(setup("the Azure client")),
        StoreOptions::Gcs(gcs) => storage::gcs(gcs, &means).map_err(setup("the Google Cloud Storage client")),
        StoreOptions::Sftp(sftp) => Ok(Arc::new(SftpStore::new(sftp.as_ref().clone(), means.timeout))),
        StoreOptions::Swift(swift) => storage::swift(swift, &means).map_err(setup("the Swift client")),
        StoreOptions::Sample => Ok(Arc::new(sample::store())),
    }
}

/// The client of Redis, and what the cache's tier in it runs on.
///
/// What replicas share is only what they read from the same places: another bucket's documents are found under other
/// names, also where two Callboards were given the same prefix.
fn redis(
    options: redis::Options,
    storage: &StorageOptions,
    trust: &Trust,
    instruments: &Arc<Instruments>,
) -> Result<(redis::Client, RedisOptions), StartError> {
    let key_prefix = format!("{}{:08x}:", options.key_prefix, shared_by(storage, options.integrity_key.as_ref()));
    let tier = RedisOptions { key_prefix, integrity_key: options.integrity_key.clone() };
    let client = redis::Client::new(options, trust, Arc::clone(instruments));
    let client = client.map_err(|error| StartError::Setup { what: "the Redis client", source: error.into() })?;
    Ok((client, tier))
}

/// A number for what replicas must have in common to share anything: the storage, the key that values are sealed with, and
/// the form that they are written in.
fn shared_by(storage: &StorageOptions, integrity_key: Option<&Secret>) -> u32 {
    let places: Vec<String> = storage.origins.iter().map(OriginOptions::identity).collect();
    let sealed = Seal::new(integrity_key, &places.join("\n")).seal("replicas", &[]);
    sealed.iter().rev().take(4).fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// The client that reads key sets. It asks Backstage itself: through no proxy, as Backstage's own plugins do, and
/// following no redirection, since a key set is trusted for the address that it comes from.
///
/// # Errors
/// Where TLS can't be set up.
pub fn key_set_client(trust: &Trust) -> Result<reqwest::Client, StartError> {
    let builder =
        trust.http_client(true).redirect(reqwest::redirect::Policy::none()).no_proxy().connect_timeout(CONNECT_TIMEOUT);
    builder.build().map_err(|error| StartError::Setup { what: "the HTTP client for key sets", source: error.into() })
}

fn address_of(listener: &Listener, address: SocketAddr) -> Result<SocketAddr, StartError> {
    listener.address().map_err(|source| StartError::Listen { address, key: "the address in use", source })
}
