//! The tables of the projection `work`.

use aevir_events::projection::{Column, Table};

pub(super) const TASKS: &str = "tasks";
pub(super) const LABELS: &str = "task_labels";
pub(super) const ASSIGNMENTS: &str = "assignments";
pub(super) const NODES: &str = "nodes";
pub(super) const RECORDS: &str = "node_records";
pub(super) const BACKOFFS: &str = "node_backoffs";
pub(super) const FADING: &str = "fading";
pub(super) const POLICIES: &str = "policies";

pub(super) const TABLES: &[Table] = &[
    Table {
        name: TASKS,
        about: "One row for each task.",
        columns: &[
            Column::text(
                "id",
                "ULID; the order of ids is the order of creation, by the millisecond.",
            ),
            Column::text("requester", "Account that pays."),
            Column::text(
                "type",
                "`training`, `inference`, `evaluation` or `data-processing`.",
            ),
            Column::text(
                "state",
                "`created`, `queued`, `running`, `verifying`, `inspecting`, `settled`, `unmet`, `overturned`, `inconclusive`, `failed`, `expired` or `cancelled`.",
            ),
            Column::text("module", "SHA-256 of the module."),
            Column::int("gpu", "1 where it uses the GPU."),
            Column::text("labels", "JSON object; `task_labels` has them as rows."),
            Column::int("policy_version", "Policy under which it was created."),
            Column::int("input_bytes", "Of all its inputs together; 0 until they are complete. Of a comparison the most that they can be."),
            Column::int("asks_for_stake", "1 where a quorum needs stake behind it, in a market that asks for any."),
            Column::int("narrowed", "1 where its requester chose by labels, speed or asks which nodes may run it, so that its quorum blames nobody in an open market."),
            Column::int("max_latency_ms", "From queued to verified, as asked for.").or_null(),
            Column::int("deadline", "When it expires, ms.").or_null(),
            Column::int("runtime_s", "The most that a run may take, s."),
            Column::int("inputs_mib", "Its inputs, each rounded up to MiB, once they are known."),
            Column::int("budget", "The most that it may cost, micro-AEV."),
            Column::int("escrow", "What was locked at creation, micro-AEV."),
            Column::int("fee", "What it cost, micro-AEV.").or_null(),
            Column::int("refund", "What came back, micro-AEV.").or_null(),
            Column::int("round", "Round of sampling, from 1."),
            Column::int("replicas_wanted", "Replicas that the round needs in all."),
            Column::int("first_round", "Replicas of the first round, where all of it runs."),
            Column::text(
                "sample",
                "`repeated`; of an adaptive sample `undecided` until its first result is sealed, and `alone` where that does.",
            ),
            Column::int(
                "replicas",
                "Assignments that may bring a result, or brought one.",
            ),
            Column::int("sealed", "Of them, those that have brought a result."),
            Column::int(
                "attempts_spent",
                "Failed, lost and overtaken assignments, and those returned beyond what is free.",
            ),
            Column::text(
                "accepted_runs",
                "JSON array: `assignments.id` of those whose results the verdict accepted.",
            ),
            Column::text(
                "blamed_by",
                "JSON array: `assignments.id` of those whose node blamed the module for its failure.",
            ),
            Column::text(
                "failed_by",
                "JSON array: `assignments.id` of those whose node failed by itself.",
            ),
            Column::text(
                "suspects",
                "JSON array of pairs: assignments from whose checkpoint another node's run failed, and its SHA-256.",
            ),
            Column::text(
                "checkpoints",
                "JSON array of pairs: assignments that saved a checkpoint, and the SHA-256 of the newest.",
            ),
            Column::text("verdict", "`passed`, `unmet` or `inconclusive`.").or_null(),
            Column::int(
                "late",
                "1 where the verdict came later than `max_latency_ms`.",
            )
            .or_null(),
            Column::text("review", "`tasks.id` of the task that looks, or looked, at its verdict again.").or_null(),
            Column::text("review_outcome", "`upheld`, `overturned`, `unconfirmed` or `undecided`.").or_null(),
            Column::text("reviews", "`tasks.id` of the task whose verdict it looks at again.").or_null(),
            Column::text("inspects", "`tasks.id` of the task whose result its verifiers look at.").or_null(),
            Column::text("detail", "Why it closed without a verdict.").or_null(),
            Column::text("model", "Content that it registered.").or_null(),
            Column::int("created_at", "ms."),
            Column::int("queued_at", "When its inputs were complete, ms.").or_null(),
            Column::int("started_at", "When its first assignment started, ms.").or_null(),
            Column::int("ended_at", "ms.").or_null(),
            Column::int(
                "matures_at",
                "When its shares become available, or became: the end of the dispute window, ms.",
            )
            .or_null(),
            Column::int("matured_at", "When its shares became available, ms.").or_null(),
        ],
        key: 1,
        indexes: &[&["requester", "id"], &["state", "id"], &["created_at"]],
    },
    Table {
        name: LABELS,
        about: "The labels of tasks.",
        columns: &[
            Column::text("task", "`tasks.id`."),
            Column::text("name", ""),
            Column::text("value", ""),
        ],
        key: 2,
        indexes: &[&["name", "value", "task"]],
    },
    Table {
        name: ASSIGNMENTS,
        about: "One row for each node's try at a task.",
        columns: &[
            Column::text("id", "ULID."),
            Column::text("task", "`tasks.id`."),
            Column::text("requester", "The task's."),
            Column::text("node", "`nodes.id`."),
            Column::text("owner", "The node's."),
            Column::int("round", ""),
            Column::text(
                "state",
                "`leased`, `running`, `committed`, `revealed`, `accepted`, `refused`, `lost`, `failed`, `returned` or `withdrawn`.",
            ),
            Column::text(
                "reason",
                "Why it was refused or lost, the class of its failure, or `counted` where it was returned and that spent an attempt.",
            )
            .or_null(),
            Column::text("message", "The message of a failure.").or_null(),
            Column::text(
                "hardware",
                "What it was leased for: `cpu`, or `gpu:` and the GPU's class.",
            ),
            Column::text(
                "doubles",
                "`assignments.id` of the run that it duplicates, because the task may be late.",
            )
            .or_null(),
            Column::text("resumed_from", "SHA-256 of the checkpoint.").or_null(),
            Column::text(
                "checkpoint_author",
                "`nodes.id` of who made that checkpoint.",
            )
            .or_null(),
            Column::text("resumed_run", "Assignment that saved it.").or_null(),
            Column::text("doubled_by", "Assignment that duplicates it.").or_null(),
            Column::text("commitment", "SHA-256 of the sealed result.").or_null(),
            Column::int("progress_ppm", "As the log has it; heartbeats know more."),
            Column::text("progress_note", ""),
            Column::int("fuel", "As it reported, once that can be read: of a sample with the verdict.").or_null(),
            Column::int("leased_at", "ms."),
            Column::int("started_at", "ms.").or_null(),
            Column::int("committed_at", "ms.").or_null(),
            Column::int("absent_ms", "Of the time from lease to commitment, for how long there was no leader, ms."),
            Column::int(
                "ended_at",
                "When it was accepted, refused, lost, failed, returned or withdrawn, ms.",
            )
            .or_null(),
        ],
        key: 1,
        indexes: &[
            &["task", "id"],
            &["node", "id"],
            &["state", "id"],
            &["owner", "id"],
            &["requester", "id"],
        ],
    },
    Table {
        name: NODES,
        about: "One row for each node.",
        columns: &[
            Column::text("id", "ULID."),
            Column::text("owner", "Account that is paid."),
            Column::text("name", ""),
            Column::text("availability", "`online` or `offline`."),
            Column::text("public_key", "Ed25519, hex."),
            Column::int("slots", "Runs at once."),
            Column::text("gpu_class", "Class that its GPU results compare within.").or_null(),
            Column::text("profile", "JSON object: what it offers."),
            Column::text("terms", "JSON object: what its operator allows."),
            Column::text(
                "standing",
                "`working`, `draining`, `leaving`, `left` or `revoked`.",
            ),
            Column::text("standing_reason", "Why it was revoked.").or_null(),
            Column::text("suspended_for", "Why it is suspended.").or_null(),
            Column::int("suspended_at", "Since when, ms.").or_null(),
            Column::int(
                "shown_mfuel_s",
                "Fuel in millions a second, as its accepted results showed.",
            ),
            Column::int("speed_samples", "Results that this was taken from."),
            Column::int(
                "shown_mflop_s",
                "Floating point operations of its GPU in millions a second, as checks showed.",
            ),
            Column::int("compute_checks", "Checks that this was taken from."),
            Column::int(
                "compute_wrong",
                "1 where the last answer was wrong and no right one came since, otherwise 0.",
            ),
            Column::int("earned", "Shares of settlements so far, micro-AEV."),
            Column::int("registered_at", "ms."),
        ],
        key: 1,
        indexes: &[&["owner", "id"], &["availability", "id"]],
    },
    Table {
        name: RECORDS,
        about: "How nodes did, by type of task and class of hardware, as of an epoch: for each that closed since then, both counts are multiplied by what `fading` says, and rounded down.",
        columns: &[
            Column::text("node", "`nodes.id`."),
            Column::text("type", "Type of task."),
            Column::text("class", "`cpu`, or `gpu:` and the GPU's class."),
            Column::int("good", "Accepted results in time, in thousandths."),
            Column::int(
                "bad",
                "Refused and late results, lost leases, failures of the node, runs returned beyond what is free, and failures that others contradicted, in thousandths.",
            ),
            Column::int("epoch", "Epochs that had closed by then."),
        ],
        key: 3,
        indexes: &[],
    },
    Table {
        name: BACKOFFS,
        about: "How long nodes get no task of a type after faults.",
        columns: &[
            Column::text("node", "`nodes.id`."),
            Column::text("type", "Type of task."),
            Column::int("faults_in_a_row", "Since the last good result."),
            Column::int("backoff_until", "It gets no such task before, ms."),
        ],
        key: 2,
        indexes: &[],
    },
    Table {
        name: FADING,
        about: "One row: how nodes' outcomes fade.",
        columns: &[
            Column::int("id", "0."),
            Column::int("closed", "Epochs that have closed."),
            Column::int(
                "keep_ppm",
                "What part of a count is kept when the next one closes.",
            ),
            Column::text(
                "keeps",
                "JSON array of pairs: the first epoch that a part held for, and the part in parts per million.",
            ),
        ],
        key: 1,
        indexes: &[],
    },
    Table {
        name: POLICIES,
        about: "The market's constants, by version.",
        columns: &[
            Column::int("version", ""),
            Column::text("policy", "JSON object."),
            Column::int("adopted_at", "ms."),
        ],
        key: 1,
        indexes: &[],
    },
];
