// A reader on a raw connection: it sends targets that no URL class would, sees
// headers as they are, and tells a complete answer from one that broke off.

import { Agent, request } from 'node:http';
import { connect } from 'node:net';

/** Reads to the end; `complete` is false where the connection broke before it. */
export function read(url, { method = 'GET', headers = {} } = {}) {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method, headers, agent: new Agent() }, res => {
      const chunks = [];
      const done = complete => {
        const body = Buffer.concat(chunks);
        resolve({
          status: res.statusCode,
          headers: res.headers,
          body,
          text: body.toString(),
          complete,
        });
      };
      res.on('data', chunk => chunks.push(chunk));
      res.on('end', () => done(res.complete));
      res.on('error', () => done(false));
    });
    sent.on('error', reject);
    sent.end();
  });
}

/** The status and body of the answer to a target sent as it stands, byte for byte. */
export function readRaw(port, target) {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    const chunks = [];
    socket.on('data', chunk => chunks.push(chunk));
    socket.on('error', reject);
    socket.on('close', () => {
      const text = Buffer.concat(chunks).toString('latin1');
      resolve({ status: Number(text.split(' ')[1]), text });
    });
    socket.write(
      Buffer.from(
        `GET ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`,
        'latin1',
      ),
    );
  });
}

/** Waits until something is so; the test's own time limit ends it. */
export async function until(isSo) {
  while (!(await isSo())) {
    await new Promise(resolve => setTimeout(resolve, 5));
  }
}
