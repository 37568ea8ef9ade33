/**
 * Runs inside of each page, before the app does: watches the TechDocs reader and notes when something can be read. The
 * reader puts each page as a new element into its shadow root, and shows it once its style sheets have loaded.
 */
export function watchReader() {
  let began = 0;
  let before;
  let shown;

  const article = () => {
    const host = document.querySelector('[data-testid=techdocs-native-shadowroot]');
    return host?.shadowRoot?.firstElementChild;
  };

  /** An error page stands above the article that was there before, so it counts first. */
  const seen = () => {
    if (document.querySelector('[data-testid=error]')) return 'error';
    const element = article();
    if (!element || element === before || element.style.opacity !== '1') return undefined;
    return element.querySelector('h1')?.getBoundingClientRect().height > 0 ? 'article' : undefined;
  };

  const note = () => {
    if (shown) return;
    const what = seen();
    if (what) shown = { what, ms: performance.now() - began };
  };

  const watcher = new MutationObserver(note);
  const everything = { subtree: true, childList: true, attributes: true, attributeFilter: ['style'] };
  watcher.observe(document, everything);
  const attach = Element.prototype.attachShadow;
  Element.prototype.attachShadow = function attachWatched(options) {
    const root = attach.call(this, options);
    watcher.observe(root, everything);
    return root;
  };

  addEventListener('click', () => (began = performance.now()), true);

  const read = element => element?.innerText.trim();

  /** Neither scrolled away nor below something else. */
  const inSight = element => {
    const { left, top, height } = element.getBoundingClientRect();
    const there = element.getRootNode().elementFromPoint(left + 1, top + height / 2);
    return element.contains(there);
  };

  window.callboardReader = {
    outcome: () => shown?.what,
    /** What is seen now does not count; what comes is timed from here. */
    forget: () => {
      before = article();
      shown = undefined;
      began = performance.now();
    },
    look: () => {
      const element = article();
      const images = [...(element?.querySelectorAll('img') ?? [])];
      const main = element?.querySelector('.md-main__inner');
      const heading = element?.querySelector('h1');
      const error = document.querySelector('[data-testid=error]');
      return {
        shown: shown?.what ?? 'progress',
        ms: shown?.ms,
        heading: read(heading),
        inSight: Boolean(heading) && inSight(heading),
        text: read(error?.parentElement ?? element?.querySelector('article') ?? element),
        alerts: [...document.querySelectorAll('[role=alert]')].map(read),
        images: images.length,
        loaded: images.filter(image => image.complete && image.naturalWidth > 0).length,
        styled: Boolean(main) && getComputedStyle(main).display === 'flex',
      };
    },
  };
}
