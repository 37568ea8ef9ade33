//! How exports reach their receiver. Exporters run on threads of their own (the SDK's), and connections live on the
//! program's runtime: whatever touches a socket is handed over to it.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{
    Compression, LogExporter, MetricExporter, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use rustls::ClientConfig;
use tokio::runtime::Handle;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};

use crate::telemetry::{Protocol, Receiver};
use crate::trust::Trust;

/// How long a connection to a receiver may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The longest answer that is read, in bytes: a receiver answers with next to nothing.
const MAX_ANSWER: usize = 64 * 1024;

pub(super) fn span_exporter(receiver: &Receiver, trust: &Trust) -> anyhow::Result<SpanExporter> {
    Ok(match receiver.protocol {
        Protocol::Grpc => over_grpc(SpanExporter::builder().with_tonic(), receiver, trust)?.build()?,
        Protocol::Http => over_http(SpanExporter::builder().with_http(), receiver, trust)?.build()?,
    })
}

pub(super) fn metric_exporter(receiver: &Receiver, trust: &Trust) -> anyhow::Result<MetricExporter> {
    Ok(match receiver.protocol {
        Protocol::Grpc => over_grpc(MetricExporter::builder().with_tonic(), receiver, trust)?.build()?,
        Protocol::Http => over_http(MetricExporter::builder().with_http(), receiver, trust)?.build()?,
    })
}

pub(super) fn log_exporter(receiver: &Receiver, trust: &Trust) -> anyhow::Result<LogExporter> {
    Ok(match receiver.protocol {
        Protocol::Grpc => over_grpc(LogExporter::builder().with_tonic(), receiver, trust)?.build()?,
        Protocol::Http => over_http(LogExporter::builder().with_http(), receiver, trust)?.build()?,
    })
}

/// Everything is named here, so that nothing is left for the SDK to look up in the environment.
fn over_grpc<B: WithExportConfig + WithTonicConfig>(
    builder: B,
    receiver: &Receiver,
    trust: &Trust,
) -> anyhow::Result<B> {
    let builder = builder
        .with_protocol(opentelemetry_otlp::Protocol::Grpc)
        .with_timeout(receiver.timeout)
        .with_metadata(MetadataMap::from_headers(receiver.headers.clone()))
        .with_channel(channel(receiver, trust)?);
    Ok(if receiver.gzip { builder.with_compression(Compression::Gzip) } else { builder })
}

fn over_http<B: WithExportConfig + WithHttpConfig>(
    builder: B,
    receiver: &Receiver,
    trust: &Trust,
) -> anyhow::Result<B> {
    let builder = builder
        .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
        .with_endpoint(receiver.url.as_str())
        .with_timeout(receiver.timeout)
        // The client adds them itself, each with its mark.
        .with_headers(HashMap::new())
        .with_http_client(OnRuntime::new(receiver, trust)?);
    Ok(if receiver.gzip { builder.with_compression(Compression::Gzip) } else { builder })
}

/// A connection that is made when it is first needed, and again whenever it is lost.
fn channel(receiver: &Receiver, trust: &Trust) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(receiver.url.as_str().to_owned())?
        .timeout(receiver.timeout)
        .connect_timeout(CONNECT_TIMEOUT);
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    Ok(match receiver.url.scheme() {
        "https" => endpoint.connect_with_connector_lazy(over_tls(tcp, trust)),
        _ => endpoint.connect_with_connector_lazy(tcp),
    })
}

/// The same connections with TLS.
fn over_tls(tcp: HttpConnector, trust: &Trust) -> HttpsConnector<HttpConnector> {
    let tls = HttpsConnectorBuilder::new().with_tls_config(ClientConfig::clone(&trust.client_config()));
    tls.https_only().enable_http2().wrap_connector(tcp)
}

/// An HTTP client whose requests run on the program's runtime, whatever thread asks for them.
#[derive(Debug)]
struct OnRuntime {
    client: reqwest::Client,
    headers: HeaderMap,
    runtime: Handle,
}

impl OnRuntime {
    fn new(receiver: &Receiver, trust: &Trust) -> anyhow::Result<Self> {
        // Through no proxy, as over gRPC, and following no redirection: headers may hold credentials.
        let client = trust
            .http_client(true)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(receiver.timeout)
            .build()?;
        Ok(Self { client, headers: receiver.headers.clone(), runtime: Handle::try_current()? })
    }
}

#[async_trait]
impl HttpClient for OnRuntime {
    async fn send_bytes(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        for (name, value) in &self.headers {
            request.headers_mut().insert(name, value.clone());
        }
        let request = reqwest::Request::try_from(request)?;
        let client = self.client.clone();
        // Waiting for a task needs no runtime; it is aborted where nobody waits any more.
        let task = AbortOnDrop(self.runtime.spawn(send(client, request)));
        // The SDK keeps no cause.
        task.joined().await.inspect_err(|error| {
            let error: &(dyn std::error::Error + 'static) = &**error;
            tracing::debug!(error, "a request to an OpenTelemetry receiver failed");
        })
    }
}

async fn send(client: reqwest::Client, request: reqwest::Request) -> Result<Response<Bytes>, HttpError> {
    let mut answer = client.execute(request).await.map_err(reqwest::Error::without_url)?;
    let mut body = BytesMut::new();
    while let Some(chunk) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(format!("the receiver's answer is longer than {MAX_ANSWER} bytes").into());
        }
        body.extend_from_slice(&chunk);
    }
    let mut response = Response::new(body.freeze());
    *response.status_mut() = answer.status();
    *response.headers_mut() = std::mem::take(answer.headers_mut());
    Ok(response)
}

struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> AbortOnDrop<Result<T, HttpError>> {
    async fn joined(mut self) -> Result<T, HttpError> {
        (&mut self.0).await?
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
