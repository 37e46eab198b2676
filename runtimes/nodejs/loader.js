'use strict';

/*
 * From the handler string to the author's module and its exports.
 * Start with load. A file is loaded as Node itself would: .mjs, or .js under "type": "module", as an ES module.
 */

const fs = require('fs');
const path = require('path');
const url = require('url');
const { EntryError } = require('./errors');

// Held from the start: author code may replace what hangs on the globals and on fs.
const parse = JSON.parse;
const exists = fs.existsSync;
const readFile = fs.readFileSync;

const EXTENSIONS = ['.js', '.mjs', '.cjs'];

/**
 * Loads the module of `handler` (`[dir/]file.export`).
 *
 * Calls `onLoaded` with what `require` or `import` gave, or `onFailed` with what was thrown; one of them, once.
 * An ES module is loaded later, any other before this returns.
 */
function load(codeRoot, handler, onLoaded, onFailed) {
  const base = path.join(codeRoot, split(handler).file);
  const extension = EXTENSIONS.find((candidate) => exists(base + candidate));
  if (extension === undefined) {
    onFailed(new EntryError('FunctionLoadError', `not found module '${moduleName(handler)}'`));
    return;
  }
  const file = base + extension;
  let loaded;
  try {
    if (extension === '.mjs' || (extension === '.js' && isModulePackage(path.dirname(file)))) {
      // In a file of its own, because old Node.js cannot parse `import()`.
      require('./esm').load(url.pathToFileURL(file).href).then(onLoaded, onFailed);
      return;
    }
    loaded = require(file);
  } catch (error) {
    onFailed(error);
    return;
  }
  onLoaded(loaded);
}

/**
 * Returns the named export of a loaded module.
 *
 * Throws EntryError when there is no such function; `role` and `handler` stand in its message.
 */
function findExport(loaded, name, role, handler) {
  const found = loaded === null || loaded === undefined ? undefined : loaded[name];
  if (typeof found !== 'function') {
    throw new EntryError('FunctionConfigError', `${role} '${name}' not found in module '${moduleName(handler)}'`);
  }
  return found;
}

/** Returns the two parts of a handler string, cut at its last dot. */
function split(handler) {
  const dot = handler.lastIndexOf('.');
  return dot < 0 ? { file: handler, name: '' } : { file: handler.slice(0, dot), name: handler.slice(dot + 1) };
}

// The engine names the file so in its messages, whatever the extension is.
function moduleName(handler) {
  return `./${split(handler).file}.js`;
}

// The nearest package.json decides, as in Node.
function isModulePackage(folder) {
  const file = path.join(folder, 'package.json');
  if (exists(file)) {
    try {
      return parse(readFile(file, 'utf8')).type === 'module';
    } catch (error) {
      // `require` reports a broken package.json better than we could.
      return false;
    }
  }
  const parent = path.dirname(folder);
  return parent !== folder && isModulePackage(parent);
}

module.exports = { findExport, load, split };
