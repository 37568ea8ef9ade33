//! What happens in a run.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::Page;
use super::bucket::Fault;

/// How many caches there are.
pub const CACHES: usize = 2;

#[derive(Debug, Clone)]
pub enum Step {
    /// A reader; the next step waits for it, unless storage makes it long.
    Read {
        cache: usize,
        page: Page,
    },
    /// A reader that nobody waits for.
    Send {
        cache: usize,
        page: Page,
    },
    /// So many milliseconds, with all that goes on meanwhile.
    Pass(u64),
    /// So many seconds at once, as when a machine sleeps.
    Jump(u64),
    Write {
        page: Page,
        is_same: bool,
    },
    Delete(Page),
    Fail(Page, Option<Fault>),
    FailAll(Option<Fault>),
    PurgeSite {
        cache: usize,
        page: Page,
    },
    PurgeBelow {
        cache: usize,
        prefix: &'static str,
    },
    LoseMemory(usize),
    Redis(RedisStep),
}

/// What happens to what the caches share, where they do.
#[derive(Debug, Clone, Copy)]
pub enum RedisStep {
    /// Everybody hears what was said.
    Sync,
    Flush,
    /// All subscriptions end.
    Deafen,
    Crash,
    /// It stands still, or goes on.
    Freeze,
}

/// Some things that happen one after the other, publishes among them.
pub fn script(is_shared: bool) -> impl Strategy<Value = Vec<Step>> {
    let shared = u32::from(is_shared);
    let scenes = prop_oneof![
        12 => step().prop_map(|step| vec![step]),
        2 => publish(),
        3 * shared => redis_step().prop_map(|step| vec![Step::Redis(step)]),
    ];
    vec(scenes, 1..if is_shared { 20 } else { 40 }).prop_map(|scenes| scenes.concat())
}

fn step() -> impl Strategy<Value = Step> {
    let cache = || 0..CACHES;
    let fault = || {
        select(vec![Fault::Unavailable, Fault::Denied, Fault::Truncated, Fault::Slow(700), Fault::Slow(3000)])
            .prop_union(select(vec![Fault::Slow(7000), Fault::Hanging, Fault::Unavailable]))
    };
    prop_oneof![
        16 => (cache(), page()).prop_map(|(cache, page)| Step::Read { cache, page }),
        4 => (cache(), page()).prop_map(|(cache, page)| Step::Send { cache, page }),
        5 => pass(),
        5 => select(vec![1, 2, 9, 11, 21, 59, 119, 121, 299, 301, 359, 361, 3500, 3700, 7100, 7300, 7600]).prop_map(Step::Jump),
        3 => (page(), any::<bool>()).prop_map(|(page, is_same)| Step::Write { page, is_same }),
        1 => page().prop_map(Step::Delete),
        2 => (page(), fault()).prop_map(|(page, fault)| Step::Fail(page, Some(fault))),
        2 => page().prop_map(|page| Step::Fail(page, None)),
        1 => fault().prop_map(|fault| Step::FailAll(Some(fault))),
        3 => Just(Step::FailAll(None)),
        1 => (cache(), page()).prop_map(|(cache, page)| Step::PurgeSite { cache, page }),
        1 => (cache(), select(vec!["", "default/component/s", "default/component/shop", "default/component/stock"]))
            .prop_map(|(cache, prefix)| Step::PurgeBelow { cache, prefix }),
        1 => cache().prop_map(Step::LoseMemory),
    ]
}

fn redis_step() -> impl Strategy<Value = RedisStep> {
    prop_oneof![
        40 => Just(RedisStep::Sync),
        10 => Just(RedisStep::Flush),
        3 => Just(RedisStep::Deafen),
        1 => Just(RedisStep::Crash),
        1 => Just(RedisStep::Freeze),
    ]
}

fn page() -> impl Strategy<Value = Page> {
    prop_oneof![
        6 => Just(Page::Index),
        2 => Just(Page::Guide),
        1 => Just(Page::Video),
        2 => Just(Page::Metadata),
        1 => Just(Page::OtherIndex),
        1 => Just(Page::OtherMetadata),
    ]
}

fn pass() -> impl Strategy<Value = Step> {
    select(vec![100, 900, 1100, 5000, 11_000, 25_000, 70_000]).prop_map(Step::Pass)
}

/// The files of a site in any order, what else happens meanwhile, and what is deleted at the end.
fn publish() -> impl Strategy<Value = Vec<Step>> {
    let files = Just(vec![Page::Index, Page::Guide, Page::Video, Page::Metadata]).prop_shuffle();
    let meanwhile = || {
        let read = (0..CACHES, page()).prop_map(|(cache, page)| Step::Read { cache, page });
        vec(prop_oneof![2 => read, 1 => pass()], 0..3)
    };
    let deleted = prop::option::of(select(vec![Page::Guide, Page::Video]));
    let files = files.prop_flat_map(move |files| {
        let files: Vec<_> = files.into_iter().map(|page| (Just(page), any::<bool>(), meanwhile())).collect();
        files
    });
    (files, deleted).prop_map(|(files, deleted)| {
        let uploads = files
            .into_iter()
            .flat_map(|(page, is_same, meanwhile)| std::iter::once(Step::Write { page, is_same }).chain(meanwhile));
        uploads.chain(deleted.map(Step::Delete)).collect()
    })
}
