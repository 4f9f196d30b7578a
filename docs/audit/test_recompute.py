"""Tests of recompute.py: good logs pass, and each way to cheat is found where it happened.

    python3 -m unittest discover docs/audit

The logs are written here by hand, amounts included: they are the worked examples of docs/economics.md.
"""

import contextlib
import copy
import hashlib
import hmac
import io
import json
import os
import struct
import tempfile
import unittest
from datetime import datetime, timedelta

import recompute

START = datetime(2026, 1, 1)
CHECK_M = {"method": "check", "bounds": [{"metric": "m", "at_least": "0.9", "at_most": "1"}]}
POLICY = {
    "market": "open", "content_share_ppm": 100_000, "platform_share_ppm": 50_000, "attempt_fee": "1000", "lease_ms": 15_000,
    "accept_ms": 30_000, "reveal_ms": 30_000, "offline_ms": 45_000, "backoff_ms": 5_000, "backoff_max_ms": 600_000,
    "points": {"per_aev_of_platform_share": 1_000, "content_ppm": 200_000, "refused_min": "50", "refused_ppm": 500_000, "lost": "2"},
}


def ulid(number):
    """An id that is easy to tell from the others."""
    return f"01HF{number:022d}"


def encode(value):
    """Canonical JSON for what these logs hold: ASCII keys, no fractions."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(tag, value):
    """SHA-256 of a tag line and canonical JSON."""
    return hashlib.sha256(tag + encode(value)).hexdigest()


def key_pair(seed):
    """Ed25519 as RFC 8032, 5.1.5, has it: (scalar, prefix, public key)."""
    expanded = hashlib.sha512(seed).digest()
    scalar = int.from_bytes(expanded[:32], "little") & (2**254 - 8) | 2**254
    return scalar, expanded[32:], recompute.point_encode(recompute.two_products(scalar, recompute.BASE, 0, recompute.BASE))


def sign(seed, message):
    """An Ed25519 signature (RFC 8032, 5.1.6)."""
    scalar, prefix, public = key_pair(seed)
    r = int.from_bytes(hashlib.sha512(prefix + message).digest(), "little") % recompute.ORDER
    point = recompute.point_encode(recompute.two_products(r, recompute.BASE, 0, recompute.BASE))
    k = int.from_bytes(hashlib.sha512(point + public + message).digest(), "little") % recompute.ORDER
    return point + ((r + k * scalar) % recompute.ORDER).to_bytes(32, "little")


def report(task, assignment, node, result="a", metrics=()):
    """What a node reveals."""
    blob = {"digest": hashlib.sha256(result.encode()).hexdigest(), "size": str(len(result))}
    usage = {name: "0" for name in ("wall_ms", "peak_memory_bytes", "gpu_dispatches", "gpu_workgroups", "gpu_bytes_in",
                                    "gpu_bytes_out", "gpu_time_ns")}
    return {"task": task, "assignment": assignment, "node": node, "outputs": [blob | {"name": "out"}], "result": blob,
            "metrics": [{"name": name, "step": "0", "value": value} for name, value in metrics],
            "usage": usage | {"fuel": "1000"}, "class": "cpu", "salt": "00" * 32}


class Log:
    """Writes entries as the documents say. Nothing here computes an amount: the tests name them."""

    REQUESTER, TREASURY = ulid(1), "treasury"

    def __init__(self, market="open", window_s=0, **sections):
        self.entries = []
        self.seconds = 0
        self.decision = 0
        self.revisions = {}
        self.nodes = {}  # node -> (owner, seed)
        self.reports = {}
        self.window_s = window_s
        settlement = {"settlement": {"window_ms": window_s * 1_000}} if window_s else {}
        self.decide("policy.adopted", {"version": 1, "policy": POLICY | {"market": market} | settlement | sections})
        self.deposit("1000000000", "wire 1")

    # ---- entries

    def decide(self, kind, data):
        """The first entry of a batch."""
        self.decision += 1
        self.follow(kind, data)

    def follow(self, kind, data):
        """One more entry of the batch."""
        stream = recompute.stream_of(kind, data)
        self.entries.append({
            "position": str(len(self.entries)), "id": ulid(10**9 + len(self.entries)), "stream": stream,
            "revision": str(self.revisions.get(stream, 0)), "type": kind, "schema": 1,
            "time": (START + timedelta(seconds=self.seconds)).isoformat(timespec="milliseconds") + "Z",
            "actor": "system", "cause": f"command {self.decision}", "data": data})
        self.revisions[stream] = self.revisions.get(stream, 0) + 1

    def post(self, reason, task, moved):
        """A posting that follows from a decision."""
        self.follow("ledger.posted", {"reason": reason, "task": task, "postings": postings(moved)})

    def points(self, account, track, delta, reason, task, assignment=None):
        """A change of points that follows from a decision."""
        data = {"account": account, "track": track, "delta": delta, "reason": reason, "task": task}
        self.follow("points.changed", data | ({"assignment": assignment} if assignment else {}))

    # ---- people and things

    def deposit(self, amount, reference):
        """Money from outside for the requester."""
        moved = {"external": "-" + amount, f"account/{self.REQUESTER}/available": amount}
        self.decide("ledger.posted", {"reason": "deposit", "reference": reference, "postings": postings(moved)})

    def node(self, node, owner, slots=4):
        """A node with a key of its own."""
        seed = hashlib.sha256(node.encode()).digest()
        self.nodes[node] = owner, seed
        profile = {"name": "n", "cpu_cores": 8, "memory_mib": 1, "storage_mib": 1, "slots": slots, "runtime": "det/1"}
        self.decide("node.registered", {"node": node, "owner": owner, "token_hash": "00" * 32,
                                        "public_key": key_pair(seed)[2].hex(), "profile": profile})
        self.decide("node.availability_changed", {"node": node, "availability": "online"})

    def away(self, node):
        """A node that gave a run back, or lost one, is offline."""
        self.follow("node.availability_changed", {"node": node, "availability": "offline"})

    def rotate(self, node, word, signed_by=None):
        """A node's key signs the next, made from a word."""
        owner, seed = self.nodes[node]
        following = hashlib.sha256(word.encode()).digest()
        public = key_pair(following)[2]
        api_key = hashlib.sha256(b"the API key of " + following).digest()
        message = b"aevir.rotate/1\n" + node.encode() + b"\n" + public + api_key
        self.decide("node.key_rotated", {"node": node, "public_key": public.hex(), "key_hash": api_key.hex(),
                                         "signature": sign(signed_by or seed, message).hex()})
        self.nodes[node] = owner, following

    def module(self, compile_mib):
        """The module of all tasks, with the memory in which it is compiled."""
        self.decide("module.registered", {"owner": self.REQUESTER, "name": "m", "blob": {"digest": "00" * 32, "size": "1"}, "world": "task",
                                          "imports": [], "compile_mib": compile_mib, "code_mib": 1})
        self.entries[-1]["schema"] = 2

    def content(self, content, owner, weight):
        """A dataset."""
        self.decide("content.registered", {"content": content, "owner": owner, "kind": "dataset", "name": "d", "version": "1",
                                           "files": [], "licence": "CC0", "weight": weight})

    # ---- a task's life

    def task(self, task, escrow, price="1000000", replicas=None, quorum=None, initial=None, contents=(), checks=(), **more):
        """A task, its escrow, and its queueing."""
        sampling = {"method": "sampling", "replicas": replicas, "quorum": quorum, "initial": initial or quorum}
        definition = {"type": "inference", "module": "00" * 32, "economics": {"budget": "3453000", "pricing": {"mode": "fixed", "price": price}},
                      "data": [{"name": f"d{i}", "from": {"content": {"id": c}}} for i, c in enumerate(contents)],
                      "verification": ([sampling] if replicas else []) + list(checks)} | more
        self.decide("task.created", {"task": task, "requester": self.REQUESTER, "definition": definition, "policy_version": 1,
                                     "definition_digest": digest(b"aevir.task/1\n", definition), "seed": "1", "escrow": escrow})
        self.post("escrow", task, {f"account/{self.REQUESTER}/available": "-" + escrow, f"task/{task}/escrow": escrow})
        if not more.get("depends_on"):
            self.follow("task.queued", {"task": task, "inputs": []})

    def lease(self, task, assignment, node, round=1):
        """A node takes a replica."""
        self.decide("assignment.leased", {"task": task, "assignment": assignment, "node": node, "round": round})

    def double(self, task, assignment, node, run):
        """A node takes a duplicate of a run."""
        self.lease(task, assignment, node)
        self.entries[-1]["data"]["doubles"] = run

    def start(self, task, assignment):
        """A run begins."""
        self.decide("assignment.started", {"task": task, "assignment": assignment})

    def commit(self, task, assignment, node, result="a", metrics=()):
        """A node signs its result."""
        self.reports[assignment] = report(task, assignment, node, result, metrics)
        commitment = digest(b"aevir.report/1\n", self.reports[assignment])
        for output in self.reports[assignment]["outputs"]:
            blob = {"digest": output["digest"], "size": output["size"]}
            self.decide("assignment.output_uploaded", {"task": task, "assignment": assignment, "blob": blob})
        signature = sign(self.nodes[node][1], b"aevir.commit/1\n" + bytes.fromhex(commitment))
        self.decide("assignment.committed", {"task": task, "assignment": assignment, "node": node, "commitment": commitment,
                                             "signature": signature.hex()})

    def run(self, task, *runs, round=1):
        """Replicas from lease to commitment: (assignment, node, result[, metrics])."""
        for assignment, node, *_ in runs:
            self.lease(task, assignment, node, round)
        for assignment, node, *result in runs:
            self.start(task, assignment)
            self.commit(task, assignment, node, *result)
        self.follow("task.round_closed", {"task": task, "round": round, "reveal_by": self.reveal_by()})

    def reveal_by(self):
        """Until when what is sealed now is to be revealed."""
        return (START + timedelta(seconds=self.seconds + 30)).isoformat(timespec="milliseconds") + "Z"

    def reveal(self, *assignments, checks=()):
        """The reports that were committed to."""
        for assignment in assignments:
            self.decide("assignment.revealed", {"report": self.reports[assignment], "checks": list(checks)})

    def verify(self, task, verdict, accepted, refused=(), checks=()):
        """The verdict; the agreed result is the first accepted one's."""
        agreed = self.reports[accepted[0]] if accepted else {"outputs": [], "result": None}
        self.follow("task.verified", {"task": task, "verdict": verdict, "accepted": accepted, "checks": list(checks), "late": False,
                                      "refused": [{"assignment": a, "reason": reason} for a, reason in refused],
                                      "outputs": agreed["outputs"], "result": agreed["result"]})

    def settle(self, task, escrow, fee, refund, shares):
        """The settlement's posting and event; shares are (role, account, node, content, amount)."""
        moved = {f"task/{task}/escrow": "-" + escrow, f"account/{self.REQUESTER}/available": refund}
        self.post("settlement", task, moved | {ledger_account(s): s[4] for s in shares})
        named = [{"role": s[0], "amount": s[4]} | {k: v for k, v in zip(("account", "node", "content"), s[1:4]) if v} for s in shares]
        due = (START + timedelta(seconds=self.seconds + self.window_s)).isoformat(timespec="milliseconds") + "Z"
        self.follow("task.settled", {"task": task, "fee": fee, "refund": refund, "shares": named, "private_market": False}
                    | ({"matures_at": due} if self.window_s else {}))

    def mature(self, task, shares):
        """Pending shares become available."""
        out = {f"account/{s[1]}/pending": "-" + s[4] for s in shares if s[1]}
        self.post("maturity", task, out | {f"account/{s[1]}/available": s[4] for s in shares if s[1]})
        self.follow("task.matured", {"task": task})

    def close(self, task, reason, escrow, fee, refund, fees, withdrawn=()):
        """The end without a verdict; fees by account."""
        for assignment in withdrawn:
            self.follow("assignment.withdrawn", {"task": task, "assignment": assignment})
        moved = {f"task/{task}/escrow": "-" + escrow, f"account/{self.REQUESTER}/available": refund}
        self.post("closure", task, moved | {f"account/{a}/available": amount for a, amount in fees.items()})
        self.follow("task.closed", {"task": task, "reason": reason, "detail": "", "fee": fee, "refund": refund})


