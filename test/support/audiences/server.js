'use strict';

/**
 * Plays the API from which cohorts are downloaded: Basic authorization, `lastModified`, `maxCohortSize`, and the answers
 * 200, 204, 401, 404 and 413. A fault is a function (request, response, cohort) that answers instead.
 */

const { EventEmitter, once } = require('node:events');
const http = require('node:http');
const https = require('node:https');
const zlib = require('node:zlib');

const API_KEY = 'api-key';
const SECRET_KEY = 'secret-key-of-a-project';
const AUTHORIZATION = `Basic ${Buffer.from(`${API_KEY}:${SECRET_KEY}`).toString('base64')}`;

class CohortServer {
  /** { id, lastModified } of each request, in order; `status` once it is answered. */
  requests = [];
  /** How many requests are under way, and the most that were at once. */
  active = 0;
  mostActive = 0;
  /** Compress bodies, as an Evaluation Proxy does. */
  gzip = false;
  #cohorts = new Map();
  #faults = new Map(); // id -> a list of faults, the first for the next request
  #changes = new EventEmitter().setMaxListeners(0);
  #server;
  #clock = 1_700_000_000_000;

  constructor(tls) {
    const serve = (request, response) => this.#serve(request, response);
    this.#server = tls === undefined ? http.createServer(serve) : https.createServer(tls, serve);
    this.url = null;
  }

