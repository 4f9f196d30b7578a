//! A database that somebody wrote into.

use aevir_events::{Entry, Hash, LogRows, merkle::Frontier, tlog::LogKey};
use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};
use tokio::runtime::Handle;

use super::{AuditArgs, ORIGIN, World, assert_bad, assert_clean, checked, examine};
use crate::audit::source::{Database, RowQueue};

/// Audits a database after these statements.
async fn tampered(world: &World, statements: &[String]) -> super::Audit {
    let file = world.database().await;
    let pool = SqlitePool::connect_with(SqliteConnectOptions::new().filename(&file))
        .await
        .unwrap();
    for statement in statements {
        sqlx::query(sqlx::AssertSqlSafe(statement.clone()))
            .execute(&pool)
            .await
            .unwrap();
    }
    pool.close().await;
    let database = Some(file.to_str().unwrap().to_owned());
    examine(AuditArgs {
        database,
        ..AuditArgs::default()
    })
    .await
    .unwrap()
}

fn hex(bytes: &[u8]) -> String {
    format!("x'{}'", ::hex::encode(bytes))
}

fn update(set: &str, position: usize) -> String {
    format!("UPDATE events SET {set} WHERE position = {position}")
}

#[tokio::test]
async fn an_untouched_database_is_clean_and_its_columns_are_compared() {
    let world = World::new();
    let audit = tampered(&world, &[]).await;
    assert_clean(&audit);
    assert_eq!(
        checked(&audit, "rows of the database"),
        world.entries.len() as u64
    );
    assert_eq!(checked(&audit, "known roots"), 2);
}

#[tokio::test]
async fn a_head_that_is_none_is_reported_and_the_entries_are_read_all_the_same() {
    for (statement, why) in [
        (
            "UPDATE log_head SET frontier = x'00'",
            "log_head is damaged",
        ),
        ("UPDATE log_head SET size = -1", "log_head is damaged"),
        ("DELETE FROM log_head", "no row in log_head"),
        (
            "INSERT INTO checkpoints VALUES (3, x'00', 'note', 0)",
            "table of checkpoints is damaged",
        ),
    ] {
        let world = World::new();
        let audit = tampered(&world, &[statement.to_owned()]).await;
        let bad = audit.first_bad.as_ref().unwrap();
        assert_eq!(bad.position, None, "{statement}");
        assert!(bad.reason.contains(why), "{statement}: {}", bad.reason);
        assert_eq!(audit.events, world.entries.len() as u64, "{statement}");
    }
    // What is wrong with an entry has a position, and comes first.
    let torn = "DELETE FROM log_head".to_owned();
    let audit = tampered(&World::new(), &[torn, update("leaf = zeroblob(32)", 5)]).await;
    assert_bad(&audit, 5, "does not match its stored leaf");
}

#[tokio::test]
async fn a_changed_entry_does_not_match_its_leaf() {
    let mut world = World::new();
    let at = world.first("account.opened");
    world.change(at, |entry| entry["data"]["name"] = "mallory".into());
    let set = format!("entry = {}", hex(&world.entries[at].0));
    let audit = tampered(&world, &[update(&set, at)]).await;
    assert_bad(&audit, at, "does not match its stored leaf");
}

/// Leaf, root and frontier are made to fit: only a checkpoint tells.
#[tokio::test]
async fn a_changed_entry_with_everything_recomputed_shows_against_a_checkpoint() {
    let mut world = World::new();
    let kept = world.keep(world.entries.len());
    let at = world.first("account.opened");
    world.change(at, |entry| entry["data"]["name"] = "mallory".into());
    let mut frontier = Frontier::default();
    world
        .entries
        .iter()
        .for_each(|entry| frontier.push(entry.leaf()));
    let entry = &world.entries[at];
    let statements = [
        update(
            &format!("entry = {}, leaf = {}", hex(&entry.0), hex(&entry.leaf().0)),
            at,
        ),
        format!(
            "UPDATE log_head SET root = {}, frontier = {}",
            hex(&frontier.root().0),
            hex(&frontier.to_bytes())
        ),
    ];
    assert_clean(&tampered(&world, &statements).await);
    let args = AuditArgs {
        database: Some(world.path("log.sqlite").to_str().unwrap().to_owned()),
        log_key: world.vkey(),
        checkpoint: Some(kept),
        ..AuditArgs::default()
    };
    assert_bad(
        &examine(args).await.unwrap(),
        None,
        "the signed checkpoint says",
    );
}

