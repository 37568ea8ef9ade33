//! `callboard.telemetry.otlp`, and the standard variables of OpenTelemetry that stand for its defaults.
//!
//! What is written in the configuration counts; where nothing is written a variable does, that of one signal before that
//! of all. Only `OTEL_SDK_DISABLED` switches everything off whatever is written.

mod formats;
pub(super) mod variables;

use std::time::Duration;

use http::HeaderMap;
use url::Url;

use self::formats::{ENDPOINT, EXPORTER, GZIP, HEADERS, MILLISECONDS, PAIRS, PROTOCOL, RATIO, SAMPLER};
use self::variables::{Set, Variables};
use crate::config::formats::{COUNT, DURATION, FLAG, Format, TEXT};
use crate::config::layers::Loaded;
use crate::config::reader::Reader;
use crate::config::value::Origin;
use crate::telemetry::{Batching, OtlpOptions, Protocol, Receiver, Sampling};

const ENDPOINT_KEY: &str = "callboard.telemetry.otlp.endpoint";
const PROTOCOL_KEY: &str = "callboard.telemetry.otlp.protocol";
const HEADERS_KEY: &str = "callboard.telemetry.otlp.headers";
const TIMEOUT_KEY: &str = "callboard.telemetry.otlp.timeout";

/// What all signals have in common, unless a variable says otherwise for one.
struct Common {
    endpoint: Option<Url>,
    protocol: Protocol,
    headers: HeaderMap,
    timeout: Duration,
    gzip: bool,
}

/// One signal: the key that switches it, what variables call it, and where HTTP has it.
struct Signal {
    key: &'static str,
    name: &'static str,
    path: &'static str,
}

const TRACES: Signal = Signal { key: "callboard.telemetry.otlp.traces", name: "TRACES", path: "v1/traces" };
const METRICS: Signal = Signal { key: "callboard.telemetry.otlp.metrics", name: "METRICS", path: "v1/metrics" };
const LOGS: Signal = Signal { key: "callboard.telemetry.otlp.logs", name: "LOGS", path: "v1/logs" };

pub(super) fn read(reader: &mut Reader<'_>, loaded: &Loaded) -> OtlpOptions {
    let variables = Variables(&loaded.environment);
    let common = read_common(reader, variables);
    let [traces, metrics, logs] =
        [TRACES, METRICS, LOGS].map(|signal| read_signal(reader, variables, &common, &signal));
    let options = OtlpOptions {
        traces,
        metrics,
        logs,
        sampling: read_sampling(reader, variables),
        metric_interval: read_interval(reader, variables),
        spans: read_batching(reader, variables, "BSP", Batching::SPANS),
        records: read_batching(reader, variables, "BLRP", Batching::RECORDS),
        resource: read_resource(reader, variables),
    };
    variables.warn_of_unread(reader);
    let is_disabled = variables.get(reader, "OTEL_SDK_DISABLED", &FLAG).is_some_and(|disabled| disabled.value);
    if is_disabled { OtlpOptions { traces: None, metrics: None, logs: None, ..options } } else { options }
}

fn read_common(reader: &mut Reader<'_>, variables: Variables<'_>) -> Common {
    let timeouts = Duration::from_millis(100)..=Duration::from_secs(600);
    let Set { value, origin } = variables.or(reader, "OTEL_EXPORTER_OTLP_ENDPOINT", &ENDPOINT, None);
    let endpoint = reader.or_from(ENDPOINT_KEY, &ENDPOINT, value, origin);
    let Set { value, origin } = variables.or(reader, "OTEL_EXPORTER_OTLP_PROTOCOL", &PROTOCOL, Protocol::Http);
    let protocol = reader.or_from(PROTOCOL_KEY, &PROTOCOL, value, origin);
    let Set { value, origin } = variables.or(reader, "OTEL_EXPORTER_OTLP_HEADERS", &HEADERS, HeaderMap::new());
    let headers = reader.or_from(HEADERS_KEY, &HEADERS, value, origin);
    let default = Duration::from_secs(10);
    let Set { value, origin } = variables.or(reader, "OTEL_EXPORTER_OTLP_TIMEOUT", &MILLISECONDS, default);
    let timeout = reader.within_from(TIMEOUT_KEY, &DURATION, (value, origin), timeouts);
    let gzip = variables.or(reader, "OTEL_EXPORTER_OTLP_COMPRESSION", &GZIP, false).value;
    Common { endpoint, protocol, headers, timeout, gzip }
}

