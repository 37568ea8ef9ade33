//! The sites that readers read, and which file they want next.

use crate::openloop::Random;

/// So many sites a company has.
pub(crate) const SITES: usize = 300;
/// So many pages a site has in the mean; a third of them have half as many, a third twice.
const PAGES: usize = 60;
/// Style sheets, scripts and images.
const ASSETS: usize = 12;
/// One request in three is for an asset.
const ASSET_SHARE: f64 = 0.35;

/// Few are read much, most are read little: the share of the n-th is 1/n to this power.
const SITE_EXPONENT: f64 = 1.0;
const PAGE_EXPONENT: f64 = 0.8;

/// Picks by rank.
#[derive(Debug)]
struct Zipf(Vec<f64>);

/// All sites, and a reader of them.
#[derive(Debug)]
pub(crate) struct Readers {
    sites: Zipf,
    /// Of small, middling and large sites.
    pages: [Zipf; 3],
    assets: Zipf,
    random: Random,
}

impl Zipf {
    fn new(count: usize, exponent: f64) -> Self {
        let mut sum = 0.0;
        let mut sums: Vec<f64> = (1..=count)
            .map(|rank| {
                sum += (rank as f64).powf(-exponent);
                sum
            })
            .collect();
        sums.iter_mut().for_each(|upto| *upto /= sum);
        Self(sums)
    }

    fn pick(&self, random: &mut Random) -> usize {
        let wanted = random.fraction();
        self.0.partition_point(|&upto| upto <= wanted).min(self.0.len() - 1)
    }
}

impl Readers {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            sites: Zipf::new(SITES, SITE_EXPONENT),
            pages: [PAGES / 2, PAGES * 4 / 7, PAGES * 2].map(|count| Zipf::new(count, PAGE_EXPONENT)),
            assets: Zipf::new(ASSETS, PAGE_EXPONENT),
            random: Random::new(seed),
        }
    }

    /// The key of the next file that somebody reads.
    pub(crate) fn next(&mut self) -> String {
        let site = self.sites.pick(&mut self.random);
        if self.random.fraction() < ASSET_SHARE {
            let asset = self.assets.pick(&mut self.random);
            let extension = match asset % 3 {
                0 => "css",
                1 => "js",
                _ => "png",
            };
            return format!("{}/assets/file-{asset}.{extension}", site_key(site));
        }
        let [small, middling, large] = &self.pages;
        let page = match site % 3 {
            0 => small,
            1 => middling,
            _ => large,
        }
        .pick(&mut self.random);
        format!("{}/section-{page}/index.html", site_key(site))
    }
}

fn site_key(site: usize) -> String {
    format!("default/component/service-{site}")
}
