//! A server that is killed at any moment loses nothing that it acknowledged.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aevir_wire::TaskFilter;
use serde_json::{Value, json};

use crate::platform::{TestPlatform, echo_definition};

/// Callers that submit at once.
const CALLERS: usize = 16;
/// Times that the server is killed.
const KILLS: u32 = 3;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_after_a_crash() {
    let mut platform = TestPlatform::start().await;
    let module = platform.push_echo().await;
    let acknowledged: Arc<Mutex<BTreeMap<String, String>>> = Arc::default();
    for round in 0..KILLS {
        let stop = Arc::new(AtomicBool::new(false));
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let definition = definition(&module);
                let client = platform.requester.clone();
                let (stop, acknowledged) = (Arc::clone(&stop), Arc::clone(&acknowledged));
                tokio::spawn(async move {
                    for number in 0.. {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        let key = format!("{round}-{caller}-{number}");
                        match client.submit_task(&definition, Some(&key)).await {
                            Ok(task) => acknowledged.lock().unwrap().insert(key, task.id),
                            Err(_) => return,
                        };
                    }
                })
            })
            .collect();
        let before = acknowledged.lock().unwrap().len();
        while acknowledged.lock().unwrap().len() < before + 100 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        platform.kill_server();
        stop.store(true, Ordering::Relaxed);
        for caller in callers {
            caller.await.unwrap();
        }
        platform.start_server();
    }

    let acknowledged = acknowledged.lock().unwrap().clone();
    let there = all_tasks(&platform).await;
    for (key, id) in &acknowledged {
        assert!(there.contains(id), "the task {id} of {key} is gone");
    }
    // A repeat under its key answers the same task, across crashes.
    let (key, id) = acknowledged.iter().next().unwrap();
    let again = platform
        .requester
        .submit_task(&definition(&module), Some(key))
        .await
        .unwrap();
    assert_eq!(&again.id, id);
    // Nothing half-done: each task's escrow was locked once, and the log replays into the live state.
    let audit = platform
        .aevir_with(&platform.admin_key(), &["audit", "--output", "json"])
        .unwrap();
    let audit: Value = serde_json::from_str(&audit).unwrap();
    assert_eq!(audit["ledger"]["sum"], "0");
    assert_eq!(audit["live"]["equal"], true);
    let escrows = audit["ledger"]["accounts"].as_object().unwrap().keys();
    let escrows = escrows
        .filter(|account| account.ends_with("/escrow"))
        .count();
    assert_eq!(escrows, there.len());
}

fn definition(module: &str) -> Value {
    let changes =
        json!({"economics": {"budget": "10000", "pricing": {"mode": "fixed", "price": "1000"}}});
    echo_definition(module, json!({}), changes)
}

async fn all_tasks(platform: &TestPlatform) -> Vec<String> {
    let mut ids = Vec::new();
    let mut filter = TaskFilter {
        limit: Some(200),
        ..TaskFilter::default()
    };
    loop {
        let page = platform.requester.tasks(&filter).await.unwrap();
        ids.extend(page.tasks.into_iter().map(|task| task.id));
        match page.next {
            Some(next) => filter.after = Some(next),
            None => return ids,
        }
    }
}
