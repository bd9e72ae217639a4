'use strict';

/**
 * Plays Amplitude's Behavioral Cohorts API: a request, its status, and its file, which a storage on another port has.
 * What it answers is scripted by `answers`: { request, status, file, stored }, each a function (request, response, job)
 * or absent for what Amplitude does.
 */

const { EventEmitter, once } = require('node:events');
const http = require('node:http');
const zlib = require('node:zlib');

const { API_KEY, AUTHORIZATION, SECRET_KEY } = require('./server.js');

const csvOf = (users) =>
  `amplitude_id,user_id\n${users.map((user, index) => `${index},${user}\n`).join('')}`;

const json = (response, status, value) =>
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(value));

class BehavioralServer {
  cohorts = new Map(); // id -> ids of users
  requests = []; // { stage, id, status, headers }
  answers = {};
  statusTurns = 1; // how often a file is not made yet
  isLarge = true; // files are in the storage
  #jobs = new Map(); // id -> { cohort, turns }
  #changes = new EventEmitter().setMaxListeners(0);
  #api = http.createServer((request, response) => this.#serve(request, response));
  #storage = http.createServer((request, response) => this.#serveStored(request, response));

  async listen() {
    for (const server of [this.#api, this.#storage]) {
      await once(server.listen(0, '127.0.0.1'), 'listening');
    }
    return this;
  }

  get options() {
    return {
      source: 'behavioral',
      apiKey: API_KEY,
      secretKey: SECRET_KEY,
      serverUrl: `http://127.0.0.1:${this.#api.address().port}`,
    };
  }

  countOf(stage) {
    return this.requests.filter((request) => request.stage === stage).length;
  }

  /** Resolves when a stage was asked for `count` times. */
  async asked(stage, count = 1) {
    while (this.countOf(stage) < count) {
      await once(this.#changes, 'change');
    }
  }

  async close() {
    for (const server of [this.#api, this.#storage]) {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    }
  }

  #note(stage, id, { headers }, response) {
    const record = { stage, id, headers };
    this.requests.push(record);
    response.on('close', () => {
      record.status = response.statusCode;
    });
    this.#changes.emit('change');
  }

  #serve(request, response) {
    const { pathname } = new URL(request.url, 'http://server');
    const [, path, id, file] =
      /^\/api\/5\/cohorts\/(request|request-status)\/([\w-]+)(\/file)?$/.exec(pathname) ?? [
        null,
        null,
        null,
        null,
      ];
    const stage = path === 'request-status' ? 'status' : file === undefined ? 'request' : 'file';
    this.#note(stage, id, request, response);
    const job = this.#jobs.get(id);
    if (request.headers.authorization !== AUTHORIZATION) {
      json(response, 401, {});
    } else if (this.answers[stage] !== undefined) {
      this.answers[stage](request, response, job);
    } else if (stage === 'request') {
      this.#begin(id, response);
    } else if (job === undefined) {
      json(response, 404, {});
    } else if (stage === 'status') {
      const isMade = job.turns-- <= 0;
      json(response, isMade ? 200 : 202, {
        request_id: id,
        cohort_id: job.cohort,
        async_status: isMade ? 'JOB COMPLETED' : 'JOB INPROGRESS',
      });
    } else if (this.isLarge) {
      const location = `http://127.0.0.1:${this.#storage.address().port}/${id}?X-Amz-Signature=abc`;
      response.writeHead(302, { Location: location }).end();
    } else {
      response.writeHead(200).end(csvOf(this.cohorts.get(job.cohort)));
    }
  }

  #begin(id, response) {
    if (!this.cohorts.has(id)) {
      json(response, 404, {});
      return;
    }
    const jobId = `job_${this.#jobs.size}`;
    this.#jobs.set(jobId, { cohort: id, turns: this.statusTurns });
    json(response, 202, { request_id: jobId, cohort_id: id });
  }

  #serveStored(request, response) {
    const id = new URL(request.url, 'http://server').pathname.slice(1);
    this.#note('stored', id, request, response);
    const job = this.#jobs.get(id);
    if (request.headers.authorization !== undefined) {
      response.writeHead(400).end('Only one auth mechanism allowed');
    } else if (this.answers.stored !== undefined) {
      this.answers.stored(request, response, job);
    } else {
      response.writeHead(200).end(zlib.gzipSync(csvOf(this.cohorts.get(job.cohort))));
    }
  }
}

/** Start it for one test, after which it is closed. */
async function startBehavioralServer(t) {
  const server = await new BehavioralServer().listen();
  t.after(() => server.close());
  return server;
}

module.exports = { csvOf, json, startBehavioralServer };
