'use strict';

/**
 * One process of a fleet: audiences with what the parent gives as JSON, { options, port, pace, webhook }. It answers a
 * message, a list of users, with their attributes and the status; and serves a webhook with this secret.
 */

const http = require('node:http');

const { Redis } = require('ioredis');

const { Audiences } = require('../../../lib/audiences/audiences.js');
const { resolveOptions } = require('../../../lib/audiences/options.js');

const { options, port, pace, webhook } = JSON.parse(process.argv[2]);
const client = port === undefined ? undefined : new Redis(port);
client?.on('error', () => {});
const audiences = new Audiences(
  resolveOptions({ ...options, ...(client !== undefined && { store: { client } }) }),
  { pace },
);
process.on('message', (users) => {
  process.send({
    attributes: users.map((user) => audiences.attributes(user)),
    status: audiences.status(),
  });
});
const server = http.createServer(webhook && audiences.webhook({ secret: webhook }));
if (webhook !== undefined) {
  server.listen(0, '127.0.0.1', () => {
    console.log(`serves http://127.0.0.1:${server.address().port}/`);
  });
}
audiences.ready({ timeoutMillis: 30_000 }).then(() => console.log('ready'));
