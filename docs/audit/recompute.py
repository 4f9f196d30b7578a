#!/usr/bin/env python3
"""Recompute Aevir's books from its log alone.

    python3 docs/audit/recompute.py LOG.ndjson [--json] [--skip-signatures]

LOG.ndjson is an export, one CloudEvent a line, or what /v1/events gives, one entry a line; `-` reads standard input (of a
compressed export, `zstd -dc LOG.ndjson.zst`). It stops at the first entry that the rules don't explain,
says what it expected and what it found there, and exits with 1 (2: wrong usage, or a file that can't be read).

It is written from docs/log.md, docs/economics.md and schemas/events/, as a second opinion on the platform's own code, and
uses Python's standard library only. From top to bottom:

    canonical JSON     RFC 8785: are the bytes of a line the only bytes that its content can have?
    Merkle tree        RFC 6962: one hash that stands for all lines
    Ed25519            RFC 8032: did the node's key sign the result?
    economics          what things cost and earn, as functions of the terms
    verdicts           which results agree, and what follows from it
    placement          whose turn it is, which nodes a replica is drawn among, and which of them the epoch's secret draws
    the auditor        folds the entries: what must follow from each, and whether it did
    the report
"""

import argparse
import base64
import hashlib
import hmac
import json
import math
import re
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from json.encoder import encode_basestring as quote  # escapes what RFC 8785 does: ", \ and the controls below U+0020
from typing import NamedTuple

MILLION = 1_000_000
HELD_UP_MS = 86_400_000 * 1_000  # in which a payment that waits for a review without a verdict costs as much as it is
ANCESTORS_MAX = 16  # of a content, that earn by it
GENERATIONS_MAX = 8
COPIES_MAX = 64  # contents that one verdict suspends
REGISTRANTS_MAX = 1_024  # contents with the same file that are looked at
LINEAGES_MAX = 64  # that are looked at for one content's ancestors
ENTRY_BYTES_MAX = 65_535
RESULT_BYTES_MAX = 32_768  # of an inline result
COMPILE_MIB_MIN, COMPILE_MIB_MAX, COMPILE_MIB_UNMEASURED = 1, 4_096, 1_024  # memory for compiling a module
TASK_CHECKPOINT_BYTES_MAX = 2**34  # of all of its runs together
EXACT_INTEGER_MAX = 2**53  # doubles hold all integers up to here

LINE_BYTES_MAX = ENTRY_BYTES_MAX + 4_096  # an entry with the attributes of a CloudEvent, the log's origin among them
EXTENSIONS = {"schemaversion": "schema", "subject": "stream"}  # what a CloudEvent calls otherwise than the entry
# The newest version of the types that have more than one; what is read of them here stands alike in all.
NEWEST = {"assignment.committed": 2, "assignment.failed": 2, "assignment.leased": 2, "assignment.lost": 2, "assignment.revealed": 2, "content.registered": 2, "ledger.posted": 2,
          "module.registered": 2, "node.registered": 3, "policy.adopted": 2, "task.created": 2,
          "task.settled": 2, "task.verified": 2}
ENVELOPE_FIELDS = {"position", "id", "stream", "revision", "type", "schema", "time", "actor", "cause", "data"}
ID = "[0-7][0-9A-HJKMNP-TV-Z]{25}"  # a ULID
ID_PATTERN = re.compile(ID)
ACTOR_PATTERN = re.compile(f"system|(account|node)/{ID}")
AVAILABLE_PATTERN = re.compile(f"account/{ID}/available")
TIME_PATTERN = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
INTEGER_PATTERN = re.compile(r"0|-?[1-9][0-9]{0,19}")
DECIMAL_PATTERN = re.compile(r"(-?)(\d+)(?:\.(\d{1,6}))?")
TRACKS = ("compute", "content", "verification")
CLOSE_REASONS = ("cancelled", "expired", "attempts-spent", "dependency-failed")
SEALED = ("committed", "shown", "revealed")  # the states of an assignment that brought a result, before the verdict
MODULE_FAILURES = ("guest-error", "trap", "limit")
CHECKPOINTS_MIB = 24  # storage that a run's checkpoints take on its node
CLAIMS_PER_DAY = 4  # checks of a node's GPU for claims above the last check's class, beside those that are drawn
NOT_COMPILED_MS = 86_400_000  # how long a node gets no task of a module that it could not compile

# Entries that may stand in a batch after the one that they follow from. All other entries begin something new.
CONSEQUENCES = {"ledger.posted", "node.slashed", "points.changed", "task.settled", "task.matured", "task.closed", "task.queued",
                "assignment.withdrawn", "content.registered", "task.round_closed", "task.verified", "assignment.lost",
                "task.trust_decided", "node.suspended", "node.availability_changed", "task.created", "task.reviewed",
                "content.suspended", "assignment.shown", "assignment.revealed", "task.extended", "task.inspection_opened",
                "task.inspected"}

# Entries that move no money and no points, and that nothing here depends on.
BYSTANDERS = {"account.opened", "account.key_added", "account.key_revoked", "account.join_token_issued", "account.blob_uploaded"}


class Problem(Exception):
    """The log breaks a rule; the text says what was expected and what is there."""


def require(holds, what):
    """Raise a `Problem` unless the condition holds."""
    if not holds:
        raise Problem(what)


def expect(what, expected, found):
    """Raise a `Problem` unless what was found is what the rules say."""
    if expected != found:
        raise Problem(f"{what}: expected {show(expected)}, found {show(found)}")


def show(value):
    """A value as a reader sees it in the log."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True) if isinstance(value, (dict, list, tuple)) else str(value)


# ---------------------------------------------------------------- canonical JSON (RFC 8785)

def number(value):
    """A double as ECMAScript writes it (RFC 8785, 3.2.2.3); `repr` gives the shortest digits that read back as the double."""
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    digits = (whole + fraction).lstrip("0")
    point = int(exponent or 0) + len(digits) - len(fraction)  # the value is 0.DIGITS * 10**point
    digits = digits.rstrip("0")
    if len(digits) <= point <= 21:
        return sign + digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return sign + digits[:point] + "." + digits[point:]
    if -6 < point <= 0:
        return sign + "0." + "0" * -point + digits
    mantissa = digits[0] + ("." + digits[1:] if len(digits) > 1 else "")
    return f"{sign}{mantissa}e{point - 1:+d}"


def canonical_text(value):
    """The RFC 8785 form of a JSON value, as text."""
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, int):
        return str(value) if abs(value) <= EXACT_INTEGER_MAX else number(float(value))
    if isinstance(value, float):
        return number(value)
    if isinstance(value, list):
        return "[" + ",".join(map(canonical_text, value)) + "]"
    keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
    return "{" + ",".join(f"{quote(key)}:{canonical_text(value[key])}" for key in keys) + "}"


def canonical(value):
    """The RFC 8785 form of a JSON value, as bytes."""
    return canonical_text(value).encode()


def parse(line):
    """The value of a line, or a `Problem` where JSON leaves more than one reading."""
    try:
        return json.loads(line.decode(), object_pairs_hook=unique_keys, parse_int=exact_integer, parse_float=finite,
                          parse_constant=finite)
    except (ValueError, RecursionError) as error:
        raise Problem(f"expected an entry in JSON, found a line that does not parse: {error}") from error


def unique_keys(pairs):
    """An object, unless it names a key twice."""
    value = dict(pairs)
    if len(value) != len(pairs):
        twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
        raise Problem(f"expected each key once, found {twice[0]!r} more than once in one object")
    return value


def exact_integer(text):
    """An integer, unless a double can't hold it."""
    value = int(text)
    require(int(finite(text)) == value, f"expected numbers that a double holds, found {text[:40]}")
    return value


def finite(text):
    """A double, unless it is not a finite number."""
    value = float(text)
    require(math.isfinite(value), f"expected numbers that a double holds, found {text[:40]}")
    return value


# ---------------------------------------------------------------- Merkle tree (RFC 6962)

class MerkleTree:
    """The root over all lines so far, from the roots of the complete subtrees: one for each 1 bit of the size."""

    def __init__(self):
        self.size = 0
        self.subtrees = []  # the largest first

    def append(self, entry):
        """Add a leaf, and merge the complete subtrees that it makes equal in size."""
        root = hashlib.sha256(b"\x00" + entry).digest()
        size = self.size
        while size & 1:
            root = node_hash(self.subtrees.pop(), root)
            size >>= 1
        self.subtrees.append(root)
        self.size += 1

    def root(self):
        """The root as hexadecimal digits."""
        if not self.subtrees:
            return hashlib.sha256().hexdigest()
        root = self.subtrees[-1]
        for left in reversed(self.subtrees[:-1]):
            root = node_hash(left, root)
        return root.hex()


def node_hash(left, right):
    """The hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


# ---------------------------------------------------------------- Ed25519 (RFC 8032, 5.1)
# Points are (X, Y, Z, T) with x = X/Z, y = Y/Z, x*y = T/Z.

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
NEUTRAL = (0, 1, 1, 0)


def point_add(p, q):
    """The sum of two points (RFC 8032, 5.1.4)."""
    a = (p[1] - p[0]) * (q[1] - q[0]) % P
    b = (p[1] + p[0]) * (q[1] + q[0]) % P
    c = 2 * p[3] * q[3] * D % P
    d = 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def point_decode(data):
    """The point that 32 bytes stand for, or None (RFC 8032, 5.1.3)."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


