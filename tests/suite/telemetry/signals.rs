//! Metrics and logs, and the program as operators start it: told by standard variables alone.

use std::process::Stdio;

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

use crate::support::otlp::{Collector, Manner, hex, shown, text};
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
        let folder = tempfile::TempDir::new().unwrap();
        let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_callboard"))
            .current_dir(folder.path())
            .env("APP_CONFIG_callboard_listen", "\"127.0.0.1:0\"")
            .env("APP_CONFIG_callboard_admin_listen", "\"127.0.0.1:0\"")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", collector.address))
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
            .env("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = loop {
            let line = lines.next_line().await.unwrap().unwrap();
            if line.trim().starts_with("http://127.0.0.1") {
                break line.trim().to_owned();
            }
        };
        assert_eq!(reqwest::get(url).await.unwrap().status(), 401);
        let entry: Value = loop {
            let line = lines.next_line().await.unwrap().unwrap();
            if line.starts_with('{') {
                break serde_json::from_str(&line).unwrap();
            }
        };
        let pid = rustix::process::Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(child.wait().await.unwrap().success());
        let mut log = String::new();
        child.stderr.take().unwrap().read_to_string(&mut log).await.unwrap();

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
