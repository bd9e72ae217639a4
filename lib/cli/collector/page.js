'use strict';

/** Serves the files of the collector's page to browsers, with headers that protect it. */

const fs = require('node:fs');
const path = require('node:path');

const DIRECTORY = path.join(__dirname, 'page');
const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
};

/** For all that is shown: data of any origin must never run, load anything or be framed. */
const SECURITY_HEADERS = {
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
  'Cache-Control': 'no-store',
};

let files = null;

/** The view of a file of the page, `/page/...`, as a function that makes the answer, or null. */
function findFile(pathname) {
  files ??= new Map(fs.readdirSync(DIRECTORY).map((name) => [`/page/${name}`, name]));
  const name = files.get(pathname);
  return name === undefined
    ? null
    : () => ({
        status: 200,
        headers: { 'Content-Type': TYPES[path.extname(name)] },
        body: fs.readFileSync(path.join(DIRECTORY, name), 'utf8'),
      });
}

/** Whether a browser requests `/`. Other clients get JSON. */
const wantsPage = ({ accept = '' }) => accept.includes('text/html');

module.exports = { SECURITY_HEADERS, findFile, wantsPage };
