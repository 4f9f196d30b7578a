//! The tables of the projection `accounts`.

use aevir_events::projection::{Column, Table};

pub(super) const ACCOUNTS: &str = "accounts";
pub(super) const KEYS: &str = "keys";
pub(super) const BALANCES: &str = "balances";
pub(super) const ENTRIES: &str = "ledger_entries";
pub(super) const POINTS: &str = "points";
pub(super) const CHANGES: &str = "point_changes";
pub(super) const TRACKS: &str = "point_tracks";
pub(super) const FADED: &str = "points_faded";
pub(super) const EPOCHS: &str = "epochs";
pub(super) const CLAIMS: &str = "reward_claims";
pub(super) const NODE_OWNERS: &str = "node_owners";
pub(super) const WITHDRAWALS: &str = "withdrawals";

pub(super) const TABLES: &[Table] = &[
    Table {
        name: ACCOUNTS,
        about: "One row for each account.",
        columns: &[
            Column::text("id", "ULID."),
            Column::text("name", "For people; not unique."),
            Column::int("opened_at", "ms."),
        ],
        key: 1,
        indexes: &[],
    },
    Table {
        name: KEYS,
        about: "API keys, without their secrets.",
        columns: &[
            Column::text("id", "ULID."),
            Column::text("account", "`accounts.id`."),
            Column::text("label", ""),
            Column::text("scopes", "JSON array."),
            Column::text("node", "Node that it acts for.").or_null(),
            Column::int("revoked", "1 once it was."),
        ],
        key: 1,
        indexes: &[&["account", "id"]],
    },
    Table {
        name: BALANCES,
        about: "Balances of the ledger's accounts; together they are zero.",
        columns: &[
            Column::text(
                "account",
                "`external`, `treasury`, `account/<id>/available`, `account/<id>/pending`, `account/<id>/withdrawing`, `task/<id>/escrow`, `node/<id>/stake` or `pool/<epoch>`.",
            ),
            Column::int("amount", "micro-AEV."),
            Column::int(
                "open",
                "1 while the amount is not zero; of escrows few are.",
            ),
            Column::int("position", "Of the last entry."),
        ],
        key: 1,
        indexes: &[&["open", "account"]],
    },
    Table {
        name: ENTRIES,
        about: "Every posting; those of one position sum to zero.",
        columns: &[
            Column::int("position", "Of the event in the log."),
            Column::int("line", "Of the posting in the event, from 0."),
            Column::text("account", "`balances.account`."),
            Column::text(
                "owner",
                "Account whose money it is, a node's stake its owner's; a task's requester for its escrow is in `tasks`.",
            )
            .or_null(),
            Column::text("task", "`tasks.id`.").or_null(),
            Column::text(
                "reason",
                "`deposit`, `escrow`, `settlement`, `maturity`, `closure`, `withdrawal`, `payout`, `withdrawal-refused`, `stake`, `unstake`, `slash`, `pool`, `reward` or `pool-expired`.",
            ),
            Column::text("reference", "Of an external payment.").or_null(),
            Column::int("amount", "micro-AEV; below zero where it was taken away."),
            Column::int("balance", "Of the account after it, micro-AEV."),
            Column::text(
                "counter_accounts",
                "JSON array: the accounts on the other side; of the owner's own, where there are such.",
            ),
            Column::int("posted_at", "ms."),
        ],
        key: 2,
        indexes: &[
            &["account", "posted_at", "position", "line"],
            &["owner", "posted_at", "position", "line"],
            &["task", "position", "line"],
        ],
    },
    Table {
        name: POINTS,
        about: "IntelliPoints of accounts that ever had some, as they are: with every epoch they fade.",
        columns: &[
            Column::text("account", "`accounts.id`."),
            Column::int("compute", "Thousandths of a point."),
            Column::int("content", "Thousandths of a point."),
            Column::int("verification", "Thousandths of a point."),
            Column::int("total", "Over all tracks, thousandths of a point."),
        ],
        key: 1,
        indexes: &[
            &["total", "account"],
            &["compute", "account"],
            &["content", "account"],
            &["verification", "account"],
        ],
    },
    Table {
        name: CHANGES,
        about: "Every change of IntelliPoints, with what epochs took off before it.",
        columns: &[
            Column::int("position", "Of the event in the log."),
            Column::text("account", "`accounts.id`."),
            Column::text("track", "`compute`, `content` or `verification`."),
            Column::int("delta", "Whole points."),
            Column::text(
                "reason",
                "`result-accepted`, `content-used`, `result-refused` or `lease-lost`.",
            ),
            Column::text("task", "`tasks.id`."),
            Column::text("assignment", "`assignments.id`.").or_null(),
            Column::int("epochs", "How many closed since the last change of the account's track."),
            Column::int("faded", "What they took off it, thousandths of a point."),
            Column::int("balance", "Of the track after the change, thousandths of a point."),
            Column::int("changed_at", "ms."),
        ],
        key: 1,
        indexes: &[&["account", "position"], &["task"]],
    },
    Table {
        name: TRACKS,
        about: "An account's points on a track as its last change left them.",
        columns: &[
            Column::text("account", "`accounts.id`."),
            Column::text("track", "`compute`, `content` or `verification`."),
            Column::int("balance", "Thousandths of a point."),
            Column::int("closed", "Epochs that had closed then."),
        ],
        key: 2,
        indexes: &[],
    },
    Table {
        name: FADED,
        about: "One row: how often points have faded.",
        columns: &[
            Column::int("id", "Always 0."),
            Column::int("closed", "Epochs that have closed."),
        ],
        key: 1,
        indexes: &[],
    },
    Table {
        name: EPOCHS,
        about: "Epochs, by what part of all points each kept, and what its pool got.",
        columns: &[
            Column::int("epoch", "From 1."),
            Column::int("opened_at", "ms."),
            Column::int("closed_at", "ms.").or_null(),
            Column::int("points_keep_ppm", "What part of points was kept when it closed, parts per million.").or_null(),
            Column::int("reward", "What its pool got, micro-AEV; null where it has none.").or_null(),
            Column::int("reward_points", "All points at its end, thousandths of a point.").or_null(),
        ],
        key: 1,
        indexes: &[],
    },
    Table {
        name: CLAIMS,
        about: "What accounts took of the pools of epochs.",
        columns: &[
            Column::text("account", "`accounts.id`."),
            Column::int("epoch", "`epochs.epoch`."),
            Column::int("points", "The account's at the epoch's end, thousandths of a point."),
            Column::int("amount", "micro-AEV."),
            Column::int("position", "Of the event in the log."),
            Column::int("claimed_at", "ms."),
        ],
        key: 2,
        indexes: &[&["epoch", "account"]],
    },
    Table {
        name: NODE_OWNERS,
        about: "Whose money a node's stake is.",
        columns: &[
            Column::text("node", "`nodes.id`."),
            Column::text("owner", "`accounts.id`."),
        ],
        key: 1,
        indexes: &[&["owner", "node"]],
    },
    Table {
        name: WITHDRAWALS,
        about: "Money that accounts asked to take out.",
        columns: &[
            Column::text("id", "ULID."),
            Column::text("account", "`accounts.id`."),
            Column::int("amount", "micro-AEV."),
            Column::text("destination", "Where it is to go."),
            Column::text("state", "`open`, `paid` or `refused`."),
            Column::text("reason", "Why it was refused.").or_null(),
            Column::int("requested_at", "ms."),
            Column::int("ended_at", "When it was paid or refused, ms.").or_null(),
            Column::int(
                "position",
                "Of its last event; the posting, with a payout's reference, comes next in `ledger_entries`.",
            ),
        ],
        key: 1,
        indexes: &[&["account", "id"], &["state", "id"]],
    },
];
