/**
 * What a page asks for and gets, as the browser's own network log has it. For what is asked for over the wire that log has
 * the headers in an event of their own, which may come first or last and alone tells a 304 from the 200 that the cache makes
 * of it.
 */
export class Traffic {
  done = [];
  #open = new Map();
  #overTheWire = new Map();
  #idle = () => {};

  static async of(context, page) {
    const session = await context.newCDPSession(page);
    const traffic = new Traffic();
    session.on('Network.requestWillBeSent', event => traffic.#sent(event));
    session.on('Network.responseReceived', event => traffic.#answered(event));
    session.on('Network.responseReceivedExtraInfo', event => traffic.#heard(event));
    session.on('Network.requestServedFromCache', ({ requestId }) => traffic.#note(requestId, { cached: true }));
    session.on('Network.loadingFinished', event => traffic.#ended(event, event.encodedDataLength));
    session.on('Network.loadingFailed', event => {
      traffic.#note(event.requestId, { failed: event.errorText });
      traffic.#ended(event, 0);
    });
    await session.send('Network.enable');
    return traffic;
  }

  /** What ends from here on belongs to what is done next. */
  forget() {
    this.done = [];
  }

  /** Waits until nothing is asked for any more, and returns what then has no end. */
  async settled(within) {
    let timer;
    const late = new Promise(resolve => (timer = setTimeout(resolve, within)));
    const idle = new Promise(resolve => (this.#idle = resolve));
    this.#look();
    await Promise.race([idle, late]);
    clearTimeout(timer);
    return [...this.#open.values()].map(request =>
      told(request.unread ? request : { ...request, failed: 'pending' }),
    );
  }

  #look() {
    if ([...this.#open.values()].every(({ unread }) => unread)) this.#idle();
  }

  #sent({ requestId, request, type, redirectResponse }) {
    // Pictures within the page are requests too, but nobody has to answer those.
    if (!request.url.startsWith('http')) return;
    if (redirectResponse) this.done.push(told({ ...this.#open.get(requestId), status: redirectResponse.status }));
    // Not all that the page before has still asked for is told to have been given up.
    else if (type === 'Document') this.#open.clear();
    const { url, method } = request;
    this.#open.set(requestId, { url, method, type, status: 0, bytes: 0, cached: false });
  }

  #answered({ requestId, response, hasExtraInfo }) {
    const request = this.#open.get(requestId);
    if (!request) return;
    request.cached ||= response.fromDiskCache;
    request.status ||= response.status;
    request.overTheWire = hasExtraInfo && !request.cached;
    // The reader looks at no more of such an answer, which then has no end before it is collected as garbage.
    request.unread = request.type === 'Fetch' && response.status >= 400;
    this.#look();
  }

  #heard({ requestId, statusCode }) {
    this.#overTheWire.set(requestId, statusCode);
    this.#close(requestId);
  }

  #note(requestId, what) {
    const request = this.#open.get(requestId);
    if (request) Object.assign(request, what);
  }

  #ended({ requestId }, bytes) {
    this.#note(requestId, { bytes, ended: true });
    this.#close(requestId);
  }

  /** Puts it with what is done, once nothing more is to be heard of it. */
  #close(requestId) {
    const request = this.#open.get(requestId);
    if (!request?.ended || (request.overTheWire && !this.#overTheWire.has(requestId))) return;
    this.#open.delete(requestId);
    this.done.push(told({ ...request, status: this.#overTheWire.get(requestId) ?? request.status }));
    this.#overTheWire.delete(requestId);
    this.#look();
  }
}

function told({ url, method, type, status, bytes, cached, failed }) {
  return { url, method, type, status, bytes, cached, failed };
}
