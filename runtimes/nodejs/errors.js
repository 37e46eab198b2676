'use strict';

/*
 * Failures of a function as outcomes: code, body and log record.
 * Author code can throw anything, also objects that throw when they are looked at; nothing here throws.
 */

const { FLAG_HANDLED, FLAG_JSON } = require('./frames');

// Held from the start: author code may replace what hangs on the globals.
const stringify = JSON.stringify;
const toText = String;
const RealError = Error;
const tagOf = Object.prototype.toString;

const INDENTATION = 4;
const FIRST_FRAME = /^ {4}at /;
const LOCATION = /^(file:\/\/)?[^\s].*:\d+$/;

/** What failed, to name the prefix of the message and the inner code. */
const PHASE = {
  ENTRY: { code: 4001, prefix: 'function entry exception, error: ' },
  INVOCATION: { code: 4002, prefix: 'function invocation exception, error: ' },
  RESULT: { code: 4007, prefix: 'function result is invalid, error: ' },
  INITIALIZATION: { code: 4009, prefix: 'function initialization exception, error: ' }
};

/** The handler or initializer of the settings does not fit the code; `kind` is the `errorType` to report. */
class EntryError extends Error {
  constructor(kind, message) {
    super(message);
    this.name = kind;
    this.stack = '';
  }
}

/** Makes outcomes of errors; paths under one of `roots` are shortened to `./`. */
class ErrorReporter {
  constructor(roots) {
    this.prefixes = roots.map((root) => `file://${root}/`).concat(roots.map((root) => `${root}/`));
  }

  /** Outcome of something thrown, or of a rejected promise, with its stack. */
  thrown(value, phase) {
    const facts = this.describe(value);
    return outcome(phase, facts, facts.message, facts.frames);
  }

  /** Outcome of a module that cannot be loaded; no stack, but the place of a syntax error. */
  unloadable(value, phase) {
    const facts = this.describe(value);
    const place = facts.name === 'SyntaxError' && facts.location ? ` (${facts.location})` : '';
    return outcome(phase, facts, facts.message + place, null);
  }

  /** Outcome of an error in the shape of the settings, or of a result; no stack. */
  plain(value, phase) {
    const facts = this.describe(value);
    return outcome(phase, facts, facts.message, null);
  }

  /** Outcome of `callback(error)`, an error that was meant: errors as JSON, everything else as the text that it is. */
  calledBack(value, phase) {
    const told = isError(value) ? this.plain(value, phase) : this.told(value, phase);
    told.flags |= FLAG_HANDLED;
    return told;
  }

  told(value, phase) {
    const text = typeof value === 'object' ? objectText(value) : attempt(() => toText(value), '');
    return { code: phase.code, flags: typeof value === 'object' ? FLAG_JSON : 0, body: text, record: text };
  }

  describe(value) {
    if (!isError(value)) {
      const text = attempt(() => toText(value), '') || attempt(() => tagOf.call(value), '');
      return { name: 'UserFunctionError', message: text, head: [], frames: [], location: '' };
    }
    const stack = textOf(value, 'stack').split('\n');
    const lines = stack.map((line) => this.shorten(line));
    const start = lines.findIndex((line) => FIRST_FRAME.test(line));
    // From the first frame down to the last one in the author's files: below stands only the runtime.
    const end = lastIndex(stack, (line) => this.prefixes.some((prefix) => line.includes(prefix))) + 1;
    const location = LOCATION.test(lines[0]) ? lines[0] : '';
    // A syntax error shows the code before its first line; any other message is in the record already.
    const head = location ? lines.slice(0, start < 0 ? lines.length : start) : lines.slice(0, 1);
    return {
      name: textOf(value, 'name') || 'Error',
      message: textOf(value, 'message'),
      head,
      frames: start < 0 ? [] : lines.slice(start, end).map((line) => line.trim()),
      location
    };
  }

  shorten(line) {
    return this.prefixes.reduce((shorter, prefix) => shorter.split(prefix).join('./'), line);
  }
}

/** Outcome of a failure whose text is sent as it is. */
function textOutcome(code, text) {
  return { code, flags: 0, body: text, record: text };
}

function outcome(phase, facts, text, frames) {
  const body = { errorMessage: phase.prefix + text, errorType: facts.name };
  if (frames !== null) {
    body.stackTrace = frames;
  }
  const lines = [body.errorMessage].concat(facts.head, facts.frames.map((line) => `    ${line}`));
  return {
    code: phase.code,
    flags: FLAG_JSON,
    body: stringify(body, null, INDENTATION),
    record: lines.filter((line) => line !== '').join('\n')
  };
}

function lastIndex(lines, matches) {
  let index = lines.length - 1;
  while (index >= 0 && !matches(lines[index])) {
    index -= 1;
  }
  return index;
}

function objectText(value) {
  const message = attempt(() => toText(value.message === undefined ? '' : value.message), '');
  return attempt(() => stringify(Object.assign({}, value, { message }), null, INDENTATION), '{}');
}

function isError(value) {
  return attempt(() => value instanceof RealError || tagOf.call(value) === '[object Error]', false);
}

function textOf(value, name) {
  return attempt(() => {
    const member = value[name];
    return member === undefined || member === null ? '' : toText(member);
  }, '');
}

function attempt(action, otherwise) {
  try {
    return action();
  } catch (error) {
    return otherwise;
  }
}

module.exports = { EntryError, ErrorReporter, PHASE, textOutcome };
