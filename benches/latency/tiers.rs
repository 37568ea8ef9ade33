//! What Callboard adds to the tier that it asks, one request at a time: Redis, and storage; and when first bytes come.

use std::ops::Range;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures_util::StreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStoreExt};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use crate::Arguments;
use crate::callboard::{ACCESS_KEY, Callboard, SECRET_KEY};
use crate::neighbours::Redis;
use crate::openloop::{Connection, Way, on_core};
use crate::origin::{BUCKET, GUIDE, Origin, TRICKLED};
use crate::report::{Addition, Report, Streamed, Turns};
use crate::support::process::{LOAD_CORE, SERVER_CORE};
use crate::support::stats::{median, sorted};

/// Requests a turn.
const TURN: usize = 300;

/// So many times as much as memory holds, so that none of it is still there when it is read again.
const PAGES: usize = 1500;
const SITES: usize = 10;

/// How long it may take until all is written to Redis, behind the readers.
const WRITING: Duration = Duration::from_secs(20);

/// How often a slow object is read, each time another.
const STREAMS: usize = 5;

/// When the second reader comes: in the middle.
const SECOND_AFTER: Duration = Duration::from_millis(240);

/// Callboard's readers, one at a time.
struct Reader<'a> {
    callboard: &'a Callboard,
    connection: Connection,
}

impl<'a> Reader<'a> {
    fn new(callboard: &'a Callboard) -> anyhow::Result<Self> {
        Ok(Self { callboard, connection: Connection::open(callboard.address())? })
    }

    /// Reads the pages of these numbers and returns the median of those that came this way, which most must.
    fn turn(&mut self, numbers: impl Iterator<Item = usize>, way: Way) -> anyhow::Result<f64> {
        let requests: Vec<_> = numbers.map(|number| self.callboard.request(&key(number))).collect();
        let times = on_core(LOAD_CORE, || self.time(&requests, way))??;
        ensure!(times.len() * 10 >= requests.len() * 9, "{} of {} came as {way:?}", times.len(), requests.len());
        Ok(middle(times))
    }

    fn time(&mut self, requests: &[Arc<[u8]>], way: Way) -> anyhow::Result<Vec<f64>> {
        let mut times = Vec::with_capacity(requests.len());
        for request in requests {
            let start = Instant::now();
            let answer = self.connection.exchange(request)?;
            let micros = start.elapsed().as_secs_f64() * 1e6;
            ensure!(answer.status == 200, "status {}", answer.status);
            if answer.way == way {
                times.push(micros);
            }
        }
        Ok(times)
    }
}

/// A page that is in Redis and not in memory, against the same bytes under one key.
pub(crate) fn redis_get(arguments: &Arguments, report: &mut Report) -> anyhow::Result<()> {
    let (origin, redis) = (Origin::start(Duration::ZERO)?, Redis::start()?);
    let cache = json!({
        "freshFor": "24h",
        "memory": { "maxBytes": "1MiB" },
        "maxObjectBytes": "512KiB",
        "redis": { "url": format!("redis://{}", redis.address()) },
    });
    let callboard = Callboard::start(&origin, &cache)?;
    let mut reader = Reader::new(&callboard)?;
    reader.turn(0..PAGES, Way::Other)?;
    let runtime = runtime_beside_callboard()?;
    let client = runtime.block_on(runtime.spawn(connect(redis.address())))??;
    let values = runtime.block_on(copies(client.clone()))?;
    let mut rounds = Vec::new();
    for round in 0..=arguments.rounds {
        let callboard = reader.turn((0..TURN).map(|number| (round * TURN + number) % PAGES), Way::Redis)?;
        let names = (0..TURN).map(|number| format!("bare:{}", (round * TURN + number) % values)).collect();
        let bare = middle(runtime.block_on(runtime.spawn(gets(client.clone(), names)))??);
        let memory = of_memory(&mut reader)?;
        note("redis-get", round, &mut rounds, Turns { callboard, bare, memory });
    }
    report.addition(Addition {
        name: "20 KB page in Redis only",
        bare: "`GET` by the redis crate",
        rounds,
        goal: 150.0,
    });
    Ok(())
}

/// A page that nobody has read before, against the same object.
pub(crate) fn storage_get(arguments: &Arguments, report: &mut Report) -> anyhow::Result<()> {
    let origin = Origin::start(Duration::ZERO)?;
    let callboard = Callboard::start(&origin, &json!({ "freshFor": "24h" }))?;
    let mut reader = Reader::new(&callboard)?;
    let runtime = runtime_beside_callboard()?;
    let store = Arc::new(bare_store(&origin)?);
    let mut rounds = Vec::new();
    for round in 0..=arguments.rounds {
        let numbers = round * TURN..(round + 1) * TURN;
        let callboard = reader.turn(numbers.clone(), Way::Other)?;
        let bare = middle(runtime.block_on(runtime.spawn(objects(Arc::clone(&store), numbers)))??);
        let memory = of_memory(&mut reader)?;
        note("storage-get", round, &mut rounds, Turns { callboard, bare, memory });
    }
    report.addition(Addition {
        name: "20 KB page, a miss",
        bare: "`get` by the object_store crate",
        rounds,
        goal: 200.0,
    });
    Ok(())
}

