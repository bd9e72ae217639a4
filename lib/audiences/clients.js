'use strict';

/** The clients whose users get attributes: those that the audiences of their datafile name, and no other. */

const { checkClient, hasAttribute, namesIn, wrapUserContexts } = require('../sdk/audiences.js');
const { projectOf } = require('../sdk/config.js');

/** Attributes of one client, chosen again when it has another datafile. */
class Attachment {
  #client;
  #membership;
  #onProject;
  #project = null;
  #view;

  constructor(client, membership, onProject) {
    this.#client = client;
    this.#membership = membership;
    this.#onProject = onProject;
    this.#view = membership.view(null);
  }

  /** Add them to the attributes of a user; those that the application gives come first. */
  add(userId, attributes) {
    const project = projectOf(this.#client) ?? null; // of a client that hides it, nothing is known
    if (project !== this.#project) {
      this.#project = project;
      this.#view = this.#membership.view(project === null ? null : namesIn(project));
      if (project !== null) {
        this.#onProject(project, this.#view.names);
      }
    }
    return this.#membership.add(userId, attributes, this.#view);
  }
}

class Clients {
  #membership;
  #attributes;
  #log;
  #detachers = new WeakMap(); // client -> detach
  #isClosed = false;

  constructor(membership, attributes, log) {
    this.#membership = membership;
    this.#attributes = attributes;
    this.#log = log;
  }

  attach(client) {
    checkClient(client);
    const known = this.#detachers.get(client);
    if (known !== undefined) {
      return known;
    }
    const attachment = new Attachment(client, this.#membership, (project, names) =>
      this.#warnOfUnused(project, names),
    );
    const restore = wrapUserContexts(
      client,
      (userId, attributes) => {
        if (this.#isClosed) {
          detach();
          return attributes;
        }
        return attachment.add(userId, attributes);
      },
      (reason) => this.#log.warn('attributes', `attributes are not added to a user: ${reason}`),
    );
    const detach = () => {
      if (this.#detachers.get(client) === detach) {
        this.#detachers.delete(client);
        restore();
      }
    };
    this.#detachers.set(client, detach);
    return detach;
  }

  /** Add nothing any more. Clients are not held here, so each gets its own function back at its next call. */
  close() {
    this.#isClosed = true;
  }

  #warnOfUnused(project, names) {
    for (const attribute of this.#attributes) {
      if (!names.has(attribute)) {
        const reason = hasAttribute(project, attribute)
          ? 'no audience uses it'
          : 'it has no such attribute';
        this.#log.warn(
          `unused ${attribute}`,
          `attribute '${attribute}' is not added to the users of an Optimizely client: in its datafile ${reason}`,
        );
      }
    }
  }
}

module.exports = { Clients };
