//! The verbs of money, as a person would type them, over a run on a real node.

use serde_json::{Value, json};

use crate::platform::TestPlatform;

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| panic!("no JSON: {text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn money_is_staked_earned_stated_and_taken_out() {
    let mut platform = TestPlatform::start().await;
    let node = platform.node(&[]).await;
    let operator = std::fs::read_to_string(platform.folder().join("admin.key")).unwrap();
    let operator = operator.trim();
    let owner = platform
        .admin
        .open_account(&aevir_wire::OpenAccount {
            name: "second owner".into(),
            scopes: None,
        })
        .await
        .unwrap();
    let deposit = ["account", "deposit", &owner.account, "9000000"];
    let deposit = [&deposit[..], &["--reference", "wire 1"]].concat();
    platform.aevir_with(operator, &deposit).unwrap();
    // The node is another account's.
    let foreign = platform.aevir_with(&owner.key, &["node", "stake", &node.id, "1"]);
    assert!(foreign.unwrap_err().contains("there is no such node"));

    let task = platform.echo(json!({"message": "hello"}), json!({})).await;
    let task = platform.ended(&task.id).await;
    assert_eq!(task.state, "settled");
    let shown = platform.aevir(&["task", "show", &task.id]).unwrap();
    assert!(shown.contains("matured"), "{shown}");

    let statement = ["account", "statement", "--output", "json"];
    let statement = parsed(&platform.aevir(&statement).unwrap());
    let reasons: Vec<&str> = statement["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["reason"].as_str().unwrap())
        .collect();
    assert_eq!(reasons, ["deposit", "escrow", "settlement"]);
    let csv = platform.aevir(&["account", "statement", "--csv"]).unwrap();
    assert_eq!(csv.lines().count(), 1 + 1 + 3 + 1, "{csv}");
    assert!(csv.contains(&task.id), "{csv}");

    // The node is the operator's own.
    let board = ["points", "leaderboard", "--track", "compute"];
    let board = platform.aevir_with(operator, &board).unwrap();
    assert!(board.contains("COMPUTE"), "{board}");
    let explain = ["points", "explain", "--output", "json"];
    let explain = parsed(&platform.aevir_with(operator, &explain).unwrap());
    assert!(explain["changes"].is_array(), "{explain}");
    let epochs = platform.aevir(&["points", "epochs"]).unwrap();
    assert!(epochs.contains("KEPT PPM"), "{epochs}");
    // No epoch has closed yet.
    let claim = platform.aevir_with(operator, &["points", "claim"]);
    assert!(claim.unwrap_err().contains("no open reward pool"));

    let withdraw = ["account", "withdraw", "60", "--to", "on file"];
    let withdraw = [&withdraw[..], &["--output", "json"]].concat();
    let asked = parsed(&platform.aevir_with(&owner.key, &withdraw).unwrap());
    let id = asked["id"].as_str().unwrap();
    let pay = ["account", "pay-withdrawal", &owner.account, id];
    let pay = [&pay[..], &["--reference", "payout 1"]].concat();
    assert!(platform.aevir_with(&owner.key, &pay).is_err());
    platform.aevir_with(operator, &pay).unwrap();
    let list = ["account", "withdrawals", "--state", "paid"];
    let listed = platform.aevir_with(operator, &list).unwrap();
    assert!(
        listed.contains(id) && listed.contains("payout 1"),
        "{listed}"
    );
    let again = [
        "account",
        "refuse-withdrawal",
        &owner.account,
        id,
        "--reason",
        "late",
    ];
    let again = platform.aevir_with(operator, &again).unwrap_err();
    assert!(again.contains("no open withdrawal"), "{again}");
}
