'use strict';

/**
 * One process of a fleet: audiences with what the parent gives as JSON, { options, port, pace }. It answers a message, a
 * list of users, with their attributes and the status.
 */

const { Redis } = require('ioredis');

const { Audiences } = require('../../../lib/audiences/audiences.js');
const { resolveOptions } = require('../../../lib/audiences/options.js');

const { options, port, pace } = JSON.parse(process.argv[2]);
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
audiences.ready({ timeoutMillis: 30_000 }).then(() => console.log('ready'));
