// Knex asks for "better-sqlite3" by name, and compiling that takes longer than all
// of the tests that want it. libsql has the same interface and comes compiled.
module.exports = require('libsql');
