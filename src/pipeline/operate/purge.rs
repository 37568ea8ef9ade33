//! Purging: the answer says what was done.

use http::Response;
use serde::{Deserialize, Serialize};

use super::selection::{Query, Selection, Takes};
use super::{Operations, Refusal, answer_of};
use crate::cache::{Purged, Replicas};
use crate::docs::EntityRef;
use crate::pipeline::Body;

/// What a purge did, on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgeReport {
    /// What was purged.
    pub purged: Named,
    /// Sites that this replica holds something of, or that were named.
    pub sites: usize,
    /// Documents that this replica holds of them. Storage confirms each before it is served again.
    pub documents: usize,
    /// Whether other replicas do the same: `none` where there are none as far as the configuration says, `told`, or
    /// `unreachable`.
    pub replicas: String,
}

/// Sites as a query names them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Named {
    /// By entity.
    Entities(Vec<String>),
    /// By what their files begin with.
    Prefix(String),
    /// All of them.
    All(bool),
}

impl Operations {
    /// Purges what the query names.
    pub(in crate::pipeline) async fn purge(&self, query: &str) -> Result<Response<Body>, Refusal> {
        let Query { selection, .. } = Query::parse(query, Takes::Prefix)?;
        let (purged, done) = match selection {
            Selection::Entities(entities) => self.purge_entities(&entities).await?,
            Selection::Prefix(prefix) => {
                let done = self.cache.purge_below(&self.locator.prefix(&prefix)).await;
                (Named::Prefix(prefix), done)
            }
            Selection::All => (Named::All(true), self.cache.purge_below(&self.locator.prefix("")).await),
        };
        let Purged { sites, documents, replicas } = done;
        tracing::info!(?purged, sites, documents, replicas = replicas.as_str(), "purged");
        let report = PurgeReport { purged, sites, documents, replicas: replicas.as_str().to_owned() };
        // Strings and numbers always make JSON.
        let report = serde_json::to_vec(&report).unwrap_or_default();
        Ok(answer_of("application/json; charset=utf-8", Body::whole(report.into())))
    }

    /// All of them, or none where one can't have a site.
    async fn purge_entities(&self, entities: &[EntityRef]) -> Result<(Named, Purged), Refusal> {
        let sites = self.sites_of(entities)?;
        let mut all = Purged { sites: 0, documents: 0, replicas: Replicas::None };
        for site in &sites {
            let Purged { sites, documents, replicas } = self.cache.purge_site(site).await;
            all = Purged { sites: all.sites + sites, documents: all.documents + documents, replicas };
        }
        Ok((Named::Entities(entities.iter().map(ToString::to_string).collect()), all))
    }
}
