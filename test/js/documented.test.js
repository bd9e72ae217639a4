'use strict';

/** The options are the same everywhere: where they are checked, in the declarations, and on the page that lists them. */

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');

const { resolveOptions } = require('../../lib/options.js');
const { filesBelow } = require('../support/util/files.js');

const ROOT = path.join(__dirname, '..', '..');
/** What resolveOptions() adds to the options. */
const DERIVED = ['isAmplitude', 'maxBodyBytes', 'serverName', 'throttleMillis', 'warnings'];

const read = (file) => fs.readFileSync(path.join(ROOT, file), 'utf8');

const resolved = resolveOptions({ apiKey: 'a-key' }, {});
const checked = Object.keys(resolved).filter((name) => !DERIVED.includes(name));

/** The members of an interface of index.d.ts. */
function declared(declarations, name) {
  const [, body] = new RegExp(`^export interface ${name}\\b[^{]*\\{\\n(.*?)^\\}`, 'ms').exec(
    declarations,
  );
  return [...body.matchAll(/^ {2}(\w+)\??:/gm)].map(([, member]) => member);
}

/** The names in the first column of the table of options, whichever page has it. */
function listed(page) {
  const [table] = /^\| `apiKey` .*\n(?:\|.*\n)*/m.exec(page);
  return table
    .trimEnd()
    .split('\n')
    .flatMap((row) => [...row.split('|')[1].matchAll(/`(\w+)`/g)].map(([, name]) => name));
}

const pages = ['README.md', 'docs/options.md'].filter(
  (file) => fs.existsSync(path.join(ROOT, file)) && read(file).includes('\n| `apiKey` '),
);

const sorted = (names) => [...names].sort();

test('the declarations have the options that are checked, and no other', () => {
  const declarations = read('lib/index.d.ts');
  assert.deepEqual(sorted(declared(declarations, 'DispatcherOptions')), sorted(checked));
  assert.deepEqual(
    sorted(declared(read('lib/store.d.ts'), 'DedupeOptions')),
    sorted(Object.keys(resolved.dedupe)),
  );
});

test('one page lists the options that are checked, and no other', () => {
  assert.equal(pages.length, 1, `the pages with a table of options: ${pages}`);
  assert.deepEqual(sorted(listed(read(pages[0]))), sorted(checked));
  for (const name of Object.keys(resolved.dedupe)) {
    assert.ok(read(pages[0]).includes(name), name);
  }
});

test('the declarations, and one table, have every code of an error', () => {
  const codesIn = (text) => sorted(new Set(text.match(/\bERR_OA_[A-Z_]+/g)));
  const sources = [
    ...filesBelow(path.join(ROOT, 'lib'), '.js').map((name) => `lib/${name}`),
    ...['.c', '.cc'].flatMap((ending) =>
      filesBelow(path.join(ROOT, 'src'), ending).map((name) => `src/${name}`),
    ),
  ];
  const thrown = codesIn(sources.map(read).join('\n'));
  assert.ok(thrown.length >= 6);
  const [, type] = /^export type ErrorCode =\n(.*?);$/ms.exec(read('lib/index.d.ts'));
  assert.deepEqual(codesIn(type), thrown);
  const [, table] = /^## Errors\n(.*)/ms.exec(read('docs/options.md'));
  const listedCodes = [...table.matchAll(/^\| `(\w+)` \|/gm)].map(([, code]) => code);
  assert.deepEqual(sorted(listedCodes.filter((code) => code !== 'code')), thrown);
});

test('an option that is missing, or has no effect, would be found', () => {
  const declarations =
    'export interface Some<T> {\n  /** a: b */\n  one: string;\n  two?: {\n    three: 1;\n  };\n}\n';
  assert.deepEqual(declared(declarations, 'Some'), ['one', 'two']);
  assert.deepEqual(
    listed(
      '# Options\n\n| option |\n| --- |\n| `apiKey` | `x` |\n| `proxy`, `noProxy` | |\n\n| `other` |\n',
    ),
    ['apiKey', 'proxy', 'noProxy'],
  );
});
