'use strict';

/*
 * One function in one process: loads it, initialises it, calls it.
 * Each method takes a frame and hands one outcome to `done`.
 */

const { EMPTY, KIND, call } = require('./calls');
const { EntryError, PHASE, textOutcome } = require('./errors');
const { findExport, load, split } = require('./loader');

// Held from the start: author code may replace what hangs on the globals.
const parse = JSON.parse;

/** Which declared parameter counts the language version takes, and whether it knows promises. */
function handlerRules(catalogueName) {
  const major = Number((/\d+/.exec(catalogueName) || ['8'])[0]);
  return major < 8
    ? { counts: [3], text: '3', promises: false }
    : { counts: [2, 3], text: '2 or 3', promises: true };
}

/** The function of this process. `settings` has codeRoot, handler, initializer and rules. */
class Instance {
  constructor(settings, reporter, makeContext) {
    this.settings = settings;
    this.reporter = reporter;
    this.makeContext = makeContext;
    this.loaded = undefined;
    this.isLoaded = false;
    this.loadError = new EntryError('FunctionLoadError', 'the function is not loaded');
  }

  /** Loads the module and checks that it has the handler. */
  load(frame, done) {
    const onLoaded = (loaded) => {
      this.loaded = loaded;
      this.isLoaded = true;
      done(this.attempt(PHASE.ENTRY, () => {
        this.findHandler();
        return EMPTY;
      }));
    };
    const onFailed = (error) => {
      this.loadError = error;
      done(this.reporter.unloadable(error, PHASE.ENTRY));
    };
    load(this.settings.codeRoot, this.settings.handler, onLoaded, onFailed);
  }

  /** Runs the initializer; a name that is not `file.export` is no initializer. */
  initialize(frame, done) {
    const parts = this.settings.initializer.split('.');
    if (parts.length !== 2 || parts.indexOf('') >= 0) {
      done(EMPTY);
      return;
    }
    this.start(PHASE.INITIALIZATION, done, () => {
      const entry = findExport(this.loaded, parts[1], 'initializer', this.settings.handler);
      checkCount(entry, 'initializer', [2], '2', 'FunctionConfigError');
      call(this.target(entry, true), [this.makeContext(frame)], KIND.INITIALIZER, this.reporter, done);
    });
  }

  /** Runs the pre-stop handler; a name that is not `file.export` is none. */
  preStop(frame, done) {
    const parts = this.settings.preStop.split('.');
    if (parts.length !== 2 || parts.indexOf('') >= 0) {
      done(EMPTY);
      return;
    }
    this.start(PHASE.ENTRY, done, () => {
      const entry = findExport(this.loaded, parts[1], 'pre-stop handler', this.settings.handler);
      const target = Object.assign(this.target(entry, true), { returns: entry.length < 2 });
      call(target, [this.makeContext(frame)], KIND.PRE_STOP, this.reporter, done);
    });
  }

  /** Calls the handler with the event. */
  invoke(frame, done) {
    this.start(PHASE.ENTRY, done, () => {
      const { rules } = this.settings;
      const entry = this.findHandler();
      checkCount(entry, 'handler', rules.counts, rules.text, 'FunctionLoadError');
      let event;
      try {
        event = parse(frame.body.toString('utf8'));
      } catch (error) {
        done(textOutcome(PHASE.INVOCATION.code, error.message));
        return;
      }
      const values = [event, this.makeContext(frame)];
      call(this.target(entry, rules.promises), values, KIND.HANDLER, this.reporter, done);
    });
  }

  start(phase, done, action) {
    if (!this.isLoaded) {
      done(this.reporter.unloadable(this.loadError, phase));
      return;
    }
    const failure = this.attempt(phase, action);
    if (failure !== undefined) {
      done(failure);
    }
  }

  attempt(phase, action) {
    try {
      return action();
    } catch (error) {
      return this.reporter.plain(error, phase);
    }
  }

  findHandler() {
    const { handler } = this.settings;
    return findExport(this.loaded, split(handler).name, 'handler', handler);
  }

  target(entry, promises) {
    return { entry, owner: this.loaded, promises };
  }
}

function checkCount(entry, role, counts, text, kind) {
  if (counts.indexOf(entry.length) < 0) {
    throw new EntryError(kind, `${role} expect to have ${text} parameters, but received ${entry.length}`);
  }
}

module.exports = { Instance, handlerRules };
