//! Metrics and logs, and the program as operators start it: told by standard variables alone.

use opentelemetry_proto::tonic::metrics::v1::metric::Data;

use crate::support::otlp::{Collector, Manner, hex, shown, text};
use crate::support::program::Program;
use crate::support::{Callboard, SITE, Told};

#[tokio::test(flavor = "multi_thread")]
async fn receivers_get_the_metrics_that_prometheus_gets() {
    for protocol in ["grpc", "http/protobuf"] {
        let (collector, otlp) = Collector::over(protocol, Manner::Take).await;
        let otlp = format!("{otlp}, headers: ['x-key=k3y'], serviceName: docs");
        let callboard = Callboard::told(Told { otlp: &otlp, ..Told::default() }).await;
        for _ in 0..3 {
            callboard.get(&format!("{SITE}/index.html")).send().await.unwrap();
        }
        callboard.stop().await;
        let metrics = collector.metrics();
        let durations = metrics.iter().find(|metric| metric.name == "http.server.request.duration").unwrap();
        assert_eq!(durations.unit, "s");
        let Some(Data::Histogram(histogram)) = &durations.data else { panic!("{durations:?}") };
        let hits = histogram.data_points.iter().find(|point| {
            let is = |name: &str, value: &str| text(&point.attributes, name).as_deref() == Some(value);
            is("callboard.cache.outcome", "hit") && is("http.response.status_code", "200") && point.count > 0
        });
        assert_eq!(hits.map(|point| point.count), Some(2));
        for name in ["callboard.storage.operation.duration", "callboard.auth.tokens", "callboard.cache.memory.size"] {
            assert!(metrics.iter().any(|metric| metric.name == name), "{name}");
        }
        assert!(collector.resources("service.name").iter().all(|name| name == "docs"));
        let instances = collector.resources("service.instance.id");
        assert!(!instances.is_empty() && instances.iter().all(|instance| *instance == instances[0]));
        assert!(collector.keys().iter().all(|key| key.as_deref() == Some("k3y")), "{:?}", collector.keys());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_binary_sends_logs_with_their_trace_and_the_access_log_names_it() {
    for protocol in ["grpc", "http/protobuf"] {
        let (collector, _) = Collector::over(protocol, Manner::Take).await;
        let endpoint = format!("http://{}", collector.address);
        let mut program = Program::start(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ])
        .await;
        assert_eq!(reqwest::get(&program.url).await.unwrap().status(), 401);
        let entry = program.access_entry().await;
        program.terminate();
        assert!(program.ended().await.success());
        let log = program.log().await;

        let records = collector.records();
        let body = |message: &str| {
            let is = |body: &_| shown(body).is_some_and(|body| body == message);
            records.iter().find(|record| record.body.as_ref().is_some_and(is)).unwrap_or_else(|| {
                panic!("{message} in {records:#?}, and on standard error:\n{log}");
            })
        };
        body("serving");
        let refusal = body("caller refused");
        assert_eq!(text(&refusal.attributes, "reason").as_deref(), Some("missing"));
        let server = collector.span("GET /static/docs/{namespace}/{kind}/{name}/{file}");
        assert_eq!((&refusal.trace_id, &refusal.span_id), (&server.trace_id, &server.span_id));
        assert_eq!(entry["trace_id"], hex(&server.trace_id).as_str());
        assert!(!collector.metrics().is_empty());
        // What is sent is sent beside standard error, and not instead.
        assert!(log.contains("caller refused"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_off_connects_nowhere() {
    for (otlp, variables) in [
        ("traces: false, metrics: false, logs: false", &[][..]),
        ("", &[("OTEL_SDK_DISABLED", "true")]),
        ("logs: true", &[("OTEL_TRACES_EXPORTER", "none"), ("OTEL_METRICS_EXPORTER", "none")]),
    ] {
        let (collector, endpoint) = Collector::over("http/protobuf", Manner::Take).await;
        let otlp = if otlp.is_empty() { endpoint } else { format!("{endpoint}, {otlp}") };
        let callboard = Callboard::told(Told { otlp: &otlp, variables, ..Told::default() }).await;
        for _ in 0..10 {
            callboard.get(&format!("{SITE}/index.html")).send().await.unwrap();
        }
        callboard.stop().await;
        assert_eq!(collector.connections(), 0, "{otlp} {variables:?}");
    }
}
