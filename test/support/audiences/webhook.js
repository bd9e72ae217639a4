'use strict';

/** Sends messages as Amplitude's cohort webhook does, and serves a handler of it. */

const { once } = require('node:events');
const http = require('node:http');

const SECRET = 'a-secret-of-this-test';

/** A message in the default payload; `time` is in seconds. */
function messageOf(cohortId, users, { isIn = true, time, id, properties, ...more } = {}) {
  return {
    cohort_name: 'Power users',
    cohort_id: cohortId,
    in_cohort: isIn,
    computed_time: String(time),
    ...(id !== undefined && { message_id: id }),
    users: users.map((user) => ({
      user_id: user,
      ...(properties !== undefined && { user_properties: properties }),
    })),
    ...more,
  };
}

/** Send a body; resolves to { status, message, headers }. */
function post(url, body, { secret = SECRET, method = 'POST', headers = {}, pieces = 1 } = {}) {
  const bytes = Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
  return new Promise((resolve, reject) => {
    const request = http.request(url, {
      method,
      agent: false,
      headers: {
        'Content-Type': 'application/json',
        'User-Agent': 'Amplitude/Webhook/1.0',
        ...(pieces === 1 && { 'Content-Length': bytes.length }),
        ...(secret !== null && { 'x-webhook-secret': secret }),
        ...headers,
      },
    });
    request.on('error', reject).on('response', async (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (piece) => (text += piece));
      await once(response, 'end');
      let message = text;
      try {
        message = JSON.parse(text).message;
      } catch {
        // Not of the webhook.
      }
      resolve({ status: response.statusCode, message, headers: response.headers });
    });
    const step = Math.ceil(bytes.length / pieces) || 1;
    for (let at = 0; at < bytes.length; at += step) {
      request.write(bytes.subarray(at, at + step));
    }
    request.end();
  });
}

/** Serve a handler for one test; returns its URL. */
async function serve(t, handler) {
  const server = http.createServer(handler);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  t.after(async () => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${server.address().port}/amplitude/cohorts`;
}

module.exports = { SECRET, messageOf, post, serve };
