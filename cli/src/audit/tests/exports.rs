//! Exported files, alone and beside checkpoints that somebody kept.

use aevir_events::{Entry, tlog::LogKey};

use super::{AuditArgs, World, assert_bad, assert_clean, checked, examine, rewrite};

#[tokio::test]
async fn a_true_log_is_clean_and_everything_is_counted() {
    let world = World::new();
    let size = world.entries.len();
    let args = AuditArgs {
        file: Some(world.export()),
        log_key: world.vkey(),
        checkpoint: Some(world.keep(size)),
        since: vec![world.keep(1), world.keep(700)],
        tiles: Some(world.publish()),
        ..AuditArgs::default()
    };
    let audit = examine(args).await.unwrap();
    assert_clean(&audit);
    assert_eq!(audit.events, size as u64);
    assert_eq!(audit.root, world.root(size).to_string());
    assert_eq!(audit.ledger.sum, "0");
    assert_eq!(checked(&audit, "legality"), size as u64);
    assert_eq!(checked(&audit, "known roots"), 4);
    assert_eq!(checked(&audit, "signatures of checkpoints"), 4);
    assert!(audit.signatures > 50);
    assert!(checked(&audit, "verdicts") > 10 && checked(&audit, "leases") > 30);
    for (what, label) in [
        ("postings", "ledger.posted"),
        ("changes of points", "points.changed"),
        ("reveals", "assignment.revealed"),
    ] {
        let of_type = |entry: &&Entry| entry.envelope().unwrap().label == label;
        let there = world.entries.iter().filter(of_type).count();
        assert!(there > 0, "{label}");
        assert_eq!(checked(&audit, what), there as u64, "{what}");
    }
    assert!(checked(&audit, "tiles of hashes") >= 6 && checked(&audit, "bundles") >= 6);
}

#[tokio::test]
async fn what_a_file_alone_cannot_show_is_said() {
    let mut world = World::new();
    // Between two commands: nothing in the file tells.
    let cut = world.first("task.created");
    world.entries.truncate(cut);
    let audit = world.audit_export().await;
    assert_clean(&audit);
    let unchecked = audit
        .not_checked
        .iter()
        .find(|n| n.what.contains("truncation"));
    assert!(unchecked.unwrap().why.contains("--since"));
}

#[tokio::test]
async fn zstandard_is_read_like_plain_text() {
    let world = World::new();
    let plain = std::fs::read(world.export()).unwrap();
    let (half, rest) = plain.split_at(plain.len() / 2);
    // Two frames, the way exports are written.
    let frames = [half, rest].map(|part| zstd::encode_all(part, 3).unwrap());
    let file = world.path("log.ndjson.zst");
    std::fs::write(&file, frames.concat()).unwrap();
    let args = AuditArgs {
        file: Some(file.clone()),
        ..AuditArgs::default()
    };
    let audit = examine(args.clone()).await.unwrap();
    assert_clean(&audit);
    assert_eq!(audit.events, world.entries.len() as u64);
    rewrite(&file, |mut bytes| {
        bytes.truncate(bytes.len() - 9);
        bytes
    });
    let audit = examine(args).await.unwrap();
    assert!(
        audit
            .first_bad
            .unwrap()
            .reason
            .contains("can't be read from here on")
    );
}

#[tokio::test]
async fn a_changed_payload_is_found_by_what_it_says() {
    let mut world = World::new();
    let at = world.first("account.opened");
    world.change(at, |entry| entry["data"]["name"] = "mallory ".into());
    assert_bad(&world.audit_export().await, at, "the rules refuse");
}

/// Nothing in the log contradicts another name; only the tree does.
#[tokio::test]
async fn a_changed_payload_that_no_rule_contradicts_is_found_by_the_root() {
    let mut world = World::new();
    let size = world.entries.len();
    let checkpoint = world.keep(size);
    let at = world.first("account.opened");
    world.change(at, |entry| entry["data"]["name"] = "mallory".into());
    assert_clean(&world.audit_export().await);
    let tiles = {
        let honest = World::new();
        let folder = honest.publish();
        std::fs::rename(folder, world.path("published")).unwrap();
        world.path("published")
    };
    let args = AuditArgs {
        file: Some(world.export()),
        log_key: world.vkey(),
        checkpoint: Some(checkpoint),
        ..AuditArgs::default()
    };
    let audit = examine(args.clone()).await.unwrap();
    assert_bad(&audit, None, "the signed checkpoint says");
    // With the tiles, the very position.
    let audit = examine(AuditArgs {
        tiles: Some(tiles),
        ..args
    })
    .await
    .unwrap();
    assert_bad(&audit, at, "has another");
}

#[tokio::test]
async fn bytes_that_are_not_canonical_are_found() {
    let world = World::new();
    let file = world.export();
    rewrite(&file, |bytes| {
        let text = String::from_utf8(bytes).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines[5] = lines[5].replacen("\"data\":{", "\"data\":{ ", 1);
        (lines.join("\n") + "\n").into_bytes()
    });
    let args = AuditArgs {
        file: Some(file),
        ..AuditArgs::default()
    };
    assert_bad(&examine(args).await.unwrap(), 5, "canonical");
}

