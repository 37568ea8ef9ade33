// Knex asks for "better-sqlite3" by name, and compiling that takes longer than all
// of the tests that want it. libsql has the same interface and comes compiled; only
// it does not wait for a lock of another process unless it is told to.
const Database = require('libsql');

const LOCK_TIMEOUT_MS = 5000;

module.exports = class extends Database {
  constructor(file, options) {
    super(file, { timeout: LOCK_TIMEOUT_MS, ...options });
  }
};
