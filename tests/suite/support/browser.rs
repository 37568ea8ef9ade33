//! A real browser with somebody in front of it who reads documentation (see `tests/backstage/browser.mjs`).

use std::path::PathBuf;

use serde_json::{Value, json};

use super::PATIENCE;
use super::servers::Server;

/// Names a folder, where somebody wants to see what the readers saw.
const PICTURES: &str = "CALLBOARD_BROWSER_PICTURES";

pub struct Browser {
    driver: Server,
    /// Where Backstage is.
    base: String,
    pictures: Option<PathBuf>,
}

impl Browser {
    pub async fn start(base: &str) -> Self {
        let pictures = std::env::var_os(PICTURES).map(PathBuf::from);
        Self { driver: Server::browser().await, base: base.to_owned(), pictures }
    }

    /// Somebody new sits down in front of it; nothing is cached.
    pub async fn visitor(&mut self) {
        self.ask(json!({ "do": "visitor" })).await;
    }

    pub async fn open(&mut self, path: &str) -> Seen {
        let url = format!("{}{path}", self.base);
        self.see(json!({ "do": "open", "url": url })).await
    }

    /// Clicks a link within the documentation.
    pub async fn click(&mut self, link: &str) -> Seen {
        self.see(json!({ "do": "click", "link": link })).await
    }

    pub async fn back(&mut self) -> Seen {
        self.see(json!({ "do": "back" })).await
    }

    /// Searches the documentation that is open, and opens what is found under this title.
    pub async fn search(&mut self, term: &str, title: &str) -> Seen {
        self.ask(json!({ "do": "search", "term": term })).await;
        self.see(json!({ "do": "choose", "found": title })).await
    }

    /// Keeps a picture of what is seen, where somebody asked for pictures.
    pub async fn picture(&mut self, name: &str) {
        if let Some(folder) = &self.pictures {
            let file = folder.join(format!("{name}.png"));
            self.ask(json!({ "do": "screenshot", "file": file })).await;
        }
    }

    /// Closes it, and waits until it is gone.
    pub async fn close(self) {
        self.driver.stop().await;
    }

    async fn see(&mut self, told: Value) -> Seen {
        Seen(self.ask(told).await)
    }

    async fn ask(&mut self, mut told: Value) -> Value {
        told["within"] = json!(PATIENCE.as_millis());
        let answer = self.driver.ask(&told.to_string()).await;
        assert!(answer["failed"].is_null(), "{told}: {answer}");
        answer
    }
}

/// What came of it.
pub struct Seen(Value);

impl Seen {
    /// An article with this heading, as the site's style sheet has it, with all of its images, and nothing that failed.
    #[track_caller]
    pub fn is_article(&self, heading: &str) -> &Self {
        self.reads(heading);
        assert_eq!(self.0["styled"], true, "{}", self.0);
        assert_eq!(self.0["images"], self.0["loaded"], "{}", self.0);
        assert_eq!(self.0["errors"], json!([]), "{}", self.0);
        self
    }

    /// An article with this heading in sight, however the rest looks. All that was asked for has been answered.
    #[track_caller]
    pub fn reads(&self, heading: &str) -> &Self {
        assert_eq!(self.0["shown"], "article", "{}", self.0);
        let seen = self.0["heading"].as_str().unwrap();
        assert_eq!(seen.trim_end_matches('¶'), heading, "{}", self.0);
        assert_eq!(self.0["inSight"], true, "{}", self.0);
        self.hangs_nowhere()
    }

    /// The reader's own page for what it does not find.
    #[track_caller]
    pub fn is_not_found(&self) -> &Self {
        assert_eq!(self.0["shown"], "error", "{}", self.0);
        assert!(self.text().contains("Page not found."), "{}", self.0);
        self.hangs_nowhere()
    }

    #[track_caller]
    pub fn hangs_nowhere(&self) -> &Self {
        assert!(self.requests().all(|request| request["failed"] != "pending"), "{}", self.0);
        self
    }

    pub fn text(&self) -> &str {
        self.0["text"].as_str().unwrap()
    }

    pub fn images(&self) -> u64 {
        self.0["images"].as_u64().unwrap()
    }

    /// With what statuses files of the site came over the wire. What the browser did not have to ask for is left out.
    pub fn statuses(&self) -> Vec<u64> {
        let asked = |request: &&Value| request["cached"] != true;
        let files = self.requests().filter(|request| request["url"].as_str().unwrap().contains("/static/docs/"));
        files.filter(asked).map(|request| request["status"].as_u64().unwrap()).collect()
    }

    fn requests(&self) -> impl Iterator<Item = &Value> {
        self.0["requests"].as_array().unwrap().iter()
    }
}
