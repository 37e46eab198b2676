'use strict';

/* Loading of ES modules; apart from the loader because `import()` is a syntax error in old Node.js. */

/** Returns a promise of the namespace of the module at `href`. */
exports.load = (href) => import(href);
