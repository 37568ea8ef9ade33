//! Readers: who asks for what, and when.
//!
//! A session is one reader on one site. It begins at a random time (Poisson), looks at some pages (geometric, four on
//! average) with a pause between any two (exponential, 15 s on average), and asks
//!
//! - for the site's metadata and, half of the time, its two style sheets, with the first page: the others have the style
//!   sheets in the browser, whose copies are good for a year;
//! - for each page, and half of the time for the figure on it.
//!
//! Sites are chosen by Zipf, and so are pages of a site. What browsers have cached beyond that decides whether the answer
//! is 200 or 304, and nothing about what the cache does, so it is left out.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Pages that a session looks at, on average.
pub(crate) const VIEWS: f64 = 4.0;
/// Seconds between two of them, on average.
pub(crate) const THINK: f64 = 15.0;
/// How often a page's figure, or a session's style sheets, are asked for.
pub(crate) const SHARE: f64 = 0.5;
/// Requests of a session, on average.
pub(crate) const REQUESTS: f64 = VIEWS * (1.0 + SHARE) + 1.0 + 2.0 * SHARE;

/// How many sites and readers there are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) sites: usize,
    /// Pages of a site; each has a figure.
    pub(crate) pages: usize,
    /// Zipf's exponent of sites.
    pub(crate) skew: f64,
    /// All requests, a second.
    pub(crate) requests: f64,
}

/// Zipf's exponent of the pages of a site.
const PAGE_SKEW: f64 = 0.8;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum File {
    Metadata,
    Style(u8),
    Page(usize),
    Figure(usize),
}

/// A request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    pub(crate) site: usize,
    pub(crate) file: File,
}

/// Random numbers that are the same in each run (SplitMix64).
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

/// Zipf's law over so many things.
#[derive(Debug)]
pub(crate) struct Zipf {
    /// The share of each and all before it.
    cumulated: Vec<f64>,
}

/// Sessions have been beginning for so many seconds when a run begins, so that there are as many as ever.
const UNDER_WAY: f64 = 120.0;

/// All sessions, in the order of time.
#[derive(Debug)]
pub(crate) struct Readers {
    load: Load,
    dice: Dice,
    sites: Zipf,
    pages: Zipf,
    next_session: f64,
    /// Views to come: microseconds, and the site.
    views: BinaryHeap<Reverse<(u64, usize)>>,
}

impl Load {
    /// Sessions that begin, a second.
    pub(crate) fn sessions(&self) -> f64 {
        self.requests / REQUESTS
    }

    pub(crate) fn site_shares(&self) -> Zipf {
        Zipf::new(self.sites, self.skew)
    }

    pub(crate) fn page_shares(&self) -> Zipf {
        Zipf::new(self.pages, PAGE_SKEW)
    }
}

impl Request {
    /// The path that it is asked for by.
    pub(crate) fn path(&self) -> String {
        format!("/static/docs/{}", self.key())
    }

    /// Where it lies in storage.
    pub(crate) fn key(&self) -> String {
        let file = match self.file {
            File::Metadata => "techdocs_metadata.json".to_owned(),
            File::Style(number) => format!("assets/stylesheets/main-{number}.1f2e3d4c.min.css"),
            File::Page(page) => format!("guide/part-{page:03}/index.html"),
            File::Figure(page) => format!("guide/part-{page:03}/figure.png"),
        };
        format!("default/component/service-{:06}/{file}", self.site)
    }

    /// What lies there.
    pub(crate) fn of_key(key: &str) -> Option<Self> {
        let (site, file) = key.strip_prefix("default/component/service-")?.split_once('/')?;
        let page = |file: &str| file.get(11..14)?.parse().ok();
        let file = match file {
            "techdocs_metadata.json" => File::Metadata,
            style if style.starts_with("assets/") => File::Style(style.get(24..25)?.parse().ok()?),
            figure if figure.ends_with("png") => File::Figure(page(figure)?),
            other => File::Page(page(other)?),
        };
        Some(Self { site: site.parse().ok()?, file })
    }
}

impl Readers {
    pub(crate) fn new(load: Load, seed: u64) -> Self {
        let mut dice = Dice(seed);
        let next_session = dice.exponential(1.0 / load.sessions());
        let (sites, pages) = (load.site_shares(), load.page_shares());
        let mut readers = Self { load, dice, sites, pages, next_session, views: BinaryHeap::new() };
        readers.ask(0.0, &mut Vec::new());
        readers
    }

    /// Appends what is asked for before `until`, in seconds.
    pub(crate) fn ask(&mut self, until: f64, requests: &mut Vec<Request>) {
        let until = until + UNDER_WAY;
        while self.next_session < until {
            let site = self.sites.draw(&mut self.dice);
            let first = [File::Metadata, File::Style(0), File::Style(1)];
            let is_new = self.dice.says(SHARE);
            requests.extend(first.into_iter().take(if is_new { 3 } else { 1 }).map(|file| Request { site, file }));
            self.views.push(Reverse(((self.next_session * 1e6) as u64, site)));
            self.next_session += self.dice.exponential(1.0 / self.load.sessions());
        }
        while let Some(Reverse((at, site))) = self.views.pop_if_before((until * 1e6) as u64) {
            let page = self.pages.draw(&mut self.dice);
            requests.push(Request { site, file: File::Page(page) });
            if self.dice.says(SHARE) {
                requests.push(Request { site, file: File::Figure(page) });
            }
            if self.dice.says(1.0 - 1.0 / VIEWS) {
                let again = at + (self.dice.exponential(THINK) * 1e6) as u64;
                self.views.push(Reverse((again, site)));
            }
        }
    }
}

/// What a queue of things to come lacks.
trait PopIfBefore<T> {
    fn pop_if_before(&mut self, until: u64) -> Option<T>;
}

impl PopIfBefore<Reverse<(u64, usize)>> for BinaryHeap<Reverse<(u64, usize)>> {
    fn pop_if_before(&mut self, until: u64) -> Option<Reverse<(u64, usize)>> {
        self.peek().is_some_and(|Reverse((at, _))| *at < until).then(|| self.pop()).flatten()
    }
}

impl Zipf {
    pub(crate) fn new(things: usize, exponent: f64) -> Self {
        let weights = (1..=things).map(|rank| (rank as f64).powf(-exponent));
        let mut cumulated: Vec<f64> = weights
            .scan(0.0, |sum, weight| {
                *sum += weight;
                Some(*sum)
            })
            .collect();
        let all = cumulated.last().copied().unwrap_or(1.0);
        cumulated.iter_mut().for_each(|sum| *sum /= all);
        Self { cumulated }
    }

    /// The share of each.
    pub(crate) fn shares(&self) -> impl Iterator<Item = f64> + '_ {
        let before = std::iter::once(0.0).chain(self.cumulated.iter().copied());
        self.cumulated.iter().zip(before).map(|(sum, before)| sum - before)
    }

    fn draw(&self, dice: &mut Dice) -> usize {
        let point = dice.unit();
        self.cumulated.partition_point(|sum| *sum < point).min(self.cumulated.len() - 1)
    }
}

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    /// From 0 up to 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn says(&mut self, share: f64) -> bool {
        self.unit() < share
    }

    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        ((self.unit() * end as f64) as usize).min(end.saturating_sub(1))
    }
}

/// A number that looks random and depends on nothing but `number`.
pub(crate) const fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