def postings(moved):
    """Postings from amounts by ledger account."""
    return [{"account": account, "amount": amount} for account, amount in moved.items()]


def ledger_account(share):
    """Where a share is posted."""
    role, account = share[:2]
    return "treasury" if role == "platform" else f"account/{account}/{'available' if role == 'attempt' else 'pending'}"


OWNERS, NODES = [ulid(11), ulid(12), ulid(13)], [ulid(21), ulid(22), ulid(23)]
AUTHORS, CONTENTS = [ulid(31), ulid(32)], [ulid(41), ulid(42)]
TASK, RUNS = ulid(51), [ulid(61), ulid(62), ulid(63)]
SECOND, SECOND_RUNS = ulid(52), [ulid(71), ulid(72), ulid(73)]


def with_nodes(market="open"):
    """A log with three nodes of three owners."""
    log = Log(market)
    for node, owner in zip(NODES, OWNERS):
        log.node(node, owner)
    return log


def worked_example():
    """The example that runs through docs/economics.md: three of three replicas accepted, two datasets of weights 1 and 2."""
    log = with_nodes()
    for content, owner, weight in zip(CONTENTS, AUTHORS, (1, 2)):
        log.content(content, owner, weight)
    log.task(TASK, "3453000", replicas=3, quorum=2, initial=3, contents=CONTENTS, checks=[CHECK_M])
    log.run(TASK, *((a, n, "a", [("m", "950000")]) for a, n in zip(RUNS, NODES)))
    checks = [{"check": "metric m", "passed": True, "detail": ""}]
    log.reveal(*RUNS, checks=checks)
    log.verify(TASK, "passed", RUNS, checks=checks)
    shares = [("compute", owner, node, None, "1000000") for owner, node in zip(OWNERS, NODES)]
    shares += [("content", AUTHORS[0], None, CONTENTS[0], "100000"), ("content", AUTHORS[1], None, CONTENTS[1], "200000")]
    shares.append(("platform", None, None, None, "150000"))
    log.settle(TASK, "3453000", "3450000", "3000", shares)
    log.mature(TASK, shares)
    for owner, assignment in zip(OWNERS, RUNS):
        log.points(owner, "compute", "40", "result-accepted", TASK, assignment)
    for owner, delta in zip(AUTHORS, ("10", "20")):
        log.points(owner, "content", delta, "content-used", TASK)
    return log


def windowed(waits_s=60):
    """A task of one replica with a dispute window of a minute, which matures after so many seconds."""
    log = Log(window_s=60)
    log.node(NODES[0], OWNERS[0])
    log.task(TASK, "1053000")
    log.run(TASK, (RUNS[0], NODES[0], "a"))
    log.reveal(RUNS[0])
    log.verify(TASK, "passed", RUNS[:1])
    shares = [("compute", OWNERS[0], NODES[0], None, "1000000"), ("platform", None, None, None, "50000")]
    log.settle(TASK, "1053000", "1050000", "3000", shares)
    # A task that depends on it does not wait for the window's end.
    log.task(SECOND, "1053000", depends_on=[{"task": TASK}])
    log.decide("task.queued", {"task": SECOND, "inputs": []})
    log.seconds += waits_s
    log.decision += 1
    log.mature(TASK, shares)
    log.points(OWNERS[0], "compute", "50", "result-accepted", TASK, RUNS[0])
    return log


def slashed(strikes_free=0):
    """Three nodes, one of which has staked ten, and is alone with its result: it loses the three that it had locked."""
    log = Log(stake={"per_result_ppm": 3_000_000, "strikes_free": strikes_free, "free_after": 0, "strike_ms": 1_000, "strikes_max": 0})
    for node, owner in zip(NODES, OWNERS):
        log.node(node, owner)
    account, pledge = f"account/{OWNERS[2]}/available", f"node/{NODES[2]}/stake"
    log.decide("ledger.posted", {"reason": "deposit", "reference": "wire 2", "postings": postings({"external": "-10000000", account: "10000000"})})
    log.decide("ledger.posted", {"reason": "stake", "postings": postings({account: "-10000000", pledge: "10000000"})})
    log.task(TASK, "3153000", replicas=3, quorum=2, initial=3)
    log.run(TASK, *((a, n, result) for a, n, result in zip(RUNS, NODES, "aab")))
    log.reveal(*RUNS)
    log.verify(TASK, "passed", RUNS[:2], [(RUNS[2], "mismatch")])
    shares = [("compute", owner, node, None, "1000000") for owner, node in zip(OWNERS[:2], NODES)]
    shares.append(("platform", None, None, None, "100000"))
    log.settle(TASK, "3153000", "2100000", "1053000", shares)
    log.follow("node.slashed", {"node": NODES[2], "task": TASK, "assignment": RUNS[2], "amount": "3000000", "reason": "mismatch",
                                "strikes": 1})
    log.post("slash", TASK, {pledge: "-3000000", "treasury": "3000000"})
    log.mature(TASK, shares)
    for owner, assignment in zip(OWNERS[:2], RUNS):
        log.points(owner, "compute", "50", "result-accepted", TASK, assignment)
    log.decide("ledger.posted", {"reason": "unstake", "postings": postings({pledge: "-7000000", account: "7000000"})})
    return log


def with_minority():
    """The worked example, and a second task of which one result is refused: its owner loses all of his 40 points."""
    log = worked_example()
    log.task(SECOND, "3153000", replicas=3, quorum=2, initial=3)
    log.run(SECOND, *((a, n, result) for a, n, result in zip(SECOND_RUNS, NODES, "aab")))
    log.reveal(*SECOND_RUNS)
    log.verify(SECOND, "passed", SECOND_RUNS[:2], [(SECOND_RUNS[2], "mismatch")])
    shares = [("compute", owner, node, None, "1000000") for owner, node in zip(OWNERS[:2], NODES)]
    shares.append(("platform", None, None, None, "100000"))
    log.settle(SECOND, "3153000", "2100000", "1053000", shares)
    log.points(OWNERS[2], "compute", "-40", "result-refused", SECOND, SECOND_RUNS[2])
    log.mature(SECOND, shares)
    for owner, assignment in zip(OWNERS[:2], SECOND_RUNS):
        log.points(owner, "compute", "50", "result-accepted", SECOND, assignment)
    return log


def with_silence():
    """The same, but the third node never reveals."""
    log = worked_example()
    log.task(SECOND, "3153000", replicas=3, quorum=2, initial=3)
    log.run(SECOND, *((a, n, "a") for a, n in zip(SECOND_RUNS, NODES)))
    log.reveal(*SECOND_RUNS[:2])
    log.seconds += 30
    log.decision += 1
    log.verify(SECOND, "passed", SECOND_RUNS[:2], [(SECOND_RUNS[2], "not-revealed")])
    shares = [("compute", owner, node, None, "1000000") for owner, node in zip(OWNERS[:2], NODES)]
    shares.append(("platform", None, None, None, "100000"))
    log.settle(SECOND, "3153000", "2100000", "1053000", shares)
    log.points(OWNERS[2], "compute", "-40", "result-refused", SECOND, SECOND_RUNS[2])
    log.mature(SECOND, shares)
    for owner, assignment in zip(OWNERS[:2], SECOND_RUNS):
        log.points(owner, "compute", "50", "result-accepted", SECOND, assignment)
    return log


