//! The deployment examples: that the tools which they are for take them, that what they say fits the image and the program,
//! and that the program takes the configuration in them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use callboard::config::{Configuration, Environment, Sources};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::servers::python;

/// Both files, validated, as JSON.
fn examples() -> Value {
    let output = Command::new(python())
        .arg(root().join("tests/rig/deployments.py"))
        .args([root().join("deploy/compose.yaml"), root().join("deploy/kubernetes.yaml")])
        .output()
        .expect("run tests/setup.sh first");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn kubernetes_runs_the_image_as_it_is_made() {
    let examples = examples();
    let dockerfile = text("Dockerfile");
    let pod = &manifest(&examples, "Deployment")["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let version = env!("CARGO_PKG_VERSION");
    assert!(container["image"].as_str().unwrap().ends_with(&format!("/callboard:{version}")));
    let user = &pod["securityContext"]["runAsUser"];
    let group = &pod["securityContext"]["runAsGroup"];
    assert!(dockerfile.contains(&format!("\nUSER {user}:{group}\n")));
    let config = manifest(&examples, "ConfigMap");
    let volume = &pod["volumes"][0];
    assert_eq!(volume["configMap"]["name"], config["metadata"]["name"]);
    let mount = &container["volumeMounts"][0];
    assert_eq!(mount["name"], volume["name"]);
    assert!(dockerfile.contains(&format!("\nWORKDIR {}\n", mount["mountPath"].as_str().unwrap())));
    assert_eq!(pod["serviceAccountName"], manifest(&examples, "ServiceAccount")["metadata"]["name"]);

    let read = kubernetes_config(&examples).resolved;
    let ports = container["ports"].as_array().unwrap();
    let port = |name: &str| ports.iter().find(|port| port["name"] == name).unwrap()["containerPort"].as_u64().unwrap();
    assert_eq!(port("http"), u64::from(read.server.listen.port()));
    assert_eq!(port("admin"), u64::from(read.server.admin_listen.port()));
    assert!(dockerfile.contains(&format!("\nEXPOSE {}\n", port("http"))));
    for (probe, path) in
        [("readinessProbe", callboard::pipeline::READINESS), ("livenessProbe", callboard::pipeline::LIVENESS)]
    {
        assert_eq!(container[probe]["httpGet"]["path"], path);
        assert_eq!(container[probe]["httpGet"]["port"], "http");
    }
}

#[test]
fn callboard_takes_the_configuration_with_what_the_secret_holds() {
    let examples = examples();
    let configuration = kubernetes_config(&examples);
    assert!(configuration.warnings.is_empty(), "{:?}", configuration.warnings);
    let resolved = configuration.resolved;
    assert!(resolved.redis.unwrap().integrity_key.is_some());
    let pod = &manifest(&examples, "Deployment")["spec"]["template"]["spec"];
    let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(resolved.server.drain_grace.as_secs() < grace);
    assert!(resolved.server.drain_delay < resolved.server.drain_grace);
    let mebibytes = |which: &str| {
        let memory = pod["containers"][0]["resources"][which]["memory"].as_str().unwrap();
        let (number, unit) = memory.split_at(memory.len() - 2);
        number.parse::<u64>().unwrap() * if unit == "Gi" { 1024 } else { 1 }
    };
    let cache = resolved.cache.memory_max_bytes / (1024 * 1024);
    assert!(cache < mebibytes("requests") && mebibytes("requests") < mebibytes("limits"));
}

#[test]
fn kubernetes_lets_in_whom_it_should_and_keeps_one_running() {
    let examples = examples();
    let deployment = manifest(&examples, "Deployment");
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    let service = manifest(&examples, "Service");
    let budget = manifest(&examples, "PodDisruptionBudget");
    let policy = manifest(&examples, "NetworkPolicy");
    for selector in [
        &deployment["spec"]["selector"]["matchLabels"],
        &service["spec"]["selector"],
        &budget["spec"]["selector"]["matchLabels"],
        &policy["spec"]["podSelector"]["matchLabels"],
    ] {
        assert_eq!(selector, labels);
    }
    assert!(budget["spec"]["minAvailable"].as_u64() < deployment["spec"]["replicas"].as_u64());
    let opened: Vec<&Value> =
        service["spec"]["ports"].as_array().unwrap().iter().map(|port| &port["targetPort"]).collect();
    assert_eq!(opened, ["http"]);
    for rule in policy["spec"]["ingress"].as_array().unwrap() {
        let from = rule["from"].as_array().unwrap();
        let of_backstage = from.iter().any(|peer| peer.get("podSelector").is_some());
        assert_eq!(rule["ports"][0]["port"], if of_backstage { "http" } else { "admin" });
    }
    let egress = policy["spec"]["egress"].as_array().unwrap();
    let leaves =
        egress.iter().flat_map(|rule| rule["ports"].as_array().unwrap()).map(|port| port["port"].as_u64().unwrap());
    let leaves: Vec<u64> = leaves.collect();
    let backstage = config_text(&examples).split_once("baseUrl: http://backstage:").unwrap().1;
    let backstage: u64 = backstage.lines().next().unwrap().parse().unwrap();
    for port in [53, 443, 6379, backstage] {
        assert!(leaves.contains(&port), "{port}");
    }
}

#[test]
fn compose_puts_together_what_finds_each_other() {
    let examples = examples();
    let services = &examples["compose"]["services"];
    let callboard = &services["callboard"];
    let target = callboard["volumes"][0]["target"].as_str().unwrap();
    assert!(text("Dockerfile").contains(&format!("\nWORKDIR {}\n", target.strip_suffix("/app-config.yaml").unwrap())));
    let mut variables = variables(&callboard["environment"]);
    assert!(variables.contains_key("CI_TOKEN"));
    variables.insert("CI_TOKEN".to_owned(), "longenough".to_owned());
    let read = read(&text("deploy/app-config.trial.yaml"), variables.into_iter());
    assert!(read.warnings.is_empty(), "{:?}", read.warnings);
    assert!(read.resolved.redis.is_some());
    let port = read.resolved.server.listen.port();
    assert_eq!(callboard["ports"][0], format!("{port}:{port}"));
    let grace = callboard["stop_grace_period"].as_str().and_then(|text| text.strip_suffix('s')).unwrap();
    assert!(read.resolved.server.drain_grace.as_secs() < grace.parse().unwrap());

    // Names by which they reach each other, and ports that they listen on there.
    let trial = text("deploy/app-config.trial.yaml");
    for (url, service) in [
        (callboard["environment"]["APP_CONFIG_callboard_cache_redis_url"].as_str().unwrap(), "redis"),
        (services["backstage"]["environment"]["APP_CONFIG_techdocs_callboard_baseUrl"].as_str().unwrap(), "callboard"),
        (trial.split_once("endpoint: ").unwrap().1.lines().next().unwrap(), "s3"),
        (trial.split_once("baseUrl: ").unwrap().1.lines().next().unwrap(), "backstage"),
    ] {
        let url = url::Url::parse(url).unwrap();
        assert_eq!(url.host_str(), Some(service));
        if let Some(ports) = services[service]["ports"].as_array() {
            assert!(ports[0].as_str().unwrap().ends_with(&format!(":{}", url.port().unwrap())), "{url}");
        }
    }
    // The S3 server that the tests run.
    let moto = services["s3"]["image"].as_str().unwrap().rsplit_once(':').unwrap().1;
    assert!(text("tests/rig/requirements.txt").contains(&format!("moto[server]=={moto}\n")));
}

/// The configuration in the ConfigMap, with what its container has in its environment.
fn kubernetes_config(examples: &Value) -> Configuration {
    let container = &manifest(examples, "Deployment")["spec"]["template"]["spec"]["containers"][0];
    let values = [
        ("redis-url", "redis://redis.example.com:6379/0"),
        ("redis-integrity-key", "bm90IGEgc2VjcmV0LCBidXQgbG9uZyBlbm91Z2g="),
    ];
    let variables = container["env"].as_array().unwrap().iter().map(|variable| {
        let key = &variable["valueFrom"]["secretKeyRef"]["key"];
        let value = values.iter().find(|(name, _)| key == name).unwrap().1;
        (variable["name"].as_str().unwrap().to_owned(), value.to_owned())
    });
    read(config_text(examples), variables)
}

fn config_text(examples: &Value) -> &str {
    manifest(examples, "ConfigMap")["data"]["app-config.yaml"].as_str().unwrap()
}

/// What `callboard` makes of a configuration; there must be no problem.
fn read(text: &str, variables: impl Iterator<Item = (String, String)>) -> Configuration {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("app-config.yaml");
    std::fs::write(&file, text).unwrap();
    let environment = Environment { directory: folder.path().to_owned(), variables: variables.collect() };
    callboard::config::read(&Sources { files: vec![file], environment }).unwrap_or_else(|problems| panic!("{problems}"))
}

/// A service's environment, with nothing for what is passed through.
fn variables(environment: &Value) -> BTreeMap<String, String> {
    let variables = environment.as_object().unwrap().iter();
    variables.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

/// The one manifest of this kind.
fn manifest<'a>(examples: &'a Value, kind: &str) -> &'a Value {
    let mut found = examples["kubernetes"].as_array().unwrap().iter().filter(|manifest| manifest["kind"] == kind);
    let manifest = found.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(found.next().is_none());
    manifest
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
