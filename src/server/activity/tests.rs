//! What a connection is closed for, and when, on paused time.

use super::*;

pub(in crate::server) fn limits() -> Limits {
    Limits {
        max_connections: 1,
        max_connections_per_address: 1,
        header_read_timeout: Duration::from_secs(15),
        idle_timeout: Duration::from_secs(75),
        write_timeout: Duration::from_secs(30),
        max_header_bytes: 32 * 1024,
        max_headers: 100,
        max_h2_streams: 100,
        max_h2_pending_resets: 20,
        max_h2_error_resets: 1024,
        max_h2_send_buffer_bytes: 64 * 1024,
    }
}

/// When a connection is found inactive, and why.
async fn found(activity: &Activity) -> (Inactive, u64) {
    let start = Instant::now();
    let inactive = activity.inactive(&limits(), limits().header_read_timeout).await;
    (inactive, start.elapsed().as_secs())
}

#[tokio::test(start_paused = true)]
async fn a_new_connection_has_to_send_a_header_soon() {
    assert_eq!(found(&Activity::new(Arc::default())).await, (Inactive::Unheaded, 15));
}

#[tokio::test(start_paused = true)]
async fn a_used_connection_may_be_idle_for_longer() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let activity = Activity::new(Arc::default());
        tokio::time::sleep(Duration::from_secs(10)).await;
        drop(activity.answering(version).send());
        assert_eq!(found(&activity).await, (Inactive::Idle, 75));
    }
}

#[tokio::test(start_paused = true)]
async fn a_further_header_that_trickles_in_is_given_as_long_as_the_first() {
    let activity = Activity::new(Arc::default());
    drop(activity.answering(Version::HTTP_11).send());
    tokio::time::sleep(Duration::from_secs(50)).await;
    let trickling = async {
        loop {
            activity.read();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        found = found(&activity) => assert_eq!(found, (Inactive::Unheaded, 15)),
        () = trickling => {}
    }
}

#[tokio::test(start_paused = true)]
async fn pings_and_windows_of_http_2_begin_no_header() {
    let activity = Activity::new(Arc::default());
    drop(activity.answering(Version::HTTP_2).send());
    activity.read();
    assert_eq!(found(&activity).await, (Inactive::Idle, 75));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_take_its_answer_is_stalled() {
    let activity = Activity::new(Arc::default());
    let answer = activity.answering(Version::HTTP_11).send();
    assert_eq!(found(&activity).await, (Inactive::Stalled, 30));
    drop(answer);
}

#[tokio::test(start_paused = true)]
async fn what_a_client_sends_for_nothing_keeps_no_connection() {
    // PING frames: bytes come in, bytes go out.
    let pings = async |activity: &Activity| loop {
        activity.read();
        activity.wrote(true);
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    let idle = Activity::new(Arc::default());
    drop(idle.answering(Version::HTTP_2).send());
    tokio::select! {
        found = found(&idle) => assert_eq!(found, (Inactive::Idle, 75)),
        () = pings(&idle) => {}
    }
    let stalled = Activity::new(Arc::default());
    let answer = stalled.answering(Version::HTTP_2).send();
    tokio::select! {
        found = found(&stalled) => assert_eq!(found, (Inactive::Stalled, 30)),
        () = pings(&stalled) => {}
    }
    drop(answer);
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_takes_nothing_is_stalled_and_one_that_takes_a_little_is_not() {
    let activity = Activity::new(Arc::default());
    drop(activity.answering(Version::HTTP_11).send());
    activity.wrote(false);
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(20)).await;
        activity.wrote(true);
        activity.wrote(false);
    }
    assert_eq!(found(&activity).await, (Inactive::Stalled, 30));
    activity.wrote(true);
    assert_eq!(found(&activity).await, (Inactive::Idle, 75));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_waits_for_storage_is_not_stalled() {
    let activity = Activity::new(Arc::default());
    let answer = activity.answering(Version::HTTP_11).send();
    answer.waits(true);
    let limits = limits();
    assert!(
        tokio::time::timeout(Duration::from_secs(300), activity.inactive(&limits, limits.header_read_timeout))
            .await
            .is_err()
    );
    answer.waits(false);
    assert_eq!(found(&activity).await, (Inactive::Stalled, 30));
    drop(answer);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_for_storage_is_not_inactive() {
    let activity = Activity::new(Arc::default());
    let answering = activity.answering(Version::HTTP_11);
    let limits = limits();
    let watch = activity.inactive(&limits, limits.header_read_timeout);
    assert!(tokio::time::timeout(Duration::from_secs(300), watch).await.is_err());
    drop(answering);
}

#[tokio::test(start_paused = true)]
async fn one_body_that_is_taken_keeps_no_other_in_http_2() {
    let activity = Activity::new(Arc::default());
    let left_lying = activity.answering(Version::HTTP_2).send();
    let others = async {
        loop {
            // Requests come, are answered, and their bodies taken.
            let answering = activity.answering(Version::HTTP_2);
            tokio::time::sleep(Duration::from_secs(1)).await;
            answering.send().taken();
        }
    };
    tokio::select! {
        found = found(&activity) => assert_eq!(found, (Inactive::Stalled, 30)),
        () = others => {}
    }
    drop(left_lying);
}