def inconclusive():
    """Three different results, the third by an extension: the attempt fee for each, at once."""
    log = with_nodes()
    log.task(TASK, "3153000", replicas=3, quorum=2)
    log.run(TASK, (RUNS[0], NODES[0], "a"), (RUNS[1], NODES[1], "b"))
    log.reveal(*RUNS[:2])
    log.follow("task.extended", {"task": TASK, "round": 2, "replicas": 3})
    log.run(TASK, (RUNS[2], NODES[2], "c"), round=2)
    log.reveal(RUNS[2])
    log.verify(TASK, "inconclusive", [])
    shares = [("attempt", owner, node, None, "1000") for owner, node in zip(OWNERS, NODES)]
    log.settle(TASK, "3153000", "3000", "3150000", shares)
    return log


def doubled(sealed=2):
    """A task of one replica whose run was doubled: so many of both are sealed, and the first shows what does not meet the requester's check."""
    log = with_nodes()
    log.task(TASK, "1053000", checks=[CHECK_M], qos={"max_latency_ms": 60_000})
    log.lease(TASK, RUNS[0], NODES[0])
    log.seconds += 30
    log.double(TASK, RUNS[1], NODES[1], RUNS[0])
    for assignment in RUNS[:2]:
        log.start(TASK, assignment)
    for assignment, node in zip(RUNS[:sealed], NODES):
        log.commit(TASK, assignment, node, "a", [("m", "800000")])
        log.follow("task.round_closed", {"task": TASK, "round": 1, "reveal_by": log.reveal_by()})
        log.seconds += 1
    log.reveal(RUNS[0], checks=[{"check": "metric m", "passed": False, "detail": ""}])
    return log


def doubled_unmet():
    """Neither of both meets it: the second reveal leaves nobody to wait for, and the first one sealed is the task's, with time left."""
    log = doubled()
    checks = [{"check": "metric m", "passed": False, "detail": ""}]
    log.reveal(RUNS[1], checks=checks)
    log.follow("assignment.withdrawn", {"task": TASK, "assignment": RUNS[1]})
    log.verify(TASK, "unmet", RUNS[:1], checks=checks)
    shares = [("compute", OWNERS[0], NODES[0], None, "1000000"), ("attempt", OWNERS[1], NODES[1], None, "1000")]
    shares.append(("platform", None, None, None, "50000"))
    log.settle(TASK, "1053000", "1051000", "2000", shares)
    log.mature(TASK, shares[:1] + shares[2:])
    log.points(OWNERS[0], "compute", "50", "result-accepted", TASK, RUNS[0])
    return log


def closures():
    """A task that all nodes fail, one that is cancelled with a run under way, and one that depended on it."""
    log = worked_example()
    third = ulid(53)
    log.task(SECOND, "1053000")
    for assignment, node, failure in zip(SECOND_RUNS, NODES, ("trap", "trap", "host-error")):
        log.lease(SECOND, assignment, node)
        log.start(SECOND, assignment)
        log.decide("assignment.failed", {"task": SECOND, "assignment": assignment, "class": failure, "message": ""})
    log.close(SECOND, "attempts-spent", "1053000", "2000", "1051000", {OWNERS[0]: "1000", OWNERS[1]: "1000"})
    log.task(third, "2103000", replicas=2, quorum=2)
    log.task(ulid(54), "1053000", depends_on=[{"task": third}])
    for assignment, node in zip((ulid(81), ulid(82)), NODES):
        log.lease(third, assignment, node)
    log.decide("assignment.lost", {"task": third, "assignment": ulid(82), "reason": "not-started"})
    log.points(OWNERS[1], "compute", "-2", "lease-lost", third, ulid(82))
    log.away(NODES[1])
    log.lease(third, ulid(83), NODES[2])
    log.start(third, ulid(81))
    log.commit(third, ulid(81), NODES[0])
    log.start(third, ulid(83))
    log.decision += 1
    log.close(third, "cancelled", "2103000", "2000", "2101000", {OWNERS[0]: "1000", OWNERS[2]: "1000"}, [ulid(81), ulid(83)])
    log.close(ulid(54), "dependency-failed", "1053000", "0", "1053000", {})
    return log


def cloud_event(entry, origin="example.com/log"):
    """An entry as an export has it."""
    names = {"schema": "schemaversion", "stream": "subject"}
    return {names.get(name, name): value for name, value in entry.items()} | {"specversion": "1.0", "source": origin}


def lines_of(entries):
    """An export."""
    return b"".join(encode(cloud_event(entry)) + b"\n" for entry in entries)


def raw_lines_of(entries):
    """What /v1/events gives."""
    return b"".join(encode(entry) + b"\n" for entry in entries)


def audited(data, signatures=True):
    """The report on an export."""
    return recompute.report(*recompute.audit(io.BytesIO(data), signatures))


def renumber(entries):
    """Positions and revisions as a forger would mend them."""
    revisions = {}
    for position, entry in enumerate(entries):
        entry["position"] = str(position)
        entry["revision"] = str(revisions.get(entry["stream"], 0))
        revisions[entry["stream"]] = int(entry["revision"]) + 1


def find(entries, kind, nth=0, **fields):
    """The position of the nth entry of a type with these fields of data."""
    return [i for i, e in enumerate(entries) if e["type"] == kind and fields.items() <= e["data"].items()][nth]


class Exports(unittest.TestCase):
    """CloudEvents and raw entries are two forms of one log."""

    def test_both_forms_hash_to_the_same_tree(self):
        entries = worked_example().entries
        exported, raw = audited(lines_of(entries)), audited(raw_lines_of(entries))
        self.assertIsNone(exported["error"])
        self.assertEqual(exported, raw)

    def problem(self, change, at=3):
        lines = [cloud_event(entry) for entry in worked_example().entries]
        change(lines[at])
        return audited(b"".join(encode(line) + b"\n" for line in lines))["error"]

    def test_a_line_of_another_log(self):
        problem = self.problem(lambda line: line.update(source="example.org/other"))
        self.assertEqual(problem["position"], 3)
        self.assertIn("the log that the line is of", problem["what"])

    def test_another_version_of_cloud_events(self):
        problem = self.problem(lambda line: line.update(specversion="0.3"))
        self.assertIn("the version of CloudEvents", problem["what"])

    def test_attributes_that_are_too_many_or_too_few(self):
        for change in (lambda line: line.update(extra="x"), lambda line: line.pop("cause"), lambda line: line.update(stream="x")):
            self.assertEqual(self.problem(change)["position"], 3)


class GoodLogs(unittest.TestCase):
    """What the documents allow passes, with the totals of their examples."""

    def check(self, log, tasks):
        document = audited(lines_of(log.entries))
        self.assertIsNone(document["error"])
        self.assertEqual(document["tasks"], tasks)
        self.assertEqual(document["sum"], "0")
        return document

    def test_worked_example(self):
        document = self.check(worked_example(), {"settled": 1})
        self.assertEqual(document["accounts"]["treasury"], "150000")
        self.assertEqual(document["accounts"][f"account/{AUTHORS[1]}/available"], "200000")
        self.assertEqual(document["accounts"][f"account/{Log.REQUESTER}/available"], "996550000")
        self.assertEqual(document["points"][OWNERS[0]], {"compute": "40", "content": "0", "verification": "0"})
        self.assertEqual(document["points"][AUTHORS[1]]["content"], "20")
        self.assertEqual(document["signatures"], {"checked": 3})

    def test_minority(self):
        document = self.check(with_minority(), {"settled": 2})
        self.assertNotIn(OWNERS[2], document["points"])

    def test_a_dispute_window(self):
        document = self.check(windowed(), {"queued": 1, "settled": 1})
        self.assertEqual("1000000", document["accounts"][f"account/{OWNERS[0]}/available"])

    def test_a_slash(self):
        document = self.check(slashed(), {"settled": 1})
        self.assertEqual("3100000", document["accounts"]["treasury"])
        self.assertEqual("7000000", document["accounts"][f"account/{OWNERS[2]}/available"])

    def test_silence(self):
        self.check(with_silence(), {"settled": 2})

    def test_inconclusive(self):
        self.check(inconclusive(), {"inconclusive": 1})

    def test_a_duplicate_that_is_no_better(self):
        document = self.check(doubled_unmet(), {"unmet": 1})
        self.assertEqual("1000", document["accounts"][f"account/{OWNERS[1]}/available"])

    def test_closures(self):
        document = self.check(closures(), {"cancelled": 1, "failed": 2, "settled": 1})
        self.assertEqual(document["points"][OWNERS[1]]["compute"], "38")

    def test_empty_log(self):
        document = audited(b"")
        self.assertEqual((document["events"], document["error"]), (0, None))
        self.assertEqual(document["root"], hashlib.sha256().hexdigest())

    def test_signatures_can_be_skipped(self):
        log = worked_example()
        log.entries[find(log.entries, "assignment.committed")]["data"]["signature"] = "00" * 64
        document = audited(lines_of(log.entries), signatures=False)
        self.assertEqual((document["error"], document["signatures"]), (None, "skipped"))


