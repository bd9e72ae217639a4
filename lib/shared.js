'use strict';

/**
 * State that all copies of this package share: the module may be loaded many times in a process, by jest's module
 * registry or because several versions are installed, and its listeners on `process` are still one for each event.
 *
 * A name has a version, which changes with the shape of the state: any copy may call what another has put there.
 */
function shared(name, make) {
  const key = Symbol.for(`optimizely-amplitude.${name}`);
  if (process[key] === undefined) {
    Object.defineProperty(process, key, { value: make() });
  }
  return process[key];
}

module.exports = { shared };
