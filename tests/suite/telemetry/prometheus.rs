//! Debian's Prometheus scrapes a Callboard, and its linter has nothing to say.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

use crate::support::{Callboard, SITE, until};

/// Debian's, from where setup.sh has put it if it is not installed.
fn debians(program: &str) -> Command {
    let mut command = Command::new(program);
    let unpacked = concat!(env!("CARGO_MANIFEST_DIR"), "/target/test-tools/prometheus/usr/bin");
    command.env("PATH", format!("{}:{unpacked}", std::env::var("PATH").unwrap_or_default()));
    command
}

async fn exercised() -> Callboard {
    let callboard = Callboard::start().await;
    for path in ["index.html", "index.html", "absent.html", "digits.txt"] {
        callboard.get(&format!("{SITE}/{path}")).send().await.unwrap();
    }
    callboard.get_without_token("/").send().await.unwrap();
    callboard
}

#[tokio::test]
async fn promtool_is_content() {
    let callboard = exercised().await;
    let metrics = reqwest::get(format!("http://{}/metrics", callboard.admin)).await.unwrap().text().await.unwrap();
    let mut promtool = debians("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run tests/setup.sh first");
    let mut stdin = promtool.stdin.take().unwrap();
    stdin.write_all(metrics.as_bytes()).await.unwrap();
    drop(stdin);
    let said = promtool.wait_with_output().await.unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success() && text.trim().is_empty(), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_scrapes_a_loaded_callboard() {
    let callboard = exercised().await;
    let folder = tempfile::TempDir::new().unwrap();
    let config = folder.path().join("prometheus.yml");
    let text = format!(
        "global: {{ scrape_interval: 1s, scrape_timeout: 1s }}\n\
         scrape_configs: [{{ job_name: callboard, static_configs: [{{ targets: ['{}'] }}] }}]\n",
        callboard.admin
    );
    std::fs::write(&config, text).unwrap();
    let mut prometheus = debians("prometheus")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
        .args(["--web.listen-address=127.0.0.1:0", "--log.format=json"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("run tests/setup.sh first");
    let mut lines = BufReader::new(prometheus.stderr.take().unwrap()).lines();
    let address = loop {
        let line = lines.next_line().await.unwrap().expect("it listens");
        let entry: Value = serde_json::from_str(&line).unwrap();
        if entry["msg"] == "Listening on" {
            break entry["address"].as_str().unwrap().to_owned();
        }
    };
    // Who writes to a pipe that nobody reads stands still.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    let load = async {
        loop {
            callboard.get(&format!("{SITE}/index.html")).send().await.unwrap();
        }
    };
    let client = reqwest::Client::new();
    let query = async |query: &str| {
        let url = url::Url::parse_with_params(&format!("http://{address}/api/v1/query"), [("query", query)]).unwrap();
        let Ok(answer) = client.get(url).send().await else { return None };
        // It listens before it answers queries.
        let answer: Value = answer.json().await.ok()?;
        answer["data"]["result"][0]["value"][1].as_str().map(|value| value.parse::<f64>().unwrap())
    };
    let seen = async {
        let labels = r#"{callboard_cache_outcome="hit",http_response_status_code="200",http_route=~"/static.*"}"#;
        let hits = format!("http_server_request_duration_seconds_count{labels}");
        // It grows from scrape to scrape.
        until(async || query(&format!("increase({hits}[10s]) > 0")).await.is_some()).await;
        assert_eq!(query("up{job=\"callboard\"}").await, Some(1.0));
        assert_eq!(query("callboard_telemetry_items_total{signal=\"traces\",result=\"dropped\"}").await, Some(0.0));
        let median = format!("histogram_quantile(0.5, http_server_request_duration_seconds_bucket{labels})");
        assert!(query(&median).await.unwrap() < 1.0);
    };
    tokio::select! {
        () = seen => {}
        () = load => {}
    }
}