class Tampering(unittest.TestCase):
    """Each way to cheat is found, at the entry where the log stops making sense."""

    def check(self, log, change, position, says):
        """Change entries, mend the numbering as a forger would, and compare position and words of what is found."""
        entries = copy.deepcopy(log.entries)
        change(entries)
        renumber(entries)
        self.check_bytes(lines_of(entries), position, says)

    def check_bytes(self, data, position, says):
        error = audited(data)["error"]
        self.assertIsNotNone(error, "not found")
        self.assertEqual(error["position"], position, error["what"])
        self.assertIn(says, error["what"])

    def edit(self, log, position, says, change, at=None):
        """Change the data of the entry at a position; it is found there, or `at` a later one."""
        self.check(log, lambda entries: change(entries[position]["data"]), position if at is None else at, says)

    def drop(self, log, position, at, says):
        self.check(log, lambda entries: entries.pop(position), at, says)

    # ---- the chain of entries

    def test_a_dropped_line_leaves_a_gap(self):
        entries = worked_example().entries
        self.check_bytes(lines_of(entries[:7] + entries[8:]), 7, "the position: expected 7, found 8")

    def test_reordered_lines(self):
        entries = worked_example().entries
        self.check_bytes(lines_of(entries[:3] + [entries[4], entries[3]] + entries[5:]), 3, "the position")

    def test_a_revision_that_repeats(self):
        entries = worked_example().entries
        entries[-1]["revision"] = "0"
        entries[-1]["stream"] = entries[find(entries, "points.changed")]["stream"]
        self.check_bytes(lines_of(entries), len(entries) - 1, "the revision")

    def test_time_that_goes_back(self):
        log = worked_example()
        log.entries[4]["time"] = "2025-12-31T23:59:59.999Z"
        self.check_bytes(lines_of(log.entries), 4, "or later")

    def test_bytes_that_are_not_canonical(self):
        lines = lines_of(worked_example().entries).splitlines(keepends=True)
        for spoilt in (lines[4].replace(b'":', b'": ', 1), lines[4].replace(b"1,", b"1.0,", 1), lines[4].replace(b"det/1", b"det\\/1"),
                       lines[4].replace(b"\n", b"\r\n")):
            self.assertNotEqual(spoilt, lines[4])
            self.check_bytes(b"".join(lines[:4] + [spoilt] + lines[5:]), 4, "canonical JSON")

    def test_a_key_twice(self):
        lines = lines_of(worked_example().entries).splitlines(keepends=True)
        lines[2] = lines[2].replace(b'{"actor":"system",', b'{"actor":"system","actor":"system",')
        self.check_bytes(b"".join(lines), 2, "more than once")

    def test_what_is_no_entry(self):
        good = lines_of(Log().entries)
        for bad in (b"\n", b"[]\n", b"{}\n", b"nonsense\n", b'{"a":NaN}\n', b'{"a":1e999}\n', b'{"a":9007199254740993}\n', b"\xff\n",
                    b'"\\ud800"\n', b"[" * 60000 + b"\n", b" " * 70000 + b"\n", b'{"a":' * 900 + b"1" + b"}" * 900 + b"\n"):
            self.check_bytes(good + bad, 2, "expected")

    def test_an_unknown_type(self):
        log = worked_example()
        log.entries[3]["type"] = "node.renamed"
        self.check_bytes(lines_of(log.entries), 3, "a known type")

    def test_a_foreign_stream(self):
        log = worked_example()
        log.entries[3]["stream"], log.entries[3]["revision"] = "node/" + NODES[2], "0"
        self.check_bytes(lines_of(log.entries), 3, "the stream")

    # ---- money

    def test_a_changed_amount(self):
        log = worked_example()
        at = find(log.entries, "ledger.posted", reason="settlement")
        self.edit(log, at, "the sum of the postings", lambda data: data["postings"][1].update(amount="3001"))

    def test_money_moved_from_one_to_another(self):
        log = worked_example()
        at = find(log.entries, "ledger.posted", reason="settlement")

        def move(data):
            data["postings"][2]["amount"], data["postings"][3]["amount"] = "999999", "1000001"
        self.edit(log, at, "ledger.posted settlement", move)

    def test_a_deposit_booked_twice(self):
        log = Log()
        log.deposit("5", "wire 1")
        self.check(log, lambda entries: None, 2, "not booked")

    def withdrawal(self, end="account.withdrawal_paid", reference="payout 1"):
        """Five are taken out, or come back."""
        log, account, one = Log(), Log.REQUESTER, ulid(90)
        log.decide("account.withdrawal_requested", {"account": account, "withdrawal": one, "amount": "5", "destination": "on file"})
        log.follow("ledger.posted", {"reason": "withdrawal", "postings": postings(
            {f"account/{account}/available": "-5", f"account/{account}/withdrawing": "5"})})
        log.decide(end, {"account": account, "withdrawal": one, "reason": ""})
        paid = end == "account.withdrawal_paid"
        to = "external" if paid else f"account/{account}/available"
        log.follow("ledger.posted", {"reason": "payout" if paid else "withdrawal-refused", "postings": postings(
            {f"account/{account}/withdrawing": "-5", to: "5"})} | ({"reference": reference} if paid else {}))
        return log

    def test_withdrawals(self):
        for end in ("account.withdrawal_paid", "account.withdrawal_refused"):
            document = audited(lines_of(self.withdrawal(end).entries))
            self.assertIsNone(document["error"])
            self.assertEqual("-999999995" if end.endswith("paid") else "-1000000000", document["accounts"]["external"])

    def test_a_payout_under_a_reference_that_was_booked(self):
        log = self.withdrawal(reference="wire 1")
        self.check(log, lambda entries: None, len(log.entries) - 1, "a reference that was not booked")

    def test_a_payout_of_more_than_was_asked_for(self):
        log = self.withdrawal()
        self.edit(log, len(log.entries) - 1, "ledger.posted payout", lambda data: data.update(
            postings=postings({f"account/{Log.REQUESTER}/withdrawing": "-4", "external": "4"})))

    def test_a_withdrawal_that_is_paid_twice(self):
        log = self.withdrawal()
        log.decide("account.withdrawal_paid", {"account": Log.REQUESTER, "withdrawal": ulid(90)})
        self.check(log, lambda entries: None, len(log.entries) - 1, "expected an open withdrawal")

    def test_more_than_there_is(self):
        log = Log()
        log.entries[1]["data"]["postings"] = postings({"external": "-1000", f"account/{Log.REQUESTER}/available": "1000"})
        log.task(TASK, "1053000")
        self.check(log, lambda entries: None, 3, "below zero")

    def test_money_out_of_nothing(self):
        log = worked_example()
        at = len(log.entries)
        log.decision += 1
        log.post("maturity", TASK, {"treasury": "-5", f"account/{OWNERS[0]}/available": "5"})
        self.check(log, lambda entries: None, at, "expected a task whose shares are pending")

    def test_a_slash_that_nothing_calls_for(self):
        log = slashed(strikes_free=1)
        self.check(log, lambda entries: None, find(log.entries, "node.slashed"), "expected nothing of this kind")

    def test_a_slash_left_out(self):
        log = slashed()
        at = find(log.entries, "node.slashed")

        def leave_out(entries):
            del entries[at:at + 2]
        self.check(log, leave_out, len(log.entries) - 3, "expected node.slashed")

    def test_a_slash_that_somebody_else_gets(self):
        log = slashed()
        at = find(log.entries, "ledger.posted", reason="slash")
        self.edit(log, at, "ledger.posted slash", lambda data: data["postings"][1].update(account=f"account/{OWNERS[0]}/available"))

    def test_stake_taken_back_while_it_is_locked(self):
        log = slashed()
        at = find(log.entries, "task.verified")

        def take(entries):
            entries.insert(at - 1, copy.deepcopy(entries[-1]))
            entries[at - 1]["data"]["postings"] = postings({f"node/{NODES[2]}/stake": "-7000001", f"account/{OWNERS[2]}/available": "7000001"})
            entries[at - 1]["cause"], entries[at - 1]["time"] = "another command", entries[at]["time"]
        self.check(log, take, at - 1, "to cover 3000000")

    def test_a_maturity_within_the_window(self):
        log = windowed(59)
        self.check(log, lambda entries: None, find(log.entries, "ledger.posted", reason="maturity"), "1000 ms earlier")

    def test_a_maturity_that_pays_more(self):
        log = windowed()
        at = find(log.entries, "ledger.posted", reason="maturity")

        def pay(data):
            data["postings"] = postings({f"account/{OWNERS[0]}/pending": "-999999", f"account/{OWNERS[0]}/available": "999999"})
        self.edit(log, at, "the postings of the maturity", pay)

    def test_a_maturity_without_its_event(self):
        log = windowed()
        at = find(log.entries, "task.matured")
        self.drop(log, at, at, "expected nothing of this kind here")

    def test_a_maturity_without_its_postings(self):
        log = windowed()
        at = find(log.entries, "ledger.posted", reason="maturity")
        self.drop(log, at, at, "the postings of the maturity")

    def test_a_window_of_another_length(self):
        log = windowed()
        self.edit(log, find(log.entries, "task.settled"), "matures_at, in ms after the verdict",
                  lambda data: data.update(matures_at=START.isoformat(timespec="milliseconds") + "Z"))
        log = windowed()
        self.edit(log, find(log.entries, "task.settled"), "'matures_at' to be there", lambda data: data.pop("matures_at"))

    def test_an_escrow_that_is_too_small(self):
        log = worked_example()
        self.edit(log, find(log.entries, "task.created"), "the escrow: expected 3453000, found 3452999",
                  lambda data: data.update(escrow="3452999"))

    def test_a_price_that_no_content_asks(self):
        log = worked_example()
        self.edit(log, find(log.entries, "task.created"), "the prices of its contents",
                  lambda data: data.update(prices=[{"content": CONTENTS[0], "price": "5"}]))

    def test_a_price_that_is_not_paid(self):
        log = worked_example()
        self.edit(log, find(log.entries, "content.registered"), "the prices of its contents",
                  lambda data: data.update(price="5"), at=find(log.entries, "task.created"))

    def test_contents_for_more_than_the_requester_pays(self):
        log, pricing = with_nodes(), {"mode": "fixed", "price": "1000000"}
        log.content(CONTENTS[0], AUTHORS[0], 1)
        log.task(TASK, "1153005", contents=CONTENTS[:1], economics={"budget": "3453000", "contents_max": "4", "pricing": pricing})
        created = find(log.entries, "task.created")

        def raise_price(entries):
            entries[find(log.entries, "content.registered")]["data"]["price"] = "5"
            entries[created]["data"]["prices"] = [{"content": CONTENTS[0], "price": "5"}]
        self.check(log, raise_price, created, "expected contents for 4 at most, found 5")

    def test_a_content_of_others(self):
        log = worked_example()
        self.edit(log, find(log.entries, "content.registered"), "expected registered contents",
                  lambda data: data.update(access={"accounts": []}), at=find(log.entries, "task.created"))

    def test_a_share_of_somebody_who_did_not_contribute(self):
        log = worked_example()
        self.edit(log, find(log.entries, "content.registered"), "ledger.posted settlement",
                  lambda data: data.update(contributors=[{"account": OWNERS[0], "weight": 1}]),
                  at=find(log.entries, "ledger.posted", reason="settlement"))

    def test_a_budget_exceeded(self):
        log = worked_example()

        def lower(data):
            data["definition"]["economics"]["budget"] = "3452999"
            data["definition_digest"] = digest(b"aevir.task/1\n", data["definition"])
        self.edit(log, find(log.entries, "task.created"), "within the budget of 3452999", lower)

    def test_a_changed_definition(self):
        log = worked_example()
        self.edit(log, find(log.entries, "task.created"), "definition's digest", lambda data: data["definition"].update(type="training"))

    def test_a_settlement_left_out(self):
        log = worked_example()
        at = find(log.entries, "ledger.posted", reason="settlement")
        self.drop(log, at, find(log.entries, "ledger.posted", reason="maturity") - 1, "below zero")

    def test_a_settlement_twice(self):
        log = worked_example()
        at = find(log.entries, "task.settled")
        self.check(log, lambda entries: entries.insert(at, copy.deepcopy(entries[at])), at + 1, "expected nothing of this kind")

    def test_a_fee_that_was_not_paid(self):
        log = worked_example()
        self.edit(log, find(log.entries, "task.settled"), "the fee", lambda data: data.update(fee="3450001"))

    def test_a_closure_that_pays_too_much(self):
        log = closures()
        at = find(log.entries, "task.closed", reason="cancelled")

        def pay(entries):
            entries[at - 1]["data"]["postings"][1]["amount"] = "2100999"
            entries[at - 1]["data"]["postings"][3]["amount"] = "1001"
        self.check(log, pay, at, "the postings of the closure")

    def test_a_closure_for_a_false_reason(self):
        log = closures()
        self.edit(log, find(log.entries, "task.closed", reason="cancelled"), "a deadline", lambda data: data.update(reason="expired"))

    # ---- points

    def test_points_minted_twice(self):
        log = worked_example()
        log.entries.append(copy.deepcopy(log.entries[-1]))
        self.check(log, lambda entries: None, len(log.entries) - 1, "expected nothing of this kind here, found points.changed")

    def test_points_rounded_up(self):
        log = worked_example()
        self.edit(log, find(log.entries, "points.changed"), "expected 40, found 41", lambda data: data.update(delta="41"))

    def test_points_left_out(self):
        log = with_minority()
        at = find(log.entries, "points.changed", reason="content-used")
        self.drop(log, at, find(log.entries, "task.created", 1) - 1, "expected points.changed")

    def test_points_left_out_at_the_end(self):
        log = worked_example()
        self.drop(log, len(log.entries) - 1, len(log.entries) - 1, "found the end of the log")

    def test_a_loss_forgiven(self):
        log = with_minority()
        at = find(log.entries, "points.changed", reason="result-refused")
        log.decide("account.opened", {"account": ulid(99), "name": "next"})
        self.drop(log, at, len(log.entries) - 2, "result-refused")

    # ---- verdicts

    def test_the_minority_accepted(self):
        log = with_minority()
        at = find(log.entries, "task.verified", task=SECOND)

        def swap(data):
            data["accepted"] = SECOND_RUNS[2:]
            data["refused"] = [{"assignment": a, "reason": "mismatch"} for a in SECOND_RUNS[:2]]
        self.edit(log, at, "the accepted replicas", swap)

    def test_a_silent_node_excused(self):
        log = with_silence()
        self.edit(log, find(log.entries, "task.verified", task=SECOND), "the refused replicas", lambda data: data.update(refused=[]))

    def test_a_node_cut_off_before_its_time(self):
        log = with_silence()
        at = find(log.entries, "task.verified", task=SECOND)

        def hurry(entries):
            for entry in entries[at:]:
                entry["time"] = entries[0]["time"]
        self.check(log, hurry, at, "time to reveal")

    def test_a_duplicate_called_off_for_nothing_better(self):
        for sealed in (1, 2):  # the duplicate has still to bring its result, or to show it
            log = doubled(sealed)
            log.follow("assignment.withdrawn", {"task": TASK, "assignment": RUNS[1]})
            self.check(log, lambda entries: None, len(log.entries) - 1, f"expected time to reveal for {RUNS[1]}")

    def test_the_later_of_two_that_are_no_better(self):
        log = doubled_unmet()
        self.edit(log, find(log.entries, "assignment.withdrawn"), f"the result of {RUNS[0]} to be the task's",
                  lambda data: data.update(assignment=RUNS[0]))

    def test_a_verdict_without_a_quorum(self):
        log = inconclusive()
        self.edit(log, find(log.entries, "task.verified"), "expected inconclusive, found passed", lambda data: data.update(verdict="passed"))

    def test_a_verdict_too_early(self):
        log = inconclusive()
        at = find(log.entries, "task.extended")

        def give_up(entries):
            entries[at] = copy.deepcopy(entries[find(entries, "task.verified")])
        self.check(log, give_up, at, "expected one more round")

    def test_haste_before_its_time_and_where_nothing_waits(self):
        late = {"qos": {"max_latency_ms": 3_600_000}}
        for replicas, more, says in ((3, late, "when time is short"), (3, {}, "when time is short"), (None, late, "wait for others")):
            log = with_nodes()
            log.task(TASK, "3153000" if replicas else "1053000", replicas=replicas, quorum=replicas and 2, **more)
            log.lease(TASK, RUNS[0], NODES[0])
            log.decide("task.hastened", {"task": TASK})
            self.check_bytes(lines_of(log.entries), len(log.entries) - 1, says)

    def test_a_check_that_was_not_met(self):
        log = worked_example()
        self.edit(log, find(log.entries, "assignment.revealed"), "the checks of metrics", lambda data: data["checks"][0].update(passed=False))

    def test_a_result_exchanged_after_the_commitment(self):
        log = worked_example()
        self.edit(log, find(log.entries, "assignment.revealed"), "the commitment", lambda data: data["report"].update({"class": "gpu"}))

    def test_a_forged_signature(self):
        log = worked_example()

        def flip(data):
            data["signature"] = f"{int(data['signature'][:2], 16) ^ 1:02x}" + data["signature"][2:]
        self.edit(log, find(log.entries, "assignment.committed", 1), "does not verify", flip)

    def test_a_commitment_of_another_node(self):
        log = worked_example()
        self.edit(log, find(log.entries, "assignment.committed"), "the node", lambda data: data.update(node=NODES[1]))

    def test_a_reveal_before_the_commitment(self):
        log = worked_example()
        at = find(log.entries, "assignment.committed")
        self.check(log, lambda entries: entries.insert(at, entries.pop(find(entries, "assignment.revealed"))), at, "to be committed")

    def test_a_reveal_before_the_round_closed(self):
        log = worked_example()
        at = find(log.entries, "task.round_closed")
        self.drop(log, at, at, "expected task.round_closed")

    # ---- leases

    def test_a_result_without_a_start(self):
        log = worked_example()
        at = find(log.entries, "assignment.started")
        self.drop(log, at, at, "to be running or committed, found it leased")

    def test_two_replicas_of_one_owner(self):
        log = worked_example()
        self.edit(log, find(log.entries, "node.registered", 1), "no party to the task", lambda data: data.update(owner=OWNERS[0]),
                  at=find(log.entries, "assignment.leased", 1))

    def test_the_requesters_own_node(self):
        log = worked_example()
        self.edit(log, find(log.entries, "node.registered", 2), "no party to the task", lambda data: data.update(owner=Log.REQUESTER),
                  at=find(log.entries, "assignment.leased", 2))

    def test_one_owner_in_a_private_market(self):
        log = with_nodes("private")
        for entry in log.entries[2:]:
            entry["data"]["owner"] = OWNERS[0]
        log.task(TASK, "3153000", replicas=3, quorum=2)
        log.run(TASK, (RUNS[0], NODES[0], "a"), (RUNS[1], NODES[1], "b"))
        self.assertIsNone(audited(lines_of(log.entries))["error"])

    def test_more_runs_than_slots(self):
        log = Log()
        log.node(NODES[0], OWNERS[0], slots=1)
        log.task(TASK, "1053000")
        log.task(SECOND, "1053000")
        log.lease(TASK, RUNS[0], NODES[0])
        log.lease(SECOND, SECOND_RUNS[0], NODES[0])
        self.check(log, lambda entries: None, len(log.entries) - 1, "at most 1 runs at once")

    def test_more_replicas_than_called_for(self):
        log = with_nodes()
        log.task(TASK, "1053000")
        for assignment, node in zip(RUNS, NODES):
            log.lease(TASK, assignment, node)
        self.check(log, lambda entries: None, len(log.entries) - 2, "at most 1 replicas")

    def test_a_doubled_first_replica_is_one_of_those_called_for(self):
        log = with_nodes()
        log.node(ulid(24), ulid(14))
        adaptive = {"method": "sampling", "replicas": 3, "quorum": 2, "initial": 2, "adaptive": True}
        log.task(TASK, "3153000", checks=[adaptive], qos={"max_latency_ms": 200_000}, limits={"runtime_s": 60})
        log.lease(TASK, RUNS[0], NODES[0])
        log.seconds += 100
        log.double(TASK, RUNS[1], NODES[1], RUNS[0])
        log.decide("task.hastened", {"task": TASK})
        log.lease(TASK, RUNS[2], NODES[2])
        self.assertIsNone(audited(lines_of(log.entries))["error"])
        log.lease(TASK, ulid(64), ulid(24))
        self.check(log, lambda entries: None, len(log.entries) - 1, "at most 2 replicas")

    def test_a_life_after_the_end(self):
        log = worked_example()
        log.start(TASK, RUNS[0])
        self.check(log, lambda entries: None, len(log.entries) - 1, "found it settled")

    def test_attempts_beyond_the_last(self):
        log = closures()
        at = find(log.entries, "ledger.posted", reason="closure")
        self.check(log, lambda entries: entries.__delitem__(slice(at, at + 2)), at, "expected task.closed")


