//! A database that somebody wrote into.

use aevir_events::{Entry, merkle::Frontier};
use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};

use super::{AuditArgs, World, assert_bad, assert_clean, checked, examine};

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
        // A page that can't be read is not read up to the row.
        assert!(
            words == "names nothing" || finding.position == Some(at as u64),
            "{set}: {finding}"
        );
    }
}

#[tokio::test]
async fn rows_that_are_missing_or_too_many_are_found() {
    let world = World::new();
    let gap = "DELETE FROM events WHERE position = 50".to_owned();
    assert_bad(&tampered(&world, &[gap]).await, 50, "missing");
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

fn frontier_of(entries: &[Entry]) -> Frontier {
    let mut frontier = Frontier::default();
    entries.iter().for_each(|entry| frontier.push(entry.leaf()));
    frontier
}
