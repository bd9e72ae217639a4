'use strict';

/**
 * What the command line prints passes here: answers of servers, URLs, ids and datafiles come from anywhere, and may
 * contain a key, or codes that control a terminal. `shown(text, secrets)` removes both.
 */

/** A shorter text is not a real key, and may be part of any word. */
const MIN_SECRET_LENGTH = 8;

/** Control characters, and those that change the direction of text or are invisible. */
const UNPRINTABLE =
  // eslint-disable-next-line no-control-regex
  /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]+/g;

/**
 * In order: the credentials of a URL, its query and fragment, an authorization, and what is called a key or a token.
 */
const SECRETS = [
  [/(\b[a-z][a-z\d+.-]*:\/\/)[^\s/?#@"']*@/gi, '$1'],
  [/((?:\b[a-z][a-z\d+.-]*:\/\/|(?<=\s|^)\/)[^\s?#"']*)[?#][^\s"'<>]*/gi, '$1?…'],
  [/\b(basic|bearer)\s+[\w+/=.~-]{6,}/gi, '$1 …'],
  // Words that follow are none: a key has a digit, or is long.
  [
    /((?:api|secret|access|auth)[\s_-]?(?:key|token)["']?\s*[:=]\s*["']?)(?=[^\s"',;&}]*\d|[^\s"',;&}]{16})[^\s"',;&}]+/gi,
    '$1…',
  ],
];

/** Text without control characters. */
const printable = (text) => String(text).replace(UNPRINTABLE, ' ');

/**
 * Text without what is secret: `secrets` are [[secret or undefined, what is shown instead]], and URLs lose their query.
 */
function redact(text, secrets = []) {
  const known = secrets
    .filter(([secret]) => secret?.length >= MIN_SECRET_LENGTH)
    .reduce((shownText, [secret, name]) => shownText.replaceAll(secret, name), String(text));
  return SECRETS.reduce(
    (shownText, [pattern, instead]) => shownText.replace(pattern, instead),
    known,
  );
}

/** Text that may be printed. */
const shown = (text, secrets) => printable(redact(printable(text), secrets));

module.exports = { printable, redact, shown };
