BEGIN TRANSACTION;
CREATE TABLE admin_code (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        code_sha256 BLOB NOT NULL,
        salt BLOB NOT NULL,
        replaced BLOB NOT NULL            -- scrypt of the configured code that it replaces
    );
INSERT INTO "admin_code" VALUES(1,X'0000000000000000000000000000000000000000000000000000000000000000',X'00000000000000000000000000000000',X'00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000');
CREATE TABLE asked (
        plugin_id TEXT PRIMARY KEY,
        token TEXT NOT NULL
    ) WITHOUT ROWID;
INSERT INTO "asked" VALUES('worker','4f2c-7');
CREATE TABLE disabled (
        plugin_id TEXT PRIMARY KEY,
        by TEXT NOT NULL,
        at REAL NOT NULL
    ) WITHOUT ROWID;
INSERT INTO "disabled" VALUES('old','admin',1764000002.0);
CREATE TABLE identity (
        name TEXT PRIMARY KEY,
        role TEXT NOT NULL,
        plugins TEXT NOT NULL,            -- JSON: patterns
        token_sha256 BLOB NOT NULL UNIQUE,
        created_at REAL NOT NULL,
        created_by TEXT NOT NULL,
        expires_at REAL
    ) WITHOUT ROWID;
INSERT INTO "identity" VALUES('ops','operator','["web-*"]',X'0000000000000000000000000000000000000000000000000000000000000000',1764000003.0,'admin',NULL);
CREATE TABLE intent (
        plugin_id TEXT PRIMARY KEY,
        wanted TEXT NOT NULL,
        by TEXT NOT NULL,
        at REAL NOT NULL
    ) WITHOUT ROWID;
INSERT INTO "intent" VALUES('web','stopped','ops',1764000000.5);
INSERT INTO "intent" VALUES('worker','running','supervisorctl',1764000001.0);
CREATE TABLE journal (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        sequence INTEGER NOT NULL,        -- another whenever the entry is added or changed
        at REAL NOT NULL,
        until REAL NOT NULL,
        times INTEGER NOT NULL DEFAULT 1,
        kind TEXT NOT NULL,
        plugin_id TEXT NOT NULL,
        facts BLOB NOT NULL               -- JSON
    );
INSERT INTO "journal" VALUES(7,9,1764000004.0,1764000005.0,2,'state','web','{"state":"RUNNING"}');
CREATE TABLE journal_pruned (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        sequence INTEGER NOT NULL
    );
INSERT INTO "journal_pruned" VALUES(1,3);
CREATE TABLE kept_state (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        rows BLOB NOT NULL                -- JSON
    );
CREATE TABLE operation (
        id TEXT PRIMARY KEY,
        begun_at REAL NOT NULL,
        state TEXT NOT NULL,
        body BLOB NOT NULL                -- JSON
    ) WITHOUT ROWID;
CREATE TABLE outbox (
        id TEXT NOT NULL,                 -- the header webhook-id
        url TEXT NOT NULL,                -- its SHA-256: it may hold a password
        kind TEXT NOT NULL,
        plugin_id TEXT NOT NULL,
        body BLOB NOT NULL,
        created_at REAL NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        next_at REAL NOT NULL,
        PRIMARY KEY (id, url)
    ) WITHOUT ROWID;
INSERT INTO "outbox" VALUES('msg_1','https://example.com/','plugin.error','web','{}',1764000006.0,1,1764000016.0);
CREATE TABLE troubled (
        plugin_id TEXT PRIMARY KEY
    ) WITHOUT ROWID;
INSERT INTO "troubled" VALUES('web');
CREATE UNIQUE INDEX journal_by_sequence ON journal (sequence);
CREATE INDEX journal_by_kind ON journal (kind, at);
CREATE INDEX journal_by_plugin ON journal (plugin_id, kind, at);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('journal',7);
COMMIT;
PRAGMA user_version = 3;