#[tokio::test]
async fn swapped_entries_are_found() {
    let mut world = World::new();
    world.entries.swap(40, 41);
    // The one that should stand here completes a command.
    assert_bad(&world.audit_export().await, 40, "");
    world.renumber();
    let audit = world.audit_export().await;
    assert!(!audit.clean && audit.first_bad.unwrap().position >= Some(40));
}

#[tokio::test]
async fn a_deleted_entry_is_found_even_when_all_is_numbered_anew() {
    let mut world = World::new();
    let at = world.first("ledger.posted");
    world.entries.remove(at);
    assert_bad(&world.audit_export().await, at, "says position");
    world.renumber();
    // The deposit is gone: the first task that needs the money is what can't be.
    let audit = world.audit_export().await;
    assert!(!audit.clean);
    assert!(audit.first_bad.unwrap().position >= Some(at as u64));
}

#[tokio::test]
async fn an_inserted_entry_is_found() {
    let mut world = World::new();
    let at = world.first("points.changed");
    let copy = world.entries[at].clone();
    world.entries.insert(at, copy);
    world.renumber();
    world.change(at + 1, |entry| entry["cause"] = "another command".into());
    let audit = world.audit_export().await;
    assert!(audit.first_bad.unwrap().position <= Some(at as u64 + 1));
    // At the end, as a command of its own.
    let mut world = World::new();
    let (from, end) = (world.first("points.changed"), world.entries.len());
    let copy = world.entries[from].clone();
    world.entries.push(copy);
    world.renumber();
    let time = world.entries[end - 1].envelope().unwrap().time.to_string();
    world.change(end, |entry| {
        entry["cause"] = "another command".into();
        entry["time"] = time.into();
    });
    assert_bad(
        &world.audit_export().await,
        end,
        "nothing calls for this `points.changed`",
    );
}

#[tokio::test]
async fn a_forged_checkpoint_is_refused() {
    let world = World::new();
    let size = world.entries.len();
    let file = world.export();
    let args = |checkpoint| AuditArgs {
        file: Some(file.clone()),
        log_key: world.vkey(),
        checkpoint: Some(checkpoint),
        ..AuditArgs::default()
    };
    let kept = world.keep(size);
    // Its text.
    rewrite(&kept, |note| {
        let text = String::from_utf8(note).unwrap();
        text.replacen(&format!("\n{size}\n"), &format!("\n{}\n", size - 1), 1)
            .into_bytes()
    });
    let error = format!("{:#}", examine(args(kept.clone())).await.unwrap_err());
    assert!(error.contains("not signed by the log's key"), "{error}");
    // Its signature.
    std::fs::write(&kept, world.sign(&world.key, size)).unwrap();
    rewrite(&kept, |mut note| {
        let at = note.len() - 10;
        note[at] = if note[at] == b'A' { b'B' } else { b'A' };
        note
    });
    let error = format!("{:#}", examine(args(kept)).await.unwrap_err());
    assert!(error.contains("kept."), "{error}");
}

#[tokio::test]
async fn a_swapped_key_is_refused() {
    let world = World::new();
    let size = world.entries.len();
    let other = LogKey::generate(super::ORIGIN, [8; 32]).unwrap();
    let file = world.path("swapped");
    std::fs::write(&file, world.sign(&other, size)).unwrap();
    let args = AuditArgs {
        file: Some(world.export()),
        log_key: world.vkey(),
        checkpoint: Some(file),
        ..AuditArgs::default()
    };
    let error = format!("{:#}", examine(args).await.unwrap_err());
    assert!(error.contains("not signed by the log's key"), "{error}");
}

/// The end is gone, and the checkpoint beside it was replaced by one of the shorter log: only an earlier one tells.
#[tokio::test]
async fn truncation_and_a_restored_backup_show_against_a_kept_checkpoint() {
    let mut world = World::new();
    let kept = world.keep(world.entries.len());
    let cut = world.first("task.created");
    world.entries.truncate(cut);
    let shorter = world.keep(cut);
    let args = AuditArgs {
        file: Some(world.export()),
        log_key: world.vkey(),
        checkpoint: Some(shorter),
        ..AuditArgs::default()
    };
    assert_clean(&examine(args.clone()).await.unwrap());
    let audit = examine(AuditArgs {
        since: vec![kept],
        ..args
    })
    .await
    .unwrap();
    assert_bad(&audit, cut, "a backup was restored");
}

