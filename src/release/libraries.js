'use strict';

/*
 * Compiles the static libraries of a prebuilt addon for one target, into a prefix with include/ and lib/.
 *
 * libcurl is compiled with the OpenSSL headers that ship with Node and is not linked with an OpenSSL:
 * the dynamic linker binds it to the one in Node's executable, so the process has one TLS library, and
 * an update of Node patches it. curl's configure script links small programs; for these there is a
 * stand-in library that defines exactly the OpenSSL functions that Node exports.
 */

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const { makeStandIn } = require('./stand-in.js');

/** For the addon, too: no section for what is not called, and no tables to unwind the stack, which nobody reads without exceptions. */
const SMALL = [
  '-ffunction-sections',
  '-fdata-sections',
  '-fno-omit-frame-pointer', // a profiler finds the callers by it
  '-fno-unwind-tables',
  '-fno-asynchronous-unwind-tables',
];
// Optimized for size: little time is spent in this code.
const CFLAGS = ['-Os', '-fPIC', '-fvisibility=hidden', ...SMALL];
const CXXFLAGS = ['-std=c++17', '-fno-exceptions', '-fno-rtti'];

// HTTP and HTTPS over IPv4 and IPv6, proxies, and a resolver thread. The rest is not used, and code that
// is left out needs no security updates.
const CURL_OPTIONS = [
  ...[
    'shared',
    'maintainer-mode',
    'dependency-tracking',
    'manual',
    'libcurl-option',
    'openssl-auto-load-config',
  ],
  ...[
    'ftp',
    'file',
    'ldap',
    'ldaps',
    'rtsp',
    'dict',
    'telnet',
    'tftp',
    'pop3',
    'imap',
    'smb',
    'smtp',
    'gopher',
    'mqtt',
  ],
  ...[
    'unix-sockets',
    'ntlm',
    'ntlm-wb',
    'tls-srp',
    'cookies',
    'alt-svc',
    'hsts',
    'netrc',
    'doh',
    'mime',
    'websockets',
  ],
  ...['get-easy-options', 'crypto-auth', 'headers-api', 'progress-meter'],
]
  .map((name) => `--disable-${name}`)
  .concat(['static', 'threaded-resolver', 'ipv6', 'proxy'].map((name) => `--enable-${name}`))
  .concat(['pic', 'openssl'].map((name) => `--with-${name}`))
  .concat(
    [
      'zlib',
      'brotli',
      'zstd',
      'nghttp2',
      'nghttp3',
      'ngtcp2',
      'libidn2',
      'libpsl',
      'libssh2',
      'libssh',
      'librtmp',
      'gssapi',
      'ca-bundle',
      'ca-path',
    ].map((name) => `--without-${name}`),
  );

const flags = (target) => [...CFLAGS, '-include', target.header];

/** Run a program with its output in the file `log`, whose end is shown when the program fails. */
function run(log, dir, program, args, env = {}) {
  const out = fs.openSync(log, 'w');
  try {
    execFileSync(program, args, {
      cwd: dir,
      env: { ...process.env, ...env },
      stdio: ['ignore', out, out],
    });
  } catch (error) {
    const tail = fs.readFileSync(log, 'utf8').split('\n').slice(-30).join('\n');
    throw new Error(`${program} failed; the end of ${log}:\n${tail}`, { cause: error });
  } finally {
    fs.closeSync(out);
  }
}

/** Make a libssl and a libcrypto with the OpenSSL functions that Node exports; returns the folder. */
function makeOpenssl(prefix, target) {
  const symbols = execFileSync(
    'nm',
    ['-D', '--defined-only', '--without-symbol-versions', process.execPath],
    { encoding: 'utf8', maxBuffer: 1 << 28 },
  );
  const names = [...symbols.matchAll(/ T ((?:[A-Z][A-Za-z0-9]*|[di]2[di])_\w+)$/gm)].map(
    ([, name]) => name,
  );
  if (!names.includes('SSL_connect')) {
    throw new Error(`${process.execPath} exports no OpenSSL; use a Node from nodejs.org`);
  }
  const dir = path.join(prefix, 'openssl');
  fs.mkdirSync(dir, { recursive: true });
  for (const library of ['ssl', 'crypto']) {
    makeStandIn(path.join(dir, `lib${library}.so`), names, target.cc);
  }
  return dir;
}