class Draws(unittest.TestCase):
    """Which node is drawn follows from the epoch's secret; the seed is computed here once more."""

    SECRET = bytes(range(32))

    def test_a_verifier_is_elected_by_weight(self):
        """The example of docs/economics.md: of 1,000 candidates the first 500 are never taken, and the others one in four times."""
        message = b"aevir.draw/1\nverifier\n" + bytes([1] * 32 + [2] * 32) + bytes([0, 0, 0, 1, 0, 0, 0, 0])
        weights = [(index, 0 if index < 500 else 250_000) for index in range(1_000)]
        drawn = recompute.Drawn(0, message, 1_000, 762, weights, 250_000)
        index, passed = drawn.chosen(bytes([3] * 32))
        self.assertEqual((762, 104, 12), (index, passed[0], len(passed)))
        # One who should have come up before is missed where he is not named.
        unnamed = [known for known in weights if known[0] != 932]
        self.assertEqual((932, [104]), drawn._replace(passed=unnamed).chosen(bytes([3] * 32)))

    def log(self, replicas=3):
        """Three nodes, a sampled task in an epoch, and the node that the secret draws for its first replica."""
        log = Log()
        log.decide("epoch.opened", {"epoch": 1, "commitment": hashlib.sha256(b"aevir.epoch/1\n" + self.SECRET).hexdigest()})
        for node, owner in zip(NODES, OWNERS):
            log.node(node, owner)
            log.entries[-2]["data"]["profile"] |= {"memory_mib": 1024, "storage_mib": 4096}
        log.task(TASK, "3153000", replicas=replicas, quorum=2, initial=1)
        definition = bytes.fromhex(log.entries[find(log.entries, "task.created")]["data"]["definition_digest"])
        message = b"aevir.draw/1\nreplica\n" + definition + bytes(32) + bytes([0, 0, 0, 1, 0, 0, 0, 0])
        seed = hmac.new(self.SECRET, message, hashlib.sha256).digest()
        return log, int.from_bytes(seed[:16], "big") % 3

    def lease(self, log, index, **more):
        """A lease that was drawn."""
        draw = {"epoch": 1, "purpose": "replica", "number": 0, "candidates": 3} | more
        log.lease(TASK, ulid(900), NODES[index])
        log.entries[-1]["data"]["draw"] = draw

    def close(self, log, seconds=3_600, secret=None, keep=1_000_000):
        """The epoch ends."""
        log.seconds += seconds
        log.decide("epoch.closed", {"epoch": 1, "secret": secret or {"revealed": self.SECRET.hex()}, "points_keep_ppm": keep})

    def audited(self, log):
        """The report, and what is wrong."""
        auditor, problem = recompute.audit(io.BytesIO(lines_of(log.entries)))
        return auditor, problem

    def test_a_good_draw(self):
        log, index = self.log()
        self.lease(log, index)
        self.close(log)
        auditor, problem = self.audited(log)
        self.assertIsNone(problem)
        self.assertEqual(auditor.draws["recomputed"], 1)

    def test_points_that_fade_otherwise_than_the_policy_says(self):
        log, index = self.log()
        self.lease(log, index)
        self.close(log, keep=999_000)
        self.assertIn("the part of points that is kept", self.audited(log)[1]["what"])

    def test_a_claim_of_nothing(self):
        log, index = self.log()
        self.lease(log, index)
        self.close(log)
        part = {"epoch": 1, "points": "1", "amount": "1"}
        log.decide("account.rewards_claimed", {"account": OWNERS[0], "through": 1, "parts": [part]})
        self.assertIn("to have something to claim", self.audited(log)[1]["what"])

    def test_points_at_the_ends_of_epochs(self):
        auditor = recompute.Auditor()
        auditor.ends = {"a": [(2, {"compute": 1_001, "content": 3}), (5, {"compute": 10})]}
        auditor.point_keeps = [900_000, 500_000, 500_000, 100_000, 1_000_000]
        self.assertEqual([auditor.points_at("a", epoch) for epoch in range(1, 7)], [0, 1_004, 501, 250, 10, 10])

    def test_another_node_than_the_secret_draws(self):
        log, index = self.log()
        self.lease(log, (index + 1) % 3)
        self.close(log)
        _, problem = self.audited(log)
        self.assertIn("the candidate drawn", problem["what"])

    def test_a_lost_secret(self):
        log, index = self.log()
        self.lease(log, (index + 1) % 3)
        self.close(log, secret="lost")
        auditor, problem = self.audited(log)
        self.assertIsNone(problem)
        self.assertEqual(auditor.draws["lost"], 1)

    def test_another_secret(self):
        log, _ = self.log()
        self.close(log, secret={"revealed": "00" * 32})
        self.assertIn("the hash of the epoch's secret", self.audited(log)[1]["what"])

    def test_a_secret_before_its_time(self):
        log, _ = self.log()
        self.close(log, seconds=10)
        self.assertIn("closed before", self.audited(log)[1]["what"])

    def test_false_candidates(self):
        for more in ({"candidates": 2}, {"number": 1}, {"epoch": 2}, {"purpose": "run"}):
            log, index = self.log()
            self.lease(log, index, **more)
            self.assertIn("the draw", self.audited(log)[1]["what"])

    def test_a_node_that_does_not_fit(self):
        log, index = self.log()
        log.entries[find(log.entries, "node.registered")]["data"]["profile"]["memory_mib"] = 100
        self.lease(log, 0, candidates=2)
        self.assertIn("let be drawn", self.audited(log)[1]["what"])

    def test_a_lease_without_a_draw(self):
        log, index = self.log()
        log.lease(TASK, ulid(900), NODES[index])
        self.assertIn("expected a draw", self.audited(log)[1]["what"])


