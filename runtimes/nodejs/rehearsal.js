'use strict';

/* The function that a stem loads and calls before it knows its own: it does what functions do. */

/** Answers with the event as JSON, or fails if its member `fail` is true. */
exports.handler = (event, context) => {
  context.getLogger().info('request %s of %s', context.getRequestID(), context.getUserData('name'), event);
  if (event.fail) {
    return Promise.reject(new TypeError(JSON.stringify(event)));
  }
  return Promise.resolve({
    statusCode: 200,
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ event, left: context.getRemainingTimeInMilliSeconds(), at: new Date().toISOString() })
  });
};

/** Answers through the callback. */
exports.callback = (event, context, callback) => {
  process.nextTick(callback, null, event);
};
