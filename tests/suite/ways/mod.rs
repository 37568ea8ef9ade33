//! `docs/backstage.md`: each configuration, plugin and command in it is taken from there as it stands and tried, with a real
//! Backstage on the other side.

mod page;

use std::path::PathBuf;

use callboard::app::{App, Running};
use callboard::clock::Clock;
use callboard::config::{Configuration, Environment, Sources};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use self::page::{Section, document, root};
use crate::support::issuer::Issuer;
use crate::support::redis::{Redis, free_port};
use crate::support::servers::Server;

/// What the document's scripts know.
const CI_TOKEN: &str = "4f1c2c86b7cf0cf2d7f4b2f7a9d8f6f3";

/// A folder with the document's site, and an `app-config.yaml` that Backstage and Callboard both read.
struct World {
    folder: TempDir,
    backstage: u16,
    callboard: u16,
}

impl World {
    fn new() -> Self {
        let world = Self { folder: TempDir::new().unwrap(), backstage: free_port(), callboard: free_port() };
        world.write("techdocs/default/component/shop/index.html", "<h1>Shop</h1>\n");
        world.write("techdocs/default/component/shop/techdocs_metadata.json", r#"{"site_name":"Shop","files":[]}"#);
        let Self { backstage, callboard, .. } = &world;
        let published = world.folder.path().join("techdocs");
        world.write(
            "base.yaml",
            &format!(
                "app: {{ baseUrl: 'http://127.0.0.1:3000' }}\n\
                 backend: {{ baseUrl: 'http://127.0.0.1:{backstage}', listen: {{ host: 127.0.0.1, port: {backstage} }} }}\n\
                 techdocs: {{ publisher: {{ type: local, local: {{ publishDirectory: '{}' }} }} }}\n\
                 callboard: {{ listen: '127.0.0.1:{callboard}', admin: {{ listen: '127.0.0.1:0' }}, \
                 limits: {{ drainDelay: 0s }}, telemetry: {{ accessLog: false }} }}\n",
                published.display()
            ),
        );
        world
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Where the document's `http://callboard:7008` is.
    fn callboard_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.callboard)
    }

    /// Backstage, configured by the document, with its plugin where it has one.
    async fn backstage(&self, section: &Section) -> Server {
        let plugins =
            section.blocks("js").into_iter().map(|source| self.write("plugin.mjs", source)).collect::<Vec<_>>();
        // Where its imports are found.
        let packages = root().join("tests/backstage/node_modules");
        std::os::unix::fs::symlink(packages, self.folder.path().join("node_modules")).unwrap();
        Server::backstage_with(&self.files(&section.config()), &plugins, &[("CI_TOKEN", CI_TOKEN)]).await
    }

    /// Callboard, configured by the same.
    fn callboard(&self, config: &str) -> Running {
        App::new(self.read(config).resolved, Clock::System).unwrap().start().unwrap()
    }