#[tokio::test]
async fn every_column_beside_the_entry_is_compared() {
    let world = World::new();
    let at = world.first("points.changed");
    let time: i64 = world.entries[at].envelope().unwrap().time.0;
    for (set, words) in [
        ("leaf = zeroblob(32)".to_owned(), "stored leaf"),
        (
            "stream = (SELECT id FROM streams WHERE name = 'policy'), revision = 77".into(),
            "column `stream`",
        ),
        ("revision = 900000".into(), "column `revision`"),
        ("id = zeroblob(16)".into(), "column `id`"),
        (
            "type = (SELECT id FROM event_types WHERE name = 'policy.adopted')".into(),
            "column `type`",
        ),
        ("schema = 2".into(), "column `schema`"),
        (format!("time = {}", time + 1), "column `time`"),
        ("stream = -5".into(), "names nothing"),
    ] {
        let world = World::new();
        let audit = tampered(&world, &[update(&set, at)]).await;
        let finding = audit.first_bad.unwrap();
        assert!(finding.reason.contains(words), "{set}: {finding}");
        assert_eq!(finding.position, Some(at as u64), "{set}: {finding}");
    }
}

#[tokio::test]
async fn rows_that_are_missing_or_too_many_are_found() {
    let world = World::new();
    // A command of its own: within a longer one the rules miss it first.
    let alone = world.first("assignment.progressed");
    let gap = format!("DELETE FROM events WHERE position = {alone}");
    assert_bad(&tampered(&world, &[gap]).await, alone, "missing");
    let world = World::new();
    let size = world.entries.len();
    let end = format!("DELETE FROM events WHERE position >= {}", size - 3);
    assert_bad(
        &tampered(&world, &[end]).await,
        size - 3,
        "which the log lacks",
    );
    let world = World::new();
    let head = format!(
        "UPDATE log_head SET size = {}, frontier = {}",
        size - 1,
        hex(&frontier_of(&world.entries[..size - 1]).to_bytes())
    );
    assert_bad(&tampered(&world, &[head]).await, None, "log_head");
}

/// The same change of everything, and the checkpoints that the platform signed are still in their table.
#[tokio::test]
async fn a_rewritten_or_cut_database_shows_against_its_own_checkpoints() {
    let world = World::new();
    let size = world.entries.len();
    let record = |root: Hash, note: &str| {
        let (root, note) = (hex(&root.0), note.replace('\'', "''"));
        format!(
            "INSERT INTO checkpoints (size, root, note, time) VALUES ({size}, {root}, '{note}', 0)"
        )
    };
    let (root, note) = (world.root(size), world.sign(&world.key, size));
    let kept = frontier_of(&world.entries[..size - 40]);
    let cut = [
        record(root, &note),
        format!("DELETE FROM events WHERE position >= {}", size - 40),
        format!(
            "UPDATE log_head SET size = {}, root = {}, frontier = {}",
            kept.size(),
            hex(&kept.root().0),
            hex(&kept.to_bytes())
        ),
    ];
    let other = LogKey::generate(ORIGIN, [8; 32]).unwrap();
    let wrong = [
        (record(Hash([1; 32]), &note), "its note says"),
        (record(root, &world.sign(&other, size)), "is bad"),
    ];
    tampered(&world, &cut).await;
    let args = |world: &World| AuditArgs {
        database: Some(world.path("log.sqlite").to_str().unwrap().to_owned()),
        log_key: world.vkey(),
        ..AuditArgs::default()
    };
    let audit = examine(args(&world)).await.unwrap();
    assert!(!audit.clean);
    let untouched = World::new();
    tampered(&untouched, &[record(root, &note)]).await;
    let audit = examine(args(&untouched)).await.unwrap();
    assert_clean(&audit);
    assert_eq!(checked(&audit, "signatures of checkpoints"), 1);
    for (statement, words) in wrong {
        let world = World::new();
        tampered(&world, &[statement]).await;
        assert_bad(&examine(args(&world)).await.unwrap(), None, words);
    }
}

#[tokio::test]
async fn a_log_that_grows_while_it_is_audited_is_not_damaged() {
    let world = World::new();
    let file = world.database().await;
    let log = LogRows::open(file.to_str().unwrap()).await.unwrap();
    let size = world.entries.len() as u64;
    let read = move |head: u64| {
        let database = Database {
            log: log.clone(),
            size: head,
            next: 0,
            queue: RowQueue::default(),
            runtime: Handle::current(),
            ended: false,
        };
        tokio::task::spawn_blocking(move || database.collect::<Vec<_>>())
    };
    // As if three entries had come since the head was read.
    let chunks = read(size - 3).await.unwrap();
    let entries: usize = chunks.iter().map(|c| c.as_ref().map_or(0, Vec::len)).sum();
    assert!(chunks.iter().all(Result::is_ok));
    assert_eq!(entries as u64, size - 3);
}

fn frontier_of(entries: &[Entry]) -> Frontier {
    let mut frontier = Frontier::default();
    entries.iter().for_each(|entry| frontier.push(entry.leaf()));
    frontier
}
