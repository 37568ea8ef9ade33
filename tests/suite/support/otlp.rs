//! A receiver of OpenTelemetry's signals that speaks gRPC and HTTP/protobuf on one port each, keeps what it gets, and
//! can be told not to.

use std::convert::Infallible;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;
use tonic::codec::CompressionEncoding;
use tonic::{Request, Response, Status};

/// How a receiver behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    Take,
    /// Says that it is unavailable.
    Refuse,
    /// Takes the request and never answers.
    Hang,
}

#[derive(Clone)]
pub struct Collector {
    pub address: SocketAddr,
    kept: Arc<Kept>,
}

#[derive(Default)]
struct Kept {
    spans: Mutex<Vec<Span>>,
    metrics: Mutex<Vec<Metric>>,
    records: Mutex<Vec<LogRecord>>,
    resources: Mutex<Vec<Resource>>,
    /// The header `x-key` of each export.
    keys: Mutex<Vec<Option<String>>>,
    connections: AtomicUsize,
    exports: AtomicUsize,
}

impl Collector {
    pub async fn grpc(manner: Manner) -> Self {
        let (listener, collector) = Self::bind().await;
        let service = Service { kept: Arc::clone(&collector.kept), manner };
        let server = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(service.clone()).accept_compressed(CompressionEncoding::Gzip))
            .add_service(MetricsServiceServer::new(service.clone()).accept_compressed(CompressionEncoding::Gzip))
            .add_service(LogsServiceServer::new(service).accept_compressed(CompressionEncoding::Gzip));
        let incoming = tonic::transport::server::TcpIncoming::from(listener);
        tokio::spawn(server.serve_with_incoming(incoming));
        collector
    }

    pub async fn http(manner: Manner) -> Self {
        let (listener, collector) = Self::bind().await;
        let service = Service { kept: Arc::clone(&collector.kept), manner };
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                service.kept.connections.fetch_add(1, Ordering::SeqCst);
                let service = service.clone();
                let answer = service_fn(move |request| {
                    let service = service.clone();
                    async move { Ok::<_, Infallible>(service.answer(request).await) }
                });
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), answer));
            }
        });
        collector
    }

    /// One over either protocol, and how a configuration names it.
    pub async fn over(protocol: &str, manner: Manner) -> (Self, String) {
        let collector = if protocol == "grpc" { Self::grpc(manner).await } else { Self::http(manner).await };
        let section = format!("endpoint: 'http://{}', protocol: {protocol}", collector.address);
        (collector, section)
    }

    async fn bind() -> (TcpListener, Self) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, Self { address, kept: Arc::default() })
    }

    pub fn spans(&self) -> Vec<Span> {
        self.kept.spans.lock().unwrap().clone()
    }

    /// The one span of this name.
    pub fn span(&self, name: &str) -> Span {
        let spans = self.spans();
        let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
        let mut found = spans.iter().filter(|span| span.name == name);
        let span = found.next().unwrap_or_else(|| panic!("{name} in {names:?}"));
        assert!(found.next().is_none(), "{name} once in {names:?}");
        span.clone()
    }

    pub fn metrics(&self) -> Vec<Metric> {
        self.kept.metrics.lock().unwrap().clone()
    }

    pub fn records(&self) -> Vec<LogRecord> {
        self.kept.records.lock().unwrap().clone()
    }

    /// The values of an attribute of all resources that came.
    pub fn resources(&self, name: &str) -> Vec<String> {
        self.kept.resources.lock().unwrap().iter().filter_map(|resource| text(&resource.attributes, name)).collect()
    }

    pub fn keys(&self) -> Vec<Option<String>> {
        self.kept.keys.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.kept.connections.load(Ordering::SeqCst)
    }

    pub fn exports(&self) -> usize {
        self.kept.exports.load(Ordering::SeqCst)
    }
}

/// An attribute as text.
pub fn text(attributes: &[KeyValue], name: &str) -> Option<String> {
    let value = attributes.iter().find(|attribute| attribute.key == name)?.value.as_ref()?;
    shown(value)
}

pub fn shown(value: &AnyValue) -> Option<String> {
    Some(match value.value.as_ref()? {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(flag) => flag.to_string(),
        other => format!("{other:?}"),
    })
}

pub fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Clone)]
struct Service {
    kept: Arc<Kept>,
    manner: Manner,
}

impl Service {
    async fn may_keep(&self, key: Option<&str>) -> bool {
        self.kept.exports.fetch_add(1, Ordering::SeqCst);
        self.kept.keys.lock().unwrap().push(key.map(str::to_owned));
        match self.manner {
            Manner::Take => true,
            Manner::Refuse => false,
            Manner::Hang => std::future::pending().await,
        }
    }

    fn keep_traces(&self, request: ExportTraceServiceRequest) {
        for group in request.resource_spans {
            self.kept.resources.lock().unwrap().extend(group.resource);
            self.kept.spans.lock().unwrap().extend(group.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
    }

    fn keep_metrics(&self, request: ExportMetricsServiceRequest) {
        for group in request.resource_metrics {
            self.kept.resources.lock().unwrap().extend(group.resource);
            self.kept.metrics.lock().unwrap().extend(group.scope_metrics.into_iter().flat_map(|scope| scope.metrics));
        }
    }

    fn keep_logs(&self, request: ExportLogsServiceRequest) {
        for group in request.resource_logs {
            self.kept.resources.lock().unwrap().extend(group.resource);
            self.kept.records.lock().unwrap().extend(group.scope_logs.into_iter().flat_map(|scope| scope.log_records));
        }
    }

    async fn answer(&self, request: hyper::Request<Incoming>) -> hyper::Response<Full<Bytes>> {
        let key = request.headers().get("x-key").map(|key| key.to_str().unwrap().to_owned());
        assert_eq!(request.headers()["content-type"], "application/x-protobuf");
        let path = request.uri().path().to_owned();
        let is_gzip = request.headers().get("content-encoding").is_some_and(|encoding| encoding == "gzip");
        let mut body = request.into_body().collect().await.unwrap().to_bytes();
        if is_gzip {
            let mut whole = Vec::new();
            flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut whole).unwrap();
            body = whole.into();
        }
        if !self.may_keep(key.as_deref()).await {
            return hyper::Response::builder().status(503).body(Full::default()).unwrap();
        }
        match path.as_str() {
            "/v1/traces" => self.keep_traces(Message::decode(body).unwrap()),
            "/v1/metrics" => self.keep_metrics(Message::decode(body).unwrap()),
            "/v1/logs" => self.keep_logs(Message::decode(body).unwrap()),
            other => panic!("{other}"),
        }
        hyper::Response::new(Full::default())
    }

    async fn answer_grpc<T, R: Default>(&self, request: Request<T>, keep: impl Fn(T)) -> Result<Response<R>, Status> {
        let key = request.metadata().get("x-key").map(|key| key.to_str().unwrap().to_owned());
        if !self.may_keep(key.as_deref()).await {
            return Err(Status::unavailable("not now"));
        }
        keep(request.into_inner());
        Ok(Response::new(R::default()))
    }
}

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.answer_grpc(request, |request| self.keep_traces(request)).await
    }
}

#[tonic::async_trait]
impl MetricsService for Service {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.answer_grpc(request, |request| self.keep_metrics(request)).await
    }
}

#[tonic::async_trait]
impl LogsService for Service {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        self.answer_grpc(request, |request| self.keep_logs(request)).await
    }
}
