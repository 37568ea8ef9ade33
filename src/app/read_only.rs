//! That no credential can write: proven before anything is served where that is required, else while it is.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::StartError;
use crate::proof::{Proof, Prover};
use crate::server::Stop;
use crate::storage::{Kept, Means, Options, OriginOptions, Origins, RequireReadOnly};
use crate::telemetry::OriginInstruments;
use crate::trust::Trust;

/// How long to wait before what could not be told is tried again: this long at first, doubling up to the second.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What has to be proven, and has not been yet.
#[derive(Debug, Default)]
pub(super) struct Requirement {
    before: Vec<Suspect>,
    beside: Vec<Suspect>,
}

/// A credential of which it is not known whether it can write.
#[derive(Debug)]
struct Suspect {
    options: OriginOptions,
    instruments: Arc<OriginInstruments>,
    trust: Trust,
    kept: Arc<Kept>,
}

impl Requirement {
    pub(super) fn new(options: &Options, origins: &Origins, trust: &Trust) -> Self {
        let mut requirement = Self::default();
        for (options, origin) in options.origins.iter().zip(origins.iter()) {
            let instruments = Arc::clone(origin.instruments());
            let kept = Arc::clone(origin.kept());
            let suspect = Suspect { options: options.clone(), instruments, trust: trust.clone(), kept };
            match options.require_read_only {
                RequireReadOnly::Off => {}
                RequireReadOnly::Warn => requirement.beside.push(suspect),
                RequireReadOnly::Enforce => requirement.before.push(suspect),
            }
        }
        requirement
    }

    /// Whether everything is proven that has to be before anything is served.
    pub(super) fn is_met(&self) -> bool {
        self.before.is_empty()
    }

    /// Proves that, as often as it takes for storage to answer.
    pub(super) async fn enforce(&mut self) -> Result<(), StartError> {
        for suspect in std::mem::take(&mut self.before) {
            if let Err(error) = suspect.enforce().await {
                // Whoever goes on after an error must not be taken for proven.
                self.before.push(suspect);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Tells of the others, until all is told or it is time to stop.
    pub(super) async fn watch(self, mut stop: Stop) {
        tokio::select! {
            _ = join_all(self.beside.iter().map(Suspect::watch)) => {}
            () = stop.requested() => {}
        }
    }
}

impl Suspect {
    async fn enforce(&self) -> Result<(), StartError> {
        let setup = |source| StartError::Setup { what: "the proof that storage can't be written to", source };
        let proof = self.proven(&self.prover().map_err(setup)?, "nothing is served until it can").await;
        if proof.can_change() {
            return Err(StartError::Writable { place: self.place(), finding: proof.to_string() });
        }
        self.tell(&proof);
        Ok(())
    }

    async fn watch(&self) {
        match self.prover() {
            Ok(prover) => self.tell(&self.proven(&prover, "it is tried again").await),
            Err(error) => tracing::warn!(
                origin = self.options.name,
                error = format!("{error:#}"),
                "it can't be tried whether the credential for storage can write"
            ),
        }
    }

    fn prover(&self) -> anyhow::Result<Prover> {
        let timeout = self.options.bounds.timeout;
        Prover::new(
            &self.options,
            &Means { timeout, trust: &self.trust, instruments: &self.instruments, kept: &self.kept },
        )
    }

    /// What is proven, however long it takes until everything that changes storage has been told of.
    async fn proven(&self, prover: &Prover, meanwhile: &str) -> Proof {
        let (mut pause, longest) = PAUSES;
        loop {
            let proof = prover.prove().await;
            if proof.can_change() || proof.is_read_only() {
                self.instruments.proven(proof.can_change());
                return proof;
            }
            tracing::warn!(
                origin = self.options.name,
                reason = proof.doubt(),
                "whether the credential for storage can write could not be told; {meanwhile}"
            );
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }

    fn tell(&self, proof: &Proof) {
        if proof.can_do_more() {
            tracing::warn!(
                origin = self.options.name,
                "the credential for storage {proof}. Callboard needs no more than to read: `callboard policy` prints the \
                 least policy, `callboard check` tells more"
            );
        } else {
            tracing::debug!(origin = self.options.name, "the credential for storage {proof}, as was tried");
        }
    }

    fn place(&self) -> String {
        format!("{}, {}", self.options.name, self.options.store)
    }
}
