//! One fetches; the others wait, and not for one who is gone.

use super::*;

const LONG: Duration = Duration::from_secs(60);

fn wanted(confirmation: Confirmation) -> bool {
    confirmation == confirmed(1)
}

#[tokio::test]
async fn one_of_a_hundred_gets_the_lease() {
    let rig = Rig::start();
    let tiers: Vec<_> = (0..4).map(|_| tier(&rig.server, |_| ()).0).collect();
    let asked = (0..100).map(|number| {
        let shared = Arc::clone(&tiers[number % 4]);
        tokio::spawn(async move { shared.lease(&key("index.html"), LONG).await })
    });
    let mut mine = Vec::new();
    for lease in asked.collect::<Vec<_>>() {
        match lease.await.unwrap() {
            Lease::Mine(guard) => mine.push(guard),
            Lease::Others => {}
            Lease::Unavailable => panic!("Redis is there"),
        }
    }
    assert_eq!(mine.len(), 1);
    assert!(matches!(rig.shared.lease(&key("other.html"), LONG).await, Lease::Mine(_)));
}

#[tokio::test]
async fn a_lease_that_was_given_up_is_free() {
    let rig = Rig::start();
    drop(mine(&rig.shared, LONG).await);
    rig.written().await;
    drop(mine(&rig.shared, LONG).await);
}

#[tokio::test]
async fn a_lease_whose_holder_died_ends_with_its_time() {
    let rig = Rig::start();
    std::mem::forget(mine(&rig.shared, Duration::from_millis(100)).await);
    let (other, _) = tier(&rig.server, |_| ());
    assert_eq!(other.wait(&key("index.html"), None, wanted, LONG).await, Waited::Free);
    drop(mine(&other, LONG).await);
}

#[tokio::test]
async fn a_lease_that_is_others_by_now_is_not_given_up() {
    let rig = Rig::start();
    let (other, _) = tier(&rig.server, |_| ());
    let late = mine(&rig.shared, Duration::from_millis(1)).await;
    assert_eq!(other.wait(&key("index.html"), None, wanted, LONG).await, Waited::Free);
    let theirs = mine(&other, LONG).await;
    drop(late);
    rig.written().await;
    assert!(matches!(rig.shared.lease(&key("index.html"), LONG).await, Lease::Others));
    drop(theirs);
}

#[tokio::test]
async fn whoever_waits_gets_what_was_fetched() {
    let rig = Rig::start();
    let (other, _) = tier(&rig.server, |_| ());
    rig.shared.store(&key("index.html"), meta("old", &text(10)), text(10), confirmed(0), None);
    rig.written().await;
    let lease = mine(&rig.shared, LONG).await;
    let waiting = tokio::spawn(async move { other.wait(&key("index.html"), None, wanted, LONG).await });
    let body = noise(3_000_000);
    rig.shared.store(&key("index.html"), meta("a", &body), body.clone(), confirmed(1), None);
    drop(lease);
    assert_eq!(waiting.await.unwrap(), Waited::Loaded(document("a", &body)));
}

#[tokio::test]
async fn whoever_sees_the_lease_gone_finds_what_was_fetched() {
    let rig = Rig::start();
    for number in 0..20 {
        let lease = mine(&rig.shared, LONG).await;
        let body = noise(600_000 + number);
        rig.shared.store(&key("index.html"), meta("a", &body), body.clone(), confirmed(1), None);
        drop(lease);
        while rig.server.ask::<bool>(cmd("EXISTS").arg(format!("{}:lease", name("index.html")))).await {}
        assert_eq!(rig.load("index.html").await, document("a", &body));
    }
}

#[tokio::test]
async fn waiting_ends_with_ones_patience() {
    let rig = Rig::start();
    let _lease = mine(&rig.shared, LONG).await;
    let waited = rig.shared.wait(&key("index.html"), None, wanted, Duration::from_millis(30)).await;
    assert_eq!(waited, Waited::TimedOut);
}

async fn mine(shared: &Arc<Shared>, for_: Duration) -> LeaseGuard {
    match shared.lease(&key("index.html"), for_).await {
        Lease::Mine(guard) => guard,
        other => panic!("{other:?}"),
    }
}
