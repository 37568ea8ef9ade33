//! Rows 1 to 3: a page in memory, the same with an access log, and a 304.

use super::bare_hyper::BareHyper;
use super::callboard::{AccessLog, Callboard};
use super::contest::{Contender, Page, Rounds};
use super::nginx::{self, Nginx};
use super::peers::{NGINX_HIT, OURS_HIT, VARNISH_HIT, origin};
use super::report::Line;
use super::varnish::Varnish;
use super::wire::Answer;
use super::wrk::Wrk;

/// A hit without an access log, against everyone.
pub(crate) fn page(row: &'static str, rounds: Rounds) -> anyhow::Result<Vec<Line>> {
    let wrk = Wrk::find()?;
    let callboard = Callboard::start(AccessLog::Off)?;
    let headers = vec![callboard.authorization()];
    Answer::get(callboard.address(), Callboard::PAGE, &headers)?;
    let answer = Answer::get(callboard.address(), Callboard::PAGE, &headers)?;
    let hyper = BareHyper::start(&answer)?;
    answer.must_equal(&Answer::get(hyper.address(), Callboard::PAGE, &headers)?)?;
    let origin = origin(&answer)?;
    let file = Some((Callboard::PAGE, &answer));
    let nginx = Nginx::start(origin.address(), &nginx::Options { file, ..Default::default() })?;
    let varnish = Varnish::start(origin.address())?;
    let ask = |address, hit| Page::ask(address, Callboard::PAGE, &headers, hit, &answer);
    let (cached, file) = (nginx.server().address, nginx.file_address);
    rounds.run(
        row,
        &[
            Contender::asked("Callboard", callboard.server(), &wrk, ask(callboard.address(), OURS_HIT)?),
            Contender::asked("bare hyper", hyper.server(), &wrk, ask(hyper.address(), None)?).goal(1.10),
            Contender::asked("nginx proxy_cache", nginx.server(), &wrk, ask(cached, NGINX_HIT)?).goal(0.80),
            Contender::asked("nginx, a file", nginx.server(), &wrk, ask(file, None)?),
            Contender::asked("Varnish", varnish.server(), &wrk, ask(varnish.server().address, VARNISH_HIT)?),
        ],
    )
}

/// The same with a line of JSON for each request, but for bare hyper, which has no log.
pub(crate) fn logged(row: &'static str, rounds: Rounds) -> anyhow::Result<Vec<Line>> {
    let wrk = Wrk::find()?;
    let callboard = Callboard::start(AccessLog::File)?;
    let headers = vec![callboard.authorization()];
    Answer::get(callboard.address(), Callboard::PAGE, &headers)?;
    let answer = Answer::get(callboard.address(), Callboard::PAGE, &headers)?;
    let hyper = BareHyper::start(&answer)?;
    answer.must_equal(&Answer::get(hyper.address(), Callboard::PAGE, &headers)?)?;
    let origin = origin(&answer)?;
    let nginx = Nginx::start(origin.address(), &nginx::Options { access_log: true, ..Default::default() })?;
    let ask = |address, hit| Page::ask(address, Callboard::PAGE, &headers, hit, &answer);
    rounds.run(
        row,
        &[
            Contender::asked("Callboard", callboard.server(), &wrk, ask(callboard.address(), OURS_HIT)?)
                .checked(|requests| callboard.check_log(requests)),
            Contender::asked("bare hyper, no log", hyper.server(), &wrk, ask(hyper.address(), None)?).goal(1.20),
            Contender::asked("nginx proxy_cache", nginx.server(), &wrk, ask(nginx.server().address, NGINX_HIT)?)
                .checked(|requests| nginx.check_log(requests))
                .goal(0.85),
        ],
    )
}

/// A page that has not changed.
pub(crate) fn not_modified(row: &'static str, rounds: Rounds) -> anyhow::Result<Vec<Line>> {
    let wrk = Wrk::find()?;
    let callboard = Callboard::start(AccessLog::Off)?;
    let mut headers = vec![callboard.authorization()];
    let page = Answer::get(callboard.address(), Callboard::PAGE, &headers)?;
    headers.push(("If-None-Match".to_owned(), page.header("etag")?.to_owned()));
    let answer = Answer::get(callboard.address(), Callboard::PAGE, &headers)?;
    let hyper = BareHyper::start(&answer)?;
    answer.must_equal(&Answer::get(hyper.address(), Callboard::PAGE, &headers)?)?;
    let origin = origin(&page)?;
    let nginx = Nginx::start(origin.address(), &nginx::Options::default())?;
    let varnish = Varnish::start(origin.address())?;
    let ask = |address, hit| Page::ask(address, Callboard::PAGE, &headers, hit, &answer);
    rounds.run(
        row,
        &[
            Contender::asked("Callboard", callboard.server(), &wrk, ask(callboard.address(), OURS_HIT)?),
            Contender::asked("bare hyper", hyper.server(), &wrk, ask(hyper.address(), None)?).goal(1.15),
            Contender::asked("nginx proxy_cache", nginx.server(), &wrk, ask(nginx.server().address, NGINX_HIT)?),
            Contender::asked("Varnish", varnish.server(), &wrk, ask(varnish.server().address, VARNISH_HIT)?),
        ],
    )
}