    fn read(&self, config: &str) -> Configuration {
        let variables = [("CI_TOKEN".to_owned(), CI_TOKEN.to_owned())].into();
        let environment = Environment { variables, directory: self.folder.path().to_owned() };
        let read = callboard::config::read(&Sources { files: self.files(config), environment });
        read.unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn files(&self, config: &str) -> Vec<PathBuf> {
        vec![self.folder.path().join("base.yaml"), self.write("app-config.yaml", config)]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_reads_as_itself_and_for_its_user() {
    let world = World::new();
    let section = Section::read("From another backend plugin", &[("http://callboard:7008", &world.callboard_url())]);
    let backstage = world.backstage(&section).await;
    let callboard = world.callboard(&section.config());
    let client = Client::new();
    let base = backstage.said("/baseUrl");
    let minted = client.get(format!("{base}/api/auth/mint?user=user:default/jane")).send().await.unwrap();
    let minted: Value = minted.json().await.unwrap();
    let read = async |path: &str| {
        let request = client.get(format!("{base}/api/digest/{path}")).bearer_auth(minted["token"].as_str().unwrap());
        let page = request.send().await.unwrap();
        (page.status(), page.text().await.unwrap())
    };
    for path in ["pages", "my-pages"] {
        assert_eq!(read(path).await, (StatusCode::OK, "<h1>Shop</h1>\n".to_owned()), "{path}");
    }
    // It is what the document says to write for Callboard that lets it in.
    callboard.stop().await;
    let without = section.config().replace(", plugin:digest", "");
    assert_ne!(without, section.config());
    let callboard = world.callboard(&without);
    assert_eq!(read("pages").await.0, StatusCode::FORBIDDEN);
    callboard.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_and_people_read_with_tokens_that_are_good_for_nothing_else() {
    let world = World::new();
    let gitlab = Issuer::start().await;
    let (url, issuer) = (world.callboard_url(), gitlab.url());
    let names = [("http://callboard:7008", url.as_str()), ("https://gitlab.example.com", &issuer)];
    let section = Section::read("From a script", &names);
    let backstage = world.backstage(&section).await;
    let callboard = world.callboard(&section.config());
    let exp = Clock::System.now().as_secs() + 600;
    let token_of = |project: &str| {
        let sub = format!("project_path:{project}:ref_type:branch:ref:main");
        gitlab.token(&json!({ "iss": issuer, "aud": "callboard", "sub": sub, "iat": exp - 600, "exp": exp }))
    };
    let job = token_of("docs/shop");
    let variables = [("CI_TOKEN", CI_TOKEN), ("CALLBOARD_TOKEN", &job)];
    section.play(world.folder.path(), &variables).await;
    Section::read("By hand", &names[..1]).play(world.folder.path(), &variables).await;

    let client = Client::new();
    let status = async |url: String, token: &str| client.get(url).bearer_auth(token).send().await.unwrap().status();
    let page = format!("{url}/static/docs/default/component/shop/index.html");
    assert_eq!(status(page, &token_of("somebody/else")).await, StatusCode::FORBIDDEN);
    // Backstage knows both, and keeps both out.
    for token in [CI_TOKEN, &job] {
        let whoami = format!("{}/api/techdocs/whoami", backstage.said("/baseUrl"));
        assert_eq!(status(whoami, token).await, StatusCode::FORBIDDEN);
    }
    callboard.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callboard_is_tried_without_any_backstage() {
    let world = World::new();
    let (keys, callboard) = (format!("127.0.0.1:{}", world.backstage), format!("127.0.0.1:{}", world.callboard));
    let names = [("127.0.0.1:7007", keys.as_str()), ("127.0.0.1:7008", &callboard)];
    let section = Section::read("Without any Backstage", &names);
    world.write("app-config.yaml", &section.config());
    // Tests run side by side, and this port has a default.
    let variables = [("APP_CONFIG_callboard_admin_listen", "\"127.0.0.1:0\"")];
    section.play(world.folder.path(), &variables).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_is_published_and_read_with_what_the_compose_file_starts() {
    let world = World::new();
    let (redis, port) = (Redis::plain(), free_port());
    let _s3 = Server::moto(port).await;
    let trial = std::fs::read_to_string(root().join("deploy/app-config.trial.yaml")).unwrap();
    let s3 = format!("http://127.0.0.1:{port}");
    let trial = trial.replace("http://s3:5000", &s3);
    assert!(trial.contains(&s3));
    let callboard = world.callboard(&format!("{trial}\ncallboard: {{ cache: {{ redis: {} }} }}\n", redis.config()));
    world.write("site/index.html", "<h1>Shop</h1>\n");
    world.write("site/techdocs_metadata.json", r#"{"site_name":"Shop","files":[]}"#);
    let cli = root().join("tests/backstage/node_modules/.bin/techdocs-cli");
    let package: Value =
        serde_json::from_str(&std::fs::read_to_string(root().join("tests/backstage/package.json")).unwrap()).unwrap();
    let npx = format!("npx @techdocs/cli@{}", package["dependencies"]["@techdocs/cli"].as_str().unwrap());
    let address = format!("http://127.0.0.1:{}", world.callboard);
    let names =
        [("http://127.0.0.1:5000", s3.as_str()), ("http://127.0.0.1:7008", &address), (&npx, cli.to_str().unwrap())];
    let section = Section::read("All of it with Docker, for trying", &names);
    section.play(world.folder.path(), &[("CI_TOKEN", CI_TOKEN)]).await;
    callboard.stop().await;
}

#[test]
fn what_is_written_for_the_module_is_the_modules() {
    let section = Section::read("With the module", &[]);
    let read = |name: &str| std::fs::read_to_string(root().join("integrations/backstage").join(name)).unwrap();
    let package: Value = serde_json::from_str(&read("package.json")).unwrap();
    let name = package["name"].as_str().unwrap();
    assert!(section.blocks("console")[0].ends_with(&format!(" add {name}\n")));
    assert!(section.blocks("ts")[0].contains(&format!("backend.add(import('{name}'));")));
    // Callboard reads the same file, and has nothing to say against what is the module's.
    let world = World::new();
    assert!(world.read(&section.config()).warnings.is_empty());
    for key in section.config().lines().skip(2).map(|line| line.trim().split(':').next().unwrap()) {
        assert!(read("config.d.ts").contains(key), "{key}");
    }
}

#[test]
fn the_keys_and_files_that_the_document_names_are_there() {
    let document = document();
    let described = std::fs::read_to_string(root().join("config/callboard.yaml")).unwrap();
    let spans = document.split('`').skip(1).step_by(2);
    let mut keys = 0;
    for key in spans.filter_map(|span| span.strip_prefix("callboard.")) {
        let last = key.rsplit('.').next().unwrap();
        assert!(described.contains(&format!(" {last}:")) || described.contains(&format!("#{last}:")), "{key}");
        keys += 1;
    }
    let links: Vec<&str> = document.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()).collect();
    for link in &links {
        assert!(root().join("docs").join(link).exists(), "{link}");
    }
    assert!(keys > 3 && links.len() > 3);
}
