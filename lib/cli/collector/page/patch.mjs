/* global document, ResizeObserver */

/**
 * Updates in place: what is shown becomes like what was made anew, so that focus, selection, scroll positions and
 * opened parts stay.
 *
 * Elements are the same if they have the same `data-key`, or else the same name at the same place. Listeners live in
 * `handlers` (see dom.mjs), and are taken over.
 */

const keyOf = (node) => node.dataset?.key;

/** Make the children of an element like `wanted`, a list of nodes. */
export function patch(parent, wanted) {
  const keyed = new Map();
  for (const node of parent.childNodes) {
    if (keyOf(node) !== undefined) {
      keyed.set(keyOf(node), node);
    }
  }
  let next = parent.firstChild;
  for (const node of wanted) {
    const known = keyOf(node) === undefined ? sameAt(next, node) : keyed.get(keyOf(node));
    if (known == null) {
      parent.insertBefore(node, next);
      continue;
    }
    keyed.delete(keyOf(node));
    if (known === next) {
      next = next.nextSibling;
    } else {
      parent.insertBefore(known, next);
    }
    become(known, node);
  }
  while (next !== null) {
    const { nextSibling } = next;
    next.remove();
    next = nextSibling;
  }
}

/** The node at a place, if it can become like another one. */
const sameAt = (node, like) =>
  node !== null && keyOf(node) === undefined && node.nodeName === like.nodeName ? node : null;

function become(node, like) {
  if (node.nodeType !== 1) {
    if (node.data !== like.data) {
      node.data = like.data;
    }
    return;
  }
  const isDetails = node.nodeName === 'DETAILS';
  for (const { name } of [...node.attributes]) {
    if (!like.hasAttribute(name) && !(isDetails && name === 'open')) {
      node.removeAttribute(name);
    }
  }
  for (const { name, value } of like.attributes) {
    if (node.getAttribute(name) === value) {
      continue;
    }
    if (name === 'style') {
      node.style.cssText = value; // the policy of the page forbids the attribute, and not this
    } else {
      node.setAttribute(name, value);
    }
  }
  node.handlers = like.handlers;
  if (like.draw !== undefined) {
    node.draw = like.draw;
    redraw(node);
  } else if (isDetails && node.open && like.childNodes.length < node.childNodes.length) {
    become(node.firstChild, like.firstChild); // the rest was added when it was opened
  } else {
    const { value } = like;
    patch(node, [...like.childNodes]);
    if (node.nodeName === 'SELECT' && node.value !== value) {
      node.value = value;
    }
  }
}

function redraw(element) {
  const width = element.clientWidth;
  if (width > 0) {
    patch(element, [element.draw(width)]);
  }
}

const observer = new ResizeObserver((entries) => entries.forEach(({ target }) => redraw(target)));

/** An element that is drawn for its width, and again when that changes. */
export function drawn(className, draw) {
  const element = document.createElement('div');
  element.className = className;
  element.draw = draw;
  observer.observe(element);
  return element;
}
