//! The HTTP client of AWS's libraries: the program's own.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use bytes::{Bytes, BytesMut};
use reqwest::redirect::Policy;
use tokio::time::timeout;

use crate::secret::Secret;
use crate::storage::StoreError;
use crate::storage::http::CONNECT_TIMEOUT;
use crate::trust::Trust;

/// The largest answer that is read, in bytes. A credential with its token has some thousands.
const LARGEST_ANSWER: usize = 1 << 20;

/// How long one answer may take, where the library does not say.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Asks for credentials.
#[derive(Debug, Clone)]
pub(super) struct CredentialHttp {
    /// For STS and SSO, which may lie behind the proxy.
    outward: reqwest::Client,
    /// For what speaks cleartext: metadata and agents of the machine itself, which no proxy leads to.
    inward: reqwest::Client,
    last: Arc<Mutex<Option<Heard>>>,
}

/// What was heard last from whoever gives out credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// An answer to what was asked, be it a refusal.
    Answer,
    /// Nothing, or an error of its own.
    Trouble,
}

impl CredentialHttp {
    /// A client that believes whom `trust` does, behind `proxy` where there is one.
    pub(super) fn new(trust: &Trust, proxy: Option<&Secret>) -> Result<Self, StoreError> {
        // What is signed, or holds a credential, goes where it was sent and nowhere else.
        let builder = || trust.http_client(false).redirect(Policy::none()).connect_timeout(CONNECT_TIMEOUT);
        let mut outward = builder();
        if let Some(proxy) = proxy.and_then(Secret::expose_text) {
            outward = outward.proxy(reqwest::Proxy::all(proxy).map_err(StoreError::unavailable)?);
        }
        Ok(Self {
            outward: outward.build().map_err(StoreError::unavailable)?,
            inward: builder().no_proxy().build().map_err(StoreError::unavailable)?,
            last: Arc::default(),
        })
    }

    /// The same client, which has heard nothing yet.
    pub(super) fn anew(&self) -> Self {
        Self { last: Arc::default(), ..self.clone() }
    }

    /// What it has heard last; `None` where it was not used.
    pub(super) fn heard(&self) -> Option<Heard> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self, request: HttpRequest, patience: Duration) -> Result<HttpResponse, ConnectorError> {
        let late = || ConnectorError::timeout(format!("no answer within {patience:?}").into());
        let answer = timeout(patience, self.exchange(request)).await.unwrap_or_else(|_| Err(late()));
        let heard = match &answer {
            Ok(answer) if answer.status().is_server_error() || answer.status().as_u16() == 429 => Heard::Trouble,
            Ok(_) => Heard::Answer,
            Err(_) => Heard::Trouble,
        };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(heard);
        answer
    }

    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
        let is_cleartext = request.uri().scheme_str() == Some("http");
        let client = if is_cleartext { &self.inward } else { &self.outward };
        // What these libraries send is in memory whole.
        let request = request.map(|body| body.bytes().map(Bytes::copy_from_slice).unwrap_or_default());
        let request = reqwest::Request::try_from(request).map_err(|error| ConnectorError::user(error.into()))?;
        let mut answer = client.execute(request).await.map_err(failed)?;
        let mut body = BytesMut::new();
        while let Some(piece) = answer.chunk().await.map_err(failed)? {
            if body.len() + piece.len() > LARGEST_ANSWER {
                let error = format!("the answer is larger than {LARGEST_ANSWER} bytes");
                return Err(ConnectorError::other(error.into(), None));
            }
            body.extend_from_slice(&piece);
        }
        let mut whole = http::Response::new(SdkBody::from(body.freeze()));
        *whole.status_mut() = answer.status();
        *whole.headers_mut() = std::mem::take(answer.headers_mut());
        HttpResponse::try_from(whole).map_err(|error| ConnectorError::other(error.into(), None))
    }
}

fn failed(error: reqwest::Error) -> ConnectorError {
    let is_timeout = error.is_timeout();
    // Addresses may hold what is asked for, such as a role's name, and the causes say what happened.
    let error: Box<dyn Error + Send + Sync> = error.without_url().into();
    if is_timeout { ConnectorError::timeout(error) } else { ConnectorError::io(error) }
}

impl HttpClient for CredentialHttp {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        let patience =
            settings.connect_timeout().unwrap_or_default() + settings.read_timeout().unwrap_or(ANSWER_TIMEOUT);
        SharedHttpConnector::new(Connector { http: self.clone(), patience })
    }
}

#[derive(Debug)]
struct Connector {
    http: CredentialHttp,
    patience: Duration,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (http, patience) = (self.http.clone(), self.patience);
        HttpConnectorFuture::new(async move { http.send(request, patience).await })
    }
}
