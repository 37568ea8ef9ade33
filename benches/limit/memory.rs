//! What memory a server has.

use std::fs;

use anyhow::Context;

use super::process::{Server, family};

/// Bytes that it and its children have (`VmRSS`).
pub(crate) fn resident(server: &Server) -> anyhow::Result<u64> {
    let mut kilobytes = 0;
    for pid in family(server.pid()) {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        kilobytes += line.trim().trim_end_matches(" kB").parse::<u64>()?;
    }
    Ok(kilobytes * 1024)
}