  async listen() {
    await once(this.#server.listen(0, '127.0.0.1'), 'listening');
    const scheme = this.#server instanceof https.Server ? 'https' : 'http';
    this.url = `${scheme}://${scheme === 'https' ? 'localhost' : '127.0.0.1'}:${this.#server.address().port}`;
    return this;
  }

  /** The options of createAudiences() for this server. */
  get options() {
    return { apiKey: API_KEY, secretKey: SECRET_KEY, serverUrl: this.url };
  }

  /** Give a cohort members: an array, or { count, nameOf } to be written as they are sent. */
  set(id, members, more = {}) {
    this.#clock += 1000;
    const cohort = { id, members, lastModified: this.#clock, groupType: 'User', ...more };
    this.#cohorts.set(id, cohort);
    return cohort;
  }

  delete(id) {
    this.#cohorts.delete(id);
  }

  /** Answer the next requests for a cohort with faults, one each; the last one for all that follow if `forever`. */
  fail(id, faults, { forever = false } = {}) {
    this.#faults.set(id, { list: [faults].flat(), forever });
  }

  heal(id) {
    this.#faults.delete(id);
  }

  /** Resolves when `count` requests for a cohort were answered, or broken off. */
  async answered(id, count = 1) {
    const done = () =>
      this.requests.filter((request) => request.id === id && request.isOver).length;
    while (done() < count) {
      await once(this.#changes, 'change');
    }
  }

  /** Resolves when `count` requests for a cohort have come. */
  async asked(id, count = 1) {
    while (this.requests.filter((request) => request.id === id).length < count) {
      await once(this.#changes, 'change');
    }
  }

  async close() {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #serve(request, response) {
    const url = new URL(request.url, 'http://server');
    const id = url.pathname.replace(/^.*\/sdk\/v1\/cohort\//, '');
    const lastModified = url.searchParams.get('lastModified');
    const record = { id, lastModified, url: request.url, headers: request.headers, isOver: false };
    this.requests.push(record);
    this.active++;
    this.mostActive = Math.max(this.mostActive, this.active);
    response.on('close', () => {
      this.active--;
      record.isOver = true;
      record.status = response.statusCode;
      this.#changes.emit('change');
    });
    this.#changes.emit('change');
    const faults = this.#faults.get(id);
    const fault =
      faults?.forever && faults.list.length === 1 ? faults.list[0] : faults?.list.shift();
    const cohort = this.#cohorts.get(id);
    if (fault !== undefined) {
      fault(request, response, cohort);
    } else {
      this.#answer(request, response, cohort, url.searchParams);
    }
  }

  #answer({ headers, method, url }, response, cohort, query) {
    if (method !== 'GET' || !url.includes('/sdk/v1/cohort/')) {
      response.writeHead(405).end();
    } else if (headers.authorization !== AUTHORIZATION) {
      response.writeHead(401).end();
    } else if (cohort === undefined) {
      response.writeHead(404).end();
    } else if (query.get('lastModified') === String(cohort.lastModified)) {
      response.writeHead(204).end();
    } else if (sizeOf(cohort) > Number(query.get('maxCohortSize'))) {
      response.writeHead(413).end();
    } else {
      send(response, cohort, this.gzip);
    }
  }
}

const sizeOf = ({ members }) => (Array.isArray(members) ? members.length : members.count);

/** The pieces of a body, in the order in which Amplitude sends its fields. */
function* pieces({ id, members, lastModified, groupType }) {
  const size = sizeOf({ members });
  yield (
    `{"cohortId":"${id}","groupType":"${groupType}","groupTypeId":0,"lastComputed":${lastModified},` +
    `"lastModified":${lastModified},"size":${size},"memberIds":[`
  );
  const PIECE = 5000;
  for (let at = 0; at < size; at += PIECE) {
    const count = Math.min(PIECE, size - at);
    const part = Array.isArray(members)
      ? members.slice(at, at + count)
      : Array.from({ length: count }, (_, index) => members.nameOf(at + index));
    yield (at === 0 ? '' : ',') + part.map((member) => JSON.stringify(member)).join(',');
  }
  yield ']}';
}

async function send(response, cohort, gzip) {
  response.writeHead(200, {
    'Content-Type': 'application/json',
    ...(gzip && { 'Content-Encoding': 'gzip' }),
  });
  const out = gzip ? zlib.createGzip({ level: 1 }) : response;
  if (gzip) {
    out.pipe(response);
  }
  const closed = once(response, 'close');
  for (const piece of pieces(cohort)) {
    if (!out.write(piece)) {
      await Promise.race([once(out, 'drain'), closed]);
    }
    if (response.destroyed) {
      return;
    }
  }
  out.end();
}

const bodyOf = (cohort) => [...pieces(cohort)].join('');

/** Faults: what a server may answer instead of a cohort. */
const faults = {
  /** A status, with a body that is not to be read. */
  status:
    (status, headers = {}) =>
    (request, response) => {
      response.writeHead(status, headers).end('{"memberIds":["somebody"]}');
    },
  /** A 200 with any body. */
  body:
    (text, headers = {}) =>
    (request, response) => {
      response.writeHead(200, headers).end(text);
    },
  /** The same bytes behind the first ones, for as long as somebody reads them. */
  endless:
    (first, piece, headers = {}) =>
    (request, response) => {
      const again = () => {
        let isTaken = true;
        while (isTaken && !response.destroyed) {
          isTaken = response.write(piece);
        }
      };
      response.writeHead(200, headers).on('drain', again).write(first);
      again();
    },
  silence: () => {},
  reset: (request, response) => response.destroy(),
  /** The body of the cohort up to a share of it, and then the connection ends. */
  broken: (share) => (request, response, cohort) => {
    const text = bodyOf(cohort);
    response.writeHead(200, { 'Content-Length': text.length });
    response.write(text.slice(0, Math.floor(text.length * share)), () => response.destroy());
  },
  /** The same as a complete answer. */
  cut: (share) => (request, response, cohort) => {
    const text = bodyOf(cohort);
    response.writeHead(200).end(text.slice(0, Math.floor(text.length * share)));
  },
  /** Compressed, and cut likewise. */
  cutGzip: (share) => (request, response, cohort) => {
    const zipped = zlib.gzipSync(bodyOf(cohort));
    response
      .writeHead(200, { 'Content-Encoding': 'gzip' })
      .end(zipped.subarray(0, Math.floor(zipped.length * share)));
  },
  /** A byte of the compressed body is another. */
  damagedGzip: (request, response, cohort) => {
    const zipped = zlib.gzipSync(bodyOf(cohort));
    zipped[zipped.length - 6] ^= 1;
    response.writeHead(200, { 'Content-Encoding': 'gzip' }).end(zipped);
  },
};

/** Start a server for one test, after which it is closed. */
async function startCohortServer(t, tls) {
  const server = await new CohortServer(tls).listen();
  t.after(() => server.close());
  return server;
}

module.exports = {
  API_KEY,
  AUTHORIZATION,
  CohortServer,
  SECRET_KEY,
  bodyOf,
  faults,
  startCohortServer,
};