def point_encode(point):
    """A point as 32 bytes (RFC 8032, 5.1.2)."""
    inverse = pow(point[2], -1, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


BASE = point_decode((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def two_products(a, p, b, q):
    """a*p + b*q, in one chain of doublings."""
    sums = (None, p, q, point_add(p, q))
    total = NEUTRAL
    for bit in range(max(a.bit_length(), b.bit_length()) - 1, -1, -1):
        total = point_add(total, total)
        choice = (a >> bit & 1) | (b >> bit & 1) << 1
        if choice:
            total = point_add(total, sums[choice])
    return total


def signature_holds(public_key, message, signature):
    """Whether the key signed the message (RFC 8032, 5.1.7, without the cofactor)."""
    key = point_decode(public_key) if len(public_key) == 32 else None
    scalar = int.from_bytes(signature[32:], "little")
    if key is None or len(signature) != 64 or scalar >= ORDER:
        return False
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + public_key + message).digest(), "little") % ORDER
    minus_key = (P - key[0], key[1], 1, P - key[3])
    return point_encode(two_products(scalar, BASE, challenge, minus_key)) == signature[:32]


# ---------------------------------------------------------------- terms

@dataclass(frozen=True)
class Terms:
    """What a task's definition says about money and verification."""
    pricing: dict  # with its amounts as integers
    fuel_max: int  # that a run is granted
    price: int  # the most that a replica earns
    budget: int
    replicas: int
    quorum: int
    initial: int
    adaptive: bool
    unstaked: bool
    attempts_max: int
    contents: list  # ids, in their order
    dependencies: list  # ids of tasks
    bounds: list  # (metric, at_least, at_most)
    schemas: int  # how many JSON Schemas the result must satisfy
    inspections: list  # (place, method) of those that ask for verifiers
    comparison: tuple  # (place, module) where results are compared that are not equal
    max_latency_ms: int | None
    late_refund_ppm: int
    deadline: str | None


def read_content_terms(data):
    """A content's price, and who may use it: None for everybody."""
    access = data.get("access", "everybody")
    price = integer(data.get("price", "0"))
    require(price >= 0, f"expected a price of 0 or more, found {price}")
    return price, None if access == "everybody" else set(access["accounts"])


def read_terms(definition):
    """From the `definition` of `task.created`, with the schema's defaults for what it leaves out."""
    methods = definition.get("verification") or []
    sampling = next((m for m in methods if m["method"] == "sampling"), {"replicas": 1, "quorum": 1})
    checks = [m for m in methods if m["method"] == "check"]
    sources = [data["from"] for data in definition.get("data") or []]
    contents = {source["content"]["id"] for source in sources if "content" in source}
    base = (definition.get("model") or {}).get("base")
    qos = definition.get("qos") or {}
    economics = definition["economics"]
    pricing = {name: value if name == "mode" else amount(value) for name, value in economics["pricing"].items()}
    require(pricing["mode"] in ("fixed", "ask", "metered"), f"expected a known mode of pricing, found {pricing['mode']}")
    return Terms(
        pricing=pricing,
        fuel_max=integer((LIMITS | (definition.get("limits") or {}))["fuel"]),
        price=pricing["price" if pricing["mode"] == "fixed" else "max_price"],
        budget=amount(economics["budget"]),
        replicas=sampling["replicas"],
        quorum=sampling["quorum"],
        initial=sampling["quorum"] if sampling.get("initial") is None else sampling["initial"],
        adaptive=sampling.get("adaptive", False),
        unstaked=sampling.get("unstaked", False),
        attempts_max=(definition.get("retry") or {"max_attempts": 3})["max_attempts"],
        contents=sorted(contents | ({base} if base else set())),
        dependencies=[dependency["task"] for dependency in definition.get("depends_on") or []],
        bounds=[(b["metric"], b.get("at_least"), b.get("at_most")) for c in checks for b in c.get("bounds") or []],
        schemas=sum(1 for c in checks if c.get("schema") is not None),
        comparison=next(((place, m["comparator"]["module"]) for place, m in enumerate(methods)
                         if m["method"] == "sampling" and isinstance(m.get("comparator"), dict)), ()),
        inspections=[(place, m) for place, m in enumerate(methods) if m["method"] == "attestation" or m.get("module")],
        max_latency_ms=qos.get("max_latency_ms"),
        late_refund_ppm=definition["economics"].get("late_refund_ppm", 0),
        deadline=qos.get("deadline"))


@dataclass
class Node:
    """A node, what it is doing, and how it did."""
    id: str
    owner: str
    public_key: bytes
    profile: dict
    ordinal: int = 0  # nodes that were registered before it
    online: bool = False
    busy: int = 0
    taken: tuple = (0, 0, 0, 0, 0)  # that its runs may take, as in room(), and what is sealed of its storage
    sealed_mib: int = 0  # the latter
    cached: list = field(default_factory=list)  # digests of inputs that it fetched, the last one last
    records: dict = field(default_factory=dict)  # by type of task
    returns: tuple = (0, 0)  # the epoch of its last free return, and how many there were in it
    faded: int = 0  # epochs that had closed when they were brought up to date
    ranked: int = 0  # its owner's compute points as of then, or of their last change
    standing: str = "working"
    suspended: bool = False
    sealed: set = field(default_factory=set)  # assignments with a sealed result in a task that has not ended
    terms: dict = field(default_factory=dict)
    keys: list = field(default_factory=list)  # that it had before
    shown: int = 0  # fuel that its results showed, in millions a second
    samples: int = 0  # of those
    mflop_s: int = 0  # that checks of its GPU showed, in millions of operations a second
    checks: int = 0  # of those
    checked_wrong: bool = False  # the last answer was wrong, and no right one came since
    checked_on: tuple = (0, 0, 0)  # the day of the last check, how many there were on it that were drawn, and how many of new claims
    checked_class: int = 0  # of the last check
    concurrency: int = 0  # runs at once that it may have by what it has shown
    stake: int = 0  # the balance of its stake
    locked: int = 0  # of that, for open results
    vouched_at: int = 0  # when its last result was sealed that a draw had repeated, and that stood, in ms
    strikes: int = 0  # refused results, none of which was forgotten before the next
    struck_at: int = 0  # when the last was, in ms
    stood: int = 0  # its results that a quorum accepted
    caught_at: int = -1  # when a quorum last agreed on another result than one of its own

    def record(self, kind):
        """How it did on a type of task."""
        return self.records.setdefault(kind, Record())

    def hardware(self, with_gpu):
        """What a run uses on it: the class of its GPU where the task needs one, else None."""
        return self.profile["gpu"]["class"] if with_gpu and self.profile.get("gpu") else None

    def fade(self, keeps, points=0):
        """Brings its records up to date: one multiplication for each epoch that closed since they were, each rounded down; and what
        its owner's points have become."""
        if self.faded < len(keeps):
            self.ranked = points
        for keep in keeps[self.faded:]:
            for record in self.records.values():
                faded = {hardware: (part(good, keep), part(bad, keep)) for hardware, (good, bad) in record.tallies.items()}
                record.tallies = {hardware: counts for hardware, counts in faded.items() if any(counts)}
        self.faded = len(keeps)

    def allowed(self, cap, has):
        """What the machine has, or less where the terms cap it."""
        return min(has, (self.terms.get("caps") or {}).get(cap, has))

    def offered(self):
        """Runs at once, as machine and terms allow: each takes a core."""
        return min(self.claimed(), self.profile["cpu_cores"])

    def claimed(self):
        """The same, whatever cores the machine has: leases from before there were draws went by it."""
        return self.allowed("cpu_cores", self.allowed("runs", self.profile["slots"]))

    def room(self):
        """What it has for all its runs together, as machine and terms allow: memory, storage and GPU memory in MiB, cores, and memory
        of both sorts together: where the GPU is software they are one, and elsewhere there is enough of it."""
        profile, gpu = self.profile, self.profile.get("gpu")
        memory = self.allowed("memory_mib", profile["memory_mib"])
        return (memory, self.allowed("storage_mib", profile["storage_mib"]),
                self.allowed("gpu_memory_mib", gpu["memory_mib"]) if gpu else 0, self.allowed("cpu_cores", profile["cpu_cores"]),
                memory if gpu and gpu.get("software") else 2**64 - 1)

    def slots_milli(self, run):
        """Slots that a run counts for, in thousandths: its largest part of the node, and one at least."""
        most = max(1, self.runs_max()) * 1_000
        return min(most, max([1_000] + [-(-takes * most // has) for takes, has in zip(run, self.room()) if has]))

    def runs_max(self):
        """Runs at once that it is given: as many as it offers, as far as it has shown that it can."""
        return min(self.offered(), self.concurrency)

    def is_open(self, now):
        """Whether its terms have it work at this time: minutes of the week count from Monday 00:00 UTC."""
        minute = (now // 60_000 + 3 * 1_440) % (7 * 1_440)
        hours = self.terms.get("hours") or []
        return not hours or any(window["from_min"] <= minute < window["to_min"] for window in hours)

    def admits(self, whom, one):
        """Whether its terms take one's tasks, or a module."""
        lists = self.terms.get(whom) or {}
        return one not in (lists.get("deny") or []) and (not lists.get("allow") or one in lists["allow"])

    def see(self, fuel, ms, fetching):
        """An accepted result shows how fast it is at least: the best counts, and fades. It has ms from its lease, less some for fetching."""
        if ms > 0 and fuel >= 10_000_000_000:
            faded, span = self.shown - -(-self.shown // 16), max(-(-ms // 2), ms - 1_000 - fetching)
            self.shown, self.samples = max(min(fuel // span // 1_000, 2**32 - 1), faded), self.samples + 1


@dataclass
class Record:
    """A node's outcomes on one type of task."""
    tallies: dict = field(default_factory=dict)  # (good, bad) in thousandths, by the hardware that the runs used
    in_a_row: int = 0
    backoff_until: int = 0

    def count(self, hardware, good, bad):
        """More outcomes, up to the most that a count holds."""
        before = self.tallies.get(hardware, (0, 0))
        self.tallies[hardware] = tuple(min(n + 1_000 * more, 1_000 * (2**32 - 1)) for n, more in zip(before, (good, bad)))

    def back_off(self, now, policy):
        """After one more fault: twice as long for each in a row."""
        wait = min(policy["backoff_ms"] << min(self.in_a_row, 31), policy["backoff_max_ms"])
        self.in_a_row, self.backoff_until = self.in_a_row + 1, now + wait


class Checkpoint(NamedTuple):
    """Where a run can go on from."""
    by: str
    author: str
    blob: dict
    ppm: int  # how far the task is there


@dataclass
class Content:
    """A dataset or a model: what it costs, who may use it, and who earns by it."""
    id: str
    owner: str
    weight: int  # in the content pool
    price: int
    access: set | None  # of accounts; None where everybody may use it
    earners: list  # (account, weight)
    files: list
    parents: list  # ids of what it was made of
    registered_at: int
    is_made: bool = False  # by a task
    ancestors: list = field(default_factory=list)  # (generation, id) of those that earn by it

    def is_for(self, account):
        """Whether an account may use it and see it."""
        return self.access is None or account in self.access or account == self.owner or account in dict(self.earners)


@dataclass
class Assignment:
    """One replica of a task on one node."""
    id: str
    node: str
    owner: str
    round: int
    hardware: str | None = None  # the GPU's class at the time of the lease, for a task that needs one
    state: str = "leased"
    withdrawn_from: str | None = None  # the state before it was called off with its task
    doubles: str | None = None  # the run that it duplicates
    overtaken: bool = False  # it had begun when another result was taken for its replica
    sealed_mib: int = 0  # what its node keeps of its result until that is opened
    stake: int = 0  # of its node's, that is locked for it
    is_staked: bool = False  # as much was free as the policy asks for
    resume: dict | None = None  # the checkpoint that it goes on from
    author: str | None = None  # and the node that made it
    resumed_run: str | None = None  # and the run
    outvoted: bool = False  # a verdict refuses it, for it brought another result
    has_remade: bool = False  # it made the checkpoint that runs from zero are to make
    told: tuple | None = None  # when it last told how far it is, in ms, and how far, in parts per million
    failure: str | None = None
    uploads: list = field(default_factory=list)  # blobs that the node brought under it
    closed_uploads: list = field(default_factory=list)  # the same of a sample's replica, as far as can be told before the verdict
    closed: bytes = b""  # what the node showed, before anybody can read it
    commitment: str | None = None
    agreement: str | None = None  # equal for results that agree
    work: str | None = None  # the same without the fuel
    checks: list = field(default_factory=list)
    outputs: list = field(default_factory=list)
    result: dict | None = None
    charged: int = 0  # to its requester, for the time that it reserved
    compiling: int = 0  # memory in which its module is compiled, until its run starts, in MiB
    slots_milli: int = 0  # slots of its node that it counts for, in thousandths
    leased_at: int = 0
    abreast: int = 0  # runs that its node had with it when it began
    started_at: int = 0
    committed_at: int = 0
    absent_ms: int = 0  # of the time until then, for how long there was no leader
    fuel: int = 0  # that its report says
    used: tuple = ()  # what it is paid for where the task is metered: fuel, workgroups, bytes
    price: int = 0  # that it earns in time, or the most where the task is metered

    def is_backed(self):
        """It has stake behind it."""
        return self.is_staked and self.price > 0

    def slot(self):
        """The replica that it makes: its own, or that of the run which it duplicates."""
        return self.doubles or self.id

    def danger_at(self, due, after_ppm):
        """From when it may make its task late, in ms."""
        silent_at = self.leased_at + (due - self.leased_at) * after_ppm // MILLION
        if self.told is None or self.told[1] == 0:
            return silent_at
        at, ppm = self.told
        ends_at = self.started_at + (at - self.started_at) * MILLION // ppm
        return at if ends_at > due else max(ends_at, silent_at)


class ReviewOf(NamedTuple):
    """What a task reviews, and for whom."""
    task: str
    payer: str  # the ledger account that put its escrow up
    involved: list  # the reviewed task's assignments that brought a result, or that it rests on
    hardware: str | None
    reviewed: str  # what its results agree on, without the fuel where it went on from a checkpoint
    counts: bool  # the reviewed result is one of those that are compared
    is_resumed: bool
    expects: tuple | None  # the first run that it rests on, and what that saved, where another node's work is among it

    def says(self, assignment):
        """What a fresh result is held against it by."""
        return assignment.work if self.is_resumed else assignment.agreement


class InspectionOf(NamedTuple):
    """Whose result verifiers work on."""
    task: str
    place: int  # of the method that asks for them
    compares: dict | None  # the two results, where they compare two
    involved: list  # the other task's assignments that brought a result; none in a private market
    hardware: str | None
    agreed: str  # what its results agree on
    risk: int  # what a result earns at most that they may refute; 0 where they refute none

    def pair(self):
        """The ids of the results that they compare."""
        return (self.compares["one"], self.compares["two"]) if self.compares else ()


@dataclass
class Task:
    """A task that has not ended. Its policy has the field names of `policy.adopted`."""
    id: str
    requester: str
    terms: Terms
    policy: dict
    escrow: int
    target: int  # replicas that are to commit, over all rounds so far
    definition: dict = field(default_factory=dict)
    digest: str = ""  # of the definition
    nonce: str = ""
    inputs: list = field(default_factory=list)
    state: str = "created"
    round: int = 1
    queued_at: int = 0
    reveal_by: int = 0
    faults: int = 0
    free_returns: int = 0
    reserved: str | None = None  # the node that is kept free for it
    compile_mib: int = 0  # memory that compiling its module takes
    module_mib: int = 0  # storage that its module and the compiled form take; 0 where nobody measured it
    at_once: bool = False  # its replicas are placed at once, and not one after the other
    sample: str = "repeated"  # or undecided, of an adaptive one, or alone
    trusted: str | None = None  # the result that could have stood alone, and was repeated
    policy_version: int = 0
    seed: str = ""
    prices: dict = field(default_factory=dict)  # of its contents that cost something, as of its creation
    review: tuple = ()  # ("due", node), ("open", task) or ("ended", outcome), where its verdict is or was looked at again
    cause: str = ""  # of that: dispute, caught or unvouched
    review_cost: int = 0  # and what it cost
    held: int = 0  # of the refund, until it matures
    review_of: "ReviewOf | None" = None  # the verdict that it looks at
    looks: dict = field(default_factory=dict)  # what verifiers say of its result, by the place of the method that asks for them
    compared: dict = field(default_factory=dict)  # what verifiers say of two results, by their ids; "" as long as they work
    readers: list = field(default_factory=list)  # leases for that: their owners' nodes get no further replica
    inspects: "InspectionOf | None" = None  # the result that it looks at, if verifiers work on it
    passed: bool = False  # the verdict, once there is one
    owed: tuple = ()  # once it is overturned: who paid for that, and what of it is not made good
    in_treasury: int = 0  # when it was
    assignments: dict = field(default_factory=dict)
    accepted: list = field(default_factory=list)
    late: bool = False
    shares: list = field(default_factory=list)
    matures_at: int = 0  # in ms, once it is settled
    checkpoints: list = field(default_factory=list)  # the newest of each run, in the order of saving
    suspects: list = field(default_factory=list)  # (run, blob) of those that were dropped
    exhausted: bool = False  # no attempt is left
    checkpoint_bytes: int = 0  # of all of them
    closure: dict | None = None  # what was posted for a task that is about to close

    def payer(self):
        """The ledger account to which what it does not cost goes back."""
        return self.review_of.payer if self.review_of else available(self.requester)

    def track(self):
        """On which its results earn and lose points."""
        return "verification" if self.inspects else "compute"

    def is_closed(self):
        """What its nodes bring can't be read before the verdict."""
        return self.terms.replicas > 1 and self.policy["verification"]["reveals"] == "closed"

    def round_of(self, ids):
        """The round that brought the last of some results."""
        return max(self.assignments[id].round for id in ids)

    def is_left(self):
        """A sample that disagrees has one more replica, and a round that time closed would wait for it in vain."""
        return self.target < self.terms.replicas and len({a.slot() for a in self.live()}) >= self.target

    def is_held(self):
        """Its money waits for a review."""
        return self.review[:1] in (("due",), ("open",))

    def turn(self):
        """Its place among its requester's: the least comes first."""
        priority = (self.definition.get("qos") or {}).get("priority") or 0
        return self.queued_at - priority * self.policy["scheduling"]["ageing_ms"], self.id

    def waits(self):
        """Whether a replica waits for a node."""
        return self.open_slots() > 0

    def held_by(self):
        """Whose suspension keeps it from being placed: of a look at something old, its module's alone."""
        module = self.definition["module"]
        return {module} if self.review_of or self.inspects else {module, self.requester, *self.terms.contents}

    def needs_gpu(self):
        """Whether it runs on a GPU."""
        return (self.definition.get("qos") or {}).get("gpu") is not None

    def having(self, *states):
        """Its assignments in one of the states."""
        return [a for a in self.assignments.values() if a.state in states]

    def having_ended(self, *states):
        """Its assignments in one of the states, or in one of them when they were called off."""
        return [a for a in self.assignments.values() if (a.withdrawn_from or a.state) in states and not self.missed_reveal(a)]

    def due_at(self):
        """When its verdict is late, or the task over, in ms."""
        limit, deadline = self.terms.max_latency_ms, self.terms.deadline
        times = [self.queued_at + limit] if limit is not None else []
        return min(times + ([milliseconds(deadline)] if deadline else []), default=None)

    def missing(self):
        """How many more replicas the round needs."""
        return self.target - len({a.slot() for a in self.live()}) if self.state == "queued" else 0

    def missing_at_most(self):
        """The same, or all of the first round while it is not decided whether there is more than one."""
        if self.sample == "undecided" and self.state == "queued":
            return max(0, self.terms.initial - len({a.slot() for a in self.live()}))
        return self.missing()

    def votes_to_blame(self):
        """How many of the results that agree must have stake behind them for others to be shown wrong."""
        quorum = 1 if self.sample == "alone" else self.terms.quorum
        is_open = self.policy["market"] == "open" and self.terms.replicas > 1
        return min(self.policy["verification"]["staked_votes"], quorum) if is_open else 0

    def staked_votes(self):
        """How many must have stake behind them for an agreement to decide."""
        return self.votes_to_blame() if self.terms.price > 0 and not self.terms.unstaked else 0

    def is_pledged(self):
        """Verifiers work on it, all of whom pledge for their word."""
        return bool(self.inspects) and self.policy["verification"]["verifiers_staked"] and self.policy["market"] != "private"

    def next_is_staked(self):
        """Whether the next replica goes to a node that pledges stake for it."""
        if self.is_pledged():
            return True
        needed = self.staked_votes()
        if needed == 0 or self.round > 1:
            return needed > 0
        backed = sum(a.is_backed() for a in self.live())
        return backed < needed if self.at_once else backed + self.missing_at_most() <= needed

    def is_narrowed(self):
        """Its requester chose by labels, speed or asks who may run it, in a market of strangers."""
        qos = self.definition.get("qos") or {}
        chosen = any(qos.get(name) for name in ("labels", "labels_any", "labels_not")) or qos.get("min_mfuel_s") is not None
        return self.policy["market"] == "open" and (chosen or self.terms.pricing["mode"] == "ask")

    def risk(self):
        """What a result earns at most that its verifiers may refute."""
        return self.inspects.risk if self.inspects else 0

    def blames(self):
        """Whether its verdict shows that other results are wrong."""
        is_chosen = self.terms.replicas > 1 and self.is_narrowed()
        return not is_chosen and (self.votes_to_blame() == 0 or self.staked_votes() > 0)

    def must_be_vouched(self):
        """Its result stood alone, and something has to vouch for it before it matures."""
        vouched = self.policy["verification"]["adaptive"]["vouched"]
        return self.sample == "alone" and vouched and self.policy["settlement"]["window_ms"] > 0

    def repeat(self, trusted=None):
        """All replicas of the first round are wanted."""
        self.sample, self.trusted, self.target = "repeated", trusted, self.terms.initial

    def live(self):
        """What may still bring a result, or brought one."""
        return self.having("leased", "running", *SEALED)

    def tried(self):
        """The nodes that it can't go to for it was there."""
        failed = [a for a in self.having("failed") if a.failure != "host-error"]
        return {a.node for a in self.live() + failed + self.having("unrevealed") + self.involved()}

    def involved(self):
        """The runs that brought what it looks at, if it looks at anything, and those that read what was brought."""
        of = self.review_of or self.inspects
        return (of.involved if of else []) + self.readers

    def bound_class(self):
        """The class of GPU that its replicas have begun on, where they compare within one; of a review, the reviewed result's."""
        classes = [a.hardware for a in self.live() if a.hardware is not None]
        of = self.review_of or self.inspects
        classes = [of.hardware] if of and of.hardware else classes
        return classes[0] if classes and self.is_of_one_class() else None

    def is_of_one_class(self):
        """Whether its replicas compare bit by bit on GPUs."""
        return not self.terms.comparison and self.terms.replicas > 1 and self.needs_gpu()

    def class_owners(self):
        """Owners beside the requester that a class of GPUs must have for it to begin there."""
        return self.terms.replicas if self.is_of_one_class() and self.policy["market"] != "private" else 0

    def duplicates(self):
        """How many of those are duplicates of others."""
        return len(self.live()) - len({a.slot() for a in self.live()})

    def rests_on(self, run):
        """The runs on whose checkpoints a run rests, with those: the one that it went on from first."""
        runs = []
        while run.resumed_run in self.assignments:
            run, blob = self.assignments[run.resumed_run], run.resume
            runs.append((run, blob))
        return runs

    def took_over(self, run):
        """It went on from what another node had made."""
        return run.author not in (None, run.node) or any(author.node != run.node for author, _ in self.rests_on(run))

    def resume_point(self, hardware):
        """The checkpoint that is furthest, the newest among equals, of those made on such hardware; what is repeated starts from zero."""
        repeated = self.terms.replicas > 1 or any(m["method"] == "attestation" for m in self.definition.get("verification") or [])
        known = [c for c in self.checkpoints if not repeated and self.assignments[c.by].hardware == hardware]
        return max(enumerate(known), key=lambda c: (c[1].ppm, c[0]), default=(0, None))[1]

    def open_slots(self):
        """How many more of them may be placed now: one after the other, the next one once nothing of it runs."""
        alone = min(self.missing(), 0 if self.having("leased", "running") else 1)
        return self.missing() if self.at_once else alone

    def at_once_from(self):
        """From when the missing replicas could make it late, one after the other, in ms; None where nothing does."""
        limits, qos = LIMITS | (self.definition.get("limits") or {}), self.definition.get("qos") or {}
        run = limits["runtime_s"] * 1_000
        if qos.get("expected_fuel") is not None and qos.get("min_mfuel_s"):
            run = min(run, -(-integer(qos["expected_fuel"]) // (qos["min_mfuel_s"] * 1_000)))
        needed = self.missing_at_most() * (self.policy["accept_ms"] + run) + self.policy["reveal_ms"]
        return None if self.due_at() is None else self.due_at() - needed

    def endangered(self):
        """The run that is in danger first, as (ms, id): it may get a duplicate from then on."""
        due = self.due_at()
        if self.state != "queued" or due is None or self.missing() > 0 or self.faults + self.duplicates() + 1 >= self.terms.attempts_max:
            return None
        doubled = {a.doubles for a in self.assignments.values()}
        runs = [a for a in self.having("leased", "running") if a.doubles is None and a.id not in doubled and a.leased_at < due]
        return min(((a.danger_at(due, self.policy["scheduling"]["tail"]["after_ppm"]), a.id) for a in runs), default=None)

    def missed_reveal(self, assignment):
        """It committed in an earlier round and did not reveal: nothing is owed for it."""
        return (assignment.withdrawn_from or assignment.state) == "committed" and assignment.round < self.round


def integer(text):
    """A 64-bit integer, which the log writes as a decimal string."""
    require(isinstance(text, str) and INTEGER_PATTERN.fullmatch(text), f"expected an integer as a decimal string, found {text!r}")
    require(-2**63 <= int(text) < 2**64, f"expected an integer of 64 bits, found {text}")
    return int(text)


def amount(text):
    """An integer that can't be negative."""
    require(integer(text) >= 0, f"expected an amount of zero or more, found {text}")
    return int(text)


def with_integers(value):
    """A policy, with integers for its decimal strings."""
    if isinstance(value, dict):
        return {key: with_integers(inner) for key, inner in value.items()}
    return int(value) if isinstance(value, str) and INTEGER_PATTERN.fullmatch(value) else value


def milliseconds(text):
    """An RFC 3339 time as ms since 1970."""
    since = datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return since // timedelta(milliseconds=1)


# ---------------------------------------------------------------- economics (docs/economics.md)

class Share(NamedTuple):
    """One party's part of a fee; text is empty where a field does not apply."""
    role: str
    account: str
    node: str
    content: str
    amount: int

    def ledger_account(self):
        """Where a verdict posts it."""
        return {"platform": "treasury", "attempt": available(self.account)}.get(self.role, pending(self.account))


def available(account):
    """The ledger account of what an account can spend."""
    return f"account/{account}/available"


def pending(account):
    """The ledger account of what an account earned that has not matured."""
    return f"account/{account}/pending"


def stake_of(node):
    """The ledger account of what a node's owner put up for its results."""
    return f"node/{node}/stake"


def withdrawing(account):
    """The ledger account of what an account asked to take out."""
    return f"account/{account}/withdrawing"


def escrow(task):
    """The ledger account of what a task may still cost."""
    return f"task/{task}/escrow"


def part(total, ppm):
    """So many parts per million of a total, rounded down."""
    return total * ppm // MILLION


def largest_remainder(total, weights):
    """A total in proportion to weights: each part rounded down, then one more for the largest remainders, the earlier first
    among equals."""
    if total == 0:
        return [0] * len(weights)
    whole = sum(weights)
    require(whole > 0, f"expected weights above zero to split {total} by, found {weights}")
    parts = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % whole), i))
    for i in by_remainder[:total - sum(parts)]:
        parts[i] += 1
    return parts


def grossed_up(amount_of, ppm):
    """The least amount of which so much is left without so many parts per million."""
    return 0 if amount_of <= 0 else (amount_of - 1) * MILLION // (MILLION - ppm) + 1 if ppm < MILLION else 2**63 - 1


def asked_price(task, node):
    """What a replica on a node earns where the task pays what nodes ask for, or None."""
    if task.terms.pricing["mode"] != "ask":
        return None
    ask = integer((node.terms.get("asks") or {}).get(task.definition["type"], "0"))
    return grossed_up(ask, task.terms.late_refund_ppm if task.terms.max_latency_ms is not None else 0)


def accepted_price(task, assignment):
    """What an accepted replica earns in time: by what all of the accepted used, the least of each, where the task is metered."""
    pricing = task.terms.pricing
    if pricing["mode"] != "metered":
        return assignment.price
    units = (("per_gfuel", 10**9), ("per_mworkgroup", 10**6), ("per_mib_out", 2**20))
    used = [min(a.used[i] for a in task.accepted) for i in range(len(units))]
    parts = [pricing.get(name, 0) * count // unit for (name, unit), count in zip(units, used)]
    return min(pricing["max_price"], pricing.get("base", 0) + sum(parts))


def fee_parts(terms, policy, compute):
    """Compute, content pool and platform share for accepted replicas that earn so much together."""
    pool = part(compute, policy["content_share_ppm"]) if terms.contents else 0
    return compute, pool, part(compute, policy["platform_share_ppm"])


def worst_case(terms, policy, prices):
    """The escrow: the most that a task can cost."""
    paid = sum(fee_parts(terms, policy, terms.replicas * terms.price)) + sum(prices.values())
    fee = policy["attempt_fee"]
    verifiers = sum(inspection_cost(terms, policy, verifiers_of(method)) for _, method in terms.inspections)
    if terms.comparison:
        pairs = terms.replicas * (terms.replicas - 1) // 2
        verifiers += pairs * inspection_cost(terms, policy, terms.comparison[1]["verifiers"])
    return max(paid, terms.replicas * fee) + terms.attempts_max * fee + verifiers


def verifiers_of(method):
    """How many verifiers a method asks for, how many of them must agree, and what each earns."""
    return method["verifiers"] if method["method"] == "attestation" else module_of(method)["verifiers"]


def module_of(method):
    """The module that verifiers run for a method: a check, or a comparator."""
    return method["comparator"]["module"] if method["method"] == "sampling" else method["module"]


def inspection_cost(terms, policy, verifiers):
    """The most that such verifiers can cost: each accepted, with the platform's share."""
    count, fee = verifiers["count"], amount(verifiers["fee"])
    paid, attempt_fee = count * fee + part(count * fee, policy["platform_share_ppm"]), policy["attempt_fee"]
    return max(paid, count * attempt_fee) + terms.attempts_max * attempt_fee


def inspection_nonce(task, place, ids):
    """What goes into the draws of verifiers: nobody chooses it. Each comparison has draws of its own."""
    pair = b"".join(ulid_bytes(id) for id in ids) if len(ids) == 2 else b""
    return hashlib.sha256(b"aevir.inspection/1\n" + place.to_bytes(4, "big") + bytes.fromhex(task.nonce) + pair).hexdigest()


def ulid_bytes(text):
    """The 128 bits of a ULID."""
    value = 0
    for char in text:
        value = value << 5 | "0123456789ABCDEFGHJKMNPQRSTVWXYZ".index(char)
    return value.to_bytes(16, "big")


def compared_bytes(task):
    """The most that two results of a task have together."""
    limits = limits_of(task)
    return 2 * (limits["output_mib"] * MIB + RESULT_BYTES_MAX)


def inspection_definition(task, place, ids, escrowed, now):
    """What verifiers work on: a module, or the same run again, for their fee. A comparator brings nothing but its word."""
    method = task.definition["verification"][place]
    verifiers = verifiers_of(method)
    count, quorum, fee = verifiers["count"], verifiers["quorum"], amount(verifiers["fee"])
    common = {"seed": task.seed, "nonce": inspection_nonce(task, place, ids),
              "verification": [{"method": "sampling", "replicas": count, "quorum": quorum, "comparator": "bitwise"}]}
    deadline = {"deadline": time_of(now + task.policy["verification"]["inspection_ms"])}
    economics = {"budget": str(escrowed), "pricing": {"mode": "fixed", "price": str(fee)}}
    qos = task.definition["qos"]
    if method["method"] == "attestation":
        return repeated_definition(task) | common | {"qos": unchosen(qos) | deadline, "economics": economics}
    module = module_of(method)
    limits = module["limits"] | ({"output_mib": 0} if len(ids) == 2 else {})
    return common | {
        "type": task.definition["type"], "module": module["module"], "params": module["params"], "limits": limits,
        "qos": {key: value for key, value in qos.items() if key == "priority"} | deadline, "economics": economics,
        "privacy": {"publish": "full"}, "retry": task.definition["retry"]}


def checked_files(task, first):
    """What a check opens: the definition, the inline result, the outputs under their names, and the inputs."""
    text = canonical(task.definition)
    definition = {"name": "task.json", "digest": hashlib.sha256(text).hexdigest(), "size": str(len(text))}
    outputs = [output for output in first.outputs if output["name"] not in ("task.json", "result.json")]
    inputs = [file | {"name": "input/" + file["name"]} for file in task.inputs]
    return [definition, {"name": "result.json"} | first.result] + outputs + inputs


def ancestors_of(content, contents):
    """What a content was made of, and what that was made of: (generation, id), nearest first and then the oldest. Those of its own owner
    are looked through."""
    found, seen, line, looked_at = [], {content.id}, [content], 0
    for generation in range(1, GENERATIONS_MAX + 1):
        following = set()
        while line and looked_at < LINEAGES_MAX:
            of = line.pop(0)
            looked_at += 1 if of.parents else 0
            for parent in [contents[p] for p in of.parents if p not in seen]:
                seen.add(parent.id)
                if parent.owner == content.owner:
                    line.append(parent)
                else:
                    following.add(parent.id)
        found += [(generation, id) for id in sorted(following)]
        line = [contents[id] for id in sorted(following)]
    return found[:ANCESTORS_MAX]


def royalties_of(content, income, policy, contents, suspended):
    """What the ancestors of a content get of what it earns: (id, amount)."""
    ancestors = [(generation, id) for generation, id in content.ancestors if generation <= policy["contents"]["generations"]]
    deepest = max((generation for generation, _ in ancestors), default=0)
    pots = [income]
    for _ in range(deepest):
        pots.append(part(pots[-1], policy["contents"]["royalty_ppm"]))
    royalties = []
    for generation in range(1, deepest + 1):
        ids = [id for of, id in ancestors if of == generation and id not in suspended]
        kept = pots[generation] - (pots[generation + 1] if generation < deepest else 0)
        if ids:
            royalties += zip(ids, largest_remainder(kept, [contents[id].weight for id in ids]))
    return royalties


def parted(role, content, amount_of):
    """A content's amount, by the weights of those who earn by it."""
    parts = largest_remainder(amount_of, [weight for _, weight in content.earners])
    return [Share(role, account, "", content.id, part) for (account, _), part in zip(content.earners, parts)]


def content_shares(task, pool, contents, suspended):
    """Each content earns its part of the pool and its price, and passes on its royalties."""
    used = [contents[id] for id in task.terms.contents]
    shares = []
    for content, of_pool in zip(used, largest_remainder(pool, [content.weight for content in used])):
        income = of_pool + task.prices.get(content.id, 0)
        royalties = royalties_of(content, income, task.policy, contents, suspended)
        shares += parted("content", content, income - sum(amount_of for _, amount_of in royalties))
        for id, amount_of in royalties:
            shares += [share for share in parted("royalty", contents[id], amount_of) if share.amount]
    return shares


def verdict_shares(task, contents, suspended, refused):
    """Who gets what for a verdict. Without a quorum: the attempt fee for each replica that revealed, and is not refuted."""
    overtaken = [a for a in task.assignments.values() if a.overtaken]
    unpaid = overtaken if task.accepted else overtaken + [a for a in task.having("revealed") if a.id not in refused]
    attempts = [Share("attempt", a.owner, a.node, "", task.policy["attempt_fee"]) for a in unpaid]
    if not task.accepted:
        return attempts
    terms = task.terms
    prices = {a.id: accepted_price(task, a) for a in task.accepted}
    _, pool, platform = fee_parts(terms, task.policy, sum(prices.values()))
    late = [a for a in task.accepted if took_too_long(terms, a)]
    compute = [Share("compute", a.owner, a.node, "", prices[a.id] - (part(prices[a.id], terms.late_refund_ppm) if a in late else 0))
               for a in task.accepted]
    if task.review_of:
        return compute + attempts
    if task.late and not late:
        platform -= part(platform, terms.late_refund_ppm)
    if task.inspects:
        return compute + attempts + [Share("platform", "", "", "", platform)]
    content = content_shares(task, pool, contents, suspended)
    return compute + content + attempts + [Share("platform", "", "", "", platform)]


def fresh_sample(terms, counts):
    """Replicas, quorum and first round of a review: a new sample, or where the reviewed result counts, what is left of the old one."""
    replicas, quorum = (terms.replicas, terms.quorum) if terms.replicas > 1 else (3, 2)
    return (max(replicas - 1, 2), quorum, max(quorum - 1, 1)) if counts else (replicas, quorum, quorum)


def review_cost(terms, policy, counts):
    """The most that a review can cost: neither contents nor the platform earn by it."""
    replicas, fee = fresh_sample(terms, counts)[0], policy["attempt_fee"]
    return max(replicas * terms.price, replicas * fee) + terms.attempts_max * fee


def review_definition(task, counts, bond, now):
    """The same run for the same price: module, parameters, inputs, seed and limits are the reviewed task's."""
    replicas, quorum, initial = fresh_sample(task.terms, counts)
    sampling = next((m for m in task.definition.get("verification") or [] if m["method"] == "sampling"), {})
    economics = {key: value for key, value in task.definition["economics"].items() if key not in ("late_refund_ppm", "contents_max")}
    if economics["pricing"]["mode"] == "ask":
        economics["pricing"] = {"mode": "fixed", "price": str(task.terms.price)}
    return repeated_definition(task) | {
        "seed": task.seed, "nonce": review_nonce(task), "privacy": {"publish": "digest"},
        "verification": [{"method": "sampling", "replicas": replicas, "quorum": quorum, "initial": initial,
                          "comparator": sampling.get("comparator", "bitwise")}],
        "qos": unchosen(task.definition["qos"]) | {"deadline": time_of(now + task.policy["verification"]["review_ms"])},
        "economics": economics | {"budget": str(bond)}}


def unchosen(qos):
    """What of the needs stays where others than those whom the requester chose run it again."""
    chosen = ("labels", "labels_any", "labels_not", "min_mfuel_s", "max_latency_ms")
    return {key: value for key, value in qos.items() if key not in chosen}


def repeated_definition(task):
    """What of a definition stays where the same is run again."""
    definition = {key: value for key, value in task.definition.items() if key not in ("depends_on", "labels", "model")}
    base = (task.definition.get("model") or {}).get("base")
    return definition | ({"model": {"base": base}} if base else {})


def time_of(ms):
    """A time in ms as the log writes it."""
    time = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=ms)
    return time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1_000:03}Z"


def review_nonce(task):
    """What goes into the draws of a review: nobody chooses it."""
    return hashlib.sha256(b"aevir.review/1\n" + bytes.fromhex(task.nonce)).hexdigest()


def chance_ppm(task, price, stake):
    """How often a result is repeated for which so much is locked: as often as keeps cheating from paying, and the floor."""
    terms = task.policy["verification"]["adaptive"]
    lost = (MILLION - terms["colluding_ppm"]) * (price + stake)
    least = -(-terms["cheat_saving_ppm"] * price * MILLION // lost) if lost > 0 else MILLION
    return min(max(least, terms["floor_ppm"]), MILLION)


def maturity_of(task):
    """What moves when the shares of a verdict become available."""
    moved = Counter()
    for share in task.shares:
        if share.ledger_account() == pending(share.account):
            moved[pending(share.account)] -= share.amount
            moved[available(share.account)] += share.amount
    cost = min(task.held, task.review_cost) if task.cause == "unvouched" else 0
    moved[pending(task.requester)] -= task.held
    moved[available(task.requester)] += task.held - cost
    moved[stake_of(task.accepted[0].node)] += cost
    return without_zeros(moved)


def limits_of(task):
    """The task's limits, with those of the platform where it names none."""
    return LIMITS | (task.definition.get("limits") or {})


def took_too_long(terms, assignment):
    """Whether a node's time from its lease to its commitment misses the task's `max_latency_ms`."""
    return terms.max_latency_ms is not None and took_ms(assignment) > terms.max_latency_ms


def took_ms(assignment):
    """From its lease to its commitment, without the time in which there was no leader."""
    return max(0, assignment.committed_at - assignment.leased_at - assignment.absent_ms)


def needed_ms(task, outputs_mib):
    """What a run may take from its lease on: all its time, a second for each MiB that its node fetches or uploads, and five to prepare."""
    limits = limits_of(task)
    return 1_000 * (limits["runtime_s"] + mib_of(task.inputs) + outputs_mib) + 5_000


def mib_of(files):
    """Files, each rounded up to MiB."""
    return sum(-(-integer(file["size"]) // MIB) for file in files)


def left_all_time(task, run):
    """Whether the deadline left a run all the time that it may take, but for uploading."""
    return task.terms.deadline is not None and milliseconds(task.terms.deadline) - run.leased_at >= needed_ms(task, 0)


def could_be_in_time(task):
    """Whether a run that takes all its time could have brought the result in time: else that it was late says nothing of its node."""
    return task.terms.max_latency_ms >= needed_ms(task, mib_of(task.accepted[0].outputs))


def earned(task, run, reason, now):
    """What a run that is called off has earned: a part by the time that it ran, and the attempt fee at least."""
    state, limit = run.withdrawn_from or run.state, 1_000 * limits_of(task)["runtime_s"]
    idle = state == "leased" or reason == "expired" and left_all_time(task, run)
    ran = 0 if idle else min((now if state == "running" else run.committed_at) - run.started_at, limit)
    return max(task.policy["attempt_fee"], run.price * ran // limit)


def closing_fees(task, reason, now):
    """What a task that closed without a verdict owes, as (owner, amount) pairs."""
    done, attempt_fee = task.having_ended(*SEALED), task.policy["attempt_fee"]
    overtaken = [(a.owner, attempt_fee) for a in task.assignments.values() if a.overtaken]
    if reason in ("cancelled", "expired"):
        oldest = [sorted(runs, key=lambda a: (a.leased_at, a.id)) for runs in (done, task.having_ended("leased", "running"))]
        runs = oldest[0] + oldest[1]
        return overtaken + [(a.owner, earned(task, a, reason, now) if n < task.target else attempt_fee) for n, a in enumerate(runs)]
    if reason == "attempts-spent":
        return overtaken + [(a.owner, attempt_fee) for a in done + blamed_on_module(task)]
    return overtaken


def blamed_on_module(task):
    """The failures of the class named most, the last in the order of classes among equals, once nodes of two owners name it."""
    by_class = [[a for a in task.having("failed") if a.failure == name] for name in MODULE_FAILURES]
    most = max(reversed(by_class), key=len)
    return most if len({a.owner for a in most}) >= 2 else []


def points_earned(task):
    """The points that a matured task mints, as (account, track, delta, reason, assignment)."""
    points = task.policy["points"]
    platform = sum(share.amount for share in task.shares if share.role == "platform")
    minted = platform * points["per_aev_of_platform_share"] // MILLION
    pool = [share for share in task.shares if share.role in ("content", "royalty")]
    content = part(minted, points["content_ppm"]) if any(share.amount for share in pool) else 0
    replicas = sorted(task.accepted, key=lambda a: a.id)
    compute_deltas = largest_remainder(minted - content, [a.price for a in replicas])
    # Of what the platform's share allows: by quality, and by timeliness.
    if len(replicas) == 1:
        compute_deltas = [part(delta, points["unrepeated_ppm"]) for delta in compute_deltas]
    compute_deltas = [part(delta, points["late_ppm"]) if took_too_long(task.terms, a) else delta
                      for a, delta in zip(replicas, compute_deltas)]
    content_deltas = Counter()  # once for each account
    for share, delta in zip(pool, largest_remainder(content, [share.amount for share in pool])):
        content_deltas[share.account] += delta
    return ([(a.owner, task.track(), delta, "result-accepted", a.id) for a, delta in zip(replicas, compute_deltas)]
            + [(account, "content", delta, "content-used", None) for account, delta in content_deltas.items()])


def refused_loss(policy, owned):
    """What a refused result costs an owner of so many compute points."""
    return min(owned, max(policy["points"]["refused_min"], part(owned, policy["points"]["refused_ppm"])))


# ---------------------------------------------------------------- verdicts (docs/log.md, docs/economics.md)

def tagged_hash(tag, value):
    """SHA-256 of a tag line and the canonical form of a value."""
    return hashlib.sha256(tag + canonical(value)).hexdigest()


def agreement_key(report):
    """Equal for reports that agree; fuel is the same on every machine only without a GPU."""
    fuel = report["usage"]["fuel"] if report.get("trace_root") is None else None
    return tagged_hash(b"aevir.agreement/1\n", [report["outputs"], report["result"], report["metrics"], fuel])


def work_key(report):
    """The same without the fuel, of which a run that goes on from a checkpoint burns only the rest."""
    return tagged_hash(b"aevir.work/1\n", [report["outputs"], report["result"], report["metrics"]])


def micro_units(decimal):
    """A decimal with at most six decimals, as an integer of millionths."""
    match = DECIMAL_PATTERN.fullmatch(decimal)
    require(match, f"expected a bound as a decimal with at most six decimals, found {decimal!r}")
    sign, whole, fraction = match.groups()
    return int(sign + whole + (fraction or "").ljust(6, "0"))


def bound_holds(bound, metrics):
    """Whether a reported metric lies within its bound; one that was not reported doesn't."""
    name, at_least, at_most = bound
    value = metrics.get(name)
    return (value is not None and (at_least is None or value >= micro_units(at_least))
            and (at_most is None or value <= micro_units(at_most)))


def verify_checks(terms, report, checks):
    """Compare the checks of a reveal with the definition; return them as (name, passed). Whether the result satisfies a JSON
    Schema can't be recomputed, since the log holds the result's digest only."""
    found = sorted((c["check"], c["passed"]) for c in checks)
    metrics = {m["name"]: integer(m["value"]) for m in report["metrics"]}
    expected = sorted((f"metric {bound[0]}", bound_holds(bound, metrics)) for bound in terms.bounds)
    expect("the checks of metrics", expected, [c for c in found if c[0] != "schema"])
    expect("the number of checks by a schema", terms.schemas, len(found) - len(expected))
    return found


def judge(task):
    """The verdict over all replicas of all rounds as (name, accepted, reason by refused id); None while it takes one more."""
    revealed = task.having("revealed")
    refused = {a.id: "not-revealed" for a in task.having("committed")}
    if task.terms.replicas == 1:
        return judge_alone(revealed, refused)
    require(revealed or task.sample != "alone", "expected the task to go on without a result, found a verdict")
    accepted = agreed(task, revealed, task.compared)
    if not accepted:
        return None if task.is_left() else ("inconclusive", [], refused)
    refused |= {a.id: refusal_of(task, a, accepted) for a in revealed if a not in accepted}
    checks = accepted[0].checks
    require(task.terms.comparison or all(a.checks == checks for a in accepted),
            "expected equal checks of results that agree, found different ones")
    return "passed" if all(passed for _, passed in checks) else "unmet", accepted, refused


def equal_ones(revealed):
    """The results in groups of equal ones, each in the order of their ids."""
    groups = {}
    for one in sorted(revealed, key=lambda a: a.id):
        groups.setdefault(one.agreement, []).append(one)
    return list(groups.values())


def decides(task, results):
    """Whether so many results, with so much stake behind them, are a quorum."""
    reviewed = [task.review_of.reviewed] if task.review_of and task.review_of.counts else []
    counted = int(bool(results) and results[0].agreement in reviewed)
    backed = sum(a.is_backed() for a in results) + counted
    return len(results) + counted >= (1 if task.sample == "alone" else task.terms.quorum) and backed >= task.staked_votes()


def centres_of(task, groups):
    """The groups around which there may be a quorum: of equal ones that are a quorum, it alone."""
    equal = [group for group in groups if decides(task, group)]
    return equal[:1] or (groups if task.terms.comparison else [])


def said_of(one, two, compared):
    """What verifiers say of one of each of two groups, or None where nobody was asked."""
    said = (compared.get(tuple(sorted((a.id, b.id)))) for a in one for b in two)
    return next((word for word in said if word is not None), None)


def may_differ(task, one, two):
    """Whether right results of two runs can differ: not within a class of hardware, where runs can be repeated bit by bit."""
    return one.hardware != two.hardware or task.definition.get("runtime", "det/1") != "det/1"


def uncompared(task, revealed, compared):
    """The pairs that nobody was asked about, and on which it depends what a round comes to."""
    groups, found = equal_ones(revealed), set()
    if not task.terms.comparison:
        return []
    for one in centres_of(task, groups):
        for two in [group for group in groups if group is not one and said_of(one, group, compared) is None]:
            pairs = [tuple(sorted((a.id, b.id))) for a in one for b in two if may_differ(task, a, b)]
            found |= {min(pairs)} if pairs else set()
    return sorted(found)


def agreed(task, revealed, compared):
    """The quorum, its result's first: results that are equal; or one, those equal to it, and those that agree with it. Of several, that
    with the most, then the one whose first has the smallest id."""
    groups = equal_ones(revealed)
    near = lambda one: [a for two in groups if two is not one and said_of(one, two, compared) == "passed" for a in two]
    stars = [one + sorted(near(one), key=lambda a: a.id) for one in centres_of(task, groups)]
    return min((star for star in stars if decides(task, star)), key=lambda star: (-len(star), star[0].id), default=[])


def refusal_of(task, result, accepted):
    """Why a result is refused that is none of those accepted: two that are equal show another one of their class of hardware to be wrong,
    and a comparison shows nothing."""
    alike = [a for a in accepted if not may_differ(task, a, result)]
    shown = any(len(group) >= 2 and sum(a.is_backed() for a in group) >= task.staked_votes() for group in equal_ones(alike))
    return "mismatch" if shown or not task.terms.comparison else "apart"


# ---------------------------------------------------------------- closed until the verdict (docs/economics.md, Closed until the verdict)

def opened(key, closed):
    """What a node showed, by the key of its assignment: each 32 bytes are combined with a block of HMAC-SHA-256."""
    blocks = (hmac.digest(key, b"aevir.reveal-stream/1\n" + n.to_bytes(4, "big"), "sha256") for n in range((len(closed) + 31) // 32))
    return bytes(a ^ b for a, b in zip(closed, b"".join(blocks)))


def closed_output(key, blob):
    """How the log has an output until then."""
    seal = hmac.digest(key, b"aevir.output/1\n" + bytes.fromhex(blob["digest"]), "sha256")
    pad = hmac.digest(key, b"aevir.output-size/1\n" + seal, "sha256")
    size = bytes(a ^ b for a, b in zip(integer(blob["size"]).to_bytes(8, "big"), pad))
    return {"seal": seal.hex(), "size": size.hex()}


def judge_alone(revealed, refused):
    """Without a sample the first result that meets the terms counts, or else the first one."""
    require(revealed, "expected the task to go on without a result, found a verdict")
    first = min(revealed, key=lambda a: (not all(passed for _, passed in a.checks), a.committed_at, a.id))
    return "passed" if all(passed for _, passed in first.checks) else "unmet", [first], refused


# ---------------------------------------------------------------- placement (docs/economics.md, Placement and Draws)

LEVELS = 64
SWEPT_NODES = 8  # whose records each start of a run brings up to date
MIB = 1 << 20
LIMITS = {"fuel": "1000000000000", "memory_mib": 256, "output_mib": 256, "runtime_s": 600}  # the schema's defaults
# What version 1 of policy.adopted had no field for.
SCHEDULING = {
    "epoch_ms": 3_600_000, "placements_max": 1_024, "storage_reserve_mib": 64, "priority_max": 9, "ageing_ms": 60_000, "round_ms": 86_400_000,
    "score": {"reliability_weight": 6, "points_weight": 2, "idle_weight": 2, "points_half": 1_000, "near_levels": 6,
              "cached_levels": 6, "cached_bytes_min": MIB, "cached_blobs_max": 64, "in_time_levels": 12, "price_levels": 6},
    "account": {"weight": 100, "tasks_max": 10_000, "running_max": 10_000},
    "lines_max": 2**32 - 1, "reserve": {"after_ms": 300_000, "most": 0, "looks_max": 16, "nodes_max": 64, "idle_max_ms": 7_200_000},
    "leases": {"fetch_ms": 900_000, "fetch_kib_s": 2**32 - 1, "slack_ms": 300_000, "progress_ms": 10_000},
    "tail": {"after_ppm": 500_000, "faster_ppm": 250_000, "looks_max": 64},
    "returns": {"per_task": 3, "per_slot": 2}, "unproven_slots": 256, "reliability_keep_ppm": 995_000,
    "record_pay_min": 0, "compute": {"check_ms": 0, "retry_ms": 900_000, "answer_ms": 120_000, "per_day": 16}}
SETTLEMENT = {"window_ms": 0}
CONTENTS = {"royalty_ppm": 0, "generations": 0, "first_registrant": False}
REWARDS = {"pool_ppm": 0, "claim_epochs": 168}
POINTS = {"unrepeated_ppm": MILLION, "late_ppm": MILLION, "keep_ppm": MILLION}
STAKE = {"per_result_ppm": 0, "strikes_free": 1, "free_after": 0, "strike_ms": 604_800_000, "strikes_max": 0}
VERIFICATION = {"adaptive": {"cheat_saving_ppm": 800_000, "colluding_ppm": 100_000, "floor_ppm": 100_000, "trusted_ppm": 850_000, "vouched": False},
                "staked_votes": 0, "reveals": "open", "review_ms": 86_400_000, "inspection_ms": 21_600_000, "verifiers_staked": True, "election_floor_ppm": 125_000}
OWN_CLASSES_MAX = 64  # GPU classes of a requester's own nodes up to which each is looked at


@dataclass
class Needs:
    """What a task needs of a node."""
    kind: str
    sampled: bool
    qos: dict
    run: tuple  # room that a run may take: memory, storage and GPU memory in MiB, and cores
    room: tuple  # the same of its lease until it starts: the memory in which the module is compiled, where that is more
    data: str | None  # the largest input, where it is worth having
    speed_in_time: int
    price: int  # that is certain, or the most that a node may ask for
    by_ask: bool  # it goes to nodes that publish an ask
    stake: int = 0  # that it must have free


def stake_due(task, price):
    """What a node pledges for a result that earns so much."""
    due = part(max(price, task.risk()), task.policy["stake"]["per_result_ppm"])
    return max(due, review_cost(task.terms, task.policy, True)) if task.terms.adaptive else due


def needs_of(task, doubled=None):
    """From the definition, with the schema's defaults, under the policy that the task was created under."""
    limits, qos = limits_of(task), task.definition.get("qos") or {}
    policy = task.policy["scheduling"]
    sampled = task.terms.replicas > 1
    sizes = [(integer(i["size"]), i["digest"]) for i in task.inputs]
    largest = max(sizes, default=(0, None))
    worth = largest[1] if not sampled and sizes and largest[0] >= policy["score"]["cached_bytes_min"] else None
    in_time = 0
    if not sampled and qos.get("expected_fuel") is not None and qos.get("max_latency_ms") is not None:
        in_time = -(-integer(qos["expected_fuel"]) * 1_000 // (max(qos["max_latency_ms"], 1) * MILLION))
    reserve = max(policy["storage_reserve_mib"], task.module_mib + CHECKPOINTS_MIB if task.module_mib else 0)
    storage = sum(-(-size // MIB) for size, _ in sizes) + -(-compared_max(task) // MIB) + limits["output_mib"] + reserve
    gpu = qos.get("gpu")
    of_gpu = gpu.get("memory_mib", 256) if gpu is not None else 0
    run = limits["memory_mib"], storage, of_gpu, max(1, qos.get("cpu_cores") or 1), limits["memory_mib"] + of_gpu
    room = max(run[0], task.compile_mib), *run[1:4], max(run[4], task.compile_mib)
    late = task.terms.late_refund_ppm if task.terms.max_latency_ms is not None else 0
    pricing = task.terms.pricing
    certain = min(pricing.get("base", 0), task.terms.price) if pricing["mode"] == "metered" else task.terms.price
    return Needs(task.definition["type"], sampled, qos, run, room, worth, in_time,
                 certain - part(certain, late), task.terms.pricing["mode"] == "ask",
                 stake_due(task, task.terms.price) if needs_stake(task, doubled) else 0)


def held_room(task, assignment):
    """What a lease holds of its node: until its run starts also the memory in which the module is compiled."""
    memory, *rest, memories = needs_of(task).run
    return max(memory, assignment.compiling), *rest, max(memories, assignment.compiling)


def needs_stake(task, doubled):
    """Whether the next replica, or the duplicate of a run, goes to a node that pledges stake for it."""
    if doubled is None:
        return task.next_is_staked()
    return task.terms.replicas > 1 and (task.staked_votes() > 0 or task.is_pledged()) and task.assignments[doubled].is_backed()


def speed(node):
    """Fuel that a run burns on the node, in millions a second; 0 where it is not known."""
    claimed = node.profile.get("cpu_mfuel_s")
    return min(claimed or 0, node.shown) if node.samples >= 8 else claimed or 0


def shown(node):
    """What its results showed of that, whatever it claims; 0 where they are too few to tell."""
    return node.shown if node.samples >= 8 else 0


def compute(node):
    """The class of its GPU's throughput that counts; -1 where none does."""
    claimed = node.profile["gpu"].get("compute", -1)
    if claimed <= 0 or node.checks == 0:
        return claimed
    shown = 0
    while 4 * node.mflop_s >= 1_000 * 4**shown:
        shown += 1
    return -1 if node.checked_wrong else min(claimed, shown)


def capable(needs, node):
    """Whether the machine is what the task needs, whatever it is doing."""
    qos, profile = needs.qos, node.profile
    labels, gpu, need = profile.get("labels") or {}, profile.get("gpu"), needs.qos.get("gpu")
    if any(labels.get(name) != value for name, value in (qos.get("labels") or {}).items()):
        return False
    if any(labels.get(name) not in values for name, values in (qos.get("labels_any") or {}).items()):
        return False
    if any(labels.get(name) in values for name, values in (qos.get("labels_not") or {}).items()):
        return False
    if speed(node) < (qos.get("min_mfuel_s") or 0):
        return False
    return need is None or (gpu is not None
                            and (gpu.get("buffer_mib") or 0) >= (need.get("buffer_mib") or 0)
                            and (need.get("min_compute") is None or compute(node) >= need["min_compute"])
                            and gpu["class"] in (need.get("classes") or [gpu["class"]])
                            and set(need.get("features") or []) <= set(gpu["features"]))


def compared_max(task):
    """The most bytes that a comparison may open: how many they are is closed."""
    compares = task.inspects.compares if task.inspects else None
    return integer(compares["bytes_max"]) if compares else 0


def transfer_ms(task):
    """What the task's inputs take at the least speed of fetching, in ms."""
    return least_ms(task, sum(integer(i["size"]) for i in task.inputs) + compared_max(task))


def least_ms(task, size):
    """What so many bytes take at the least speed of fetching, in ms."""
    return -(-size * 1_000 // (task.policy["scheduling"]["leases"]["fetch_kib_s"] * 1_024))


def brought(task, assignment):
    """Bytes of a run's outputs; the most that the task allows where they are closed."""
    if assignment.closed_uploads:
        return limits_of(task)["output_mib"] * MIB
    return sum(integer(blob["size"]) for blob in assignment.uploads)


def reserved_ms(task):
    """For how long a run reserves its slot, in ms."""
    return limits_of(task)["runtime_s"] * 1_000


def surely_ms(task):
    """Within how many ms of its lease a run of the task has ended, whatever its node does."""
    leases = task.policy["scheduling"]["leases"]
    begun = max(leases["fetch_ms"] + transfer_ms(task), task.policy["accept_ms"])
    uploaded = least_ms(task, limits_of(task)["output_mib"] * MIB)
    return begun + reserved_ms(task) + max(leases["slack_ms"], uploaded + 5_000)


def owners_of(counts):
    """Who has nodes, by how many each has."""
    return [owner for owner, count in counts.items() if count > 0]


def works(node):
    """Whether it takes work, busy or not."""
    return node.online and node.standing == "working" and not node.suspended


def has_room(node, needs, *taken):
    """Whether it has room for a run beside others that take so much: of what the run takes, whatever else there is too little of."""
    return all(own == 0 or own + sum(others) <= has for own, has, *others in zip(needs.room, node.room(), *taken))


def sealed_room(node):
    """What it keeps of sealed results."""
    return 0, node.sealed_mib, 0, 0, 0


def fits_beside(needs, node, runs):
    """Whether it has a slot and room for a run beside others, as (end, room, requester), and what it keeps sealed."""
    return has_room(node, needs, sealed_room(node), *(run[1] for run in runs)) and len(runs) < node.runs_max()


def fits_idle(needs, node, now):
    """Whether it works, is what is needed, earns what it asks for, and is neither away nor backing off; whatever else it does."""
    return (works(node) and node.is_open(now) and node.record(needs.kind).backoff_until <= now
            and needs.price >= integer((node.terms.get("asks") or {}).get(needs.kind, "0"))
            and (not needs.by_ask or needs.kind in (node.terms.get("asks") or {}))
            and has_room(node, needs, sealed_room(node)) and capable(needs, node) and may_pledge(needs, node, node.stake))


def may_pledge(needs, node, stake):
    """Whether so much stake is what the next replica needs behind it."""
    asks = integer((node.terms.get("asks") or {}).get(needs.kind, "0"))
    return needs.stake <= stake and not (needs.stake and needs.by_ask and asks == 0)


def fits(needs, node, now):
    """Whether it has a slot and room, too."""
    return (node.busy < node.runs_max() and has_room(node, needs, node.taken) and fits_idle(needs, node, now)
            and may_pledge(needs, node, node.stake - node.locked))


def window(all, most, now):
    """Of a list, what a plan looks at that looks at so many: where there are more, they follow on one another with each second."""
    first = now // 1_000 * most % len(all) if len(all) > most else 0
    return (all[first:] + all[:first])[:most]


def wilson(good, bad):
    """The lower bound of the Wilson interval in parts per million, of outcomes in thousandths, in the integers of
    docs/economics.md."""
    good, bad = good + 1_000, bad + 1_000
    n = good + bad
    centre = good * MILLION + 38_416 * MILLION // 20
    root = math.isqrt(38_416 * MILLION * (1_000 * good * bad * MILLION // n + 38_416 * MILLION * 25) // 10_000)
    return max(0, centre - root - 1) * 10_000 // (n * 10_000 + 38_416_000)


def level(needs, node, points, policy):
    """How good the node is: 0 to 63, and more for what it has of the task."""
    good, bad = node.record(needs.kind).tallies.get(node.hardware(needs.qos.get("gpu") is not None), (0, 0))
    weights = policy["reliability_weight"], policy["points_weight"], policy["idle_weight"]
    parts = (wilson(good, bad), points * MILLION // (points + policy["points_half"]),
             max(0, node.runs_max() - node.busy) * MILLION // max(1, node.runs_max()))
    score = sum(weight * part for weight, part in zip(weights, parts))
    base = min(score * LEVELS // (sum(weights) * MILLION), LEVELS - 1)
    cached = needs.data is not None and needs.data in node.cached
    in_time = 0 < needs.speed_in_time <= shown(node)
    spared = needs.price - integer((node.terms.get("asks") or {}).get(needs.kind, "0"))
    cheap = spared * policy["price_levels"] // needs.price if needs.price else 0
    return base + cached * policy["cached_levels"] + in_time * policy["in_time_levels"] + cheap


PASSED_MAX = 64  # candidates that an election passes over at most


def below(seed, bound):
    """The bytes as a big-endian number, modulo a bound."""
    return int.from_bytes(seed, "big") % bound


class Drawn(NamedTuple):
    """A draw that waits for its epoch's secret."""
    position: int
    message: bytes
    candidates: int
    index: int  # of the node that the log says was drawn
    passed: list = []  # of a verifier: (candidate, weight) of those that it says came up before and were passed over
    weight: int = 0  # and of the node itself

    def chosen(self, secret):
        """Which candidate the secret draws, and which an election passes over before."""
        if b"\nverifier\n" not in self.message[:32]:
            return below(hmac.digest(secret, self.message, "sha256")[:16], self.candidates), []
        weights, passed = dict(self.passed) | {self.index: self.weight}, []
        while True:
            seed = hmac.digest(secret, self.message + len(passed).to_bytes(4, "big"), "sha256")
            index = below(seed[:16], self.candidates)
            if below(seed[16:], MILLION) < weights.get(index, MILLION) or len(passed) == PASSED_MAX:
                return index, passed
            passed.append(index)


class Coin(NamedTuple):
    """A draw whether a result is repeated, that waits for its epoch's secret."""
    position: int
    message: bytes
    chance_ppm: int
    repeated: bool  # as the log says


def charge(ms, slots_milli, weight):
    """What a requester of such a weight uses of the nodes with so many ms of so many thousandths of a slot."""
    return max(1, -(-ms * slots_milli // weight))


def needs_key(task):
    """Equal for tasks of one plan that the same nodes fit, whoever they are."""
    needs = needs_of(task)
    return canonical_text([needs.kind, needs.qos, list(needs.room), needs.price, needs.by_ask, needs.stake])


def line_key(task):
    """Equal for tasks of one requester that the same nodes can take."""
    needs, live = needs_of(task), task.live()
    asked = [needs.qos.get(name) for name in ("min_mfuel_s", "gpu", "labels", "labels_any", "labels_not")]
    return canonical_text([needs.kind, needs.sampled, task.policy["market"], [value or None for value in asked], list(needs.run),
                           needs.data, needs.speed_in_time, needs.price, needs.stake, task.definition["module"], task.terms.contents,
                           sorted(task.tried()), [a.node for a in task.involved() + live],
                           task.bound_class(), task.reserved, surely_ms(task), bool(task.review_of or task.inspects)])


@dataclass
class Plan:
    """The leases of one batch: each goes to the task whose turn it is. What no node could take stays out of reach, for a plan
    only takes from the nodes."""
    now: int
    tails: list  # (ms, task, run) in danger as the plan began that it looks at, the first one last
    left: int  # placements that it may still make
    lines: dict = field(default_factory=dict)  # by requester: tasks that may wait, of its first lines and of others, the first one last
    exhausted: set = field(default_factory=set)  # needs that no node meets any more
    doubling: bool = False  # it is at the duplicates, which come after all that waits
    turns: list = field(default_factory=list)  # requesters as it began, the first one first
    kept: dict = field(default_factory=dict)  # nodes that were kept free as it began, with their tasks
    spare: dict = field(default_factory=dict)  # of those: when they have room for their tasks, and whose run it waits for last
    had_free: bool = False  # a node was free as it began
    looked_at: dict = field(default_factory=dict)  # by requester: lines of tasks that it looked at
    leased: set = field(default_factory=set)  # tasks that it placed
    reserving: list | None = None  # what it must keep free at its end, as (task, node), the first one last


def draw_message(task, draw):
    """What the seed of a draw, or of a coin, is an HMAC of."""
    return (b"aevir.draw/1\n" + draw.get("purpose", "audit").encode() + b"\n" + bytes.fromhex(task.digest) + bytes.fromhex(task.nonce)
            + task.round.to_bytes(4, "big") + draw["number"].to_bytes(4, "big"))


# ---------------------------------------------------------------- the auditor

class Due(NamedTuple):
    """An entry that must still come before the batch ends."""
    subject: tuple
    value: object
    since: int  # position of the entry that it follows from

    def __str__(self):
        value = "" if self.value is None else show(self.value) + " "
        return f"{words(self.subject)} {value}(which follows from position {self.since})"


def words(subject):
    """A subject in a sentence."""
    return " ".join(word for word in subject if word)


def without_zeros(moved):
    """Changes by ledger account, without those that change nothing."""
    return {account: change for account, change in moved.items() if change}


class Auditor:
    """The fold of the entries: what stands in the books, and what must come next. It keeps balances, points, nodes, contents
    and the open tasks, never the log. There is one method `on_...` for each type of event."""

    def __init__(self, check_signatures=True):
        self.check_signatures = check_signatures
        self.signatures = 0
        self.tree = MerkleTree()
        self.revisions = Counter()  # the next revision of each stream
        self.time = ""
        self.now = 0  # the same, in ms
        self.cause = None
        self.shown = None  # the result that was shown last, and the batch
        self.reveals = Counter()  # that were closed: shown, opened, lost
        self.balances = Counter()
        self.points = Counter()  # by (account, track), in thousandths
        self.collected = 0  # platform fees that matured since the open epoch began
        self.point_keeps = []  # what part of points was kept when each epoch closed, in parts per million
        self.pools = {}  # by epoch: what it got, all points at its end, and the epoch with which it can't be claimed any more
        self.ends = {}  # by account: its points by track at the ends of epochs in which they changed, as (epoch, points)
        self.changed = set()  # accounts whose points changed in the open epoch
        self.claimed = Counter()  # up to which epoch accounts have claimed
        self.references = set()
        self.withdrawals = {}  # open ones, by account and id
        self.policies = []
        self.compile_mib = {}  # by module
        self.module_mib = {}  # the same
        self.not_compiled = {}  # by module: nodes that could not compile it, and until when each gets nothing of it
        self.suspended = set()  # accounts, modules and contents
        self.limits = {}  # of accounts that were given other ones than the policy's
        self.used = Counter()  # by requester
        self.reserved = Counter()  # by their runs under way
        self.running = Counter()  # replicas that hold a slot, by requester
        self.virtual_time = 0  # what the requester who was served last had used before
        self.waiting = {}  # ids of tasks with a replica to place, by requester
        self.plan = None  # while its leases come
        self.turns = 0  # leases that were found to be in turn
        self.epoch = 0  # the last one that was opened
        self.commitment = None  # of the open one
        self.opened_at = 0
        self.keeps = []  # what part of outcomes was kept when each epoch closed, in parts per million
        self.sweep = [0, 0]  # the node whose records are brought up to date next, and how many are left to
        self.drawn = []  # in the open epoch
        self.draws = Counter()  # recomputed, lost
        self.tossed = []  # coins of the open epoch
        self.coins = Counter()  # recomputed, lost
        self.nodes = {}
        self.in_order = []  # of their registration
        self.class_nodes = defaultdict(Counter)  # by class of GPU: how many nodes each owner has that are not gone
        self.at_work = None, None  # the same of those that take work, and at which entry
        self.contents = {}
        self.files = {}  # contents by the digest of each of their files
        self.trained = {}  # tasks that may register a model
        self.tasks = {}  # that are open
        self.ended = {}  # what became of the others
        self.maturing = {}  # those of them whose shares are pending
        self.overturned = {}  # and those whose shares went back
        self.opening = {}  # reviews whose task is about to be created, as the tasks that they are about
        self.inspecting = {}  # inspections whose task is about to be created, with the task, the method's place, the result and the escrow
        self.models = {}  # by the tasks that made them
        self.due = []
        self.origin = None  # the log that an export says it is of

    def add(self, line):
        """Check one line against everything before it, and fold it."""
        require(len(line) <= LINE_BYTES_MAX, f"expected a line of at most {LINE_BYTES_MAX} bytes, found a longer one")
        value = parse(line)
        require(isinstance(value, dict), f"expected a JSON object, found {show(value)[:80]}")
        try:
            check_bytes(canonical(value), line)
            entry = self.entry_of(value)
            encoded = canonical(entry)
            require(len(encoded) <= ENTRY_BYTES_MAX, f"expected an entry of at most {ENTRY_BYTES_MAX} bytes, found a longer one")
            handle = self.check_envelope(entry)
            self.check_batch(entry)
            handle(entry["data"])
        except LookupError as error:
            raise Problem(f"expected {error} to be there, found nothing under that name") from error
        except (TypeError, ValueError, AttributeError, RecursionError) as error:
            raise Problem(f"expected data as the schema of its type says, found something else: {error}") from error
        self.tree.append(encoded)

    def entry_of(self, value):
        """The entry that a line stands for: itself, or what a CloudEvent of this log carries."""
        if "specversion" not in value:
            return value
        expect("the version of CloudEvents", "1.0", value["specversion"])
        origin = value["source"]
        require(isinstance(origin, str) and origin, f"expected a log's origin as source, found {show(origin)[:80]}")
        expect("the log that the line is of", self.origin or origin, origin)
        self.origin = origin
        require(not {"schema", "stream"} & value.keys(),
                "expected the attributes of a CloudEvent, found fields of an entry among them")
        return {EXTENSIONS.get(name, name): field for name, field in value.items() if name not in ("specversion", "source")}

    def check_envelope(self, entry):
        """Positions and revisions without gaps, time that never goes back, the right stream. Returns the type's method."""
        expect("the fields of an entry", sorted(ENVELOPE_FIELDS), sorted(entry))
        kind, stream, time = entry["type"], entry["stream"], entry["time"]
        expect("the position", self.tree.size, integer(entry["position"]))
        expect(f"the revision of {stream}", self.revisions[stream], integer(entry["revision"]))
        self.revisions[stream] += 1
        require(TIME_PATTERN.fullmatch(time), f"expected a UTC time with three decimals, found {time!r}")
        require(time >= self.time, f"expected a time of {self.time} or later, found {time}")
        self.time, self.now = time, milliseconds(time)
        require(ID_PATTERN.fullmatch(entry["id"]), f"expected a ULID as id, found {entry['id']!r}")
        require(ACTOR_PATTERN.fullmatch(entry["actor"]), f"expected account, node or system as actor, found {entry['actor']!r}")
        handle = self.nothing if kind in BYSTANDERS else getattr(self, "on_" + kind.replace(".", "_"), None)
        newest = NEWEST.get(kind, 1)
        known = handle and entry["schema"] in range(1, newest + 1)
        require(known, f"expected a known type in a version up to {newest}, found {kind} in version {entry['schema']}")
        expect(f"the stream of {kind}", stream_of(kind, entry["data"]), stream)
        return handle

    def nothing(self, data):
        """For entries that change nothing here."""

    # ---- what must follow

    def check_batch(self, entry):
        """All that follows from one decision stands before the next decision; both have a `cause`."""
        if entry["type"] not in CONSEQUENCES or entry["cause"] != self.cause:
            self.check_nothing_due(entry["type"])
        if entry["cause"] != self.cause:
            self.check_plan_over()
        self.cause = entry["cause"]

    def check_nothing_due(self, found):
        """The batch is complete."""
        require(not self.due, f"expected {self.due[0] if self.due else ''}, found {found}")

    def must_follow(self, *subject, value=None):
        """From here on this entry is due."""
        self.due.append(Due(subject, value, self.tree.size))

    def is_due(self, *subject):
        """Whether such an entry is due."""
        return any(due.subject == subject for due in self.due)

    def settle_due(self, *subject, value=None):
        """The entry at hand was due; one that nothing asks for is a problem, and so is one with another value."""
        candidates = [due for due in self.due if due.subject == subject]
        require(candidates, f"expected nothing of this kind here, found {words(subject)} {'' if value is None else show(value)}")
        match = next((due for due in candidates if due.value == value), None)
        if match is None:
            expect(words(subject), candidates[0].value, value)
        self.due.remove(match)

    def money_due(self, reason, task, moved):
        """A posting must follow, unless it moves nothing."""
        if without_zeros(moved):
            self.must_follow("ledger.posted", reason, task.id, value=without_zeros(moved))

    def points_due(self, task, account, track, delta, reason, assignment):
        """A change of points must follow, unless it is zero."""
        if delta:
            self.must_follow("points.changed", account, track, reason, task.id, assignment, value=delta)

    def absence_due(self, node):
        """A node that gave a run back, or fell silent, is away until it is heard from."""
        if node.online:
            self.must_follow("node.availability_changed", node.id, value="offline")

    def closing_due(self, task):
        """Something happened that only happens where a task closes in the same batch."""
        if not self.is_due("task.closed", task.id):
            self.must_follow("task.closed", task.id)

    # ---- money and points

    def on_ledger_posted(self, data):
        """The postings sum to zero, leave nobody but `external` below zero, and are the ones that the rules call for."""
        moved = Counter()
        for posting in data["postings"]:
            moved[posting["account"]] += integer(posting["amount"])
        expect("the sum of the postings", 0, sum(moved.values()))
        for account, change in moved.items():
            self.balances[account] += change
            require(self.balances[account] >= 0 or account == "external",
                    f"expected no balance below zero, found {self.balances[account]} in {account}")
        moved, reason = without_zeros(moved), data["reason"]
        if reason == "deposit":
            self.check_deposit(data.get("reference"), moved)
        elif reason == "closure":
            self.announce_closure(data, moved)
        elif reason == "maturity" and not self.is_due("ledger.posted", reason, data["task"]):
            self.announce_maturity(data, moved)
        elif reason == "payout":
            self.note_reference(data.get("reference"))
            self.settle_due("ledger.posted", reason, value=moved)
        elif reason in ("stake", "unstake") and not self.is_due("ledger.posted", reason, None):
            self.check_stake(reason, moved)
        elif moved:
            self.settle_due("ledger.posted", reason, data.get("task"), value=moved)
        for node in [self.nodes[account.split("/")[1]] for account in moved if account.startswith("node/")]:
            node.stake = self.balances[stake_of(node.id)]
            require(self.balances[stake_of(node.id)] >= node.locked,
                    f"expected the stake of node {node.id} to cover {node.locked}, found {self.balances[stake_of(node.id)]}")

    def check_deposit(self, reference, moved):
        """From outside to one account, each reference once."""
        self.check_nothing_due("a deposit")
        self.note_reference(reference)
        paid = -moved.get("external", 0)
        receiver = next((account for account in moved if account != "external"), "")
        require(paid > 0 and AVAILABLE_PATTERN.fullmatch(receiver),
                f"expected a deposit from external to what an account has available, found {show(moved)}")
        expect("the postings of a deposit", {"external": -paid, receiver: paid}, moved)

    def check_stake(self, reason, moved):
        """Between what a node's owner can spend and the node's stake."""
        self.check_nothing_due("a posting of stake")
        account = next((account for account in moved if account.startswith("node/")), "node//")
        node = self.nodes[account.split("/")[1]]
        change = moved[account]
        require((change > 0) == (reason == "stake"), f"expected {reason} to move money the other way, found {show(moved)}")
        require(change < 0 or node.standing not in ("left", "revoked"), f"expected no stake for a node that is {node.standing}")
        expect(f"the postings of {reason}", {stake_of(node.id): change, available(node.owner): -change}, moved)

    def free(self, assignment):
        """What was locked for an assignment covers it no more."""
        self.nodes[assignment.node].locked -= assignment.stake
        assignment.stake = 0

    def strikes_at(self, node, policy):
        """The strikes of a node that still count."""
        return node.strikes if self.now - node.struck_at <= policy["stake"]["strike_ms"] else 0

    def slashes_due(self, task, refused):
        """Refused results are strikes, and cost the stake locked for them once there are too many, where a quorum disagrees; a verifier's
        cost it at once."""
        refutes = (task.accepted and task.blames()) or "mismatch" in refused.values()
        for assignment in (task.assignments[a] for a in refused):
            node = self.nodes[assignment.node]
            node.strikes, node.struck_at = self.strikes_at(node, task.policy) + 1, self.now
            covered = (assignment.id == task.trusted or task.inspects) and assignment.hardware is None
            if refutes:
                self.recall(node)
            if refutes and (covered or not self.is_free(task, node, node.strikes)) and assignment.stake:
                value = {"amount": assignment.stake, "strikes": node.strikes}
                self.must_follow("node.slashed", node.id, task.id, assignment.id, value=value)
            self.shut_out_due(task, node)

    def is_free(self, task, node, strikes):
        """Whether so many refused results cost the node no stake."""
        stake = task.policy["stake"]
        return strikes <= stake["strikes_free"] and node.stood >= stake["free_after"]

    def shut_out_due(self, task, node):
        """A node with too many refused results is suspended."""
        most = task.policy["stake"]["strikes_max"]
        if 0 < most <= node.strikes and not node.suspended and node.standing not in ("left", "revoked"):
            self.must_follow("node.suspended", node.id, value=f"{node.strikes} of its results were refused")

    def recall(self, node):
        """A node was caught: what rests on its word alone, and has not matured, is to be looked at again."""
        node.caught_at = self.now
        for task in self.maturing.values():
            self.recall_if_caught(task, node)

    def recall_if_caught(self, task, node):
        """The same for one task."""
        first = task.accepted[0]
        if task.sample == "alone" and first.node == node.id and not task.review and node.caught_at >= first.committed_at:
            task.review = ("due", node.id)

    def on_node_slashed(self, data):
        """What was locked for the result is the treasury's."""
        value = {"amount": integer(data["amount"]), "strikes": data["strikes"]}
        self.settle_due("node.slashed", data["node"], data["task"], data["assignment"], value=value)
        task = self.tasks.get(data["task"]) or self.maturing.get(data["task"]) or self.overturned[data["task"]]
        self.free(task.assignments[data["assignment"]])
        lost, moved = value["amount"], Counter()
        payer, owed = task.owed or ("treasury", 0)
        back = min(owed, lost)
        task.owed = payer, owed - back
        moved[stake_of(data["node"])] -= lost
        moved[payer] += back
        moved["treasury"] += lost - back
        self.must_follow("ledger.posted", "slash", task.id, value=without_zeros(moved))
        if task.state == "overturned" and not any(due.subject[::2] == ("node.slashed", task.id) for due in self.due):
            self.reversal_due(task)

    def note_reference(self, reference):
        """Each external payment is booked once."""
        require(reference and reference not in self.references, f"expected a reference that was not booked, found {reference!r}")
        self.references.add(reference)

    def on_account_withdrawal_requested(self, data):
        """What is asked for is set aside."""
        account, paid = data["account"], amount(data["amount"])
        require((account, data["withdrawal"]) not in self.withdrawals, f"expected a new withdrawal, found {data['withdrawal']} again")
        require(paid > 0, f"expected an amount above zero, found {paid}")
        self.withdrawals[account, data["withdrawal"]] = paid
        self.must_follow("ledger.posted", "withdrawal", None, value={available(account): -paid, withdrawing(account): paid})

    def open_withdrawal(self, data):
        """The amount of a withdrawal that ends here."""
        paid = self.withdrawals.pop((data["account"], data["withdrawal"]), None)
        require(paid is not None, f"expected an open withdrawal, found {data['withdrawal']}")
        return paid

    def on_account_withdrawal_paid(self, data):
        """It leaves the platform, under a reference of its own."""
        paid = self.open_withdrawal(data)
        self.must_follow("ledger.posted", "payout", value={withdrawing(data["account"]): -paid, "external": paid})

    def on_account_withdrawal_refused(self, data):
        """It is available again."""
        account, paid = data["account"], self.open_withdrawal(data)
        self.must_follow("ledger.posted", "withdrawal-refused", None, value={withdrawing(account): -paid, available(account): paid})

    def announce_closure(self, data, moved):
        """A closure's postings stand before the event that explains them, and are compared when it comes."""
        task = self.open_task(data, "created", "queued")
        require(task.closure is None, f"expected one closure of task {task.id}, found another")
        task.closure = moved
        self.closing_due(task)

    def announce_maturity(self, data, moved):
        """The postings of a maturity that time brought stand before the event that explains them."""
        self.check_nothing_due("a maturity")
        task = self.maturing_task(data)
        expect(f"the postings of the maturity of task {task.id}", maturity_of(task), moved)
        self.must_follow("task.matured", task.id)

    def on_points_changed(self, data):
        """Every change is one that the rules call for."""
        delta = integer(data["delta"])
        account, track = data["account"], data["track"]
        self.settle_due("points.changed", account, track, data["reason"], data["task"], data.get("assignment"), value=delta)
        self.points[account, track] += 1_000 * delta
        require(self.points[account, track] >= 0, f"expected no points below zero, found {self.points[account, track]} thousandths")
        self.changed.add(account)
        for node in self.in_order if track == "compute" else []:
            if node.owner == account:
                node.ranked = self.whole_points(account, track)

    def whole_points(self, account, track):
        """What can be lost, and what is shown."""
        return self.points[account, track] // 1_000

    # ---- rewards

    def fade_points(self, data):
        """An epoch closes: what it collected for those who have points at its end, what nobody claimed, and then all points fade."""
        policy, epoch = self.policies[-1], data["epoch"]
        expect("the part of points that is kept", policy["points"]["keep_ppm"], data["points_keep_ppm"])
        amount_of, everybody = part(self.collected, policy["rewards"]["pool_ppm"]), sum(self.points.values())
        amount_of = min(amount_of, self.balances["treasury"])
        reward = {"amount": str(amount_of), "points": str(everybody)} if amount_of and 0 < everybody < 2**64 else None
        expect("the epoch's reward", reward, data.get("reward"))
        expired = Counter()
        for pool in [pool for pool, (_, _, until) in self.pools.items() if until <= epoch]:
            del self.pools[pool]
            expired[f"pool/{pool}"], expired["treasury"] = -self.balances[f"pool/{pool}"], expired["treasury"] + self.balances[f"pool/{pool}"]
        if reward:
            self.pools[epoch] = amount_of, everybody, epoch + policy["rewards"]["claim_epochs"]
            self.must_follow("ledger.posted", "pool", None, value={"treasury": -amount_of, f"pool/{epoch}": amount_of})
        if without_zeros(expired):
            self.must_follow("ledger.posted", "pool-expired", None, value=without_zeros(expired))
        for account in self.changed:
            now = {track: self.points[account, track] for track in TRACKS}
            self.ends.setdefault(account, []).append((epoch, now))
        self.collected, self.changed = 0, set()
        self.point_keeps.append(data["points_keep_ppm"])
        for key in self.points:
            self.points[key] = part(self.points[key], data["points_keep_ppm"])

    def points_at(self, account, epoch):
        """An account's points at an epoch's end, in thousandths: those that it had at the end of the last one in which they changed,
        faded since."""
        known = [(at, points) for at, points in self.ends.get(account, []) if at <= epoch]
        at, points = known[-1] if known else (epoch, {})
        points = list(points.values())
        for keep in self.point_keeps[at - 1:epoch - 1]:
            points = [part(n, keep) for n in points]
        return sum(points)

    def on_account_rewards_claimed(self, data):
        """Its part of every pool that is open and was not claimed."""
        account, parts = data["account"], []
        for epoch, (amount_of, everybody, _) in self.pools.items():
            has = self.points_at(account, epoch)
            if epoch > self.claimed[account] and amount_of * has // everybody:
                parts.append({"epoch": epoch, "points": str(has), "amount": str(amount_of * has // everybody)})
        require(parts, f"expected account {account} to have something to claim, found nothing")
        expect("the parts that are claimed", parts, data["parts"])
        expect("the epoch that is claimed up to", len(self.point_keeps), data["through"])
        self.claimed[account] = data["through"]
        moved = {f"pool/{p['epoch']}": -integer(p["amount"]) for p in parts}
        self.must_follow("ledger.posted", "reward", None, value=moved | {available(account): -sum(moved.values())})

    # ---- policies, nodes, contents

    def on_policy_adopted(self, data):
        """Versions count from 1."""
        expect("the version of the policy", len(self.policies) + 1, data["version"])
        market = data["policy"]["market"]
        require(market in ("open", "private"), f"expected an open or a private market, found {market}")
        policy = {"scheduling": SCHEDULING, "settlement": SETTLEMENT, "stake": STAKE, "rewards": REWARDS,
                  "verification": VERIFICATION, "contents": CONTENTS} | with_integers(data["policy"])
        policy["points"] = POINTS | policy["points"]
        self.policies.append(policy)

    def on_node_registered(self, data):
        """A node has one owner and one key."""
        require(data["node"] not in self.nodes, f"expected a new node, found {data['node']} again")
        node = Node(data["node"], data["owner"], bytes.fromhex(data["public_key"]), data["profile"], len(self.nodes),
                    faded=len(self.keeps), ranked=self.whole_points(data["owner"], "compute"),
                    concurrency=self.policies[-1]["scheduling"]["unproven_slots"])
        self.nodes[node.id] = node
        self.in_order.append(node)
        self.count_class(node, 1)

    # ---- epochs

    def on_epoch_opened(self, data):
        """Epochs count from 1, one at a time."""
        require(self.commitment is None, f"expected epoch {self.epoch} to be closed first, found the next one opened")
        self.epoch += 1
        expect("the epoch", self.epoch, data["epoch"])
        self.commitment, self.opened_at = data["commitment"], self.now

    def on_epoch_closed(self, data):
        """With the secret, every draw of the epoch can be recomputed."""
        require(self.commitment is not None, "expected an open epoch, found none that could be closed")
        expect("the epoch", self.epoch, data["epoch"])
        drawn, self.drawn = self.drawn, []
        tossed, self.tossed = self.tossed, []
        commitment, self.commitment = self.commitment, None
        self.keeps.append(self.policies[-1]["scheduling"]["reliability_keep_ppm"])
        self.sweep[1] = len(self.nodes)
        self.fade_points(data)
        if data["secret"] == "lost":
            self.draws["lost"] += len(drawn)
            self.coins["lost"] += len(tossed)
            return
        secret = bytes.fromhex(data["secret"]["revealed"])
        expect("the hash of the epoch's secret", commitment, hashlib.sha256(b"aevir.epoch/1\n" + secret).hexdigest())
        over = self.opened_at + self.policies[-1]["scheduling"]["epoch_ms"]
        require(self.now >= over, "expected the epoch to last as long as the policy says, found it closed before")
        for draw in drawn:
            index, passed = draw.chosen(secret)
            expect(f"the candidate drawn at position {draw.position}, of {draw.candidates} from 0", index, draw.index)
            expect(f"those that were passed over at position {draw.position}", passed, [index for index, _ in draw.passed])
            self.draws["recomputed"] += 1
        for coin in tossed:
            seed = hmac.digest(secret, coin.message, "sha256")
            repeated = int.from_bytes(seed[:16], "big") % MILLION < coin.chance_ppm
            expect(f"whether the result sealed at position {coin.position} is repeated", repeated, coin.repeated)
            self.coins["recomputed"] += 1

    # ---- turns

    def on_account_limits_set(self, data):
        """An account has another share and other quotas from here on."""
        self.limits[data["account"]] = data["limits"]

    def limits_of(self, account):
        """An account's share and quotas."""
        return self.limits.get(account) or self.policies[-1]["scheduling"]["account"]

    def review(self, task):
        """After a task changed: it waits for a node or does not. Who begins to wait gets no credit for having been away."""
        ids = self.waiting.setdefault(task.requester, set())
        waited = bool(ids)
        (ids.add if task.waits() else ids.discard)(task.id)
        if ids and not waited:
            self.used[task.requester] = max(self.used[task.requester], self.virtual_time)

    def pay_for(self, task, slots_milli, doubled):
        """A placement reserves all the time that it may take."""
        requester, limits = task.requester, limits_of(task)
        charged = charge(limits["runtime_s"] * 1_000, slots_milli, self.limits_of(requester)["weight"])
        if not doubled:
            self.serve(requester)
        self.reserved[requester] += charged
        self.running[requester] += 1
        return charged

    def serve(self, requester):
        """Virtual time goes on to what it has used, and so do those who wait, come before it, and could not be served: the first 16."""
        used = self.used[requester]
        self.virtual_time = max(self.virtual_time, used)
        for turn in self.by_turn()[:16]:
            if turn >= (self.used[requester] + self.reserved[requester], requester):
                break
            self.used[turn[1]] = max(self.used[turn[1]], used)

    def by_turn(self):
        """Requesters that wait, by what they have used and reserved."""
        return sorted((self.used[who] + self.reserved[who], who) for who, ids in self.waiting.items() if ids)

    def pay_back(self, task, assignment):
        """What it held is used when the run ends, as far as the task accounts for it; where its node did not end it well, what it reserved at most."""
        begun = assignment.started_at or self.now
        before = min(begun - assignment.leased_at, task.policy["accept_ms"] + transfer_ms(task))
        after = min(self.now - begun, reserved_ms(task) + least_ms(task, brought(task, assignment)))
        held = charge(before + after, assignment.slots_milli, self.limits_of(task.requester)["weight"])
        if assignment.state in ("lost", "returned") or (assignment.state == "failed" and assignment.failure not in MODULE_FAILURES):
            held = min(assignment.charged, held)
        self.reserved[task.requester] -= assignment.charged
        self.used[task.requester] += held
        self.running[task.requester] -= 1

    def may_place(self, task):
        """Whether nothing holds it back but the nodes."""
        held = self.suspended & task.held_by()
        return not held and self.running[task.requester] < self.limits_of(task.requester)["running_max"]

    def next_in_turn(self, plan):
        """The task that the next lease of a plan has to go to, or None: of the requester who used least, the first that a node
        can take."""
        for _, requester in self.by_turn():
            if self.running[requester] >= self.limits_of(requester)["running_max"]:
                continue
            if requester not in plan.lines:
                lines = plan.looked_at[requester] = self.looked_at_of(requester, plan.now)
                plan.lines[requester] = [sorted(sum(some, []), key=Task.turn, reverse=True) for some in lines]
            first, others = plan.lines[requester]
            for tasks in first, others:
                while tasks:
                    if tasks[-1].id in self.waiting[requester] and self.can_be_placed(plan, tasks[-1]):
                        if tasks is first:
                            others.clear()
                            plan.looked_at[requester] = (plan.looked_at[requester][0], [])
                        return tasks[-1]
                    tasks.pop()
        return None

    def looked_at_of(self, requester, now):
        """The lines of a requester that a plan looks at: the first ones; and others, which follow on one another with each second, for the case
        that the first have nothing to place."""
        lines = {}
        for task in sorted((self.tasks[id] for id in self.waiting[requester]), key=Task.turn):
            lines.setdefault(line_key(task), []).append(task)
        most, lines = self.policies[-1]["scheduling"]["lines_max"], list(lines.values())
        at = most + now // 1_000 * most % max(1, len(lines) - most)
        return lines[:most], lines[at:at + most]

    def can_be_placed(self, plan, task):
        """Whether a node can take it."""
        key = needs_key(task)
        if key in plan.exhausted or not self.may_place(task):
            return False
        if not any(fits(needs_of(task), node, plan.now) for node in self.nodes.values()):
            plan.exhausted.add(key)
            return False
        return bool(self.candidates(task, None, plan.now))

    def next_tail(self, plan):
        """The run that the next duplicate of a plan has to be for, as (task, run), or None. Each is looked at once."""
        while plan.tails:
            _, id, run = plan.tails.pop()
            task = self.tasks[id]
            if self.may_place(task) and self.candidates(task, run, plan.now):
                return task.id, run
        return None

    def begin_plan(self):
        """What a plan begins with."""
        policy = self.policies[-1]["scheduling"]
        tails = [(*found, other.id) for other in self.tasks.values() if (found := other.endangered()) and found[0] <= self.now]
        tails = window(sorted((at, id, run) for at, run, id in tails), policy["tail"]["looks_max"], self.now)
        waiting = [task for task in self.tasks.values() if task.reserved is not None]
        kept = {task.reserved: task.id for task in waiting if self.keeps_its_node(task)}
        free = any(works(node) and node.busy < node.runs_max() and node.owner not in self.suspended for node in self.nodes.values())
        spare = {id: self.leave_room(needs_of(self.tasks[kept[id]]), self.nodes[id]) for id in kept}
        self.plan = Plan(self.now, tails[::-1], policy["placements_max"], turns=[who for _, who in self.by_turn()], kept=kept, spare=spare,
                         had_free=free)

    def check_turn(self, task, doubled):
        """A lease of a plan went to the task whose turn it was; duplicates come after all that waits."""
        if self.plan is None:
            self.begin_plan()
        plan = self.plan
        require(plan.reserving is None, "expected nodes to be kept free at the end of a plan, found a lease after that")
        plan.leased.add(task.id)
        require(plan.left > 0, "expected no more placements in one plan than its policy lets it make, found one more")
        plan.left -= 1
        following = None if plan.doubling else self.next_in_turn(plan)
        if doubled is None:
            expect("the task whose turn it is", following.id if following else None, task.id)
        else:
            expect("the task whose turn it is before any duplicate", following.id if following else None, None)
            plan.doubling = True
            expect("the run whose turn it is to get a duplicate", self.next_tail(plan), (task.id, doubled))
        self.turns += 1

    def check_plan_over(self):
        """A plan that made fewer placements than it may left nothing out that a node could take, or that one is to be kept free for."""
        plan = self.plan
        if plan is not None:
            self.end_placing(plan)
            require(not plan.reserving, f"expected a node to be kept free for task {plan.reserving[-1][0] if plan.reserving else ''}, "
                                        "found the plan over")
        self.plan = None

    def end_placing(self, plan):
        """No more leases come in a plan: what it keeps free follows."""
        if plan.reserving is not None:
            return
        plan.reserving = []
        if plan.left == 0:
            return
        left = None if plan.doubling else self.next_in_turn(plan)
        require(left is None, f"expected a lease for task {left.id if left else ''}, whose turn it was, found the plan over")
        tail = self.next_tail(plan)
        require(tail is None, f"expected a duplicate of run {tail[1] if tail else ''}, which was in danger, found the plan over")
        plan.reserving = self.to_reserve(plan)[::-1] if plan.had_free else []

    # ---- nodes that are kept free

    def keeps_its_node(self, task):
        """Whether the node that is kept free for a task could take it if it were idle."""
        needs, node = needs_of(task), self.nodes[task.reserved]
        return task.waits() and self.may_place(task) and fits_idle(needs, node, self.now) and self.admits(task, node)

    def stuck(self, plan):
        """Tasks that found no node though the plan looked at them, and have waited for long: the first of each line, by the turns of their
        requesters."""
        since = plan.now - self.policies[-1]["scheduling"]["reserve"]["after_ms"]
        found = []
        for requester in plan.turns:
            lines = sum(plan.looked_at.get(requester, ()), [])
            firsts = [next((task for task in line if task.id not in plan.leased), None) for line in lines]
            found += sorted((task for task in firsts if task and task.queued_at <= since and self.may_place(task)), key=Task.turn)
        return found

    def to_reserve(self, plan):
        """What is kept free from the end of a plan on, as (task, node): at most one for a requester."""
        policy = self.policies[-1]["scheduling"]["reserve"]
        if not policy["most"]:
            return []
        requesters = {self.tasks[id].requester for id in plan.kept.values()}
        nodes, found = set(plan.kept), []
        for task in window([t for t in self.stuck(plan) if t.requester not in requesters], policy["looks_max"], plan.now):
            if len(nodes) >= policy["most"] or task.requester in requesters:
                continue
            needs = needs_of(task)
            fit = [node for node in self.in_order
                   if node.id not in nodes and fits_idle(needs, node, plan.now) and self.admits(task, node)]
            looked_at = window(fit, policy["nodes_max"], plan.now)
            if any(self.leaves_room_soon(needs, node) for node in looked_at):
                continue
            ends = [(self.leave_room(needs, node)[0], node) for node in looked_at]
            best = min(((at, nth, node.id) for nth, (at, node) in enumerate(ends)
                        if at is not None and at <= plan.now + policy["idle_max_ms"]), default=None)
            if best:
                requesters.add(task.requester)
                nodes.add(best[2])
                found.append((task.id, best[2]))
        return found

    def runs_of(self, node):
        """A node's runs, were they to take all their time: the first one to end first."""
        runs = [(task, a) for task in self.tasks.values() for a in task.having("leased", "running") if a.node == node.id]
        return sorted((a.leased_at + reserved_ms(task), held_room(task, a), task.requester) for task, a in runs)

    def leaves_room_soon(self, needs, node):
        """Whether it has room as it is, or once one of its runs has ended, whichever."""
        runs = self.runs_of(node)
        return fits_beside(needs, node, runs) or any(fits_beside(needs, node, runs[:n] + runs[n + 1:]) for n in range(len(runs)))

    def leave_room(self, needs, node):
        """When its runs leave room, and whose is the last that has to end for that; None where there is room without that, or never."""
        runs = self.runs_of(node)
        ended = next((k for k in range(len(runs) + 1) if fits_beside(needs, node, runs[k:])), 0)
        return (runs[ended - 1][0], runs[ended - 1][2]) if ended else (None, None)

    def is_kept_from(self, task, node, now):
        """Whether the node is kept free for another task, and could be needed for that before this one has ended for certain; not where
        another requester's task waits for a run of his own."""
        kept = self.plan.kept if self.plan else {}
        if kept.get(node.id, task.id) == task.id:
            return False
        spare, whose = self.plan.spare[node.id]
        holder = self.tasks[kept[node.id]].requester
        if whose == holder and task.requester != holder:
            return False
        return spare is None or now + surely_ms(task) > spare

    def on_task_reserved(self, data):
        """At the end of a plan a node is kept free, and no longer for another task."""
        task = self.open_task(data, "queued")
        require(task.waits(), f"expected a task that waits, found a node kept free for {task.id}")
        if self.plan is None:
            self.begin_plan()
        self.end_placing(self.plan)
        expected = self.plan.reserving.pop() if self.plan.reserving else None
        expect("the task and the node that is kept free for it", expected, (task.id, data["node"]))
        for other in self.tasks.values():
            if other.reserved == data["node"]:
                other.reserved = None
        task.reserved = data["node"]

    def admits(self, task, node):
        """Whether neither who the node is, nor whose, nor its terms stand in the task's way."""
        parties = {task.requester} | {a.owner for a in task.live() + task.involved()} if task.policy["market"] != "private" else set()
        barred = self.not_compiled.get(task.definition["module"], {})
        return (node.id not in task.tried() and barred.get(node.id, 0) <= self.now and node.owner not in parties and node.owner not in self.suspended
                and node.admits("requesters", task.requester) and node.admits("modules", task.definition["module"])
                and self.admits_class(task, node))

    def admits_class(self, task, node):
        """Whether its GPU is of the class in which the task's results are compared; where that is not chosen yet, of one whose owners suffice."""
        bound, name = task.bound_class(), (node.profile.get("gpu") or {}).get("class")
        if bound is not None or task.class_owners() == 0:
            return bound in (None, name)
        return self.class_suffices(task, name, self.classes_at_work())

    def classes_at_work(self):
        """By class of GPU: how many nodes each owner has that take work, busy or not; counted once an entry."""
        if self.at_work[0] != self.tree.size:
            classes = defaultdict(Counter)
            for node in self.in_order:
                if node.profile.get("gpu") and works(node) and node.owner not in self.suspended:
                    classes[node.profile["gpu"]["class"]][node.owner] += 1
            self.at_work = self.tree.size, classes
        return self.at_work[1]

    @staticmethod
    def class_suffices(task, name, classes):
        """Whether nodes of a class of GPUs have as many owners as the sample has replicas, the requester not among them. Of one whose own
        nodes are of very many classes each is asked for one owner more."""
        owners, needed = owners_of(classes[name]), task.class_owners()
        if len(owners) != needed:
            return len(owners) > needed
        own = sum(counts[task.requester] > 0 for counts in classes.values())
        return task.requester not in owners and own <= OWN_CLASSES_MAX

    def count_class(self, node, more):
        """A node is of its class of GPUs, or is not any more."""
        if node.profile.get("gpu"):
            self.class_nodes[node.profile["gpu"]["class"]][node.owner] += more

    def candidates(self, task, doubled, now):
        """The nodes that the next replica of a task, or a duplicate, is drawn among, in the order of their registration."""
        needs, policy = needs_of(task, doubled), self.policies[-1]
        least = 0
        if doubled and not needs.sampled:
            needs.speed_in_time = 0
            faster = MILLION + task.policy["scheduling"]["tail"]["faster_ppm"]
            least = 0 if needs.qos.get("gpu") is not None else -(-shown(self.nodes[task.assignments[doubled].node]) * faster // MILLION)
        fit = [node for node in self.nodes.values()
               if fits(needs, node, now) and shown(node) >= least and self.admits(task, node) and not self.is_kept_from(task, node, now)]
        if needs.sampled or not fit:
            return fit
        score = policy["scheduling"]["score"]
        levels = [level(needs, node, node.ranked, score) for node in fit]
        floor = max(levels) - score["near_levels"]
        return [node for node, has in zip(fit, levels) if has >= floor]

    def note_draw(self, task, data):
        """The node was one of those that the replica is drawn among; which of them it had to be shows when the epoch closes."""
        draw = data.get("draw")
        if draw is None:
            require(self.epoch == 0, "expected a draw once there are epochs, found a lease without one")
            return
        held = self.suspended & task.held_by()
        require(not held, f"expected a task that nothing holds back, found {sorted(held)} suspended")
        doubled = data.get("doubles")
        self.check_turn(task, doubled)
        candidates = [node.id for node in self.candidates(task, doubled, self.now)]
        purpose = "tail" if doubled else "verifier" if task.inspects else "replica" if task.terms.replicas > 1 else "run"
        passed = draw.get("passed") or []
        require(not passed or purpose == "verifier", f"expected nobody to be passed over, found {passed}")
        expect("the draw", {"epoch": self.epoch, "purpose": purpose, "number": len(task.assignments), "candidates": len(candidates)}
               | ({"passed": passed} if passed else {}), draw)
        require(self.commitment is not None, "expected an open epoch to draw in, found none")
        require(data["node"] in candidates, f"expected one of {len(candidates)} nodes that the rules let be drawn, found {data['node']}")
        index = candidates.index(data["node"])
        weights = [(i, self.election_weight(task, self.nodes[candidates[i]])) for i in passed]
        self.drawn.append(Drawn(self.tree.size, draw_message(task, draw), len(candidates), index, weights,
                                self.election_weight(task, self.nodes[data["node"]])))

    def election_weight(self, task, node):
        """With which chance a verifier is taken that comes up, in parts per million: by its owner's points."""
        points = self.whole_points(node.owner, "compute") + self.whole_points(node.owner, "verification")
        half = max(1, task.policy["scheduling"]["score"]["points_half"])
        return max(points * MILLION // (points + half), task.policy["verification"]["election_floor_ppm"])

    def present_node(self, data):
        """The node that an event is about, which must not be gone."""
        node = self.nodes[data["node"]]
        require(node.standing not in ("left", "revoked"), f"expected a node that is there, found {data['node']} {node.standing}")
        return node

    def on_node_availability_changed(self, data):
        """A node that is gone does not come back."""
        online = data["availability"] == "online"
        if self.is_due("node.availability_changed", data["node"]):
            self.settle_due("node.availability_changed", data["node"], value=data["availability"])
        (self.present_node(data) if online else self.nodes[data["node"]]).online = online

    def on_node_profile_changed(self, data):
        """Another machine, or another version."""
        node = self.present_node(data)
        self.count_class(node, -1)
        node.profile = data["profile"]
        self.count_class(node, 1)

    def on_node_terms_changed(self, data):
        """What its operator allows from here on."""
        self.present_node(data).terms = data["terms"]

    def on_node_compute_checked(self, data):
        """The best answer counts, and fades by an eighth; a wrong one takes it all back."""
        node, policy = self.present_node(data), self.policies[-1]["scheduling"]["compute"]
        require(1 <= data["class"] <= 10, f"expected a check of a GPU for a class from 1 to 10, found {data['class']}")
        flops, outcome = 2 ** (29 + 2 * data["class"]), data["outcome"]
        expect("the operations of a check", flops, integer(data["flops"]))
        require(outcome == "silent" or ("root" in data and data["elapsed_ms"] <= policy["answer_ms"]),
                f"expected an answer in time and its root, found {data['elapsed_ms']} ms")
        day = self.now // 86_400_000
        drawn, claims = node.checked_on[1:] if node.checked_on[0] == day else (0, 0)
        is_claim = data["class"] > node.checked_class and claims < CLAIMS_PER_DAY
        require(policy["check_ms"] > 0 and (is_claim or drawn < policy["per_day"]), f"expected at most {policy['per_day']} checks of a node on a day")
        faded = node.mflop_s - -(-node.mflop_s // 8)
        if outcome == "shown":
            node.mflop_s, node.checked_wrong = max(faded, flops // max(data["elapsed_ms"], 1) // 1_000), False
        elif outcome == "silent":
            node.mflop_s = faded
        else:
            node.mflop_s, node.checked_wrong = 0, True
        node.checks, node.checked_class = node.checks + 1, data["class"]
        node.checked_on = (day, drawn, claims + 1) if is_claim else (day, drawn + 1, claims)

    def on_node_drained(self, data):
        """It gets nothing new."""
        self.present_node(data).standing = "leaving" if data["leaving"] else "draining"

    def on_node_resumed(self, data):
        """It takes work again."""
        self.present_node(data).standing = "working"

    def on_node_left(self, data):
        """It goes once nothing of it is open."""
        node = self.present_node(data)
        expect("the standing of a node that left", "leaving", node.standing)
        expect("what a node that left has open", (0, []), (node.busy, sorted(node.sealed)))
        node.standing = "left"
        self.count_class(node, -1)
        left = self.balances[stake_of(node.id)]
        if left:
            self.must_follow("ledger.posted", "unstake", None, value={stake_of(node.id): -left, available(node.owner): left})

    def on_node_key_rotated(self, data):
        """The key before signs the new one, and none comes back."""
        node, new = self.present_node(data), bytes.fromhex(data["public_key"])
        known = any(new == other.public_key or new in other.keys for other in self.nodes.values())
        require(not known, f"expected a key that no node has or had, found {data['public_key']}")
        if self.check_signatures:
            message = b"aevir.rotate/1\n" + data["node"].encode() + b"\n" + new + bytes.fromhex(data["key_hash"])
            require(signature_holds(node.public_key, message, bytes.fromhex(data["signature"])),
                    f"expected the key of node {data['node']} to have signed the next, found a signature that does not verify")
            self.signatures += 1
        node.keys.append(node.public_key)
        node.public_key = new

    def on_node_revoked(self, data):
        """Its leases are lost in the same batch."""
        node = self.present_node(data)
        node.standing = "revoked"
        self.count_class(node, -1)

    def on_account_suspended(self, data):
        """Its tasks are not placed, and its nodes get nothing new."""
        if self.is_due("content.suspended", data.get("content")):
            self.settle_due("content.suspended", data["content"])
        self.suspended.add(data.get("account") or data.get("module") or data["content"])

    on_module_suspended = on_content_suspended = on_account_suspended

    def on_account_released(self, data):
        """As before."""
        self.suspended.remove(data.get("account") or data.get("module") or data["content"])

    on_module_released = on_content_released = on_account_released

    def on_node_suspended(self, data):
        """It gets nothing new."""
        node = self.nodes[data["node"]]
        require(not node.suspended, f"expected a node that is not suspended, found {data['node']} again")
        if self.is_due("node.suspended", node.id):
            self.settle_due("node.suspended", node.id, value=data["reason"])
        node.suspended = True

    def on_node_released(self, data):
        """It may get work again."""
        node = self.nodes[data["node"]]
        require(node.suspended, f"expected a suspended node to be released, found {data['node']}")
        node.suspended = False

    def on_module_registered(self, data):
        """What its first registration says of compiling it holds. Before anybody measured it, nodes kept so much."""
        mib = data.get("compile_mib", COMPILE_MIB_UNMEASURED)
        require(COMPILE_MIB_MIN <= mib <= COMPILE_MIB_MAX, f"expected {COMPILE_MIB_MIN} to {COMPILE_MIB_MAX} MiB for compiling, found {mib}")
        self.compile_mib.setdefault(data["blob"]["digest"], mib)
        code = data.get("code_mib", 0)
        require(0 <= code <= COMPILE_MIB_MAX, f"expected up to {COMPILE_MIB_MAX} MiB of compiled form, found {code}")
        self.module_mib.setdefault(data["blob"]["digest"], code and code + -(-integer(data["blob"]["size"]) // MIB))

    def module_mib_of(self, data):
        """Storage that the module of a task takes that is created, with its compiled form, in MiB."""
        return self.module_mib.get(data["definition"]["module"], 0)

    def compile_mib_of(self, data):
        """Memory that compiling the module of a task takes that is created, in MiB."""
        return self.compile_mib.get(data["definition"]["module"], COMPILE_MIB_UNMEASURED)

    def on_content_registered(self, data):
        """A content has one owner, and files that nobody else registered before. A model has the terms that its task said."""
        id, owner, lineage = data["content"], data["owner"], data.get("lineage")
        require(id not in self.contents, f"expected a new content, found {id} again")
        earners = [(c["account"], c["weight"]) for c in data.get("contributors") or []] or [(owner, 1)]
        digests = [file["digest"] for file in data["files"] if integer(file["size"]) > 0]
        price, access = read_content_terms(data)
        parents = sorted((lineage or {}).get("contents") or [])
        content = Content(id, owner, data["weight"], price, access, earners, digests, parents, self.now, bool(lineage))
        policy = self.policies[-1] if self.policies else {"contents": CONTENTS | {"first_registrant": True}}
        if lineage:
            task = self.trained.pop(lineage["task"])
            target = task.definition["model"]["target"]
            expect("the model's terms", read_content_terms(target), (price, access))
            expect("the model's files", self.files_made(task, target), data["files"])
            self.models[lineage["task"]] = id
        elif policy["contents"]["first_registrant"]:
            for digest in digests:
                others = [content.owner for content in self.registrants(digest)]
                require(not others or owner in others, f"expected files that nobody else registered before, found {digest} of {others[:1]}")
        self.contents[id] = content
        for digest in digests:
            self.files.setdefault(digest, []).append(content)
        content.ancestors = ancestors_of(content, self.contents)

    def registrants(self, digest):
        """The contents with these bytes that aren't suspended."""
        return [content for content in self.files.get(digest, []) if content.id not in self.suspended][:REGISTRANTS_MAX]

    def files_made(self, task, target):
        """The files of the model that a task registers: all that others had not registered before its first lease."""
        begun = min(run.leased_at for run in task.assignments.values())

        def is_of_others(file):
            earlier = [content for content in self.registrants(file["digest"]) if content.registered_at <= begun]
            is_own = any(content.owner == task.requester for content in self.registrants(file["digest"]))
            return integer(file["size"]) > 0 and not is_own and any(content.owner != task.requester for content in earlier)
        files = [file for file in task.accepted[0].outputs if file["name"] in target["outputs"]]
        return [file for file in files if not (task.policy["contents"]["first_registrant"] and is_of_others(file))]

    def copies_due(self, task):
        """What owners of accepted runs registered by hand, after the lease of the run that has the same file as an output, is suspended."""
        copies = {}
        for run in task.accepted if task.policy["contents"]["first_registrant"] else []:
            digests = [file["digest"] for file in run.outputs if integer(file["size"]) > 0 and run.owner != task.requester]
            for digest in digests:
                own = [content for content in self.registrants(digest) if content.owner == run.owner]
                if all(content.registered_at > run.leased_at for content in own):
                    copies |= {(content.registered_at, content.id): content for content in own if not content.is_made}
        for _, content in sorted(copies.items())[:COPIES_MAX]:
            self.must_follow("content.suspended", content.id)

    def on_content_terms_changed(self, data):
        """Later tasks pay this, and are submitted by these accounts."""
        require(data["content"] in self.contents, f"expected a known content, found {data['content']}")
        content = self.contents[data["content"]]
        before = content.price, content.access
        content.price, content.access = read_content_terms(data)
        require(before != (content.price, content.access), f"expected other terms of content {content.id}, found the same again")

    # ---- tasks

    def open_task(self, data, *states):
        """The task that an event is about, which must be in one of the states."""
        task = self.tasks.get(data["task"])
        found = task.state if task else self.ended.get(data["task"], "unknown")
        require(found in states, f"expected task {data['task']} to be {' or '.join(states)}, found it {found}")
        return task

    def knows_task(self, id):
        """Whether a task was created."""
        return id in self.tasks or id in self.ended

    def end(self, task, state):
        """The task ended; only what became of it is kept."""
        self.ended[task.id] = state
        self.waiting.get(task.requester, set()).discard(task.id)
        self.discard_all(task)
        self.unseal(task)
        del self.tasks[task.id]

    def unseal(self, task):
        """No result of the task is open any more; what is slashed of what was locked stays until it is."""
        for assignment in task.assignments.values():
            self.nodes[assignment.node].sealed.discard(assignment.id)
            if not self.is_due("node.slashed", assignment.node, task.id, assignment.id):
                self.free(assignment)

    def on_task_created(self, data):
        """The escrow is the worst case, within the budget, under the policy of the day."""
        id, origin = data["task"], data.get("review")
        require(not self.knows_task(id), f"expected a new task, found {id} again")
        if origin:
            self.create_review(data, origin)
            return
        if data.get("inspection"):
            self.create_inspection(data)
            return
        require(self.policies, "expected a policy before the first task, found none")
        expect("the policy's version", len(self.policies), data["policy_version"])
        expect("the definition's digest", tagged_hash(b"aevir.task/1\n", data["definition"]), data["definition_digest"])
        expect("the seed", data["definition"].get("seed") or data["seed"], data["seed"])
        terms, policy = read_terms(data["definition"]), self.policies[-1]
        quorum, replicas = terms.quorum, terms.replicas
        require(quorum <= replicas < 2 * quorum, f"expected a quorum of more than half of {replicas} replicas, found {quorum}")
        require(1 <= terms.initial <= replicas, f"expected 1 to {replicas} replicas at first, found {terms.initial}")
        used = [self.contents.get(content) for content in terms.contents]
        unknown = [id for id, content in zip(terms.contents, used) if not content or not content.is_for(data["requester"])]
        unknown += [other for other in terms.dependencies if not self.knows_task(other)]
        require(not unknown, f"expected registered contents and known tasks, found {unknown}")
        require(not terms.adaptive or replicas > 1, f"expected an adaptive sample of two replicas or more, found {replicas}")
        sample, target = ("undecided", 1) if terms.adaptive else ("repeated", terms.initial)
        prices = {content.id: content.price for content in used if content.price}
        expect("the prices of its contents", list(prices.items()), [(p["content"], integer(p["price"])) for p in data.get("prices") or []])
        uses_max = data["definition"]["economics"].get("contents_max")
        require(uses_max is None or sum(prices.values()) <= amount(uses_max), f"expected contents for {uses_max} at most, found {sum(prices.values())}")
        task = Task(id, data["requester"], terms, policy, amount(data["escrow"]), target, data["definition"],
                    data["definition_digest"], data.get("nonce", "00" * 32), sample=sample,
                    policy_version=data["policy_version"], seed=data["seed"], prices=prices, compile_mib=self.compile_mib_of(data), module_mib=self.module_mib_of(data))
        expect("the nonce", data["definition"].get("nonce") or task.nonce, task.nonce)
        expect("the escrow", worst_case(terms, policy, prices), task.escrow)
        require(task.escrow <= terms.budget, f"expected an escrow within the budget of {terms.budget}, found {task.escrow}")
        if task.class_owners():
            classes = data["definition"]["qos"]["gpu"].get("classes") or list(self.class_nodes)
            suffices = any(self.class_suffices(task, name, self.class_nodes) for name in classes)
            require(suffices, f"expected a class of GPUs with nodes of {task.class_owners()} owners beside the requester, found none")
        self.tasks[id] = task
        self.money_due("escrow", task, {available(task.requester): -task.escrow, escrow(id): task.escrow})

    def create_review(self, data, origin):
        """The task that looks at a verdict again is the same run, for the same price, on nodes that had no part in it."""
        self.settle_due("task.created", data["task"])
        of, cause, bond = self.opening.pop(data["task"])
        counts = cause["by"] != "dispute"
        payer = {"stake": cause["node"]} if counts else {"account": cause["account"]}
        expect("what is reviewed", {"task": of.id, "payer": payer, "counts": counts}, origin)
        definition = review_definition(of, counts, bond, self.now)
        expect("the definition of the review", definition, data["definition"])
        expect("the definition's digest", tagged_hash(b"aevir.task/1\n", definition), data["definition_digest"])
        found = (data["requester"], data["seed"], data["nonce"], data["policy_version"], amount(data["escrow"]))
        expect("requester, seed, nonce, policy and escrow", (of.requester, of.seed, review_nonce(of), of.policy_version, bond), found)
        terms = read_terms(definition)
        first, involved = of.accepted[0], [a for a in of.assignments.values() if a.commitment and a.state in SEALED]
        rests_on, is_resumed = of.rests_on(first), first.resume is not None
        begun = rests_on[-1] if rests_on and of.took_over(first) and not rests_on[-1][0].resume else None
        account = stake_of(cause["node"]) if counts else available(cause["account"])
        task = Task(data["task"], of.requester, terms, of.policy, bond, terms.initial, definition, data["definition_digest"], data["nonce"],
                    policy_version=of.policy_version, seed=of.seed, compile_mib=self.compile_mib_of(data), module_mib=self.module_mib_of(data),
                    review_of=ReviewOf(of.id, account, involved + [run for run, _ in rests_on], first.hardware,
                                       first.work if is_resumed else first.agreement, counts, is_resumed, begun))
        self.tasks[task.id] = task
        self.money_due("escrow", task, {account: -bond, escrow(task.id): bond})
        self.must_follow("task.queued", task.id)

    def on_task_inspection_opened(self, data):
        """Nodes agree on a result that would pass, and the verifiers of each method that asks for them are to look at it; or that depends on
        whether two results agree, and they are to compare them."""
        task = self.open_task(data, "verifying", "inspecting")
        cost, place, ids = amount(data["escrow"]), data["method"], [data["assignment"]]
        if "against" in data:
            ids.append(data["against"])
            self.comparison_due(task, tuple(ids), place)
            expect("the escrow", inspection_cost(task.terms, task.policy, task.terms.comparison[1]["verifiers"]), cost)
        else:
            if not task.looks:
                self.looks_due(task)
            self.settle_due("task.inspection_opened", task.id, str(place), value={"assignment": ids[0], "escrow": cost})
            task.looks[place] = None
        task.escrow -= cost
        self.inspecting[data["inspection"]] = task, place, [task.assignments[id] for id in ids], cost
        self.must_follow("task.created", data["inspection"])

    def comparison_due(self, task, ids, place):
        """A round is complete, and these are compared for the first time; where they are closed, whether they were to be shows with the verdict."""
        self.due = [due for due in self.due if due.subject not in (("task.verified", task.id), ("task.extended", task.id))]
        self.check_round_over(task)
        task.state = "inspecting"
        require(task.terms.comparison and not task.looks, "expected no comparison, found one")
        expect("the method that compares", task.terms.comparison[0], place)
        results = [task.assignments[id].state in SEALED[1:] for id in ids]
        require(all(results) and ids[0] < ids[1] and ids not in task.compared, f"expected two results, once, found {ids}")
        if not task.is_closed():
            require(ids in uncompared(task, task.having("revealed"), task.compared), f"expected no comparison of {ids}, found it")
        task.compared[ids] = ""

    def looks_due(self, task):
        """A result would pass: all the methods' verifiers look at it."""
        self.due = [due for due in self.due if due.subject != ("task.verified", task.id)]
        if task.state == "verifying":
            self.check_round_over(task)
        require("" not in task.compared.values(), "expected what is compared to be heard first, found further verifiers")
        self.check_rounds_disagreed(task)
        verdict = judge(task)
        require(verdict and verdict[0] == "passed", f"expected a result that would pass, found {verdict and verdict[0]}")
        first = verdict[1][0].id
        task.state = "inspecting"
        for place, method in task.terms.inspections:
            value = {"assignment": first, "escrow": inspection_cost(task.terms, task.policy, verifiers_of(method))}
            self.must_follow("task.inspection_opened", task.id, str(place), value=value)

    def create_inspection(self, data):
        """The task that verifiers work on: its terms follow from the task whose result they look at."""
        self.settle_due("task.created", data["task"])
        of, place, looked_at, cost = self.inspecting.pop(data["task"])
        first, ids = looked_at[0], [a.id for a in looked_at]
        compares = {"one": ids[0], "two": ids[1], "bytes_max": str(compared_bytes(of))} if len(ids) == 2 else None
        expect("whose result is looked at", {"task": of.id, "method": place} | ({"compares": compares} if compares else {}), data["inspection"])
        definition = inspection_definition(of, place, ids, cost, self.now)
        expect("what the verifiers are to do", definition, data["definition"])
        expect("the definition's digest", tagged_hash(b"aevir.task/1\n", definition), data["definition_digest"])
        found = (data["requester"], data["seed"], data["nonce"], data["policy_version"], amount(data["escrow"]))
        nonce = inspection_nonce(of, place, ids)
        expect("requester, seed, nonce, policy and escrow", (of.requester, of.seed, nonce, of.policy_version, cost), found)
        method = of.definition["verification"][place]["method"]
        brought = [a for a in of.assignments.values() if a.commitment and a.state in SEALED]
        brought += of.readers if method == "attestation" else []
        brought = brought if of.policy["market"] != "private" else []
        terms = read_terms(definition)
        hardware, agreed_on = (None, "") if compares else (first.hardware, first.agreement)
        risk = of.terms.price if method == "attestation" else 0
        task = Task(data["task"], of.requester, terms, of.policy, cost, terms.initial, definition, data["definition_digest"], data["nonce"],
                    policy_version=of.policy_version, seed=of.seed, compile_mib=self.compile_mib_of(data), module_mib=self.module_mib_of(data),
                    inspects=InspectionOf(of.id, place, compares, brought, hardware, agreed_on, risk))
        # What a comparator opens is closed.
        files = {"check": lambda: checked_files(of, first), "sampling": list, "attestation": lambda: of.inputs}
        self.tasks[task.id] = task
        self.money_due("escrow", task, {escrow(of.id): -cost, escrow(task.id): cost})
        self.must_follow("task.queued", task.id, value=files[method]())

    def inspection_due(self, task):
        """Verifiers have ended: they agree that the result passes or that it does not, or on nothing."""
        if task.inspects is None:
            return
        outcome, words = "undecided", {hashlib.sha256(word).hexdigest(): says for word, says in ((b"true", "passed"), (b"false", "failed"))}
        if task.accepted and self.tasks[task.inspects.task].definition["verification"][task.inspects.place]["method"] == "attestation":
            outcome = "passed" if task.accepted[0].agreement == task.inspects.agreed else "failed"
        elif task.accepted:
            outcome = words.get(task.accepted[0].result["digest"], "undecided")
        self.must_follow("task.inspected", task.inspects.task, task.id, value=(task.inspects.place, task.inspects.pair(), outcome))

    def on_task_inspected(self, data):
        """What they say waits for what the verifiers of other methods say."""
        task = self.open_task(data, "inspecting")
        due = next((due.value for due in self.due if due.subject == ("task.inspected", task.id, data["inspection"])), (None, None))
        place, pair = due[:2]
        self.settle_due("task.inspected", task.id, data["inspection"], value=(place, pair, data["outcome"]))
        if pair:
            task.compared[pair] = data["outcome"]
        else:
            task.looks[place] = data["outcome"]

    def told(self, task, verdict):
        """A verdict with what the verifiers say: what third parties refute is nobody's; else what does not pass is paid for and unmet."""
        name, accepted, refused = verdict
        if any(outcome != "passed" for outcome in task.looks.values()):
            name = "unmet"
        methods = task.definition.get("verification") or []
        if any(outcome == "failed" and methods[place]["method"] == "attestation" for place, outcome in task.looks.items()):
            # Whose result was only near the refuted one is not blamed, nor who differed from it.
            reasons = {a.id: "mismatch" if a.agreement == accepted[0].agreement else "apart" for a in accepted}
            kept = {id: "apart" if reason == "mismatch" else reason for id, reason in refused.items()}
            return "inconclusive", [], kept | reasons
        return name, accepted, refused

    def on_task_review_opened(self, data):
        """Somebody with a part in it doubts a verdict in time, or its only maker was caught."""
        self.check_nothing_due("a review")
        require(data["task"] in self.maturing, f"expected a task whose shares are pending, found {data['task']}")
        task, cause, bond = self.maturing[data["task"]], data["cause"], amount(data["bond"])
        expect("the bond", review_cost(task.terms, task.policy, cause["by"] != "dispute"), bond)
        first = task.accepted[0]
        if cause["by"] == "unvouched":
            expect("the node that nothing vouches for", first.node, cause["node"])
            require(self.is_unvouched(task) and self.now >= task.matures_at,
                    f"expected task {task.id} to mature with nothing that vouches for it, found otherwise")
        if cause["by"] == "caught":
            expect("why the verdict is looked at again", ("due", cause["node"]), task.review)
        if cause["by"] != "dispute":
            require(first.stake >= bond, f"expected {bond} to be locked for {first.id}, found {first.stake}")
            first.stake -= bond
            self.nodes[first.node].locked -= bond
        else:
            account = cause["account"]
            outvoted = {a.owner for a in task.assignments.values() if a.outvoted}
            require(account == task.requester or account in outvoted, f"expected somebody with something to lose by task {task.id}, found {account}")
            require(account not in self.suspended, f"expected an account that is not suspended, found {account}")
            require(not task.review and not task.review_of and self.now < task.matures_at,
                    f"expected an open dispute window of task {task.id}, found none")
            expect("the runtime profile", "det/1", task.definition.get("runtime", "det/1"))
        task.review, task.cause = ("open", data["review"]), cause["by"]
        self.opening[data["review"]] = task, cause, bond
        self.must_follow("task.created", data["review"])

    def is_unvouched(self, task):
        """It stood alone, nobody looked at it again, and no later result of its node that a draw had repeated has stood."""
        first = task.accepted[0]
        return task.must_be_vouched() and not task.review and self.nodes[first.node].vouched_at < first.committed_at

    def review_due(self, task, paid, judged=False):
        """A task that looks at another's verdict has ended, and cost so much: its fresh results agree with it, on another one, or on
        nothing."""
        if task.review_of is None:
            return
        of, outcome = self.maturing[task.review_of.task], "undecided"
        of.review_cost = paid
        said = [task.review_of.says(a) for a in task.having("revealed")]
        reviewed = task.review_of.reviewed
        if task.accepted and task.blames():
            outcome = "upheld" if task.review_of.says(task.accepted[0]) == reviewed else "overturned"
        elif judged and task.review_of.counts and any(one != reviewed for one in said):
            outcome = "unconfirmed"
        elif judged and self.contradicts(task):
            outcome = "unconfirmed"
        refuted = of.accepted if outcome == "overturned" else []
        to_blame, doubted = self.whose_fault(of, task, refuted)
        blamed = []
        for run in to_blame:
            strikes = self.strikes_at(self.nodes[run.node], of.policy) + 1
            free = run.hardware is not None and self.is_free(of, self.nodes[run.node], strikes)
            blamed.append({"assignment": run.id, "slashed": str(0 if free else run.stake)})
        of.owed = task.review_of.payer, 0 if task.review_of.counts else paid
        self.must_follow("task.reviewed", of.id, task.id, value={"outcome": outcome, "refused": [run.id for run in refuted],
                                                                 "blamed": blamed, "doubted": [run.id for run in doubted]})

    @staticmethod
    def contradicts(task):
        """Enough fresh results of a review are none of them the reviewed one, though they agree on nothing."""
        said = [task.review_of.says(a) for a in task.having("revealed")] if task.review_of else []
        return bool(said) and task.blames() and len(said) >= task.terms.quorum and task.review_of.reviewed not in said

    def whose_fault(self, of, review, refuted):
        """Who answers for refuted results, and whose record has them: the first checkpoint that one rests on is made by every run from
        zero, so that one which no fresh run has made is its author's fault; of what comes after it nothing tells."""
        blamed, doubted = [], []
        first = review.review_of.expects and review.review_of.expects[0]
        remade = any(run.has_remade for run in review.accepted)
        for run in refuted:
            if not of.took_over(run) or first and not remade and first.node == run.node:
                blamed.append(run)
            elif first and not remade:
                blamed.append(first)
            else:
                before = [author for author, _ in of.rests_on(run)[:1] if author.node != run.node and author is not first]
                doubted += [run, *before]
        return blamed, doubted

    def on_task_reviewed(self, data):
        """The verdict stands, or what was pending for it goes back."""
        value = {name: data[name] for name in ("outcome", "refused", "blamed", "doubted")}
        self.settle_due("task.reviewed", data["task"], data["review"], value=value)
        task = self.maturing[data["task"]]
        task.review = ("ended", data["outcome"])
        if task.cause == "unvouched" and data["outcome"] == "upheld":
            self.vouch(task.accepted[0])
        if data["outcome"] not in ("overturned", "unconfirmed"):
            return
        task.in_treasury = self.balances["treasury"]
        del self.maturing[task.id]
        self.overturned[task.id], self.ended[task.id], task.state = task, "overturned", "overturned"
        slashed = {r["assignment"]: amount(r["slashed"]) for r in data["blamed"]}
        for assignment in task.assignments.values():
            node = self.nodes[assignment.node]
            node.sealed.discard(assignment.id)
            node.locked -= assignment.stake - slashed.get(assignment.id, 0)
            assignment.stake = slashed.get(assignment.id, 0)
        blamed = [task.assignments[run] for run in slashed]
        for run in [*slashed, *data["doubted"]]:
            self.fault(task, task.assignments[run])
        for node in [self.nodes[first.node] for first in blamed]:
            node.strikes, node.struck_at, node.caught_at = self.strikes_at(node, task.policy) + 1, self.now, self.now
        for first in blamed:
            node = self.nodes[first.node]
            self.recall(node)
            if slashed[first.id]:
                self.must_follow("node.slashed", node.id, task.id, first.id, value={"amount": slashed[first.id], "strikes": node.strikes})
            self.shut_out_due(task, node)
        self.refusals_due(task, [first.id for first in blamed])
        model = self.models.get(task.id)
        if model and model not in self.suspended:
            self.must_follow("content.suspended", model)
        if not any(slashed.values()):
            self.reversal_due(task)

    def reversal_due(self, task):
        """Compute goes back: first to who had the review made, as far as no stake made it good, then to who paid. Contents are paid."""
        moved, payer, owed = Counter(), task.owed[0], task.owed[1] if task.review[1] == "overturned" else 0
        back = min(sum(share.amount for share in task.shares if share.role == "platform"), task.in_treasury)
        moved["treasury"] -= back
        moved[task.payer()] += back
        for share in [s for s in task.shares if s.role in ("compute", "content", "royalty")]:
            moved[pending(share.account)] -= share.amount
            if share.role != "compute":
                moved[available(share.account)] += share.amount
                continue
            back = min(owed, share.amount)
            owed -= back
            moved[payer] += back
            moved[task.payer()] += share.amount - back
        back = min(task.held, task.review_cost) if task.cause == "unvouched" and task.review[1] == "unconfirmed" else 0
        moved[pending(task.requester)] -= task.held
        moved[payer] += back
        moved[task.payer()] += task.held - back
        self.money_due("reversal", task, moved)

    def on_task_queued(self, data):
        """All tasks that it depends on have settled."""
        task = self.open_task(data, "created")
        if task.inspects:
            self.settle_due("task.queued", task.id, value=data["inputs"])
        if task.review_of:
            self.settle_due("task.queued", task.id)
            expect("the inputs", self.maturing[task.review_of.task].inputs, data["inputs"])
        for other in task.terms.dependencies:
            expect(f"the state of task {other}, on which this one depends", "settled", self.ended.get(other, "open"))
        task.state, task.queued_at, task.inputs = "queued", self.now, data["inputs"]
        since = task.at_once_from()
        task.at_once = since is not None and since <= self.now and not task.terms.adaptive
        self.review(task)

    def on_task_round_closed(self, data):
        """All replicas of the round have committed, so that nobody sees a result of the round before giving his own. Without a sample,
        each further result has its time to be revealed."""
        again = self.tasks.get(data["task"]) and self.tasks[data["task"]].terms.replicas == 1
        task = self.open_task(data, "queued", *(["verifying"] if again else []))
        expect("the round", task.round, data["round"])
        sealed = len(task.having(*SEALED))
        over = max((a.committed_at for a in task.having(*SEALED)), default=self.now) + task.policy["scheduling"]["round_ms"]
        running = task.having("leased", "running")
        expired = not again and task.terms.deadline is not None and self.now >= milliseconds(task.terms.deadline)
        in_vain = sealed > 0 and (expired or not running and self.now >= over)
        for run in running if in_vain else []:
            self.must_follow("assignment.withdrawn", run.id)
        require(sealed == task.target or in_vain or again and sealed > 0, f"expected {task.target} replicas that committed, found {sealed}")
        self.is_due("task.round_closed", task.id) and self.settle_due("task.round_closed", task.id)
        task.state, task.reveal_by = "verifying", milliseconds(data["reveal_by"])
        self.review(task)
        expect("reveal_by, in ms after the round closed", task.policy["reveal_ms"], task.reveal_by - self.now)

    def check_round_over(self, task):
        """Each replica of the round has revealed, or had its time to."""
        waiting = [a.id for a in task.having("committed") if a.round == task.round]
        if task.terms.replicas == 1:
            passed = any(all(passed for _, passed in a.checks) for a in task.having("revealed"))
            waiting = [] if passed else waiting + [a.id for a in task.having("leased", "running")]
        require(not waiting or self.now >= task.reveal_by,
                f"expected time to reveal for {', '.join(waiting)}, found the round over before reveal_by")

    def on_task_hastened(self, data):
        """One after the other, its replicas could be too late from here on."""
        task = self.open_task(data, "queued")
        require(task.missing_at_most() > task.open_slots(), f"expected task {task.id} to have replicas that wait for others, found none")
        since = task.at_once_from()
        require(since is not None and since <= self.now, f"expected task {task.id} to be hastened when time is short, found it hastened before")
        task.at_once = True
        if task.sample == "undecided":
            task.repeat()
        self.review(task)

    def on_task_trust_decided(self, data):
        """Whether the one result of an adaptive sample is repeated: always where its node is not trusted, and else by a coin."""
        self.settle_due("task.trust_decided", data["task"], data["assignment"])
        task = self.open_task(data, "queued")
        assignment, trust = task.assignments[data["assignment"]], data["trust"]
        reason = self.distrusted(task, assignment)
        if trust["by"] == "denied" and trust["reason"] == "no-secret":
            expect("why the result is always repeated", None, reason)
            self.coins["lost"] += 1
        elif trust["by"] == "denied" or reason:
            expect("why the result is always repeated", reason, trust.get("reason"))
        else:
            coin = trust["coin"]
            expected = {"epoch": self.epoch, "number": len(task.assignments), "chance_ppm": chance_ppm(task, assignment.price, assignment.stake)}
            expect("the coin", expected, coin)
            require(self.commitment is not None, "expected an open epoch to toss a coin in, found none")
            self.tossed.append(Coin(self.tree.size, draw_message(task, coin), coin["chance_ppm"], trust["repeated"]))
        if trust.get("repeated", True):
            task.repeat(assignment.id if trust["by"] == "drawn" else None)
        else:
            task.sample = "alone"
            self.must_follow("task.round_closed", task.id)
        self.review(task)

    def distrusted(self, task, assignment):
        """Why a result is repeated whatever a coin would say; None where its node is trusted."""
        node, least = self.nodes[assignment.node], task.policy["verification"]["adaptive"]["trusted_ppm"]
        if task.is_narrowed():
            return "narrowed"
        if not assignment.is_staked or (task.staked_votes() > 0 and not assignment.is_backed()):
            return "unstaked"
        if self.strikes_at(node, task.policy):
            return "struck"
        counts = node.record(task.definition["type"]).tallies.get(assignment.hardware, (0, 0))
        for keep in self.keeps[node.faded:]:  # as of now, while placement goes on to rank it as it did
            counts = tuple(part(count, keep) for count in counts)
        if wilson(*counts) < least:
            return "unproven"
        if assignment.hardware is None or task.policy["market"] == "private":
            return None
        return None if self.class_suffices(task, assignment.hardware, self.class_nodes) else "small-class"

    def on_task_extended(self, data):
        """No quorum yet: one more replica."""
        task = self.open_task(data, "verifying", "inspecting")
        if task.state == "verifying":
            self.check_round_over(task)
        require("" not in task.compared.values() and not task.looks, "expected verifiers to be heard first, found one more round")
        if task.is_closed():  # whether they disagree shows with the verdict
            self.is_due("task.extended", task.id) and self.settle_due("task.extended", task.id)
            require(task.is_left(), "expected a verdict, for no replica is left, found one more round")
        else:
            require(not uncompared(task, task.having("revealed"), task.compared), "expected results to be compared first, found one more round")
            verdict = judge(task)
            require(verdict is None, f"expected the verdict {verdict[0] if verdict else ''}, found one more round")
        task.state, task.round, task.target = "queued", task.round + 1, task.target + 1
        expect("the round", task.round, data["round"])
        expect("the replicas over all rounds", task.target, data["replicas"])
        self.review(task)

    def on_task_verified(self, data):
        """The verdict is the one that the reports give, and the verifiers; money and points follow from it."""
        task = self.open_task(data, "verifying", "inspecting")
        if self.is_due("task.verified", task.id):
            self.settle_due("task.verified", task.id)
        if task.state == "verifying":
            self.check_round_over(task)
        self.check_rounds(task)
        waiting = [says for says in [*task.looks.values(), *task.compared.values()] if not says]
        require(not waiting, f"expected the verdict once all verifiers have ended, found {len(waiting)} of them at work")
        require(not uncompared(task, task.having("revealed"), task.compared), "expected results to be compared first, found a verdict")
        looked = task.looks or not task.terms.inspections or data["verdict"] != "passed"
        require(looked, "expected verifiers to look at the result first, found it passed")
        self.check_verdict(task, data)
        expect("runs under way", [], [a.id for a in task.having("leased", "running")])
        task.accepted, task.state = [task.assignments[a] for a in data["accepted"]], "verified"
        self.discard_all(task)
        task.passed = data["verdict"] == "passed"
        task.shares = verdict_shares(task, self.contents, self.suspended, [r["assignment"] for r in data["refused"]])
        if not task.accepted and not self.contradicts(task):
            left = task.escrow - sum(share.amount for share in task.shares)
            task.shares += [Share("attempt", owner, "", "", paid) for owner, paid in self.held_up(task, left) if paid]
        self.settlement_due(task)
        # Nobody is blamed for a result that differs from a quorum without enough stake behind it.
        blamed = {r["assignment"]: r["reason"] for r in data["refused"]
                  if r["reason"] == "not-revealed" or (r["reason"] == "mismatch" and (not task.accepted or task.blames()))}
        for refused in data["refused"]:
            task.assignments[refused["assignment"]].outvoted = refused["reason"] == "mismatch"
        self.refusals_due(task, blamed)
        self.slashes_due(task, blamed)
        self.note_outcomes(task, blamed)
        self.copies_due(task)
        self.review_due(task, sum(share.amount for share in task.shares), judged=True)
        self.inspection_due(task)

    def vouch(self, result):
        """A result stood that a draw had repeated: what its node sealed before and stood alone may mature."""
        node = self.nodes[result.node]
        node.vouched_at = max(node.vouched_at, result.committed_at)

    def note_outcomes(self, task, refused):
        """A verdict counts against nodes, on the task's type; what counts for them does with its settlement."""
        for assignment in task.accepted:
            if took_too_long(task.terms, assignment) and could_be_in_time(task):
                self.count(task, assignment, good=False)
        shown = task.accepted and task.blames()
        contradicted = [a for a in task.having("failed") if a.failure in MODULE_FAILURES] if shown else []
        for assignment in [task.assignments[a] for a in refused] + contradicted:
            self.fault(task, assignment)
        blamed = set()
        for run, blob in task.suspects if shown else []:
            if run.node not in blamed and all(a.node != run.node and a.resume != blob for a in task.accepted):
                blamed.add(run.node)
                self.fault(task, run)
        self.own_failures_count(task)

    def note_paid(self, task):
        """Accepted results count for their nodes, where they earned them enough."""
        least = task.policy["scheduling"]["record_pay_min"]
        earned = {share.node: share.amount for share in task.shares if share.role == "compute"}
        for assignment in [a for a in task.accepted if earned[a.node] >= least]:
            node = self.nodes[assignment.node]
            node.stood += len(task.accepted) > 1 and task.blames()
            if assignment.id == task.trusted and task.blames():
                self.vouch(assignment)
            if not task.needs_gpu():
                ms, told = assignment.committed_at - assignment.leased_at, assignment.started_at - assignment.leased_at
                node.see(assignment.fuel, ms, min(told, transfer_ms(task)))
            self.grow(node, assignment.abreast)
            if not took_too_long(task.terms, assignment):
                self.count(task, assignment, good=True).in_a_row = 0

    def grow(self, node, abreast):
        """An accepted result of a run that had so many beside it, with itself, shows that the node can have one more."""
        node.concurrency += node.runs_max() < node.offered() and 2 * abreast >= node.runs_max()

    def halve(self, node):
        """A lost lease: half of what it was given, and never less than newcomers get."""
        least = self.policies[-1]["scheduling"]["unproven_slots"]
        node.concurrency = min(node.concurrency, max(least, node.concurrency // 2))

    def own_failures_count(self, task):
        """When a task ends, failures that nodes took on themselves are theirs, unless nobody managed and several owners' nodes failed."""
        own = [a for a in task.having("failed") if a.failure == "host-error"]
        if task.accepted or len({self.nodes[a.node].owner for a in own}) < 2:
            for assignment in own:
                self.count(task, assignment, good=False)

    def record_of(self, task, assignment):
        """What a node did on the task's type, up to date."""
        node = self.nodes[assignment.node]
        node.fade(self.keeps, self.whole_points(node.owner, "compute"))
        return node.record(task.definition["type"])

    def count(self, task, assignment, good):
        """One more outcome of a node, on the task's type and the hardware of the lease; its records are up to date first."""
        record = self.record_of(task, assignment)
        record.count(assignment.hardware, good, not good)
        return record

    def fault(self, task, assignment):
        """A bad outcome after which the node backs off."""
        self.count(task, assignment, good=False).back_off(self.now, task.policy)

    def miss_deadline(self, task, run):
        """A run that its deadline overtakes although it had all its time is late."""
        over = task.terms.deadline is not None and self.now >= milliseconds(task.terms.deadline)
        if run.state == "running" and over and left_all_time(task, run):
            self.count(task, run, good=False)

    def check_rounds(self, task):
        """Nothing is closed any more, and the rounds before did disagree."""
        expect("results that are still closed", [], [a.id for a in task.having("shown")])
        self.check_rounds_disagreed(task)

    def check_rounds_disagreed(self, task):
        """Whether each round before did, by what is opened; and whether what was compared was to be."""
        lost = [a for a in task.assignments.values() if "shown" in (a.state, a.withdrawn_from)]  # nobody can compare it any more
        for number in range(1, task.round + 1) if task.is_closed() and not lost else []:
            before = {pair: word for pair, word in task.compared.items() if task.round_of(pair) < number}
            asked = uncompared(task, [a for a in task.having("revealed") if a.round <= number], before)
            expect(f"the results that were compared with round {number}", asked,
                   sorted(pair for pair in task.compared if task.round_of(pair) == number))
        for number in range(1, task.round) if task.is_closed() else []:
            said = {pair: word for pair, word in task.compared.items() if task.round_of(pair) <= number}
            found = agreed(task, [a for a in task.having("revealed") if a.round <= number], said)
            require(not found, f"expected the verdict with round {number}, whose results agree, found one more round")

    def check_verdict(self, task, data):
        """Verdict, accepted and refused replicas, the agreed result, lateness."""
        verdict = judge(task)
        require(verdict, f"expected one more round, since there is no quorum yet, found the verdict {data['verdict']}")
        name, accepted, refused = self.told(task, verdict)
        expect("the verdict", name, data["verdict"])
        expect("the accepted replicas", sorted(a.id for a in accepted), sorted(data["accepted"]))
        expect("the refused replicas", sorted(refused.items()), sorted((r["assignment"], r["reason"]) for r in data["refused"]))
        limit = task.terms.max_latency_ms
        task.late = limit is not None and self.now - task.queued_at > limit
        expect("late", task.late, data["late"])
        if accepted:
            expect("the first accepted replica", accepted[0].id if task.terms.comparison else data["accepted"][0], data["accepted"][0])
            expect("the outputs", accepted[0].outputs, data["outputs"])
            expect("the result", accepted[0].result, data.get("result"))
            methods = task.definition.get("verification") or []
            looks = [("attestation" if methods[place]["method"] == "attestation" else f"module {methods[place]['module']['module']}",
                      outcome == "passed") for place, outcome in task.looks.items()]
            expect("the checks", sorted(accepted[0].checks + looks), sorted((c["check"], c["passed"]) for c in data["checks"]))

    def settlement_due(self, task):
        """The postings and the events that a verdict asks for."""
        fee = sum(share.amount for share in task.shares)
        require(fee <= task.escrow, f"expected a fee within the escrow of {task.escrow}, found {fee}")
        if task.accepted and task.must_be_vouched():
            task.held = min(task.escrow - fee, review_cost(task.terms, task.policy, True))
        moved = Counter({escrow(task.id): -task.escrow, task.payer(): task.escrow - fee - task.held})
        moved[pending(task.requester)] += task.held
        for share in task.shares:
            moved[share.ledger_account()] += share.amount
        self.money_due("settlement", task, moved)
        self.must_follow("task.settled", task.id)

    def refusals_due(self, task, refused):
        """The points that refused results cost, one after the other where they are of one owner."""
        lost = Counter()
        for assignment in (task.assignments[a] for a in refused):
            owner = assignment.owner
            loss = refused_loss(task.policy, self.whole_points(owner, task.track()) - lost[owner])
            lost[owner] += loss
            self.points_due(task, owner, task.track(), -loss, "result-refused", assignment.id)

    def on_task_settled(self, data):
        """Fee, refund and shares are the ones that were recomputed at the verdict."""
        self.settle_due("task.settled", data["task"])
        task = self.open_task(data, "verified")
        fee = sum(share.amount for share in task.shares)
        expect("the fee", fee, integer(data["fee"]))
        expect("the refund", task.escrow - fee, integer(data["refund"]))
        expect("what of it is held", task.held, integer(data.get("held", "0")))
        found = [Share(s["role"], s.get("account") or "", s.get("node") or "", s.get("content") or "", integer(s["amount"]))
                 for s in data["shares"]]
        expect("the shares", sorted(s for s in task.shares if s.amount), sorted(s for s in found if s.amount))
        self.note_paid(task)
        expect("private_market", task.policy["market"] == "private", data["private_market"])
        if not task.accepted:
            expect("matures_at", None, data.get("matures_at"))
            self.end(task, "inconclusive")
            if any(due.subject[::2] == ("node.slashed", task.id) for due in self.due):
                self.overturned[task.id] = task
            return
        window = task.policy["settlement"]["window_ms"]
        task.matures_at = self.now + window
        # Version 1 knew no window, and does not say it.
        if window or "matures_at" in data:
            expect("matures_at, in ms after the verdict", window, milliseconds(data["matures_at"]) - self.now)
        passed = task.passed
        self.ended[task.id] = "settled" if passed else "unmet"
        if passed and (task.definition.get("model") or {}).get("target"):
            self.trained[task.id] = task
        self.maturing[task.id] = self.tasks.pop(task.id)
        if window > 0:
            self.recall_if_caught(task, self.nodes[task.accepted[0].node])
        if window == 0:
            self.money_due("maturity", task, maturity_of(task))
            self.must_follow("task.matured", task.id)

    def maturing_task(self, data):
        """The task that a maturity is about, whose dispute window has passed."""
        task = self.maturing.get(data["task"])
        require(task, f"expected a task whose shares are pending, found {data['task']}")
        require(not task.is_held(), f"expected task {task.id} to wait for its review, found it mature")
        require(not self.is_unvouched(task), f"expected task {task.id} to be looked at again, for nothing vouches for it, found it mature")
        require(self.now >= task.matures_at,
                f"expected the dispute window of task {task.id} to pass, found its maturity {task.matures_at - self.now} ms earlier")
        return task

    def on_task_matured(self, data):
        """Points are earned here, by those whose result was accepted and whose content was used."""
        task = self.maturing_task(data)
        if self.is_due("task.matured", task.id):
            self.settle_due("task.matured", task.id)
        else:
            expect(f"the postings of the maturity of task {task.id}", maturity_of(task), {})
        for change in points_earned(task):
            self.points_due(task, *change)
        self.collected += sum(share.amount for share in task.shares if share.role == "platform")
        self.unseal(task)
        del self.maturing[task.id]

    def on_task_closed(self, data):
        """The end without a verdict: the fees that the reason calls for, the rest back, nobody left at work."""
        task, reason = self.open_task(data, "created", "queued"), data["reason"]
        self.check_close_reason(task, reason)
        expect("replicas under way", [], [a.id for a in task.having("leased", "running")])
        fees = closing_fees(task, reason, self.now)
        fees += self.held_up(task, task.escrow - sum(paid for _, paid in fees))
        fee = sum(paid for _, paid in fees)
        require(fee <= task.escrow, f"expected fees within the escrow of {task.escrow}, found {fee}")
        expect("the fee", fee, integer(data["fee"]))
        expect("the refund", task.escrow - fee, integer(data["refund"]))
        moved = Counter({escrow(task.id): -task.escrow, task.payer(): task.escrow - fee})
        for owner, paid in fees:
            moved[available(owner)] += paid
        expect("the postings of the closure", without_zeros(moved), task.closure or {})
        self.due = [due for due in self.due if due.subject != ("task.closed", task.id)]
        self.own_failures_count(task)
        self.review_due(task, fee)
        self.inspection_due(task)
        self.end(task, "failed" if reason in ("attempts-spent", "dependency-failed") else reason)

    def held_up(self, review, left):
        """What the maker of a dispute without a verdict owes those whose payment waited for it, as far as his bond lasts."""
        if review.review_of is None or review.review_of.counts:
            return []
        of, owed = self.maturing[review.review_of.task], []
        for share in of.shares:
            if share.role in ("compute", "content", "royalty"):
                due = share.amount * (self.now - review.queued_at) // HELD_UP_MS
                due = max(due, of.policy["attempt_fee"]) if share.role == "compute" else due
                owed.append((share.account, min(due, left)))
                left -= owed[-1][1]
        return owed

    def check_close_reason(self, task, reason):
        """The reason is known, and true."""
        require(reason in CLOSE_REASONS, f"expected one of {', '.join(CLOSE_REASONS)} as reason, found {reason}")
        expect("whether all attempts are spent", task.exhausted, reason == "attempts-spent")
        if reason == "expired":
            deadline = task.terms.deadline
            require(deadline and self.now >= milliseconds(deadline), f"expected a deadline that has passed, found {deadline}")
            sealed = task.having_ended(*SEALED) if task.terms.replicas > 1 else []
            expect("sealed results of a sample that expires", [], [a.id for a in sealed])
        if reason == "dependency-failed":
            states = [self.ended.get(other, "open") for other in task.terms.dependencies]
            require(set(states) - {"open", "settled"}, f"expected a dependency that ended without settling, found {states}")

    # ---- assignments

    def open_assignment(self, data, *states):
        """The task and the assignment that an event is about; the assignment must be in one of the states."""
        task = self.open_task(data, "queued", "verifying", "inspecting")
        assignment = task.assignments.get(data["assignment"])
        found = assignment.state if assignment else "unknown"
        require(found in states, f"expected assignment {data['assignment']} to be {' or '.join(states)}, found it {found}")
        return task, assignment

    def leave(self, task, assignment, state):
        """Change the state of an assignment; a run that ends frees its slot."""
        held = assignment.state in ("leased", "running")
        if state in ("lost", "failed", "withdrawn", "returned"):
            self.free(assignment)
        assignment.state = state
        self.discard(assignment)
        if held:
            self.load(task, assignment, -1)
            assignment.compiling = 0
            self.pay_back(task, assignment)
        self.review(task)

    def load(self, task, assignment, sign):
        """A lease takes a slot and room, or gives them back."""
        node = self.nodes[assignment.node]
        node.busy += sign
        node.taken = tuple(taken + sign * more for taken, more in zip(node.taken, held_room(task, assignment)))

    def keep(self, task, assignment):
        """Its node keeps the outputs until they are opened: as much as they may take, for a commitment does not tell how much they do."""
        assignment.sealed_mib = limits_of(task)["output_mib"]
        self.store(assignment.node, assignment.sealed_mib)

    def discard(self, assignment):
        """Nobody asks its node for the outputs any more."""
        self.store(assignment.node, -assignment.sealed_mib)
        assignment.sealed_mib = 0

    def discard_all(self, task):
        """The task has ended: nobody asks for any of its results."""
        for assignment in task.assignments.values():
            self.discard(assignment)

    def store(self, node, mib):
        """What is sealed takes so much more of a node's storage."""
        node = self.nodes[node]
        node.sealed_mib += mib
        node.taken = tuple(map(sum, zip(node.taken, (0, mib, 0, 0, 0))))

    def on_assignment_leased(self, data):
        """A node takes a replica: no more of them than the round calls for, not two of one owner, not more than its slots."""
        task, node, id = self.open_task(data, "queued"), self.nodes[data["node"]], data["assignment"]
        live = task.live()
        require(id not in task.assignments, f"expected a new assignment, found {id} again")
        expect("the round", task.round, data["round"])
        doubled = data.get("doubles")
        if doubled is None:
            # A run and its duplicate are one of them: the first of an adaptive sample may be doubled before time calls for the others.
            require(task.missing() > 0, f"expected at most {task.target} replicas, found one more")
            # Leases from before there were draws were placed at once.
            in_turn = task.open_slots() > 0 or data.get("draw") is None
            require(in_turn, "expected the next replica once those before are sealed, found it leased while one runs")
        else:
            since, run = task.endangered() or (None, None)
            expect("the run that a duplicate is for", run, doubled)
            require(since <= self.now, f"expected no duplicate before the run is in danger, found one {since - self.now} ms earlier")
        require(data["node"] not in [a.node for a in live], f"expected a node that has no replica of it, found {data['node']}")
        if task.policy["market"] != "private":
            parties = [task.requester] + [a.owner for a in live]
            require(node.owner not in parties, f"expected an owner who is no party to the task yet, found {node.owner}")
        point = task.resume_point(node.hardware(task.needs_gpu()))
        author, checkpoint = (point.author, point.blob) if point else (None, None)
        expect("the checkpoint to resume from", checkpoint, data.get("resume"))
        # Leases from before there were draws do not name whose it is.
        expect("the checkpoint's author", author if data.get("draw") else None, data.get("author"))
        self.note_draw(task, data)
        task.reserved = None
        needs = needs_of(task)
        # Before there were draws nodes found the memory for compiling beside what they had promised.
        compiling = task.compile_mib if data.get("draw") else 0
        most = node.runs_max() if data.get("draw") else node.claimed()
        require(node.busy < most, f"expected at most {most} runs at once on node {data['node']}, found {node.busy + 1}")
        require(node.online and node.standing == "working" and not node.suspended and node.is_open(self.now),
                f"expected a node that takes work, found {data['node']}")
        slots_milli = node.slots_milli(needs.run)
        task.assignments[id] = Assignment(id, data["node"], node.owner, task.round, node.hardware(task.needs_gpu()),
                                          leased_at=self.now, doubles=doubled, resume=checkpoint, author=author,
                                          resumed_run=point.by if point else None, slots_milli=slots_milli, compiling=compiling,
                                          charged=self.pay_for(task, slots_milli, doubled))
        self.load(task, task.assignments[id], 1)
        asked = asked_price(task, node)
        found = data.get("price")
        expect("the price that the node asks for", asked, None if found is None else amount(found))
        price = task.terms.price if asked is None else asked
        require(price <= task.terms.price, f"expected a price of at most {task.terms.price}, found {price}")
        task.assignments[id].price = price
        due = stake_due(task, price)
        if due <= self.balances[stake_of(node.id)] - node.locked:
            task.assignments[id].stake, task.assignments[id].is_staked = due, True
            node.locked += due
        if task.inspects and task.inspects.compares and task.policy["market"] != "private":
            self.tasks[task.inspects.task].readers.append(task.assignments[id])
        self.review(task)

    def on_assignment_started(self, data):
        """The run begins, and some nodes' records are brought up to date."""
        task, assignment = self.open_assignment(data, "leased")
        assignment.state, assignment.started_at = "running", self.now
        self.load(task, assignment, -1)
        assignment.compiling = 0
        self.load(task, assignment, 1)
        assignment.abreast = self.nodes[assignment.node].busy
        for _ in range(min(SWEPT_NODES, self.sweep[1])):
            swept = self.in_order[self.sweep[0]]
            swept.fade(self.keeps, self.whole_points(swept.owner, "compute"))
            self.sweep = [(self.sweep[0] + 1) % len(self.in_order), self.sweep[1] - 1]

    def on_assignment_progressed(self, data):
        """Only of a run under way."""
        self.open_assignment(data, "running")[1].told = self.now, data["ppm"]

    def on_assignment_checkpointed(self, data):
        """Only of a run under way."""
        task, assignment = self.open_assignment(data, "running")
        task.checkpoint_bytes += int(data["checkpoint"]["size"])
        require(task.checkpoint_bytes <= TASK_CHECKPOINT_BYTES_MAX, "more bytes of checkpoints than a task may have")
        expected = task.review_of and task.review_of.expects
        assignment.has_remade |= bool(expected) and expected[1] == data["checkpoint"]
        base = next((c.ppm for c in task.checkpoints if c.blob == assignment.resume), 0)
        kept = [c for c in task.checkpoints if c.by != assignment.id]
        if len(kept) >= 16:  # as many as a task can have attempts
            kept.remove(min(kept, key=lambda c: c.ppm))
        told = assignment.told[1] if assignment.told else 0
        task.checkpoints = kept + [Checkpoint(assignment.id, assignment.node, data["checkpoint"], max(told, base))]

    def distrust(self, task, failed):
        """A run that blames the module may have failed for what it began from, or saved: both go. The last attempt begins at zero."""
        if failed.author not in (None, failed.node):
            task.suspects.append((task.assignments[failed.resumed_run], failed.resume))
        last = task.faults + 1 >= task.terms.attempts_max
        task.checkpoints = [c for c in task.checkpoints if not last and c.by != failed.id and c.blob != failed.resume]

    def on_assignment_output_uploaded(self, data):
        """The node brings an output, any time before it reveals."""
        task, assignment = self.open_assignment(data, "running", "committed")
        expect("whether outputs are closed", task.is_closed(), False)
        known = [blob["digest"] for blob in assignment.uploads]
        require(data["blob"]["digest"] not in known, f"expected each upload once, found {data['blob']['digest']} again")
        assignment.uploads.append(data["blob"])

    def on_assignment_output_closed(self, data):
        """The same of a sample's replica: nobody is to learn what it is."""
        task, assignment = self.open_assignment(data, "running", "committed")
        expect("whether outputs are closed", task.is_closed(), True)
        known = [output["seal"] for output in assignment.closed_uploads]
        require(data["output"]["seal"] not in known, f"expected each upload once, found {data['output']['seal']} again")
        assignment.closed_uploads.append(data["output"])

    def on_assignment_shown(self, data):
        """The node shows its result, and nobody can read it yet. A large one has several parts, in one batch."""
        task, assignment = self.open_assignment(data, "committed", "shown")
        if assignment.state == "shown":
            expect("the part's result and batch", (assignment.id, self.cause), self.shown)
            assignment.closed += base64.b64decode(data["closed"], validate=True)
            return
        expect("whether results are closed", task.is_closed(), True)
        expect("the task's state", "verifying", task.state)
        expect("the round", task.round, assignment.round)
        assignment.closed, assignment.state = base64.b64decode(data["closed"], validate=True), "shown"
        self.discard(assignment)
        self.shown = assignment.id, self.cause
        self.reveals["shown"] += 1
        if not [a for a in task.having("committed") if a.round == task.round]:  # else it had been opened
            self.must_follow("task.extended", task.id)

    def on_assignment_committed(self, data):
        """The node signs the hash of its result before it shows it."""
        task, assignment = self.open_assignment(data, "running")
        alone = task.terms.replicas == 1
        require(task.state == "queued" or alone, f"expected an open round, found a result for one that is {task.state}")
        expect("the node", assignment.node, data["node"])
        if self.check_signatures:
            message = b"aevir.commit/1\n" + bytes.fromhex(data["commitment"])
            require(signature_holds(self.nodes[assignment.node].public_key, message, bytes.fromhex(data["signature"])),
                    f"expected node {assignment.node} to have signed its commitment, found a signature that does not verify")
            self.signatures += 1
        self.leave(task, assignment, "committed")
        self.keep(task, assignment)
        assignment.committed_at = self.now
        self.remember(self.nodes[assignment.node], task.inputs)
        self.nodes[assignment.node].sealed.add(assignment.id)
        assignment.commitment, assignment.absent_ms = data["commitment"], integer(data.get("absent_ms", "0"))
        within = self.now - assignment.leased_at
        require(assignment.absent_ms <= within, f"expected no leader for at most {within} ms since the lease, found {assignment.absent_ms}")
        if task.sample == "undecided":
            self.must_follow("task.trust_decided", task.id, assignment.id)
        elif alone or len(task.having(*SEALED)) == task.target:
            self.must_follow("task.round_closed", task.id)
        for mate in [] if alone else task.having("leased", "running"):
            if mate.slot() == assignment.slot():
                self.must_follow("assignment.withdrawn", mate.id)

    def remember(self, node, inputs):
        """A node that ended a run has the run's inputs, as far as they are worth it."""
        score = self.policies[-1]["scheduling"]["score"]
        for digest in [i["digest"] for i in inputs if integer(i["size"]) >= score["cached_bytes_min"]]:
            node.cached = [held for held in node.cached if held != digest] + [digest]
            if len(node.cached) > score["cached_blobs_max"]:
                del node.cached[0]

    def on_assignment_revealed(self, data):
        """The report is the one that was committed to."""
        report = data["report"]
        task, assignment = self.open_assignment(report, "committed", "shown")
        compared = task.state == "inspecting" and task.compared and "" not in task.compared.values()
        expect("the task's state", "inspecting" if compared else "verifying", task.state)
        key = self.check_opening(task, assignment, data)
        expect("the node", assignment.node, report["node"])
        if task.inspects and task.inspects.compares:
            expect("what a comparison brings beside its word", ([], []), (report["outputs"], report["metrics"]))
        expect("the checkpoint resumed from", (assignment.resume or {}).get("digest"), report.get("resumed_from"))
        for output in report["outputs"]:
            blob = {"digest": output["digest"], "size": output["size"]}
            brought = closed_output(key, blob) in assignment.closed_uploads if key else blob in assignment.uploads
            require(brought, f"expected outputs that the node uploaded, found {output['name']}")
        expect("the commitment", assignment.commitment, tagged_hash(b"aevir.report/1\n", report))
        assignment.fuel = integer(report["usage"]["fuel"])
        size = integer(report["result"]["size"]) + sum(integer(output["size"]) for output in report["outputs"])
        assignment.used = min(assignment.fuel, task.terms.fuel_max), integer(report["usage"]["gpu_workgroups"]), size
        assignment.checks = verify_checks(task.terms, report, data["checks"])
        wanted = ((task.definition.get("model") or {}).get("target") or {}).get("outputs", [])
        if set(wanted) - {output["name"] for output in report["outputs"]}:
            # It makes no model, so that it does not meet the requester's terms.
            assignment.checks = sorted([*assignment.checks, ("model outputs", False)])
        assignment.agreement, assignment.work = agreement_key(report), work_key(report)
        assignment.outputs, assignment.result, assignment.state = report["outputs"], report["result"], "revealed"
        self.discard(assignment)

    def check_opening(self, task, assignment, data):
        """What was closed is opened with the verdict, and as what was shown. Returns the key; None where nothing was closed."""
        if assignment.state == "committed":
            expect("the round", task.round, assignment.round)
        expect("whether a key opens it", task.is_closed(), "key" in data)
        if not task.is_closed():
            return None
        key = bytes.fromhex(data["key"])
        if assignment.state == "shown":
            content = opened(key, assignment.closed).rstrip(b" ")
            told = {name: value for name, value in data.items() if name != "key"}
            require(content == canonical(told), f"expected assignment {assignment.id} to be opened as what was shown, found something else")
            self.reveals["opened"] += 1
        self.is_due("task.verified", task.id) or self.must_follow("task.verified", task.id)
        return key

    def on_assignment_lost(self, data):
        """A lease without a sign of life costs its owner points."""
        if data["reason"] == "not-revealed":
            self.lose_unrevealed(data)
            return
        states = {"not-started": ["leased"], "silent": ["leased", "running"], "revoked": ["leased", "running"]}[data["reason"]]
        task, assignment = self.open_assignment(data, *states)
        expect("whether its node is revoked", data["reason"] == "revoked", self.nodes[assignment.node].standing == "revoked")
        self.leave(task, assignment, "lost")
        self.halve(self.nodes[assignment.node])
        if data["reason"] != "revoked":
            self.absence_due(self.nodes[assignment.node])
        self.fault(task, assignment)
        loss = min(self.whole_points(assignment.owner, task.track()), task.policy["points"]["lost"])
        self.points_due(task, assignment.owner, task.track(), -loss, "lease-lost", assignment.id)
        self.count_fault(task)

    def lose_unrevealed(self, data):
        """A result without a sample that was not revealed in time costs what a refused one does, and an attempt; the task goes on."""
        task, assignment = self.open_assignment(data, "committed")
        expect("results of a task that goes on without one", 1, 1 if task.sample == "alone" else task.terms.replicas)
        task.sample = "undecided" if task.sample == "alone" else task.sample
        require(not task.having("revealed") and self.now >= task.reveal_by,
                f"expected time to reveal for {assignment.id}, found it lost before reveal_by")
        self.leave(task, assignment, "unrevealed")
        node = self.nodes[assignment.node]
        node.sealed.discard(assignment.id)
        self.halve(node)
        self.fault(task, assignment)
        pending = -sum(due.value for due in self.due if due.subject[:3] == ("points.changed", assignment.owner, task.track()))
        loss = refused_loss(task.policy, self.whole_points(assignment.owner, task.track()) - pending)
        self.points_due(task, assignment.owner, task.track(), -loss, "result-refused", assignment.id)
        for other in task.having("committed"):
            if not self.is_due("assignment.lost", other.id):
                self.must_follow("assignment.lost", other.id)
        if self.is_due("assignment.lost", assignment.id):
            self.settle_due("assignment.lost", assignment.id)
        if not task.having("committed"):
            task.state = "queued"
            self.review(task)
        self.count_fault(task)

    def on_assignment_failed(self, data):
        """A failure costs an attempt, and no points."""
        task, assignment = self.open_assignment(data, "leased", "running")
        before, assignment.failure = assignment.state, data["class"]
        self.leave(task, assignment, "failed")
        if assignment.failure == "not-compiled":  # nobody's fault
            expect("the state of a run whose module could not be compiled", "leased", before)
            barred = self.not_compiled.setdefault(task.definition["module"], {})
            barred[assignment.node] = self.now + NOT_COMPILED_MS
        if assignment.failure == "host-error":  # whether it counts shows when the task has ended
            self.record_of(task, assignment).back_off(self.now, task.policy)
        self.count_fault(task)
        if assignment.failure in MODULE_FAILURES:
            self.distrust(task, assignment)

    def on_assignment_returned(self, data):
        """A node stops. That is free as far as the policies of the task and of the day go, and then an attempt and a fault."""
        task, assignment = self.open_assignment(data, "leased", "running")
        node, free = self.nodes[assignment.node], self.policies[-1]["scheduling"]["returns"]["per_slot"]
        before = node.returns[1] if node.returns[0] == self.epoch else 0
        is_free = task.free_returns < task.policy["scheduling"]["returns"]["per_task"] and before < free * node.runs_max()
        expect("whether the return counts", not is_free, data["counted"])
        self.leave(task, assignment, "returned")
        self.absence_due(node)
        if is_free:
            task.free_returns, node.returns = task.free_returns + 1, (self.epoch, before + 1)
        else:
            self.fault(task, assignment)
            self.count_fault(task)

    def count_fault(self, task):
        """One attempt less; the task closes with its last. One is kept for each duplicate that may be overtaken."""
        task.faults += 1
        task.exhausted = task.faults + task.duplicates() >= task.terms.attempts_max
        if task.exhausted:
            self.closing_due(task)

    def on_assignment_withdrawn(self, data):
        """Called off: just before the task closes without it, or because another result was taken for its replica."""
        task, assignment = self.open_assignment(data, "leased", "running", *SEALED)
        mates = [a for a in task.having(*SEALED) if a.slot() == assignment.slot() and a is not assignment]
        if task.state == "verifying" or mates:
            if assignment.state == "shown":  # the leader that closed it had another secret: that it can't be opened is the log's word
                self.reveals["lost"] += 1
                self.is_due("task.verified", task.id) or self.must_follow("task.verified", task.id)
            elif task.terms.replicas > 1:
                self.settle_due("assignment.withdrawn", assignment.id)
            else:
                if not self.is_due("task.verified", task.id):
                    # What does not meet the terms waits for others, and ends it at once where nobody is left who could bring better.
                    self.check_round_over(task)
                    self.must_follow("task.verified", task.id)
                first = judge_alone(task.having("revealed"), {})[1][0]
                require(assignment is not first, f"expected the result of {first.id} to be the task's, found it called off")
            assignment.overtaken = assignment.state != "leased"
            self.miss_deadline(task, assignment)
            task.faults += assignment.overtaken
            self.nodes[assignment.node].sealed.discard(assignment.id)
            self.leave(task, assignment, "withdrawn")
            return
        assignment.withdrawn_from = assignment.state
        self.miss_deadline(task, assignment)
        self.leave(task, assignment, "withdrawn")
        self.nodes[assignment.node].sealed.discard(assignment.id)
        self.closing_due(task)


def stream_of(kind, data):
    """The stream that an event belongs to."""
    family = kind.split(".")[0]
    if family in ("ledger", "policy", "epoch"):
        return family
    if family in ("task", "assignment"):
        return f"task/{(data['report'] if kind == 'assignment.revealed' else data)['task']}"
    if family in ("account", "points"):
        return f"account/{data['account']}"
    return f"{family}/{data['blob']['digest'] if kind == 'module.registered' else data[family]}"


def check_bytes(expected, found):
    """A line is the canonical form of its content; otherwise say where they part."""
    if expected == found:
        return
    at = next((i for i, (a, b) in enumerate(zip(expected, found)) if a != b), min(len(expected), len(found)))
    raise Problem(f"expected canonical JSON with {expected[at:at + 20]!r} from byte {at} on, found {found[at:at + 20]!r}")


# ---------------------------------------------------------------- the report

def audit(file, check_signatures=True):
    """Read an export to its end or to the first problem; return the auditor and the problem, or None."""
    auditor = Auditor(check_signatures)
    try:
        while line := file.readline(LINE_BYTES_MAX + 2):
            auditor.add(line.removesuffix(b"\n"))
        auditor.check_nothing_due("the end of the log")
        auditor.check_plan_over()
    except Problem as problem:
        return auditor, {"position": auditor.tree.size, "what": str(problem)}
    return auditor, None


def task_counts(auditor):
    """How many tasks are in each state."""
    counts = Counter(auditor.ended.values())
    for task in auditor.tasks.values():
        at_work = task.state == "queued" and task.having("leased", "running", "committed")
        counts["running" if at_work else task.state] += 1
    return dict(sorted(counts.items()))


def report(auditor, problem):
    """What was recomputed, as one JSON document."""
    owners = sorted({account for (account, track) in auditor.points if auditor.whole_points(account, track)})
    return {
        "events": auditor.tree.size,
        "root": auditor.tree.root(),
        "sum": str(sum(auditor.balances.values())),
        "accounts": {account: str(balance) for account, balance in sorted(auditor.balances.items()) if balance},
        "points": {owner: {track: str(auditor.whole_points(owner, track)) for track in TRACKS} for owner in owners},
        "tasks": task_counts(auditor),
        "turns": auditor.turns,
        "draws": {"recomputed": auditor.draws["recomputed"], "lost": auditor.draws["lost"], "open": len(auditor.drawn)},
        "coins": {"recomputed": auditor.coins["recomputed"], "lost": auditor.coins["lost"], "open": len(auditor.tossed)},
        "reveals": {"opened": auditor.reveals["opened"], "lost": auditor.reveals["lost"],
                    "closed": auditor.reveals["shown"] - auditor.reveals["opened"] - auditor.reveals["lost"]},
        "signatures": {"checked": auditor.signatures} if auditor.check_signatures else "skipped",
        "error": problem,
    }


def print_table(document):
    """The report for people."""
    print(f"{'balance, in micro-AEV':<50}{'amount':>24}")
    for account, balance in document["accounts"].items():
        print(f"{account:<50}{int(balance):>24,}")
    print(f"{'sum':<50}{int(document['sum']):>24,}\n")
    print(f"{'points':<50}" + "".join(f"{track:>13}" for track in TRACKS))
    for owner, points in document["points"].items():
        print(f"{'account/' + owner:<50}" + "".join(f"{int(points[track]):>13,}" for track in TRACKS))
    tasks = ", ".join(f"{count} {state}" for state, count in document["tasks"].items()) or "none"
    signatures = document["signatures"]
    checked = "skipped: nothing shows whose results these are" if signatures == "skipped" else f"{signatures['checked']} checked"
    draws, coins = (", ".join(f"{count} {state}" for state, count in document[what].items()) for what in ("draws", "coins"))
    print(f"\ntasks       {tasks}\nturns       {document['turns']} recomputed\ndraws       {draws}\ncoins       {coins}\nsignatures  {checked}\nentries     {document['events']}\nroot        {document['root']}")


def main(arguments=None):
    """The command line."""
    parser = argparse.ArgumentParser(description="Recompute Aevir's books from an export of its log.")
    parser.add_argument("log", help="the export, CloudEvents a line each; - for standard input")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")
    parser.add_argument("--skip-signatures", action="store_true", help="leave the nodes' signatures unchecked")
    options = parser.parse_args(arguments)
    try:
        with sys.stdin.buffer if options.log == "-" else open(options.log, "rb") as file:
            auditor, problem = audit(file, not options.skip_signatures)
    except OSError as error:
        print(f"recompute: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(report(auditor, problem), ensure_ascii=False))
    elif problem:
        print(f"position {problem['position']}: {problem['what']}")
    else:
        print_table(report(auditor, problem))
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