class Turns(unittest.TestCase):
    """Whose turn it is follows from what requesters have used, and of one's tasks from waiting and priority. Runs reserve 600 s:
    each placement is charged 600,000 * 1,000 / 100 = 6,000,000."""

    OTHER = ulid(2)

    def log(self, slots=1, compile_mib=1):
        """One node and two requesters who wait, the first with two tasks."""
        log = Log()
        log.module(compile_mib)
        log.decide("epoch.opened", {"epoch": 1, "commitment": "00" * 32})
        log.node(NODES[0], OWNERS[0], slots)
        log.entries[-2]["data"]["profile"] |= {"memory_mib": 1024, "storage_mib": 4096, "cpu_cores": 8}
        log.task(TASK, "1053000")
        log.seconds += 1
        log.task(SECOND, "1053000")
        log.REQUESTER = self.OTHER
        log.deposit("1000000000", "wire 2")
        log.task(ulid(53), "1053000")
        return log

    def lease(self, log, *tasks):
        """A plan with a lease for each."""
        log.decision += 1
        for task in tasks:
            earlier = sum(1 for e in log.entries if e["type"] == "assignment.leased" and e["data"]["task"] == task)
            log.follow("assignment.leased", {"task": task, "assignment": ulid(900 + len(log.entries)), "node": NODES[0], "round": 1,
                                             "draw": {"epoch": 1, "purpose": "run", "number": earlier, "candidates": 1}})
        return log.entries[-1]["data"]["assignment"]

    def give_up(self, log, task, assignment):
        """The run fails after a second."""
        log.start(task, assignment)
        log.seconds += 1
        log.decide("assignment.failed", {"task": task, "assignment": assignment, "class": "trap", "message": ""})

    def found(self, log):
        """The auditor, and what is wrong."""
        auditor, problem = recompute.audit(io.BytesIO(lines_of(log.entries)))
        return auditor, problem and problem["what"]

    def test_a_module_that_a_node_can_t_compile_does_not_go_there(self):
        for compile_mib, fits in ((1_023, True), (1_024, True), (1_025, False)):
            log = self.log(compile_mib=compile_mib)
            self.lease(log, TASK)
            problem = self.found(log)[1]
            self.assertEqual(problem is None, fits, problem)
        # Nor beside another lease that has not started.
        log = self.log(slots=3, compile_mib=513)
        self.lease(log, TASK, ulid(53))
        self.assertIn("the task whose turn it is: expected None", self.found(log)[1])

    def test_requesters_take_turns(self):
        log = self.log(slots=3)
        self.lease(log, TASK, ulid(53), SECOND)
        auditor, problem = self.found(log)
        self.assertIsNone(problem)
        self.assertEqual((auditor.turns, dict(auditor.reserved)), (3, {ulid(1): 12_000_000, self.OTHER: 6_000_000}))
        log = self.log(slots=3)
        self.lease(log, TASK, SECOND, ulid(53))
        self.assertIn(f"expected {ulid(53)}, found {SECOND}", self.found(log)[1])

    def test_the_older_task_comes_first(self):
        log = self.log()
        self.lease(log, SECOND)
        self.assertIn(f"the task whose turn it is: expected {TASK}, found {SECOND}", self.found(log)[1])

    def test_priority_is_worth_waiting(self):
        # Ten steps of one minute against one second.
        for priority, first in ((0, TASK), (1, SECOND)):
            log = self.log()
            at = find(log.entries, "task.created", task=SECOND)
            definition = log.entries[at]["data"]["definition"]
            definition["qos"] = {"priority": priority}
            log.entries[at]["data"]["definition_digest"] = digest(b"aevir.task/1\n", definition)
            self.lease(log, first)
            self.assertIsNone(self.found(log)[1])

    def test_nothing_is_left_out(self):
        log = self.log(slots=2)
        self.lease(log, TASK)
        self.assertIn(f"expected a lease for task {ulid(53)}", self.found(log)[1])
        # Nor may a plan say so later, when something else has happened.
        log.decide("node.availability_changed", {"node": NODES[0], "availability": "offline"})
        auditor, problem = recompute.audit(io.BytesIO(lines_of(log.entries)))
        self.assertEqual(problem["position"], len(log.entries) - 1)

    def test_what_was_not_needed_comes_back(self):
        log = self.log()
        self.give_up(log, TASK, self.lease(log, TASK))
        auditor, problem = self.found(log)
        self.assertIsNone(problem)
        # One second of a slot by weight 100.
        self.assertEqual(auditor.used[ulid(1)], 10_000)

    def test_shares_and_quotas_are_the_accounts_own(self):
        def limits(account, **more):
            return {"account": account, "limits": {"weight": 100, "tasks_max": 10, "running_max": 10} | more}

        log = self.log(slots=3)
        log.decide("account.limits_set", limits(ulid(1), weight=1_000))
        self.lease(log, TASK, ulid(53), SECOND)
        auditor, problem = self.found(log)
        self.assertIsNone(problem)
        self.assertEqual(auditor.reserved[ulid(1)], 2 * 600_000)
        log = self.log(slots=3)
        log.decide("account.limits_set", limits(ulid(1), running_max=1))
        self.lease(log, TASK, ulid(53))
        self.assertIsNone(self.found(log)[1])
        log = self.log(slots=3)
        log.decide("account.limits_set", limits(ulid(1), running_max=0))
        self.lease(log, TASK, ulid(53))
        self.assertIn(f"expected {ulid(53)}, found {TASK}", self.found(log)[1])

    def test_returns_are_free_as_far_as_the_policy_goes(self):
        def returned(*counted):
            log = self.log()
            # Nobody else's task is in the way.
            log.decide("account.suspended", {"account": self.OTHER, "reason": "r"})
            log.decide("account.limits_set", {"account": ulid(1), "limits": {"weight": 1, "tasks_max": 9, "running_max": 9}})
            for is_counted in counted:
                assignment = self.lease(log, TASK)
                log.decide("assignment.returned", {"task": TASK, "assignment": assignment, "counted": is_counted})
                log.away(NODES[0])
                log.decide("node.availability_changed", {"node": NODES[0], "availability": "online"})
            return self.found(log)

        auditor, problem = returned(False, False)
        self.assertIsNone(problem)
        self.assertEqual((auditor.tasks[TASK].faults, auditor.nodes[NODES[0]].returns), (0, (1, 2)))
        # The node has one slot, and two returns for it in an epoch.
        self.assertIn("whether the return counts", returned(False, False, False)[1])
        auditor, problem = returned(False, False, True)
        self.assertIsNone(problem)
        self.assertEqual(auditor.tasks[TASK].faults, 1)
        self.assertIn("whether the return counts", returned(True)[1])

    def test_who_gives_a_run_back_is_away(self):
        log = self.log()
        assignment = self.lease(log, TASK)
        log.decide("assignment.returned", {"task": TASK, "assignment": assignment, "counted": False})
        log.decide("node.drained", {"node": NODES[0], "leaving": False})
        self.assertIn("expected node.availability_changed", self.found(log)[1])

    def test_a_newcomer_has_few_slots_and_a_lost_lease_halves_them(self):
        log = self.log(slots=8)
        log.entries[0]["data"]["policy"]["scheduling"] = recompute.SCHEDULING | {"unproven_slots": 2}
        self.lease(log, TASK, ulid(53))
        auditor, problem = self.found(log)
        self.assertIsNone(problem)
        node = auditor.nodes[NODES[0]]
        self.assertEqual((node.offered(), node.runs_max(), node.busy), (8, 2, 2))
        auditor.grow(node, 1)
        self.assertEqual(node.runs_max(), 3)
        auditor.grow(node, 1)
        self.assertEqual(node.runs_max(), 3)  # it used less than half of what it has
        node.concurrency = 9
        auditor.grow(node, 9)
        self.assertEqual((node.concurrency, node.runs_max()), (9, 8))
        for halved in (4, 2, 2):
            auditor.halve(node)
            self.assertEqual(node.runs_max(), halved)
        self.lease(log, SECOND)
        self.assertIn("the task whose turn it is", self.found(log)[1])

    def test_a_suspended_requester_has_no_turn(self):
        log = self.log(slots=1)
        log.decide("account.suspended", {"account": ulid(1), "reason": "r"})
        self.lease(log, ulid(53))
        self.assertIsNone(self.found(log)[1])

    def test_a_newcomer_has_saved_up_nothing(self):
        log = self.log(slots=3)
        self.lease(log, TASK, ulid(53), SECOND)
        log.REQUESTER = ulid(3)
        log.deposit("1000000000", "wire 3")
        log.task(ulid(54), "1053000")
        auditor, _ = self.found(log)
        # It begins where the one who was served last had been by ended runs; what others only reserve does not count.
        self.assertEqual((auditor.virtual_time, auditor.used[ulid(3)]), (0, 0))
        log = self.log(slots=1)
        self.give_up(log, TASK, self.lease(log, TASK))
        self.lease(log, SECOND)
        log.REQUESTER = ulid(3)
        log.deposit("1000000000", "wire 3")
        log.task(ulid(54), "1053000")
        auditor, _ = self.found(log)
        # Who waited, came before and could not be served is lifted, too: nobody here.
        self.assertEqual((auditor.virtual_time, auditor.used[ulid(3)]), (auditor.used[ulid(2)], auditor.used[ulid(2)]))