/** Compile libcurl.a into `prefix`, and copy its headers. */
function buildCurl(source, prefix, target, nodePrefix) {
  const standIn = makeOpenssl(prefix, target);
  // Only OpenSSL's of Node's headers: configure must not find the zlib.h beside them.
  fs.cpSync(
    path.join(nodePrefix, 'include', 'node', 'openssl'),
    path.join(standIn, 'include', 'openssl'),
    { recursive: true },
  );
  const dir = path.join(prefix, 'curl');
  fs.mkdirSync(dir, { recursive: true });
  run(
    path.join(prefix, 'configure.log'),
    dir,
    path.join(source, 'configure'),
    // Of another system the programs are not run.
    [`--build=${target.build}`, `--host=${target.triplet}`, ...CURL_OPTIONS],
    {
      CC: target.cc.join(' '),
      AR: target.ar,
      CFLAGS: flags(target).join(' '),
      CPPFLAGS: `-I${path.join(standIn, 'include')}`,
      LDFLAGS: `-L${standIn}`,
      PKG_CONFIG: 'false', // it finds this machine's OpenSSL
    },
  );
  // Debian's patches make the generated files look out of date, without concerning them.
  const generators = ['AUTOCONF', 'AUTOMAKE', 'ACLOCAL', 'AUTOHEADER'].map((name) => `${name}=:`);
  run(path.join(prefix, 'make.log'), path.join(dir, 'lib'), 'make', [
    '-j2',
    ...generators,
    'libcurl.la',
  ]);
  fs.copyFileSync(
    path.join(dir, 'lib', '.libs', 'libcurl.a'),
    path.join(prefix, 'lib', 'libcurl.a'),
  );
  fs.cpSync(path.join(source, 'include', 'curl'), path.join(prefix, 'include', 'curl'), {
    recursive: true,
  });
}

/** Compile one source file into lib/lib<name>.a: --exclude-libs hides the symbols of archives only. */
function buildArchive(name, compile, source, prefix, target) {
  const object = path.join(prefix, `${name}.o`);
  execFileSync(compile[0], [...compile.slice(1), '-c', source, '-o', object], { stdio: 'inherit' });
  execFileSync(target.ar, ['rcs', path.join(prefix, 'lib', `lib${name}.a`), object]);
}

/** Compile `sources` (from fetchSources()) into `prefix`, unless that was done before. */
function buildLibraries(sources, prefix, target, nodePrefix) {
  const stamp = path.join(prefix, 'built-from');
  const ours = [path.join(__dirname, 'runtime.cc'), target.header].map((file) =>
    fs.readFileSync(file, 'utf8'),
  );
  const key = JSON.stringify([
    process.version,
    target,
    flags(target),
    CXXFLAGS,
    CURL_OPTIONS,
    ...ours,
    ...Object.values(sources).map(({ version }) => version),
  ]);
  if (fs.existsSync(stamp) && fs.readFileSync(stamp, 'utf8') === key) {
    return;
  }
  fs.rmSync(prefix, { recursive: true, force: true });
  for (const dir of ['include', 'lib']) {
    fs.mkdirSync(path.join(prefix, dir), { recursive: true });
  }
  buildCurl(sources.curl.dir, prefix, target, nodePrefix);
  buildArchive(
    'cjson',
    [...target.cc, ...flags(target)],
    path.join(sources.cjson.dir, 'cJSON.c'),
    prefix,
    target,
  );
  buildArchive(
    'runtime',
    [...target.cxx, ...flags(target), ...CXXFLAGS],
    path.join(__dirname, 'runtime.cc'),
    prefix,
    target,
  );
  fs.mkdirSync(path.join(prefix, 'include', 'cjson'));
  fs.copyFileSync(
    path.join(sources.cjson.dir, 'cJSON.h'),
    path.join(prefix, 'include', 'cjson', 'cJSON.h'),
  );
  fs.copyFileSync(
    path.join(sources.xxhash.dir, 'xxhash.h'),
    path.join(prefix, 'include', 'xxhash.h'),
  ); // of xxHash only the header is used
  fs.writeFileSync(stamp, key);
}

module.exports = { SMALL, buildLibraries };
