import type { Request, Response } from './http';
import type { Verdict } from './failures';

/**
 * Answers that are made here, so that the reader in the browser ends in a page
 * that says something. `@backstage/plugin-techdocs` (`TechDocsStorageClient`)
 * takes the body of any answer but 404 and 500 for the document, and shows a
 * document only once each style sheet in its head has loaded, and there must be
 * one. So the page in place of a document brings a style sheet, which is served
 * from here, too, and style sheets never fail.
 */

/**
 * The name of a style sheet as Material for MkDocs has them: others do not
 * survive the reader's sanitiser.
 */
const STYLE_SHEET = 'main.ca11b0ad.min.css';

/**
 * In place of a style sheet that can't be read. Without any rules the icons of a
 * page are as large as the screen, and push the article out of it.
 */
const STYLES = `/* Callboard: the site's own style sheet can't be read right now. These rules keep its pages readable. */
.md-toggle, .md-skip, .md-overlay, .md-dialog, .md-search, .md-nav__icon, .md-sidebar, .md-footer,
.md-content__button, .headerlink, svg { display: none }
.md-content__inner { color: var(--md-typeset-color, inherit); max-width: 60rem; padding: 0 0.5rem 2rem; line-height: 1.6 }
.md-typeset img { max-width: 100% }
.md-typeset pre { overflow: auto }
`;

/** Whether a path names the style sheet of the pages that are made here. */
export function isOwnStyleSheet(target: string): boolean {
  return target.includes(`/${STYLE_SHEET}`);
}

/** Answers with the style sheet of the pages that are made here. */
export function sendOwnStyleSheet(req: Request, res: Response): void {
  send(req, res, 200, 'text/css; charset=utf-8', STYLES);
}

/** Answers a request for a file that can't be shown. */
export function sendVerdict(
  req: Request,
  res: Response,
  verdict: Verdict,
  retryAfter: string | undefined,
): void {
  const path = req.path;
  if (path.endsWith('.css')) {
    sendOwnStyleSheet(req, res);
    return;
  }
  if (retryAfter !== undefined) {
    res.setHeader('Retry-After', retryAfter);
  }
  if (path.endsWith('.html')) {
    // As all documents: nothing leaves as active HTML.
    const body = page(verdict.sentence);
    send(req, res, verdict.status, 'text/plain; charset=utf-8', body);
  } else {
    sendError(req, res, verdict.status, verdict.name, verdict.sentence);
  }
}

/** Answers with an error in Backstage's form (`@backstage/errors`, `ErrorResponseBody`). */
export function sendError(
  req: Request,
  res: Response,
  statusCode: number,
  name: string,
  message: string,
): void {
  const body = JSON.stringify({
    error: { name, message },
    request: { method: req.method, url: req.originalUrl },
    response: { statusCode },
  });
  send(req, res, statusCode, 'application/json; charset=utf-8', body);
}

function send(
  req: Request,
  res: Response,
  status: number,
  type: string,
  body: string,
): void {
  if (res.headersSent || res.destroyed) {
    return;
  }
  res.statusCode = status;
  res.setHeader('Content-Type', type);
  res.setHeader('Content-Length', Buffer.byteLength(body));
  res.setHeader('Cache-Control', 'no-store');
  res.setHeader('X-Content-Type-Options', 'nosniff');
  res.end(req.method === 'HEAD' ? undefined : body);
}

function page(sentence: string): string {
  return [
    '<!doctype html><html><head>',
    "<title>The documentation can't be read right now</title>",
    `<link rel="stylesheet" href="${STYLE_SHEET}">`,
    '</head><body>',
    '<div class="md-container"><article class="md-content__inner md-typeset">',
    "<h1>The documentation can't be read right now</h1>",
    `<p>${escaped(sentence)}</p>`,
    '</article></div></body></html>',
  ].join('');
}

function escaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;');
}
