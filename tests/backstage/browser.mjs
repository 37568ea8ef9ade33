// A real browser with somebody in front of it, who reads documentation in a real Backstage: for the tests, and for
// measurements.
//
//   node browser.mjs            (CHROMIUM=… for another than `chromium` on the PATH)
//
// Prints one line of JSON once it is up, answers each line that it is told with one, and exits when stdin closes.
//
//   {"do":"visitor"}                        somebody new, whose browser has nothing cached; there is one at the start
//   {"do":"open","url":"http://…"}          opens the address
//   {"do":"click","link":"Section 01"}      clicks the link of this text in the site's own navigation or article
//   {"do":"search","term":"…"}              types that into the search field of the docs, and answers with what is `found`
//   {"do":"choose","found":"…"}             opens what was found under this text
//   {"do":"back"}                           goes back in the history
//   {"do":"screenshot","file":"/…/a.png"}   keeps what is seen
//
// `open`, `click`, `choose` and `back` wait until an article is seen which was not before, or an error page, at most `within` ms
// (15000 unless told) and then until all requests have an answer, at most as long again. They answer with
//
//   shown       "article", "error" (the reader's own error page), or "progress" where it is still waiting
//   ms          from the click, or the start of the navigation, until it could be seen
//   heading     the article's; `inSight`: whether it can be seen without scrolling, and nothing covers it
//   text        all that is read there; `alerts` what stands in a box above it
//   images      how many there are, and how many of them have loaded; `styled`: whether the site's style sheet counts
//   requests    each as {url, type, status, bytes, cached, failed}: status is what came over the wire (304 too), bytes what
//               came over it, and `failed` says why there was no answer, or that it is "pending"
//   errors      what the page said on its console

import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';
import { watchReader } from './browser/reader.mjs';
import { Traffic } from './browser/traffic.mjs';

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: FLAGS,
});
let visitor;

async function arrive() {
  await visitor?.context.close();
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  await context.addInitScript(watchReader);
  const page = await context.newPage();
  const errors = [];
  page.on('console', message => message.type() === 'error' && errors.push(message.text()));
  page.on('pageerror', error => errors.push(String(error)));
  visitor = { context, page, errors, traffic: await Traffic.of(context, page) };
  return {};
}

/** Does something that leads to another page of the documentation, and tells what came of it. */
async function lead(within, how) {
  const { page, traffic, errors } = visitor;
  traffic.forget();
  errors.length = 0;
  const deadline = Date.now() + within;
  await how(page);
  const left = Math.max(1, deadline - Date.now());
  await page.waitForFunction(() => window.callboardReader?.outcome(), null, { timeout: left }).catch(() => {});
  const pending = await traffic.settled(within);
  const seen = await page.evaluate(() => window.callboardReader?.look() ?? { shown: 'nothing' });
  return { ...seen, requests: [...traffic.done, ...pending], errors: [...errors] };
}

const forget = page => page.evaluate(() => window.callboardReader.forget());

const ACTIONS = {
  visitor: arrive,
  open: ({ url, within }) => lead(within, page => page.goto(url, { waitUntil: 'commit', timeout: within })),
  click: ({ link, within }) =>
    lead(within, async page => {
      await forget(page);
      // The site's navigation folds its sections: what is clicked need not be in sight.
      const links = page.getByTestId('techdocs-native-shadowroot').getByRole('link', {
        name: link,
        exact: true,
        includeHidden: true,
      });
      await links.first().dispatchEvent('click', undefined, { timeout: within });
    }),
  back: ({ within }) =>
    lead(within, async page => {
      await forget(page);
      await page.evaluate(() => history.back());
    }),
  search: async ({ term, within }) => {
    const asked = response => new URL(response.url()).searchParams.get('term') === term;
    const answered = visitor.page.waitForResponse(asked, { timeout: within });
    await visitor.page.getByPlaceholder('Search docs').fill(term, { timeout: within });
    await answered;
    const options = visitor.page.getByRole('option');
    await options.first().waitFor({ timeout: within });
    return { found: await options.allInnerTexts() };
  },
  choose: ({ found, within }) =>
    lead(within, async page => {
      await forget(page);
      await page.getByRole('option', { name: found }).first().click({ timeout: within });
    }),
  screenshot: async ({ file }) => {
    await visitor.page.screenshot({ path: file });
    return {};
  },
};

await arrive();
console.log(JSON.stringify({ ready: true, version: browser.version() }));
for await (const line of createInterface({ input: process.stdin })) {
  const told = { within: 15_000, ...JSON.parse(line) };
  const answer = await ACTIONS[told.do](told).catch(error => ({ failed: String(error) }));
  console.log(JSON.stringify(answer));
}
await browser.close();
