'use strict';

/* The server's side of the contract for the tests: frames, and the runtime as a child process. */

const fs = require('fs');
const os = require('os');
const path = require('path');
const { spawn } = require('child_process');
const { once } = require('events');

const ID = Buffer.from('00112233445566778899aabbccddeeff', 'hex');
const BOOTSTRAP = path.join(__dirname, '..', 'bootstrap.js');

/** Returns the bytes of one frame. */
function makeFrame(type, body = '', meta = null, timeoutMs = 0) {
  const metaBytes = Buffer.from(meta ? JSON.stringify(meta) : '');
  const head = Buffer.alloc(32);
  head.writeUInt32BE(28 + metaBytes.length + Buffer.byteLength(body), 0);
  head[4] = type;
  ID.copy(head, 8);
  head.writeUInt32BE(timeoutMs, 24);
  head.writeUInt32BE(metaBytes.length, 28);
  return Buffer.concat([head, metaBytes, Buffer.from(body)]);
}

/** A runtime that runs `source` as index.js; standard output and error are sockets, not one pipe. */
class Peer {
  constructor(source, catalogueName, environment = {}) {
    this.root = fs.mkdtempSync(path.join(os.tmpdir(), 'nodejs-runtime-'));
    fs.writeFileSync(path.join(this.root, 'index.js'), source);
    this.child = spawn(process.execPath, [BOOTSTRAP, catalogueName], {
      env: { RUNTIME_CODE_ROOT: this.root, RUNTIME_HANDLER: 'index.handler', ...environment },
      stdio: ['ignore', 'pipe', 'pipe', 'pipe']
    });
    this.socket = this.child.stdio[3];
    this.output = ['', ''];
    [this.child.stdout, this.child.stderr].forEach((stream, index) => {
      stream.setEncoding('utf8').on('data', (text) => { this.output[index] += text; });
    });
  }

  /** Sends one frame and returns code and body of the next answer. */
  async ask(type, body) {
    this.socket.write(makeFrame(type, body));
    const head = await this.read(32);
    const answer = await this.read(head.readUInt32BE(0) - 28);
    return { type: head[4], code: head.readUInt16BE(6), body: answer.toString() };
  }

  async read(bytes) {
    if (bytes === 0) {
      return Buffer.alloc(0);
    }
    for (;;) {
      const found = this.socket.read(bytes);
      if (found !== null) {
        return found;
      }
      await once(this.socket, 'readable');
    }
  }

  /** Closes the connection and returns the exit status. */
  async close() {
    const closed = once(this.child, 'close');
    this.socket.destroy();
    const [status] = await closed;
    fs.rmSync(this.root, { recursive: true });
    return status;
  }
}

module.exports = { ID, Peer, makeFrame };
