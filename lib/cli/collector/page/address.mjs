/* global document, history, location */

/** The address of the page, which holds all that is chosen: `#/users/a%2Fb?x=1`. */

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The address as {name, rest: 'a/b', parameters}. */
export function readAddress() {
  const [path, query] = location.hash.replace(/^#\/?/, '').split('?');
  const [name, rest] = path.split('/');
  return { name, rest: rest && decode(rest), parameters: new URLSearchParams(query) };
}

/**
 * Say in the address what is chosen; empty values are left out. What a user chose is a new entry of the history, so
 * that the way back leads to what was before; what follows by itself is not.
 */
export function writeAddress(path, values, isChosen = false) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    [value]
      .flat()
      .filter((item) => item !== '' && item != null)
      .forEach((item) => query.append(name, item));
  }
  const hash = `#/${path}${query.size > 0 ? `?${query}` : ''}`;
  if (hash !== location.hash) {
    history[isChosen ? 'pushState' : 'replaceState'](null, document.title, hash);
  }
}
