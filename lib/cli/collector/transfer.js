'use strict';

/** What was collected as a file of JSON lines, one event in each: export and import. */

const { answers } = require('./protocol.js');
const { asSent } = require('./record.js');
const { validate } = require('./validate.js');

/** Sent at once; the loop is free in between. */
const CHUNK_CHARS = 256 * 1024;
const IMPORTED = 'import';

const HEADERS = {
  'Content-Type': 'application/x-ndjson',
  'Content-Disposition': 'attachment; filename="collector.jsonl"',
};

function* chunks(store) {
  let text = '';
  for (const record of [...store.records()]) {
    if (record.person === null) {
      continue; // forgotten since
    }
    text += `${JSON.stringify(asSent(record.event))}\n`;
    if (text.length >= CHUNK_CHARS) {
      yield text;
      text = '';
    }
  }
  yield text;
}

/** Answer an exchange with all events, as fast as they are read. */
function exportEvents(store, { res }) {
  res.writeHead(200, HEADERS);
  const parts = chunks(store);
  const send = () => {
    const { value, done } = parts.next();
    if (done || res.destroyed) {
      res.end();
    } else if (res.write(value)) {
      setImmediate(send);
    } else {
      res.once('drain', send);
    }
  };
  res.on('close', () => res.off('drain', send));
  send();
}

/** Take lines as if they had been sent; all or none of them. Return the answer. */
function importEvents(store, body) {
  if (body === null) {
    return answers.refusal(413, 'Send the lines in parts of at most 20 MB');
  }
  const lines = body
    .toString()
    .split('\n')
    .filter((line) => line.trim() !== '');
  const events = [];
  for (const [index, line] of lines.entries()) {
    try {
      events.push(JSON.parse(line));
    } catch {
      return answers.refusal(400, `Line ${index + 1} is not JSON`);
    }
    // An event that was exported was valid with any min_id_length.
    const request = { api_key: IMPORTED, events: [events[index]], options: { min_id_length: 1 } };
    const refusal = validate(request);
    if (refusal !== null) {
      return answers.refusal(400, `Line ${index + 1}: ${refusal.body.error}`);
    }
  }
  const { stored, duplicates } = store.ingest(IMPORTED, events);
  return { status: 200, body: { stored, duplicates } };
}

module.exports = { exportEvents, importEvents };