/// A large object that comes slowly: who reads it first, who comes in the middle, and a bare client.
pub(crate) fn streaming(_: &Arguments, report: &mut Report) -> anyhow::Result<()> {
    let origin = Origin::start(Duration::ZERO)?;
    let callboard = Callboard::start(&origin, &json!({ "freshFor": "24h" }))?;
    Reader::new(&callboard)?.turn(0..10, Way::Other)?;
    let runtime = runtime_beside_callboard()?;
    let store = Arc::new(bare_store(&origin)?);
    let streamed = |reader| Streamed { reader, first: Vec::new(), last: Vec::new() };
    let mut all =
        [streamed("Callboard, who comes first"), streamed("Callboard, 240 ms later"), streamed("object_store alone")];
    for number in 0..STREAMS {
        let key = format!("default/component/service-0/{TRICKLED}-{number}.json");
        let request = callboard.request(&key);
        let read = || {
            let mut connection = Connection::open(callboard.address())?;
            let start = Instant::now();
            let answer = connection.exchange(&request)?;
            ensure!(answer.status == 200, "status {}", answer.status);
            Ok([answer.first_byte.duration_since(start), start.elapsed()])
        };
        let (first, second) = thread::scope(|scope| {
            let first = scope.spawn(read);
            thread::sleep(SECOND_AFTER);
            let second = read();
            (first.join(), second)
        });
        let bare = runtime.block_on(runtime.spawn(stream(Arc::clone(&store), Path::from(key))))?;
        let first = first.ok().context("the first reader died")?;
        for (streamed, times) in all.iter_mut().zip([first, second, bare]) {
            let [first, last] = times?.map(|time| time.as_secs_f64() * 1e3);
            streamed.first.push(first);
            streamed.last.push(last);
        }
    }
    all.into_iter().for_each(|streamed| report.streamed(streamed));
    Ok(())
}

/// A page that was read last is in memory.
fn of_memory(reader: &mut Reader<'_>) -> anyhow::Result<f64> {
    let last = PAGES * 10;
    reader.connection.exchange(&reader.callboard.request(&key(last)))?;
    reader.turn(std::iter::repeat_n(last, TURN), Way::Memory)
}

/// The first round counts for nothing.
fn note(name: &str, round: usize, rounds: &mut Vec<Turns>, turns: Turns) {
    let Turns { callboard, bare, memory } = turns;
    eprintln!("  {name}, {round}: {callboard:.0} µs, bare {bare:.0} µs, in memory {memory:.0} µs");
    if round > 0 {
        rounds.push(turns);
    }
}

fn key(number: usize) -> String {
    format!("default/component/service-{}/{GUIDE}-{number}/index.html", number % SITES)
}

fn middle(times: Vec<f64>) -> f64 {
    median(&sorted(times.into_iter()))
}

/// Built as Callboard builds its own, and on its core.
fn runtime_beside_callboard() -> anyhow::Result<Runtime> {
    let build = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    Ok(on_core(SERVER_CORE, build)??)
}

/// A connection of the kind that Callboard has.
async fn connect(redis: std::net::SocketAddr) -> anyhow::Result<MultiplexedConnection> {
    let socket = TcpStream::connect(redis).await?;
    socket.set_nodelay(true)?;
    let (login, config) = (RedisConnectionInfo::default(), AsyncConnectionConfig::new().set_response_timeout(None));
    let (connection, driver) = MultiplexedConnection::new_with_config(&login, socket, config).await?;
    tokio::spawn(driver);
    Ok(connection)
}

/// Waits until all pages are in Redis, copies the bytes of each to a key of its own, and returns how many there are.
async fn copies(mut client: MultiplexedConnection) -> anyhow::Result<usize> {
    let until = Instant::now() + WRITING;
    let names: Vec<String> = loop {
        let names: Vec<String> = redis::cmd("KEYS").arg(format!("*{{doc:*{GUIDE}*}}")).query_async(&mut client).await?;
        if names.len() >= PAGES {
            break names;
        }
        ensure!(Instant::now() < until, "only {} of {PAGES} pages are in Redis", names.len());
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    for (number, name) in names.iter().enumerate() {
        let value: Vec<u8> = redis::cmd("HGET").arg(name).arg("0").query_async(&mut client).await?;
        redis::cmd("SET").arg(format!("bare:{number}")).arg(value).query_async::<()>(&mut client).await?;
    }
    Ok(names.len())
}

async fn gets(mut client: MultiplexedConnection, names: Vec<String>) -> anyhow::Result<Vec<f64>> {
    let mut times = Vec::with_capacity(names.len());
    for name in names {
        let start = Instant::now();
        let value: Option<Vec<u8>> = redis::cmd("GET").arg(&name).query_async(&mut client).await?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
        ensure!(value.is_some(), "{name} is not in Redis");
    }
    Ok(times)
}

fn bare_store(origin: &Origin) -> anyhow::Result<AmazonS3> {
    let store = AmazonS3Builder::new()
        .with_bucket_name(BUCKET)
        .with_region("eu-central-1")
        .with_endpoint(origin.endpoint())
        .with_access_key_id(ACCESS_KEY)
        .with_secret_access_key(SECRET_KEY)
        .with_client_options(ClientOptions::new().with_allow_http(true));
    Ok(store.build()?)
}

async fn objects(store: Arc<AmazonS3>, numbers: Range<usize>) -> anyhow::Result<Vec<f64>> {
    let mut times = Vec::with_capacity(numbers.len());
    for number in numbers {
        let path = Path::from(key(number));
        let start = Instant::now();
        store.get(&path).await?.bytes().await?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    Ok(times)
}

async fn stream(store: Arc<AmazonS3>, path: Path) -> anyhow::Result<[Duration; 2]> {
    let start = Instant::now();
    let mut pieces = store.get(&path).await?.into_stream();
    let mut first = None;
    while let Some(piece) = pieces.next().await {
        piece?;
        first.get_or_insert_with(|| start.elapsed());
    }
    Ok([first.context("an empty object")?, start.elapsed()])
}
