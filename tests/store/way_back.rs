//! The way back: what 0021 of the documents adds is taken out and comes again, and a Console leaves the gate.

use store::schema::migrations::MigrationTerms;

use crate::adoption::{consoles, consoles_database};
use crate::database::{Database, repository};
use crate::seed;

/// The catalog's description of a schema's tables and functions, without the schemas' names. `IS` picks tables by name.
const CATALOG: [&str; 5] = [
    "SELECT format('%s column %s: %s %s %s %s', c.relname,
                   row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum), a.attname,
                   format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid))
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
       JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
       LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
      WHERE n.nspname IN ('console_gate', 'public') AND c.relkind = 'r'",
    "SELECT format('%s constraint %s: %s', c.relname, con.conname, pg_get_constraintdef(con.oid))
       FROM pg_constraint con JOIN pg_class c ON c.oid = con.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname IN ('console_gate', 'public') AND con.contype <> 'n'",
    "SELECT format('%s index: %s', c.relname, pg_get_indexdef(i.indexrelid))
       FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname IN ('console_gate', 'public')",
    "SELECT format('%s trigger: %s %s', c.relname, t.tgenabled, pg_get_triggerdef(t.oid))
       FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname IN ('console_gate', 'public') AND NOT t.tgisinternal",
    "SELECT format('function: %s %s', pg_get_functiondef(p.oid),
                   (SELECT bool_or(x.grantee = 0) FROM aclexplode(p.proacl) x))
       FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
      WHERE n.nspname IN ('console_gate', 'public')",
];

async fn catalog(database: &Database) -> Vec<String> {
    let mut facts = Vec::new();
    for query in CATALOG {
        facts.extend(database.texts(query).await);
    }
    for fact in &mut facts {
        *fact = fact.replace("console_gate.", "").replace("public.", "");
        // Customers' events are where they were, and their functions look there.
        *fact = fact.replace("'console_gate', 'public', 'pg_temp'", "'console_gate', 'pg_temp'");
    }
    // What it does besides `gate_forget_admin` is for tables outside the gate's schema.
    facts.retain(|fact| !fact.contains("FUNCTION console_gate_forget_admin_"));
    facts.sort();
    facts
}

async fn catalog_of_sqlite(database: &Database) -> Vec<String> {
    let mut facts = database
        .texts(
            "SELECT m.name || ' column ' || c.cid || ': ' || c.name || ' ' || c.type || ' ' || c.[notnull] || ' '
                    || coalesce(c.dflt_value, '-') || ' ' || c.pk
               FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table'",
        )
        .await;
    let texts = "SELECT type || ' ' || name || ': ' || sql FROM sqlite_master
                  WHERE sql IS NOT NULL AND name <> 'gate_mapping_pin' AND name NOT LIKE '%admin%'";
    facts.extend(database.texts(texts).await);
    for fact in &mut facts {
        let plain = fact.replace(" REFERENCES admins(id) ON DELETE CASCADE", "").replace('"', "");
        let uncommented: Vec<&str> =
            plain.lines().map(|line| line.split("--").next().unwrap_or_default()).collect();
        *fact = uncommented
            .join(" ")
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .replace("IF NOT EXISTS ", "");
    }
    facts.sort();
    facts
}

/// The file that undoes 0021, as an operator runs it.
async fn down(database: &Database) -> Result<(), String> {
    let file = repository(database.migrations()).join("down/0021_rbac_v2_additions.sql");
    database.attempt(&std::fs::read_to_string(file).expect("the way back of 0021")).await
}

async fn catalog_of(database: &Database) -> Vec<String> {
    if database.is_postgres() { catalog(database).await } else { catalog_of_sqlite(database).await }
}

/// Up, down, up: what 0021 has added is gone, and comes back as it was.
async fn the_additions_go_and_come_back(database: &Database) {
    database.store.migrate_seeded().await.unwrap();
    let (before, facts) = (catalog_of(database).await, seed::stored(database).await);
    if !database.is_postgres() {
        database.store.release(MigrationTerms::default(), &|_| {}).await.unwrap();
    }
    down(database).await.unwrap();
    let tables = database.tables().await;
    for table in ["rbac_grants_audit", "rbac_ticket_grants", "rbac_break_glass_sessions"] {
        assert!(!tables.contains(&table.to_owned()), "{table}");
    }
    let gone: Vec<String> = facts.difference(&seed::stored(database).await).cloned().collect();
    assert_eq!(gone.iter().filter(|fact| fact.starts_with("role ")).count(), 4, "{gone:?}");
    assert_eq!(gone.iter().filter(|fact| fact.starts_with("group ")).count(), 1, "{gone:?}");
    // Console goes on writing meanwhile.
    database
        .execute("INSERT INTO admins (id, email) VALUES ('x', 'x@example.org'); DELETE FROM admins")
        .await;
    let report = database.store.migrate_seeded().await.unwrap();
    assert_eq!(report.applied.len(), 1, "{report:?}");
    let after = catalog_of(database).await;
    let missing: Vec<_> = before.iter().filter(|fact| !after.contains(fact)).collect();
    let more: Vec<_> = after.iter().filter(|fact| !before.contains(fact)).collect();
    assert!(missing.is_empty() && more.is_empty(), "lost: {missing:#?}\nnew: {more:#?}");
    assert_eq!(seed::stored(database).await, facts);
    assert!(database.store.pending_migrations().await.unwrap().is_empty());
}

/// The grants audit is a record: the way back does not throw it away unasked.
async fn a_grants_audit_with_rows_is_not_thrown_away(database: &Database) {
    database
        .execute(
            "INSERT INTO rbac_grants_audit (id, event_type, target_user_id, granted_by)
             VALUES ('1', 'grant', 'anna', 'ben')",
        )
        .await;
    let before = database.everything().await;
    let refusal = down(database).await.unwrap_err();
    assert!(refusal.contains("CHECK constraint") || refusal.contains("has rows"), "{refusal}");
    if database.is_postgres() {
        assert_eq!(database.everything().await, before);
    }
}

/// Out of the gate altogether: after a release and without the schema, Console's database is what it was; and in again.
#[tokio::test]
async fn a_console_that_leaves_the_gate_has_what_it_had_on_postgres() {
    let database = consoles_database().await;
    let before = consoles(&database).await;
    database.store.migrate().await.unwrap();
    database.store.release(MigrationTerms::default(), &|_| {}).await.unwrap();
    database.execute("DROP SCHEMA console_gate CASCADE").await;
    assert_eq!(consoles(&database).await, before);
    let left = "SELECT tgname::text FROM pg_trigger WHERE NOT tgisinternal
                UNION ALL SELECT proname::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
                 WHERE n.nspname = 'public'";
    assert_eq!(database.texts(left).await, Vec::<String>::new());
    let report = Database::open(&database.url).await.store.migrate().await.unwrap();
    assert_eq!(report.applied[0], "0400 baseline");
}

on_both!(a_grants_audit_with_rows_is_not_thrown_away, the_additions_go_and_come_back);
