//! Standard variables of others, OpenTelemetry's above all, read in the formats of keys.

use crate::config::Environment;
use crate::config::formats::{Format, Wrong};
use crate::config::problem::Problem;
use crate::config::reader::Reader;
use crate::config::value::{Node, Origin, Value};

/// Variables that would change whom we trust, and don't: that would be worse than nothing.
const UNREAD: [&str; 3] =
    ["OTEL_EXPORTER_OTLP_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_KEY"];

/// The variables of the process.
#[derive(Clone, Copy)]
pub(in crate::config::resolve) struct Variables<'e>(pub(in crate::config::resolve) &'e Environment);

/// A value, and the variable that set it or the default.
#[derive(Debug, Clone)]
pub(in crate::config::resolve) struct Set<T> {
    pub(in crate::config::resolve) value: T,
    pub(in crate::config::resolve) origin: Origin,
}

impl Variables<'_> {
    /// What a variable says. One that is empty says nothing, as the specification has it; one that is wrong is a
    /// problem like any other.
    pub(in crate::config::resolve) fn get<T>(
        self,
        reader: &mut Reader<'_>,
        name: &str,
        format: &Format<T>,
    ) -> Option<Set<T>> {
        let text = self.0.variables.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())?;
        let origin = Origin::Variable(name.into());
        let node = Node { value: Value::Text(text.to_owned()), origin: origin.clone() };
        match (format.parse)(&node) {
            Ok(value) => Some(Set { value, origin }),
            Err(wrong) => {
                let write = format.write;
                let message = match wrong {
                    Wrong::Value => format!("{text:?} is not {}: write {write}", format.what),
                    Wrong::Because(reason) => format!("{reason}: write {write}"),
                    Wrong::Type => format!("is not {}: write {write}", format.what),
                };
                reader.problems.push(Problem::new(name, None, message));
                None
            }
        }
    }

    /// The same, or else a default.
    pub(super) fn or<T>(self, reader: &mut Reader<'_>, name: &str, format: &Format<T>, default: T) -> Set<T> {
        self.get(reader, name, format).unwrap_or(Set { value: default, origin: Origin::Default })
    }

    /// Tells of variables that are set and not read.
    pub(super) fn warn_of_unread(self, reader: &mut Reader<'_>) {
        for name in UNREAD {
            if self.0.variables.contains_key(name) {
                reader.warn(name, "is not read: receivers are trusted as everything else that Callboard asks");
            }
        }
    }
}
