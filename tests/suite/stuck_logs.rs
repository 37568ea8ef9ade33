//! A log that nobody reads, as on a pipe whose reader has stopped.

use crate::support::program::Program;

/// More than a pipe holds, in lines that strangers can provoke.
const STRANGERS: usize = 200;

#[tokio::test(flavor = "multi_thread")]
async fn logs_that_nobody_reads_hold_up_neither_requests_nor_the_end() {
    let mut program = Program::start(&[]).await;
    let client = reqwest::Client::new();
    for _ in 0..STRANGERS {
        let refused = client.get(format!("{}/{}", program.url, "x".repeat(4000))).send().await.unwrap();
        assert_eq!(refused.status().as_u16(), 401);
    }
    let page = client.get(&program.url).bearer_auth(&program.token).send().await.unwrap();
    assert_eq!(page.status().as_u16(), 200);
    program.terminate();
    assert!(program.ended().await.success());
}