class Nodes(unittest.TestCase):
    """Nodes come and go, change their keys and terms, and are suspended; what they then may not do is found."""

    def check(self, happens, says=None):
        """A node that something happened to, and what it does then."""
        log = with_nodes()
        log.task(TASK, "1053000")
        happens(log)
        error = audited(lines_of(log.entries))["error"]
        if says is None:
            self.assertIsNone(error)
        else:
            self.assertIsNotNone(error, "not found")
            self.assertIn(says, error["what"])
            self.assertEqual(error["position"], len(log.entries) - 1)

    def about(self, kind, **data):
        """Something that happens to the first node."""
        return lambda log: log.decide(kind, {"node": NODES[0]} | data)

    def lease(self, log):
        log.lease(TASK, RUNS[0], NODES[0])

    def test_nodes_that_take_no_work(self):
        closed = {"hours": [{"from_min": 0, "to_min": 1}]}
        for before in (self.about("node.drained", leaving=False), self.about("node.drained", leaving=True),
                       self.about("node.revoked", reason="r"), self.about("node.suspended", reason="r"),
                       self.about("node.availability_changed", availability="offline"),
                       self.about("node.terms_changed", terms=closed)):
            self.check(lambda log: (before(log), self.lease(log)), "takes work")
        for terms in ({"caps": {"runs": 0}}, {"caps": {"cpu_cores": 0}}):
            before = self.about("node.terms_changed", terms=terms)
            self.check(lambda log: (before(log), self.lease(log)), "at most 0 runs at once")

    def test_nodes_that_take_work_again(self):
        for pair in ((self.about("node.drained", leaving=True), self.about("node.resumed")),
                     (self.about("node.suspended", reason="r"), self.about("node.released", reason="r"))):
            self.check(lambda log: (pair[0](log), pair[1](log), self.lease(log)))
        twice = self.about("node.suspended", reason="r")
        self.check(lambda log: (twice(log), twice(log)), "not suspended")
        self.check(self.about("node.released", reason="r"), "suspended node")

    def test_a_node_leaves_when_nothing_of_it_is_open(self):
        leave, left = self.about("node.drained", leaving=True), self.about("node.left")
        self.check(lambda log: (leave(log), left(log)))
        self.check(left, "standing of a node that left")
        self.check(lambda log: (self.lease(log), leave(log), left(log)), "has open")
        self.check(lambda log: (leave(log), left(log), self.about("node.resumed")(log)), "is there")

    def test_keys_change_by_the_key_before(self):
        self.check(lambda log: (log.rotate(NODES[0], "next"), log.run(TASK, (RUNS[0], NODES[0], "a"))))
        other = hashlib.sha256(b"another").digest()
        self.check(lambda log: log.rotate(NODES[0], "next", signed_by=other), "does not verify")
        self.check(lambda log: (log.rotate(NODES[0], "one"), log.rotate(NODES[0], "two"), log.rotate(NODES[0], "one")),
                   "no node has or had")

        def with_the_old_key(log):
            before = log.nodes[NODES[0]]
            log.rotate(NODES[0], "next")
            log.nodes[NODES[0]] = before
            log.lease(TASK, RUNS[0], NODES[0])
            log.start(TASK, RUNS[0])
            log.commit(TASK, RUNS[0], NODES[0])

        self.check(with_the_old_key, "does not verify")

    def test_only_a_revoked_nodes_leases_are_lost_for_that(self):
        def lost(reason):
            return lambda log: log.decide("assignment.lost", {"task": TASK, "assignment": RUNS[0], "reason": reason})

        revoke = self.about("node.revoked", reason="r")
        self.check(lambda log: (self.lease(log), revoke(log), lost("revoked")(log)))
        self.check(lambda log: (self.lease(log), lost("revoked")(log)), "whether its node is revoked")
        self.check(lambda log: (self.lease(log), revoke(log), lost("silent")(log)), "whether its node is revoked")


