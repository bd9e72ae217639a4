/**
 * 128 bits of a value that is JSON, as 32 hexadecimal digits. Not keyed and not secret: they tell exposures apart. A
 * browser's own digests are asynchronous, and there on secure pages only.
 */
export function hash(value) {
  const text = JSON.stringify(value);
  return mix(text, 0) + mix(text, 0x9e3779b9);
}

/** cyrb53, with all of its 64 bits: two lanes of multiplications, each finished as in MurmurHash3. */
function mix(text, seed) {
  let a = 0xdeadbeef ^ seed;
  let b = 0x41c6ce57 ^ seed;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    a = Math.imul(a ^ unit, 2654435761);
    b = Math.imul(b ^ unit, 1597334677);
  }
  const finish = (x, y) =>
    Math.imul(x ^ (x >>> 16), 2246822507) ^ Math.imul(y ^ (y >>> 13), 3266489909);
  a = finish(a, b);
  b = finish(b, a);
  return [a, b].map((lane) => (lane >>> 0).toString(16).padStart(8, '0')).join('');
}
