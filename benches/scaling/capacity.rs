//! The formulas, read off where no simulation reaches: a hundred thousand sites, a hundred thousand requests a second, fifty
//! replicas.

use std::time::{Duration, Instant};

use anyhow::Context;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, ParsedPublicKey,
};

use super::formulas::best_ratio;
use super::load::Load;
use super::rows::{BASE, Row};
use super::store::{CHANGED, NOMINAL_WEIGHTS};
use super::world::{Scenario, Spread};

/// What S3 asks for a GET, in dollars, whatever it answers.
const DOLLARS_A_GET: f64 = 0.4e-6;
const SECONDS_A_MONTH: f64 = 365.25 * 24.0 * 3600.0 / 12.0;

/// A site of fifty pages, each with a figure.
const LARGE: Scenario = Scenario {
    load: Load { sites: 100_000, pages: 50, skew: 0.9, requests: 100_000.0 },
    replicas: 50,
    has_redis: true,
    memory: 1 << 30,
    publishes: 1.0,
    // So long that nothing is read for the first time.
    warm_up: 30.0 * 24.0 * 3600.0,
    ..BASE
};

fn rows() -> Vec<Row> {
    let rare = Scenario { fresh_for: Duration::from_secs(3600), publish_check: Duration::from_secs(60), ..LARGE };
    vec![
        ("as it is by default, with Redis", LARGE),
        ("without Redis", Scenario { has_redis: false, ..LARGE }),
        ("each site on one replica, with Redis", Scenario { spread: Spread::BySite, ..LARGE }),
        ("`freshFor: 1h`", Scenario { fresh_for: Duration::from_secs(3600), ..LARGE }),
        ("`freshFor: 1h`, `publishCheck: 60s`", rare),
        ("the same, each site on one replica", Scenario { spread: Spread::BySite, ..rare }),
        (
            "the same, `publishCheck: 10m`, `freshFor: 24h`, purged by CI",
            Scenario {
                spread: Spread::BySite,
                fresh_for: Duration::from_secs(24 * 3600),
                publish_check: Duration::from_secs(600),
                ..LARGE
            },
        ),
    ]
}

/// What storage and Redis are asked there.
pub(crate) fn table() -> String {
    let mut table = "\
| | looks/s | documents/s | after publishes | S3 requests/s | $ a month | watched by a replica | Redis commands/s | messages/s, delivered | from memory |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
"
    .to_owned();
    for (name, scenario) in rows() {
        let predicted = scenario.predicted();
        let asked = predicted.looks + predicted.documents + predicted.settling;
        let redis = |figure: f64| if scenario.has_redis { format!("{figure:.0}") } else { "-".to_owned() };
        let told = scenario.told() * scenario.replicas as f64;
        // Each has its own sites, or all have the same.
        let memories = if scenario.spread == Spread::BySite { scenario.replicas as f64 } else { 1.0 };
        let held = best_ratio(&scenario, scenario.memory as f64 * memories, NOMINAL_WEIGHTS);
        table += &format!(
            "| {name} | {:.0} | {:.0} | {:.0} | {asked:.0} | {:.0} | {:.0} | {} | {} | {:.0} % |\n",
            predicted.looks,
            predicted.documents,
            predicted.settling,
            asked * SECONDS_A_MONTH * DOLLARS_A_GET,
            predicted.watched,
            redis(predicted.commands(scenario.replicas)),
            redis(told),
            held * 100.0,
        );
    }
    table
}

impl Scenario {
    /// Messages, a second: each changed document that somebody fetches, and each publish.
    fn told(&self) -> f64 {
        let publishes = self.publishes * self.load.sites as f64 / (24.0 * 3600.0);
        publishes * (1.0 + CHANGED * 2.0 * self.load.pages as f64)
    }
}

/// Microseconds that the signature of a token takes to verify here: the least of many batches.
pub(crate) fn es256_micros() -> anyhow::Result<f64> {
    const BATCH: u32 = 200;
    let random = SystemRandom::new();
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
    let message = [7; 300];
    let signature = pair.sign(&random, &message)?;
    let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref())?;
    let batches = (0..20).map(|_| {
        let start = Instant::now();
        for _ in 0..BATCH {
            key.verify_sig(&message, signature.as_ref())?;
        }
        Ok(start.elapsed().as_secs_f64() * 1e6 / f64::from(BATCH))
    });
    let batches = batches.collect::<anyhow::Result<Vec<_>>>()?;
    batches.into_iter().min_by(f64::total_cmp).context("nothing was measured")
}
