//! Latencies, counted in buckets that are never wider than a 128th of what is in them.
//!
//! As HdrHistogram does it: each power of two is cut into 128 buckets of one width. A figure is the middle of its bucket,
//! so it is off by 0.4 % at most; the largest is exact.

use std::time::Duration;

/// Buckets a power of two, as a power of two.
const BITS: u32 = 7;

/// How often each latency was met, in nanoseconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Histogram {
    /// As many as were needed so far.
    counts: Vec<u64>,
    total: u64,
    largest: u64,
}

impl Histogram {
    pub(crate) fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        let bucket = bucket(nanos);
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.total += 1;
        self.largest = self.largest.max(nanos);
    }

    /// Takes all in that is in `other`.
    pub(crate) fn add(&mut self, other: &Self) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        self.counts.iter_mut().zip(&other.counts).for_each(|(ours, theirs)| *ours += theirs);
        self.total += other.total;
        self.largest = self.largest.max(other.largest);
    }

    pub(crate) const fn count(&self) -> u64 {
        self.total
    }

    /// What so much of them, from 0 to 1, is not above; nothing where nothing was recorded.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let wanted = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Duration::from_nanos(middle(bucket).min(self.largest));
            }
        }
        self.largest()
    }

    pub(crate) const fn largest(&self) -> Duration {
        Duration::from_nanos(self.largest)
    }
}

/// Where `nanos` is counted: by its highest bits, and how many there are below them.
fn bucket(nanos: u64) -> usize {
    let shift = (u64::BITS - nanos.leading_zeros()).saturating_sub(BITS + 1);
    ((u64::from(shift) << BITS) + (nanos >> shift)) as usize
}

fn middle(bucket: usize) -> u64 {
    let (shift, low) = ((bucket >> BITS).saturating_sub(1) as u32, bucket as u64);
    let highest = low - (u64::from(shift) << BITS);
    (highest << shift) + ((1 << shift) >> 1)
}