fn read_signal(
    reader: &mut Reader<'_>,
    variables: Variables<'_>,
    common: &Common,
    signal: &Signal,
) -> Option<Receiver> {
    let Signal { key, name, path } = signal;
    let exporter = variables.get(reader, &format!("OTEL_{name}_EXPORTER"), &EXPORTER);
    let asked_for = exporter.as_ref().is_some_and(|exporter| exporter.value);
    let (value, origin) = exporter.map_or((true, Origin::Default), |exporter| (exporter.value, exporter.origin));
    let wanted = reader.or_from(key, &FLAG, value, origin);
    let variable = |part: &str| format!("OTEL_EXPORTER_OTLP_{name}_{part}");
    let protocol = own(reader, variables, PROTOCOL_KEY, &variable("PROTOCOL"), &PROTOCOL, &common.protocol);
    let headers = own(reader, variables, HEADERS_KEY, &variable("HEADERS"), &HEADERS, &common.headers);
    let timeout = own(reader, variables, TIMEOUT_KEY, &variable("TIMEOUT"), &MILLISECONDS, &common.timeout);
    let url = own(reader, variables, ENDPOINT_KEY, &variable("ENDPOINT"), &ENDPOINT, &None);
    let gzip = variables.or(reader, &variable("COMPRESSION"), &GZIP, common.gzip).value;
    let base = common.endpoint.clone().or_else(|| asked_for.then(|| this_machine(protocol)).flatten());
    // The address of one signal is whole; that of all is what HTTP's paths are put behind.
    let url = url.or_else(|| base.map(|base| if protocol == Protocol::Http { below(&base, path) } else { base }));
    url.filter(|_| wanted).map(|url| Receiver { url, protocol, headers, timeout, gzip })
}

/// What a variable says for one signal, unless the configuration says something for all.
fn own<T: Clone>(
    reader: &mut Reader<'_>,
    variables: Variables<'_>,
    key: &str,
    variable: &str,
    format: &Format<T>,
    common: &T,
) -> T {
    if reader.has(key) { common.clone() } else { variables.or(reader, variable, format, common.clone()).value }
}

/// Where OpenTelemetry's specification has a receiver that nobody has told of.
fn this_machine(protocol: Protocol) -> Option<Url> {
    let url = match protocol {
        Protocol::Grpc => "http://localhost:4317",
        Protocol::Http => "http://localhost:4318",
    };
    url.parse().ok()
}

fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url
}

fn read_sampling(reader: &mut Reader<'_>, variables: Variables<'_>) -> Sampling {
    const KEY: &str = "callboard.telemetry.otlp.sampleRatio";
    let ratio = variables.get(reader, "OTEL_TRACES_SAMPLER_ARG", &RATIO);
    let sampler = variables.get(reader, "OTEL_TRACES_SAMPLER", &SAMPLER);
    let is_written = reader.has(KEY);
    let (parent_based, default) = match sampler {
        Some(Set { value: (parent_based, Some(ratio)), origin }) => (parent_based, Set { value: ratio, origin }),
        Some(Set { value: (parent_based, None), origin }) => {
            (parent_based, Set { value: ratio.map_or(1.0, |ratio| ratio.value), origin })
        }
        None => (true, Set { value: 1.0, origin: Origin::Default }),
    };
    let ratio = reader.or_from(KEY, &RATIO, default.value, default.origin);
    Sampling { parent_based: parent_based || is_written, ratio }
}

fn read_interval(reader: &mut Reader<'_>, variables: Variables<'_>) -> Duration {
    let bounds = Duration::from_millis(100)..=Duration::from_secs(3600);
    let default = Duration::from_secs(60);
    let Set { value, origin } = variables.or(reader, "OTEL_METRIC_EXPORT_INTERVAL", &MILLISECONDS, default);
    reader.within_from("callboard.telemetry.otlp.metricInterval", &DURATION, (value, origin), bounds)
}

