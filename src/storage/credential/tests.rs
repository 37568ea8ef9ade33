use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::time::advance;

use super::*;
use crate::telemetry::Instruments;

type Answer = Result<Option<Duration>, IssueError>;

/// Answers as told, and after that as it did last; the credentials are numbered.
#[derive(Debug, Clone, Default)]
struct Scripted {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    asked: Arc<AtomicUsize>,
}

impl Scripted {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self { answers: Arc::new(Mutex::new(answers.into_iter().collect())), asked: Arc::default() }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Issuer for Scripted {
    type Credential = usize;

    async fn issue(&self) -> Result<Issued<usize>, IssueError> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        let mut answers = self.answers.lock().unwrap();
        let answer = answers.front().unwrap().clone();
        if answers.len() > 1 {
            answers.pop_front();
        }
        answer.map(|life| Issued { credential: number.into(), expires_at: life.map(|life| SystemTime::now() + life) })
    }
}

fn lasting(seconds: u64) -> Answer {
    Ok(Some(Duration::from_secs(seconds)))
}

fn down() -> Answer {
    Err(IssueError::Unavailable("connection refused".into()))
}

fn no() -> Answer {
    Err(IssueError::Refused("no such role".into()))
}

fn keeper(issuer: &Scripted) -> Arc<Keeper<usize>> {
    let instruments = Arc::new(Instruments::new().unwrap().origin("docs", &[]));
    Keeper::start(issuer.clone(), instruments)
}

/// Lets time go by in steps that let the keeper do what is due.
async fn pass(seconds: u64) {
    for _ in 0..seconds * 10 {
        advance(Duration::from_millis(100)).await;
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_renewed_before_its_end_and_nobody_waits() {
    let issuer = Scripted::new([lasting(100)]);
    let keeper = keeper(&issuer);
    assert_eq!(*keeper.current().await.unwrap(), 1);
    for _ in 0..400 {
        pass(1).await;
        let current = keeper.current().now_or_never().expect("it is there at once").unwrap();
        assert!(*current >= 1 && keeper.expires_in().unwrap() > Duration::from_secs(20));
    }
    // 400 seconds, of which each credential is used for 67 to 75.
    assert!((5..=7).contains(&issuer.asked()), "{}", issuer.asked());
}

#[tokio::test(start_paused = true)]
async fn one_without_an_end_is_asked_for_again_all_the_same() {
    let issuer = Scripted::new([Ok(None)]);
    let keeper = keeper(&issuer);
    assert_eq!(*keeper.current().await.unwrap(), 1);
    pass(61).await;
    assert_eq!(*keeper.current().await.unwrap(), 2);
    assert!(keeper.expires_in().is_none() && keeper.trouble().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_failure_costs_nothing_while_the_old_one_lives_and_is_told_after_that() {
    let issuer = Scripted::new([lasting(100), down(), down(), down(), down(), down(), down(), lasting(100)]);
    let keeper = keeper(&issuer);
    keeper.current().await.unwrap();
    pass(80).await;
    assert!(issuer.asked() > 1 && keeper.trouble().is_none());
    assert_eq!(*keeper.current().await.unwrap(), 1);
    pass(21).await;
    assert_eq!(keeper.trouble().as_deref(), Some("connection refused"));
    assert!(matches!(keeper.current().await, Err(StoreError::Unavailable(_))));
    pass(40).await;
    assert!(keeper.trouble().is_none());
    assert_eq!(*keeper.current().await.unwrap(), 8);
}

#[tokio::test(start_paused = true)]
async fn before_there_is_one_a_refusal_is_a_denial_and_it_is_tried_ever_more_rarely() {
    let issuer = Scripted::new([no()]);
    let keeper = keeper(&issuer);
    assert!(matches!(keeper.current().await, Err(StoreError::Denied(_))));
    assert_eq!(keeper.trouble().as_deref(), Some("no such role"));
    pass(600).await;
    // After 1, 2, 4, 8 and 16 seconds, and every 30 from then on.
    assert!((20..=26).contains(&issuer.asked()), "{}", issuer.asked());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_by_storage_renews_it_but_not_for_each_of_a_storm() {
    let issuer = Scripted::new([lasting(3600)]);
    let keeper = keeper(&issuer);
    keeper.current().await.unwrap();
    for _ in 0..100 {
        keeper.was_refused();
        pass(1).await;
    }
    assert!((10..=12).contains(&issuer.asked()), "{}", issuer.asked());
    assert_eq!(*keeper.current().await.unwrap(), issuer.asked());
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_any_more_once_it_is_dropped() {
    let issuer = Scripted::new([lasting(10)]);
    let keeper = keeper(&issuer);
    keeper.current().await.unwrap();
    drop(keeper);
    pass(100).await;
    assert_eq!(issuer.asked(), 1);
    assert_eq!(Arc::strong_count(&issuer.asked), 1, "its task has ended");
}

/// Gives out numbers, and from one on no more.
#[derive(Debug)]
struct Numbers {
    last: Arc<AtomicUsize>,
    ends_with: usize,
}

#[async_trait]
impl Issuer for Numbers {
    type Credential = usize;

    async fn issue(&self) -> Result<Issued<usize>, IssueError> {
        let number = self.last.fetch_add(1, Ordering::SeqCst) + 1;
        tokio::task::yield_now().await;
        if number > self.ends_with {
            return Err(IssueError::Refused("no more numbers".into()));
        }
        Ok(Issued { credential: Arc::new(number), expires_at: None })
    }
}

/// A keeper of numbers, and how many were asked for.
fn keeper_of_numbers(ends_with: usize) -> (Arc<Keeper<usize>>, Arc<AtomicUsize>) {
    let last = Arc::<AtomicUsize>::default();
    let instruments = Arc::new(Instruments::new().unwrap().origin("docs", &StoreError::RESULTS));
    (Keeper::start(Numbers { last: Arc::clone(&last), ends_with }, instruments), last)
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_refusals_is_one_renewal_and_everyone_gets_what_it_brought() {
    let (keeper, asked) = keeper_of_numbers(9);
    let first = keeper.current().await.unwrap();
    let others = join_all((0..100).map(|_| keeper.instead_of(&first))).await;
    assert!(others.into_iter().all(|other| *other.unwrap() == 2));
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    // Whoever still has the first one finds the second.
    assert_eq!(*keeper.instead_of(&first).await.unwrap(), 2);
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_again_at_once_is_a_denial_and_is_renewed_again_only_later() {
    let (keeper, asked) = keeper_of_numbers(9);
    let first = keeper.current().await.unwrap();
    let second = keeper.instead_of(&first).await.unwrap();
    for _ in 0..100 {
        assert!(matches!(keeper.instead_of(&second).await, Err(StoreError::Denied(_))));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    tokio::time::advance(BETWEEN_REFUSALS).await;
    assert_eq!(*keeper.instead_of(&second).await.unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn where_the_renewal_fails_readers_are_told_why() {
    let (keeper, _) = keeper_of_numbers(1);
    let first = keeper.current().await.unwrap();
    let Err(StoreError::Denied(cause)) = keeper.instead_of(&first).await else { panic!("there is another") };
    assert_eq!(cause.to_string(), "no more numbers");
    // Storage may take it elsewhere still: it is not over.
    assert_eq!(keeper.current().await.unwrap(), first);
}