class Formulas(unittest.TestCase):
    """The examples in docs/economics.md that no log above shows, and the edges of rounding."""

    def test_refused_loss(self):
        policy = recompute.with_integers(POLICY)
        self.assertEqual([recompute.refused_loss(policy, b) for b in (0, 10, 50, 99, 100, 130)], [0, 10, 50, 50, 50, 65])

    def test_largest_remainder(self):
        self.assertEqual(recompute.largest_remainder(10, [1, 1, 1]), [4, 3, 3])
        self.assertEqual(recompute.largest_remainder(300009, [1, 2, 4]), [42858, 85717, 171434])
        self.assertEqual(recompute.largest_remainder(0, [0, 0]), [0, 0])
        self.assertEqual(recompute.largest_remainder(7, [0, 3]), [0, 7])

    def test_royalties(self):
        def content(id, owner, parents=(), weight=1):
            made = recompute.Content(id, owner, weight, 0, None, [(owner, 1)], [], list(parents), 0)
            contents[id] = made
            made.ancestors = recompute.ancestors_of(made, contents)
            return made

        contents, policy = {}, {"contents": {"royalty_ppm": 100_000, "generations": 4}}
        content("a", "one"), content("b", "two", ["a"])
        model = content("c", "three", ["b"])
        self.assertEqual(recompute.royalties_of(model, 1_100_000, policy, contents, set()), [("b", 99_000), ("a", 11_000)])
        self.assertEqual(recompute.royalties_of(model, 1_100_000, policy, contents, {"b"}), [("a", 11_000)])
        # Own contents are looked through, and take no part.
        content("d", "three", ["c"]), content("e", "three")
        again = content("f", "three", ["d", "e"])
        self.assertEqual(again.ancestors, [(1, "b"), (2, "a")])
        # By weight, and to the last unit.
        content("g", "four", weight=2)
        both = content("h", "five", ["a", "g"])
        self.assertEqual(recompute.royalties_of(both, 1_000, policy, contents, set()), [("a", 33), ("g", 67)])
        crowd = [content(f"x{n:02}", "one").id for n in range(30)]
        self.assertEqual(len(content("y", "two", crowd).ancestors), recompute.ANCESTORS_MAX)

    def test_bounds(self):
        self.assertEqual([recompute.micro_units(d) for d in ("0.9", "-0.000001", "12", "-3.5")], [900000, -1, 12000000, -3500000])
        for bad in ("", ".5", "1.", "1e3", "0.1234567", "+1"):
            with self.assertRaises(recompute.Problem):
                recompute.micro_units(bad)
        self.assertTrue(recompute.bound_holds(("m", "0.9", "0.9"), {"m": 900000}))
        self.assertFalse(recompute.bound_holds(("m", "0.9", None), {"m": 899999}))
        self.assertFalse(recompute.bound_holds(("m", None, "1"), {}))

    def test_blame(self):
        def task(*failures):
            failed = {i: recompute.Assignment(str(i), "n", owner, 1, state="failed", failure=f) for i, (owner, f) in enumerate(failures)}
            return recompute.Task("t", "r", None, {}, 0, 1, assignments=failed)

        def blamed(*failures):
            return [a.failure for a in recompute.blamed_on_module(task(*failures))]
        self.assertEqual(blamed(("x", "trap"), ("x", "trap")), [])
        self.assertEqual(blamed(("x", "trap"), ("y", "trap"), ("z", "host-error")), ["trap", "trap"])
        self.assertEqual(blamed(("x", "trap"), ("y", "trap"), ("x", "limit"), ("y", "limit")), ["limit", "limit"])


    def test_reliability(self):
        bounds = [recompute.wilson(good, bad) for good, bad in ((0, 0), (10_000, 0), (90_000, 10_000), (44_788, 4_932), (1, 0))]
        self.assertEqual(bounds, [94_528, 646_114, 817_139, 770_742, 94_648])

    def test_outcomes_fade(self):
        node = recompute.Node("n", "o", b"", {})
        node.record("training").tallies["gpu a"] = 90_000, 10_000
        node.fade([995_000] * 139)
        self.assertEqual(node.record("training").tallies, {"gpu a": (44_788, 4_932)})
        node.fade([995_000] * 139 + [500_000])
        self.assertEqual(node.record("training").tallies, {"gpu a": (22_394, 2_466)})
        node.fade([995_000] * 139 + [500_000] * 30)
        self.assertEqual(node.record("training").tallies, {})


class Standards(unittest.TestCase):
    """Published test vectors."""

    def test_numbers_of_rfc_8785(self):
        vectors = {
            "0000000000000000": "0", "8000000000000000": "0", "0000000000000001": "5e-324", "8000000000000001": "-5e-324",
            "7fefffffffffffff": "1.7976931348623157e+308", "4340000000000000": "9007199254740992",
            "4430000000000000": "295147905179352830000", "44b52d02c7e14af5": "9.999999999999997e+22",
            "44b52d02c7e14af6": "1e+23", "444b1ae4d6e2ef4e": "999999999999999700000", "444b1ae4d6e2ef50": "1e+21",
            "3eb0c6f7a0b5ed8c": "9.999999999999997e-7", "3eb0c6f7a0b5ed8d": "0.000001", "41b3de4355555553": "333333333.3333332",
            "becbf647612f3696": "-0.0000033333333333333333", "43143ff3c1cb0959": "1424953923781206.2",
        }
        for bits, text in vectors.items():
            self.assertEqual(recompute.number(struct.unpack(">d", bytes.fromhex(bits))[0]), text)

    def test_strings_and_keys_of_rfc_8785(self):
        value = json.loads('{"\\u20ac":1,"\\r":2,"\\ufb33":3,"1":4,"\\ud83d\\ude00":5,"\\u0080":6,"\\u00f6":7,"s":"\\u20ac$\\u000F\\nA\'\\u0042\\"\\/\\u007f"}')
        self.assertEqual(recompute.canonical_text(value),
                         '{"\\r":2,"1":4,"s":"€$\\u000f\\nA\'B\\"/\x7f","\x80":6,"ö":7,"€":1,"😀":5,"\ufb33":3}')

    def test_roots_of_rfc_6962(self):
        leaves = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
        roots = {1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                 2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
                 3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
                 8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"}
        tree = recompute.MerkleTree()
        for leaf in leaves:
            tree.append(bytes.fromhex(leaf))
            self.assertEqual(tree.root(), roots.get(tree.size, tree.root()))

    def test_signatures_of_rfc_8032(self):
        vectors = [
            ("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
             "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
             "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"),
            ("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
             "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
             "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"),
        ]
        for seed, public, message, signature in (map(bytes.fromhex, vector) for vector in vectors):
            self.assertEqual(key_pair(seed)[2], public)
            self.assertEqual(sign(seed, message), signature)
            self.assertTrue(recompute.signature_holds(public, message, signature))
            self.assertFalse(recompute.signature_holds(public, message + b"x", signature))
            self.assertFalse(recompute.signature_holds(public, message, signature[:63]))
            beyond = (int.from_bytes(signature[32:], "little") + recompute.ORDER).to_bytes(32, "little")
            self.assertFalse(recompute.signature_holds(public, message, signature[:32] + beyond))


class CommandLine(unittest.TestCase):
    """What is printed, and the exit codes."""

    def run_on(self, data, *options):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "log.ndjson")
            with open(path, "wb") as file:
                file.write(data)
            out = io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
                return recompute.main([path, *options]), out.getvalue()

    def test_tables(self):
        code, text = self.run_on(lines_of(worked_example().entries))
        self.assertEqual(code, 0)
        for part in ("150,000", "1 settled", "3 checked", f"account/{OWNERS[0]}"):
            self.assertIn(part, text)

    def test_json(self):
        code, text = self.run_on(lines_of(worked_example().entries), "--json", "--skip-signatures")
        self.assertEqual(code, 0)
        self.assertEqual(set(json.loads(text)), {"events", "root", "sum", "accounts", "points", "tasks", "turns", "draws", "coins", "reveals", "signatures", "error"})

    def test_a_problem(self):
        lines = lines_of(worked_example().entries).splitlines(keepends=True)
        code, text = self.run_on(b"".join(lines[:5] + lines[6:]))
        self.assertEqual((code, text), (1, "position 5: the position: expected 5, found 6\n"))
        code, text = self.run_on(b"".join(lines[:5] + lines[6:]), "--json")
        self.assertEqual((code, json.loads(text)["error"]["position"]), (1, 5))

    def test_no_file(self):
        with contextlib.redirect_stderr(io.StringIO()):
            self.assertEqual(recompute.main(["/nowhere/log.ndjson"]), 2)
            with self.assertRaises(SystemExit) as usage:
                recompute.main([])
        self.assertEqual(usage.exception.code, 2)


if __name__ == "__main__":
    unittest.main()