fn read_batching(reader: &mut Reader<'_>, variables: Variables<'_>, name: &str, default: Batching) -> Batching {
    const MOST: u64 = 1 << 20;
    let mut count = |part: &str, default: usize| {
        let set = variables.get(reader, &format!("OTEL_{name}_{part}"), &COUNT);
        let count = set.map(|set| set.value).filter(|count| *count > 0).map(|count| count.min(MOST));
        count.and_then(|count| usize::try_from(count).ok()).unwrap_or(default)
    };
    let queue = count("MAX_QUEUE_SIZE", default.queue);
    let batch = count("MAX_EXPORT_BATCH_SIZE", default.batch).min(queue);
    let delay = variables.or(reader, &format!("OTEL_{name}_SCHEDULE_DELAY"), &MILLISECONDS, default.delay).value;
    Batching { queue, batch, delay }
}

/// `OTEL_RESOURCE_ATTRIBUTES`, with the service's name and version where it does not give them.
fn read_resource(reader: &mut Reader<'_>, variables: Variables<'_>) -> Vec<(String, String)> {
    const NAME: &str = "service.name";
    const VERSION: &str = "service.version";
    let pairs = variables.or(reader, "OTEL_RESOURCE_ATTRIBUTES", &PAIRS, Vec::new());
    let named = pairs.value.iter().find(|(name, _)| name == NAME).map(|(_, value)| value.clone());
    let default = named.map_or(Set { value: "callboard".to_owned(), origin: Origin::Default }, |value| Set {
        value,
        origin: pairs.origin.clone(),
    });
    let Set { value, origin } = variables.get(reader, "OTEL_SERVICE_NAME", &TEXT).unwrap_or(default);
    let name = reader.or_from("callboard.telemetry.otlp.serviceName", &TEXT, value, origin);
    let mut resource = pairs.value;
    resource.retain(|(known, _)| known != NAME);
    if !resource.iter().any(|(known, _)| known == VERSION) {
        resource.push((VERSION.to_owned(), env!("CARGO_PKG_VERSION").to_owned()));
    }
    resource.push((NAME.to_owned(), name));
    resource
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{Folder, problems};
    use crate::config::{Configuration, Problems, load};

    const DOCS: &str = "techdocs: {publisher: {local: {publishDirectory: site}}}
";

    fn read(section: &str, variables: &[(&str, &str)]) -> Result<Configuration, Problems> {
        let text = format!("{DOCS}callboard: {{telemetry: {{otlp: {{{section}}}}}}}");
        load(&Folder::new(&[("a.yaml", &text)]).sources(&["a.yaml"], variables)).unwrap().resolve()
    }

    fn options(section: &str, variables: &[(&str, &str)]) -> OtlpOptions {
        read(section, variables).unwrap().resolved.telemetry.otlp
    }

    fn urls(options: &OtlpOptions) -> [Option<String>; 3] {
        [&options.traces, &options.metrics, &options.logs].map(|signal| Some(signal.as_ref()?.url.to_string()))
    }

    #[test]
    fn nothing_is_sent_unless_a_receiver_is_named() {
        assert!(!options("", &[]).is_on());
        assert!(!options("traces: true", &[("OTEL_SERVICE_NAME", "docs")]).is_on());
    }

    #[test]
    fn the_address_of_all_signals_gets_a_path_for_each_over_http() {
        let told = options("endpoint: 'http://collector:4318/otlp/'", &[]);
        let url = |path: &str| Some(format!("http://collector:4318/otlp/v1/{path}"));
        assert_eq!(urls(&told), [url("traces"), url("metrics"), url("logs")]);
        let told = options("protocol: grpc, metrics: false", &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317")]);
        assert_eq!(urls(&told), [Some("http://c:4317/".to_owned()), None, Some("http://c:4317/".to_owned())]);
    }

    #[test]
    fn a_variable_for_one_signal_counts_before_that_for_all_and_the_configuration_before_both() {
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4318"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:4317"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s3cr%20t,x=1"),
            ("OTEL_LOGS_EXPORTER", "none"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "15000"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
            ("OTEL_SERVICE_NAME", "docs"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=prod,service.name=other"),
        ];
        let told = options("", &variables);
        let traces = told.traces.clone().unwrap();
        assert_eq!((traces.url.as_str(), traces.protocol), ("http://traces:4317/", Protocol::Grpc));
        assert_eq!(traces.timeout, Duration::from_millis(2500));
        assert_eq!(traces.headers["api-key"], "s3cr t");
        assert_eq!(urls(&told)[1..], [Some("http://all:4318/v1/metrics".to_owned()), None]);
        assert_eq!((told.metric_interval, told.spans.queue, told.spans.batch), (Duration::from_secs(15), 100, 100));
        for pair in [("deployment.environment", "prod"), ("service.name", "docs")] {
            assert!(told.resource.contains(&(pair.0.to_owned(), pair.1.to_owned())), "{:?}", told.resource);
        }
        let ours = read("endpoint: 'http://ours', timeout: 1s, headers: [a=b], logs: true", &variables).unwrap();
        let told = &ours.resolved.telemetry.otlp;
        assert_eq!(urls(told)[0].as_deref(), Some("http://ours/"));
        assert!(told.logs.is_some());
        let traces = told.traces.as_ref().unwrap();
        assert_eq!((traces.timeout, traces.headers.len()), (Duration::from_secs(1), 1));
        let origin = ours.effective.origin("callboard.telemetry.otlp.metricInterval").unwrap().to_string();
        assert!(origin.contains("OTEL_METRIC_EXPORT_INTERVAL"), "{origin}");
    }

    #[test]
    fn the_sdk_can_be_switched_off_whatever_is_written() {
        assert!(!options("endpoint: 'http://c:4318'", &[("OTEL_SDK_DISABLED", "true")]).is_on());
    }

    #[test]
    fn an_exporter_that_is_asked_for_by_name_is_looked_for_on_this_machine() {
        let told = options("", &[("OTEL_TRACES_EXPORTER", "otlp")]);
        assert_eq!(urls(&told), [Some("http://localhost:4318/v1/traces".to_owned()), None, None]);
    }

    #[test]
    fn samplers_have_their_standard_names() {
        for (sampler, argument, parent_based, ratio) in [
            ("always_on", "0.5", false, 1.0),
            ("always_off", "", false, 0.0),
            ("traceidratio", "0.25", false, 0.25),
            ("parentbased_always_off", "", true, 0.0),
            ("parentbased_traceidratio", "0.1", true, 0.1),
        ] {
            let variables = [("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", argument)];
            assert_eq!(options("", &variables).sampling, Sampling { parent_based, ratio }, "{sampler}");
            let written = options("sampleRatio: 0.75", &variables).sampling;
            assert_eq!(written, Sampling { parent_based: true, ratio: 0.75 });
        }
    }

    #[test]
    fn headers_are_never_shown() {
        let configuration = read("endpoint: 'http://c', headers: ['authorization=Bearer t0ps3cret']", &[]).unwrap();
        let shown = format!("{configuration:?}{}", configuration.effective.to_yaml(true));
        assert!(shown.contains("authorization=***") && !shown.contains("t0ps3cret"), "{shown}");
        let told = problems(&format!("{DOCS}callboard: {{telemetry: {{otlp: {{headers: t0ps3cret}}}}}}"));
        assert!(told[0].starts_with("callboard.telemetry.otlp.headers (app-config.yaml:2): is text"), "{told:?}");
        let wrong = read("", &[("OTEL_EXPORTER_OTLP_HEADERS", "t0ps3cret")]).unwrap_err().to_string();
        assert!(wrong.contains("OTEL_EXPORTER_OTLP_HEADERS") && !wrong.contains("t0ps3cret"), "{wrong}");
    }

    #[test]
    fn wrong_variables_are_told_with_wrong_keys() {
        let variables = [("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon")];
        let told = read("endpoint: collector, sampleRatio: 2", &variables).unwrap_err();
        let told: Vec<String> = told.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 4, "{told:#?}");
        assert!(
            told.iter().any(|told| told.contains("\"http/json\" is not an OTLP protocol: write grpc")),
            "{told:#?}"
        );
        let told = problems(&format!("{DOCS}callboard: {{telemetry: {{otlp: {{endpoint: 'http://u:p@c'}}}}}}"));
        assert!(told[0].contains("write") && !told[0].contains("u:p"), "{told:?}");
    }
}
