'use strict';

/** A web site on this machine: pages bundled from sources of the tests and examples, and files of the clone. */

const fs = require('node:fs');
const http = require('node:http');
const { once } = require('node:events');
const path = require('node:path');
const esbuild = require('esbuild');

const { bundleBrowser } = require('../../../src/release/browser.js');

const ROOT = path.join(__dirname, '..', '..', '..');
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.json': 'application/json' };
/** As an installation has it. */
const INSTALLED = '/node_modules/optimizely-amplitude/';

/** Bundle a source as an application's bundler does. */
function bundlePage(file) {
  const { outputFiles } = esbuild.buildSync({
    absWorkingDir: ROOT,
    entryPoints: [file],
    bundle: true,
    write: false,
    format: 'iife',
    jsx: 'automatic',
    platform: 'browser',
    define: { 'process.env.NODE_ENV': '"development"' }, // where StrictMode renders twice
  });
  return outputFiles[0].text;
}

/**
 * Start a site. A path of `bundles`, { '/page': text }, is an empty page with that script; `/blank` is an empty page; and
 * other paths are files of the clone. Returns { url, close }.
 */
async function startSite(bundles) {
  const packaged = bundleBrowser();
  const server = http.createServer((req, res) => {
    const { pathname } = new URL(req.url, 'http://site');
    const answer = (type, body) => res.writeHead(200, { 'Content-Type': type }).end(body);
    const html = (script) =>
      answer('text/html', `<!doctype html><meta charset="utf-8"><div id="root"></div>${script}`);
    if (pathname === '/blank' || pathname === '/favicon.ico') {
      html('');
    } else if (bundles[pathname] !== undefined) {
      html(`<script src="${pathname}.js"></script>`);
    } else if (bundles[pathname.replace(/\.js$/, '')] !== undefined) {
      answer(TYPES['.js'], bundles[pathname.replace(/\.js$/, '')]);
    } else if (pathname.startsWith(INSTALLED)) {
      answer(TYPES['.js'], packaged[pathname.slice(INSTALLED.length)]);
    } else {
      const type = TYPES[path.extname(pathname)];
      const file = path.join(ROOT, pathname); // URL has resolved `..`
      if (type === undefined || !fs.existsSync(file)) {
        res.writeHead(404).end();
      } else {
        answer(type, fs.readFileSync(file));
      }
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

module.exports = { bundlePage, startSite };
