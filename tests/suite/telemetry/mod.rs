//! What OpenTelemetry receivers and Prometheus get to see, and that neither is ever in the way.

mod documentation;
mod outage;
mod prometheus;
mod signals;
mod traces;
