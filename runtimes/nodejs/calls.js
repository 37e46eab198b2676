'use strict';

/*
 * Calls a handler or an initializer and waits for its first answer: callback, promise or exception.
 * Start with call. Outcomes have code, flags, body (text) and, for failures, the record for the log.
 */

const { PHASE, textOutcome } = require('./errors');
const { FLAG_JSON } = require('./frames');

// Held from the start: author code may replace what hangs on the globals.
const stringify = JSON.stringify;
const toText = String;
const RealPromise = Promise;
const byteLength = Buffer.byteLength;
const apply = Reflect.apply;
const isFinite = Number.isFinite;

const BODY_BYTES_MAX = 6291456;
const EMPTY = { code: 0, flags: 0, body: '' };

/** How an entry point fails and answers: phases of exception and callback error, form of the result. */
const KIND = {
  HANDLER: { thrown: PHASE.INVOCATION, calledBack: PHASE.ENTRY, hasResult: true },
  INITIALIZER: { thrown: PHASE.INITIALIZATION, calledBack: PHASE.INITIALIZATION, hasResult: false },
  PRE_STOP: { thrown: PHASE.INVOCATION, calledBack: PHASE.INVOCATION, hasResult: false }
};

/**
 * Calls `target.entry` with the values and a callback, and `done(outcome)` once, at the first answer.
 * With `target.returns` it takes no callback: its return is the answer, unless that is a promise.
 *
 * `done` is never called when the function neither calls back nor returns a promise; the server ends such a call.
 */
function call(target, values, kind, reporter, done) {
  let settled = false;
  const settle = (makeOutcome) => {
    if (!settled) {
      settled = true;
      done(limited(makeOutcome()));
    }
  };
  const resolve = (value) => settle(() => (kind.hasResult ? serialise(value, reporter) : EMPTY));
  const reject = (error) => settle(() => reporter.thrown(error, kind.thrown));

  // An absent error counts as one: callback() fails, callback(null) succeeds.
  const callback = (error = missingArguments(), data) => {
    if (error) {
      settle(() => reporter.calledBack(error, kind.calledBack));
    } else {
      resolve(data);
    }
  };

  try {
    // `this` is the module, so that a handler reaches its sibling exports.
    const returned = apply(target.entry, target.owner, values.concat(callback));
    if (target.promises && isPromise(returned)) {
      returned.then(resolve, reject);
    } else if (target.returns) {
      resolve(returned);
    }
  } catch (error) {
    reject(error);
  }
}

function missingArguments() {
  return { message: 'callback was called without arguments; call callback(null, result) or callback(error)' };
}

// Also an instance of what the author put in the place of Promise.
function isPromise(value) {
  return value instanceof RealPromise || (typeof Promise === 'function' && value instanceof Promise);
}

function serialise(value, reporter) {
  if (value === undefined) {
    return EMPTY;
  }
  try {
    if (typeof value !== 'object') {
      const flags = isFinite(value) || typeof value === 'boolean' ? FLAG_JSON : 0;
      return { code: 0, flags, body: toText(value) };
    }
    const body = stringify(value);
    return body === undefined ? EMPTY : { code: 0, flags: FLAG_JSON, body };
  } catch (error) {
    return reporter.plain(error, PHASE.RESULT);
  }
}

function limited(outcome) {
  const bodyBytes = byteLength(outcome.body);
  if (bodyBytes <= BODY_BYTES_MAX) {
    return outcome;
  }
  return textOutcome(4004, `response body size ${bodyBytes} exceeds the limit of ${BODY_BYTES_MAX}`);
}

module.exports = { EMPTY, KIND, call };
