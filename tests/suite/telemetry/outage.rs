//! Receivers that fail: no request, and no end of the program, waits for one.

use std::process::Stdio;
use std::time::Duration;

use reqwest::StatusCode;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;

use crate::support::otlp::{Collector, Manner};
use crate::support::{Callboard, PATIENCE, SITE, Told, until};

/// More requests than may wait, so that some are dropped where nothing leaves.
const REQUESTS: usize = 200;

/// A small queue, sent soon.
const VARIABLES: &[(&str, &str)] =
    &[("OTEL_BSP_MAX_QUEUE_SIZE", "16"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8"), ("OTEL_BSP_SCHEDULE_DELAY", "20")];

/// Serves [`REQUESTS`] with this receiver and ends; returns what had been counted as exported, failed and dropped by
/// the time that every request was answered and `settled` held.
async fn serve_with(otlp: &str, settled: impl AsyncFn(&Callboard) -> bool) -> [f64; 3] {
    let otlp = format!("{otlp}, timeout: 500ms, metricInterval: 100ms");
    let callboard = Callboard::told(Told { otlp: &otlp, variables: VARIABLES, ..Told::default() }).await;
    let requests: Vec<_> =
        (0..REQUESTS).map(|_| tokio::spawn(callboard.get(&format!("{SITE}/index.html")).send())).collect();
    for request in requests {
        assert_eq!(request.await.unwrap().unwrap().status(), StatusCode::OK);
    }
    until(async || settled(&callboard).await).await;
    let mut counts = [0.0; 3];
    for (count, result) in counts.iter_mut().zip(["exported", "failed", "dropped"]) {
        *count = traces(&callboard, result).await;
    }
    // The flush is bounded by itself; this only keeps a broken one from hanging the test.
    tokio::time::timeout(PATIENCE, callboard.stop()).await.expect("the program ends");
    counts
}

async fn traces(callboard: &Callboard, result: &str) -> f64 {
    callboard.metric("callboard_telemetry_items_total", &["\"traces\"", &format!("\"{result}\"")]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_costs_no_request_anything() {
    for protocol in ["grpc", "http/protobuf"] {
        let (collector, otlp) = Collector::over(protocol, Manner::Hang).await;
        let [exported, failed, dropped] = serve_with(&otlp, async |callboard| {
            traces(callboard, "dropped").await > 0.0 && traces(callboard, "failed").await > 0.0
        })
        .await;
        assert!(exported == 0.0 && failed > 0.0 && dropped > 0.0, "{protocol}: {failed} failed, {dropped} dropped");
        assert!(collector.exports() > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_refuses_costs_no_request_anything() {
    for protocol in ["grpc", "http/protobuf"] {
        let (collector, otlp) = Collector::over(protocol, Manner::Refuse).await;
        let settled = async |callboard: &Callboard| traces(callboard, "failed").await > 0.0;
        let [exported, failed, _] = serve_with(&otlp, settled).await;
        assert!(exported == 0.0 && failed > 0.0, "{protocol}: {failed} failed");
        assert!(collector.exports() > 0 && collector.spans().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_gone_costs_no_request_anything() {
    for protocol in ["grpc", "http/protobuf"] {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let otlp = format!("endpoint: 'http://{gone}', protocol: {protocol}");
        let settled = async |callboard: &Callboard| traces(callboard, "failed").await > 0.0;
        let [exported, failed, _] = serve_with(&otlp, settled).await;
        assert!(exported == 0.0 && failed > 0.0, "{protocol}: {failed} failed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_span_is_exported_failed_or_dropped() {
    let (collector, otlp) = Collector::over("http/protobuf", Manner::Take).await;
    let all = async |callboard: &Callboard| {
        let mut sum = 0.0;
        for result in ["exported", "failed", "dropped"] {
            sum += traces(callboard, result).await;
        }
        // A request and a verification each, since each comes with a token of its own; the keys and the page once.
        sum == (2 * REQUESTS + 2) as f64
    };
    let [exported, failed, _] = serve_with(&otlp, all).await;
    assert_eq!(failed, 0.0);
    assert_eq!(collector.spans().len(), exported as usize);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_with_a_receiver_that_hangs_is_within_its_bound() {
    let (_collector, otlp) = Collector::over("grpc", Manner::Hang).await;
    let otlp = format!("{otlp}, timeout: 10m");
    let callboard = Callboard::told(Told { otlp: &otlp, section: "  limits: { drainGrace: 1s }\n", ..Told::default() });
    let callboard = callboard.await;
    callboard.get(&format!("{SITE}/index.html")).send().await.unwrap();
    // An export would take ten minutes; the grace time is a second.
    tokio::time::timeout(Duration::from_secs(30), callboard.stop()).await.expect("the program ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_twice_does_not_wait_for_a_receiver_that_hangs() {
    let (collector, _) = Collector::over("grpc", Manner::Hang).await;
    let folder = tempfile::TempDir::new().unwrap();
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_callboard"))
        .current_dir(folder.path())
        .env("APP_CONFIG_callboard_listen", "\"127.0.0.1:0\"")
        .env("APP_CONFIG_callboard_admin_listen", "\"127.0.0.1:0\"")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", collector.address))
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        .env("OTEL_EXPORTER_OTLP_TIMEOUT", "600000")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let pid = Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    for word in ["\"serving\"", "\"stopping"] {
        while !lines.next_line().await.unwrap().unwrap().contains(word) {}
        kill_process(pid, Signal::TERM).unwrap();
    }
    // 1 is what the second word makes of it: the flush would have ended with 0.
    assert_eq!(child.wait().await.unwrap().code(), Some(1));
}
