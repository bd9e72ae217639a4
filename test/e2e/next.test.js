'use strict';

/**
 * Next.js, the real one: routes of an application that either of its bundlers builds deliver. A route that has the package
 * in its bundle takes WebAssembly; with `serverExternalPackages` it has the native addon.
 */

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { after, before, describe, it } = require('node:test');

const { stage } = require('../../src/release/stage.js');
const { startAmplitude } = require('../support/amplitude/server.js');
const { viewed } = require('../support/dispatcher/harness.js');
const { runChild, startChild } = require('../support/process/child.js');
const { notTestable, wasmNotTestable } = require('../support/setup/prebuilds.js');
const { FOLDER, without } = require('../support/setup/runtimes.js');

const ROOT = path.join(__dirname, '..', '..');
const NEXT = path.join(FOLDER, 'next', 'node_modules', 'next', 'dist', 'bin', 'next');
const DATAFILE = path.join(ROOT, 'test', 'examples', 'datafile.json');
const RUN_MILLIS = 240_000; // two builds on a busy machine

/** The package a second time, under a name of its own, so that one build has it bundled and external. */
const EXTERNAL = 'optimizely-amplitude-external';

/** Routes: what they import, and what runs them then. */
const ROUTES = {
  bundled: { from: 'optimizely-amplitude', engine: 'wasm' },
  external: { from: EXTERNAL, engine: 'native' },
  edge: { from: 'optimizely-amplitude/edge', sdk: '/universal', runtime: 'edge', engine: 'wasm' },
};

const routeOf = ({ from, sdk = '', runtime = 'nodejs' }) => `
  import { createInstance, createStaticProjectConfigManager } from '@optimizely/optimizely-sdk${sdk}';
  import { createDispatcher, info } from '${from}';

  import datafile from '../../datafile.json';

  export const dynamic = 'force-dynamic';
  export const runtime = '${runtime}';

  const optimizely = createInstance({
    projectConfigManager: createStaticProjectConfigManager({ datafile: JSON.stringify(datafile) }),
  });
  const dispatcher = createDispatcher({
    apiKey: 'a-test-key',
    serverUrl: process.env.AMPLITUDE_SERVER_URL,
  });
  dispatcher.attach(optimizely);

  export async function GET(request) {
    const user = new URL(request.url).searchParams.get('user');
    const { enabled } = optimizely.createUserContext(user).decide('homepage_banner');
    const { delivered } = await dispatcher.flush();
    return Response.json({ enabled, delivered, engine: info().engine });
  }
`;

const skip = notTestable() || wasmNotTestable() || without('next');

describe('Next.js', { skip, timeout: RUN_MILLIS, concurrency: 2 }, () => {
  let folder;
  let amplitude;

  before(async () => {
    amplitude = await startAmplitude();
    // Below the folder of Next.js, where it and React are found; the SDK is that of this clone.
    folder = fs.mkdtempSync(path.join(FOLDER, 'next', 'application-'));
    const write = (name, text) => {
      fs.mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
      fs.writeFileSync(path.join(folder, name), text);
    };
    const staged = stage(path.join(folder, 'staged'));
    for (const name of ['optimizely-amplitude', EXTERNAL]) {
      fs.cpSync(staged, path.join(folder, 'node_modules', name), { recursive: true });
    }
    fs.rmSync(staged, { recursive: true });
    write('package.json', '{ "name": "application", "private": true }\n');
    write(
      'next.config.mjs',
      `export default { distDir: process.env.DIST, serverExternalPackages: ['${EXTERNAL}'] };\n`,
    );
    write(
      'app/layout.js',
      'export default ({ children }) => <html><body>{children}</body></html>;\n',
    );
    for (const [name, route] of Object.entries(ROUTES)) {
      write(`app/${name}/route.js`, routeOf(route));
    }
    fs.copyFileSync(DATAFILE, path.join(folder, 'datafile.json'));
  });

  after(async () => {
    await amplitude.close();
    fs.rmSync(folder, { recursive: true });
  });

  for (const bundler of ['turbopack', 'webpack']) {
    it(`built by ${bundler}: routes deliver, with WebAssembly in a bundle and the addon outside of it`, async (t) => {
      const options = {
        cwd: folder,
        timeoutMillis: RUN_MILLIS,
        env: {
          DIST: `.next-${bundler}`,
          NEXT_TELEMETRY_DISABLED: '1',
          NODE_ENV: 'production',
          AMPLITUDE_SERVER_URL: amplitude.httpapi,
        },
      };
      const built = await runChild(t, [NEXT, 'build', `--${bundler}`], options);
      assert.equal(built.code, 0, built.stdout + built.stderr);
      const server = startChild(t, [NEXT, 'start', '-H', '127.0.0.1', '-p', '0'], options);
      await server.printed('Ready in');
      const [, url] = /Local:\s+(\S+)/.exec(server.stdout);
      for (const [name, { engine }] of Object.entries(ROUTES)) {
        const user = `user-of-${name}-by-${bundler}`;
        const response = await fetch(`${url}/${name}?user=${user}`);
        assert.equal(response.status, 200, server.output);
        assert.deepEqual(await response.json(), { enabled: true, delivered: 1, engine }, name);
        assert.equal(viewed(amplitude).filter((event) => event.user_id === user).length, 1);
      }
      server.kill('SIGTERM');
      await server.ended;
      assert.equal(server.stderr, '');
    });
  }
});
