//! What the access log is told of who was refused.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use super::*;
use crate::pipeline::record::Recorder;
use crate::telemetry::{AccessLog, Instruments};

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The access log's line of a request that is answered with `error`.
fn line(error: AuthError) -> serde_json::Value {
    let (sink, instruments) = (Sink::default(), Arc::new(Instruments::new().unwrap()));
    let recorder = Recorder::new(Arc::clone(&instruments), AccessLog::to(sink.clone(), true, instruments));
    let (head, ()) = http::Request::new(()).into_parts();
    let client = std::net::IpAddr::from([127, 0, 0, 1]).into();
    let mut context = Context::new(head, client, &recorder);
    let response = Rejection::Auth(error).into_response(&mut context);
    drop(context.record(response));
    // The last to hold the log waits until it is written.
    drop(recorder);
    serde_json::from_slice(&sink.0.lock().unwrap()).unwrap()
}

#[test]
fn access_log_says_who_was_refused() {
    let actor = Some("plugin:catalog".to_owned());
    let refused = line(AuthError::NotAllowed { subject: "user:default/jane".to_owned(), actor });
    assert_eq!((&refused["status"], &refused["reason"]), (&403.into(), &"not_allowed".into()));
    assert_eq!((&refused["subject"], &refused["actor"]), (&"user:default/jane".into(), &"plugin:catalog".into()));
    assert_eq!(line(AuthError::Restricted { subject: "ci".to_owned() })["subject"], "ci");
    assert_eq!(line(AuthError::Missing).get("subject"), None);
}

#[test]
fn what_was_not_looked_for_is_to_be_asked_for_again() {
    let error = AuthError::Throttled { issuer: "x".to_owned(), retry_after: Duration::from_millis(9_100) };
    let rejection = Rejection::Auth(error);
    assert_eq!(rejection.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(rejection.header(), Some((RETRY_AFTER, HeaderValue::from_static("10"))));
}
