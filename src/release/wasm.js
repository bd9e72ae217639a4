'use strict';

/*
 * Makes prebuilds/wasm32/: core.wasm, the core as WebAssembly, and core.js, the same bytes compressed and in base64, for
 * where finding a file is the difficulty. Needs clang, lld and wasi-libc of Debian; the same sources give the same bytes.
 */

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const zlib = require('node:zlib');

const ROOT = path.join(__dirname, '..', '..');
const FLAGS = [
  '--target=wasm32-wasi',
  '-std=c11',
  '-Os',
  '-flto',
  '-DNDEBUG',
  '-mbulk-memory',
  '-ffunction-sections',
  '-fdata-sections',
];
const LINK = ['--gc-sections', '--strip-all', '--lto-O2'];
/** Membership is not a part of it. */
const LEFT_OUT = /\/cohort\w*\.c$/;

const filesBelow = (folder) =>
  fs
    .readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) =>
      entry.isDirectory()
        ? filesBelow(path.join(folder, entry.name))
        : [path.join(folder, entry.name)],
    );

/** The sources of the project that the module is made of, in a stable order. */
function sourcesOf(root = ROOT) {
  return ['src/core', 'src/host/wasm']
    .flatMap((folder) => filesBelow(path.join(root, folder)))
    .filter((file) => file.endsWith('.c') && !LEFT_OUT.test(file))
    .sort();
}

/** Why this machine cannot build it, or null. */
function obstacle() {
  try {
    execFileSync('clang', [...FLAGS.slice(0, 1), '-x', 'c', '-', '-o', '/dev/null'], {
      input: '#include <string.h>\nint main(void) { return (int)strlen(""); }\n',
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    return null;
  } catch {
    return 'clang, a linker and a C library for WebAssembly are needed; packages: clang lld wasi-libc libclang-rt-dev-wasm32';
  }
}

/** Compile the module in `work`, a folder of its own; returns its bytes. `libraries` are of fetchSources(). */
function buildWasm({ cjson, xxhash }, work) {
  fs.rmSync(work, { recursive: true, force: true });
  const include = path.join(work, 'include');
  fs.mkdirSync(path.join(include, 'cjson'), { recursive: true });
  fs.copyFileSync(path.join(cjson.dir, 'cJSON.h'), path.join(include, 'cjson', 'cJSON.h'));
  fs.copyFileSync(path.join(xxhash.dir, 'xxhash.h'), path.join(include, 'xxhash.h'));
  const sources = [...sourcesOf(), path.join(cjson.dir, 'cJSON.c')];
  const objects = sources.map((source, index) => {
    const object = path.join(work, `${String(index).padStart(3, '0')}.o`);
    const includes = ['-I', path.join(ROOT, 'src/core'), '-isystem', include];
    execFileSync('clang', [...FLAGS, ...includes, '-c', '-o', object, source], {
      stdio: 'inherit',
    });
    return object;
  });
  const file = path.join(work, 'core.wasm');
  const options = LINK.map((option) => `-Wl,${option}`);
  // A reactor, which is called many times; what is not one would end the C library after each call.
  const args = [...FLAGS, '-mexec-model=reactor', ...options, '-o', file, ...objects];
  execFileSync('clang', args, { stdio: 'inherit' });
  return fs.readFileSync(file);
}

/** The module in JavaScript. Brotli, since Node, Deno and Bun all have it, and it is a sixth smaller than gzip. */
function toScript(bytes) {
  const compressed = zlib.brotliCompressSync(bytes, {
    params: {
      [zlib.constants.BROTLI_PARAM_QUALITY]: 11,
      [zlib.constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
    },
  });
  return `'use strict';\n\n/** core.wasm, compressed by Brotli, in base64. */\nmodule.exports = '${compressed.toString('base64')}';\n`;
}

/** Write both files to `folder`. */
function writeWasm(bytes, folder) {
  fs.mkdirSync(folder, { recursive: true });
  fs.writeFileSync(path.join(folder, 'core.wasm'), bytes);
  fs.writeFileSync(path.join(folder, 'core.js'), toScript(bytes));
}

module.exports = { buildWasm, obstacle, sourcesOf, toScript, writeWasm };
