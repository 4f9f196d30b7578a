//! The verbs of money, as a person would type them, over a run on a real node.

use serde_json::{Value, json};

use crate::{nodes_under_load::explained, platform::TestPlatform};

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

/// A content with a price, a list and a contributor, used by a run on a real node; the audit and the independent script explain it.
#[tokio::test(flavor = "multi_thread")]
async fn a_content_is_sold_to_those_on_its_list() {
    let mut platform = TestPlatform::start().await;
    let _node = platform.node(&[]).await;
    let account = |name: &str| aevir_wire::OpenAccount {
        name: name.into(),
        scopes: None,
    };
    let seller = platform.admin.open_account(&account("seller")).await;
    let author = platform.admin.open_account(&account("author")).await;
    let (seller, author) = (seller.unwrap(), author.unwrap());
    let buyer = parsed(
        &platform
            .aevir(&["account", "show", "--output", "json"])
            .unwrap(),
    );
    let buyer = buyer["account"].as_str().unwrap();
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../examples/data/digits.csv.gz"
    );
    let (half, other) = (
        format!("{}=1", seller.account),
        format!("{}=1", author.account),
    );
    let add = ["content", "add", file, "--name", "set", "--version", "1"];
    let terms = ["--licence", "CC-BY-4.0", "--price", "6000"];
    let who = ["--contributor", &half, "--contributor", &other];
    let add = [&add[..], &terms, &who, &["--access", &author.account]].concat();
    let add = [&add[..], &["--output", "json"]].concat();
    let content = parsed(&platform.aevir_with(&seller.key, &add).unwrap());
    let id = content["id"].as_str().unwrap();
    let hidden = platform.aevir(&["content", "show", id]).unwrap_err();
    assert!(hidden.contains("there is no content"), "{hidden}");
    let listed = ["content", "terms", id, "--access", buyer];
    platform.aevir_with(&seller.key, &listed).unwrap();
    let shown = platform.aevir(&["content", "show", id]).unwrap();
    assert!(shown.contains("0.006 AEV a use"), "{shown}");
    // A copy of it is nobody else's to sell.
    let copy = [&add[..7], &["--licence", "MIT"]].concat();
    let copy = platform.aevir_with(&author.key, &copy).unwrap_err();
    assert!(copy.contains("registered before by another"), "{copy}");

    let data = json!({"data": [{"name": "set", "from": {"content": {"id": id}}}]});
    let task = platform.echo(json!({"message": "hello"}), data).await;
    let task = platform.ended(&task.id).await;
    assert_eq!(task.state, "settled", "{task:#?}");
    let shown = platform.aevir(&["task", "show", &task.id]).unwrap();
    assert!(shown.contains(&format!("{id} for 0.006")), "{shown}");
    for earner in [&seller, &author] {
        let show = ["account", "show", "--output", "json"];
        let shown = parsed(&platform.aevir_with(&earner.key, &show).unwrap());
        let has: i64 = shown["available"].as_str().unwrap().parse().unwrap();
        assert!(has >= 3_000, "half of the price, and of the pool: {shown}");
    }
    explained(&platform).await;
}
