'use strict';

const assert = require('node:assert/strict');
const { it } = require('node:test');

const { isExempt } = require('../../lib/no-proxy.js');

/** By a list: URLs that it contains, and URLs that it does not. */
const LISTS = {
  '': [[], ['http://a', 'http://1.2.3.4']],
  '*': [['http://a', 'https://1.2.3.4:5', 'http://[::1]'], []],
  ' , x , * ': [['http://a'], []],
  'example.com': [
    [
      'http://example.com',
      'https://example.com:8443',
      'http://a.b.example.com',
      'http://EXAMPLE.com.',
    ],
    ['http://anexample.com', 'http://example.com.au', 'http://com'],
  ],
  '.Example.com.': [['http://example.com', 'http://a.example.com'], ['http://anexample.com']],
  '*.example.com': [
    ['http://a.example.com', 'http://a.b.example.com'],
    [
      'http://example.com',
      'http://anexample.com',
      'http://a.exampleXcom',
      'http://a.example.com.au',
    ],
  ],
  'api*.example.com': [
    ['http://api2.example.com'],
    ['http://api2.example.com.au', 'http://xapi.example.com'],
  ],
  '127.*': [
    ['http://127.0.0.1', 'http://127.8.9.10:99'],
    ['http://128.0.0.1', 'http://27.0.0.1'],
  ],
  '10.*.0.1': [['http://10.99.0.1'], ['http://10.99.0.11', 'http://1.10.9.0.1.test']],
  'example.com:8080': [
    ['http://example.com:8080', 'https://a.example.com:8080'],
    ['http://example.com', 'https://example.com', 'http://example.com:80'],
  ],
  'example.com:80, example.com:443': [
    ['http://example.com', 'https://example.com', 'https://example.com:80'],
    ['https://example.com:8443'],
  ],
  '*:8080': [['http://a:8080', 'http://[::1]:8080'], ['http://a']],
  '127.*:8080': [['http://127.0.0.1:8080'], ['http://127.0.0.1:80']],
  '10.0.0.0/8 192.0.2.7': [
    ['http://10.1.2.3', 'http://192.0.2.7:99', 'http://0300.0.2.7'],
    ['http://11.1.2.3', 'http://192.0.2.77', 'http://x.192.0.2.7.test', 'http://[::a00:1]'],
  ],
  '10.0.0.0/8:443': [['https://10.1.2.3'], ['http://10.1.2.3']],
  '::1, [2001:db8::1], [2001:db8::2]:443': [
    ['http://[0:0:0:0:0:0:0:1]:8080', 'http://[2001:db8::1]', 'https://[2001:db8::2]'],
    ['http://[2001:db8::2]', 'http://[::2]'],
  ],
  'fe80::/10': [['http://[fe80::1234]'], ['http://[fd00::1]', 'http://0.0.0.1']],
  '10.0.0.0/33, 10.0.0.0/x, 10.0.0.0/-1, 1.2.3, fe80::/129, :80, ., [, ]:1, http://a': [
    [],
    ['http://10.0.0.0', 'http://1.2.3.4', 'http://[fe80::]', 'http://a'],
  ],
};

for (const [list, [inside, outside]] of Object.entries(LISTS)) {
  it(JSON.stringify(list), () => {
    for (const url of inside) {
      assert.equal(isExempt(list, new URL(url)), true, url);
    }
    for (const url of outside) {
      assert.equal(isExempt(list, new URL(url)), false, url);
    }
  });
}
