//! `callboard.telemetry`.

use super::otlp;
use crate::config::formats::{FLAG, LOG_FORMAT, LOG_LEVEL};
use crate::config::layers::Loaded;
use crate::config::reader::Reader;
use crate::telemetry::{LogFormat, Options};

pub(super) fn read(reader: &mut Reader<'_>, loaded: &Loaded) -> Options {
    Options {
        log_level: reader.or("callboard.telemetry.log.level", &LOG_LEVEL, "info".to_owned()),
        log_format: reader.or("callboard.telemetry.log.format", &LOG_FORMAT, LogFormat::Auto),
        access_log: reader.or("callboard.telemetry.accessLog", &FLAG, true),
        otlp: otlp::read(reader, loaded),
    }
}