#[tokio::test]
async fn a_cut_within_a_command_shows_by_itself() {
    let mut world = World::new();
    // A verdict is never without its settlement.
    let cut = world.first("task.verified") + 1;
    world.entries.truncate(cut);
    assert_bad(&world.audit_export().await, cut, "which the log lacks");
    // Within a line.
    let file = world.export();
    rewrite(&file, |mut bytes| {
        bytes.truncate(bytes.len() - 20);
        bytes
    });
    let args = AuditArgs {
        file: Some(file),
        ..AuditArgs::default()
    };
    assert_bad(
        &examine(args).await.unwrap(),
        cut - 1,
        "ends within this line",
    );
}

/// Two histories, each consistent and signed, from one prefix.
#[tokio::test]
async fn a_fork_shows_against_a_checkpoint_of_the_other_history() {
    let mut world = World::new();
    let branch = world.first("task.created");
    let kept = [world.keep(branch), world.keep(branch + 1)];
    // The other history: one more account, and then it ends.
    world.entries.truncate(branch);
    let opened = world.first("account.opened");
    for entry in [opened, opened + 1] {
        let copy = world.entries[entry].clone();
        world.entries.push(copy);
    }
    world.renumber();
    let new = "01HF7YAT00ZZZZZZZZZZZZZZZZ";
    let old = world.entries[opened].envelope().unwrap().data["account"]
        .as_str()
        .unwrap()
        .to_owned();
    let time = world.entries[branch - 1]
        .envelope()
        .unwrap()
        .time
        .to_string();
    for position in [branch, branch + 1] {
        world.change(position, |entry| {
            *entry = serde_json::from_str(&entry.to_string().replace(&old, new)).unwrap();
            entry["cause"] = "fork".into();
            entry["revision"] = (position - branch).to_string().into();
            entry["time"] = time.clone().into();
        });
    }
    world.change(branch + 1, |entry| {
        entry["data"]["key"] = "01HF7YAT01ZZZZZZZZZZZZZZZZ".into();
        entry["data"]["hash"] = "ab".repeat(32).into();
    });
    let fork = world.keep(branch + 2);
    let args = AuditArgs {
        file: Some(world.export()),
        log_key: world.vkey(),
        checkpoint: Some(fork),
        since: vec![kept[0].clone()],
        ..AuditArgs::default()
    };
    // Consistent by itself, and with what both have in common.
    assert_clean(&examine(args.clone()).await.unwrap());
    let audit = examine(AuditArgs {
        since: vec![kept[1].clone()],
        ..args
    })
    .await
    .unwrap();
    // As many entries as there were then, and other ones.
    assert_bad(&audit, None, "the earlier checkpoint");
}

#[tokio::test]
async fn a_line_of_another_log_is_found() {
    let world = World::new();
    let file = world.export();
    rewrite(&file, |bytes| {
        let text = String::from_utf8(bytes).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines[9] = lines[9].replace(super::ORIGIN, "example.org/other");
        (lines.join("\n") + "\n").into_bytes()
    });
    let args = AuditArgs {
        file: Some(file),
        ..AuditArgs::default()
    };
    assert_bad(&examine(args).await.unwrap(), 9, "example.org/other");
}

#[tokio::test]
async fn a_key_without_anything_signed_is_an_error_unless_that_is_wanted() {
    let world = World::new();
    let mut args = AuditArgs {
        file: Some(world.export()),
        log_key: world.vkey(),
        ..AuditArgs::default()
    };
    let error = examine(args.clone()).await.unwrap_err().to_string();
    assert!(error.contains("--allow-unsigned"), "{error}");
    args.allow_unsigned = true;
    assert_clean(&examine(args).await.unwrap());
}

#[tokio::test]
async fn entries_after_the_newest_checkpoint_are_said_to_be_unsigned() {
    let world = World::new();
    let size = world.entries.len();
    let audit = examine(AuditArgs {
        file: Some(world.export()),
        log_key: world.vkey(),
        checkpoint: Some(world.keep(size - 7)),
        ..AuditArgs::default()
    })
    .await
    .unwrap();
    assert_clean(&audit);
    let unsigned = audit
        .not_checked
        .iter()
        .find(|u| u.what.starts_with("signatures over"));
    let why = &unsigned.unwrap().why;
    assert!(why.starts_with("7 entries"), "{why}");
}

/// What is shown as of a moment rests on the whole log being true.
#[tokio::test]
async fn a_change_after_or_before_the_moment_shown_is_found() {
    for changed in [0, 1_400] {
        let mut world = World::new();
        let kept = world.keep(world.entries.len());
        let position = world.entries[changed..]
            .iter()
            .position(|e| e.envelope().unwrap().label == "account.opened")
            .map_or_else(|| world.first("account.opened"), |found| found + changed);
        world.change(position, |entry| entry["data"]["name"] = "mallory".into());
        let audit = examine(AuditArgs {
            file: Some(world.export()),
            log_key: world.vkey(),
            checkpoint: Some(kept),
            at: Some("600".into()),
            ..AuditArgs::default()
        })
        .await
        .unwrap();
        assert_bad(&audit, None, "the signed checkpoint says");
    }
}
