#!/usr/bin/env python3
"""Verifies an audit trail, slowly and plainly: a second opinion on src/check, sharing nothing with it.

Usage: naive_check.py DIRECTORY [--key VKEY-or-file] [--json]; exit codes as those of caio-check:
0 complete and right, 1 wrong, 2 usage, 3 incomplete. Standard library only.
"""

import base64
import hashlib
import itertools
import json
import os
import re
import struct
import sys
from bisect import bisect_right

NONE = 0xFFFFFFFF
DEFAULT = 0xFFFFFFFE
WRITER = 0xFFFF
NO_PARENT = 0xFFFFFFFFFFFFFFFF
MAGIC = b"CAIOframe1\n\0\0\0\0\0"
DICTIONARY = 512
SEGMENT_BYTES = 64 << 20
# What refuses in the name of a quota: a rate is used up, so many calls are in flight.
RATE, FLIGHT = 41, 42
# What refuses in the name of governance: a hook denies, none can be asked.
DENIED, UNASKED = 43, 44
ALLOW, DENY, UNAVAILABLE, OPEN = range(4)
STAGES = ["offer", "demand", "permit", "guarantee", "health", "drain", "tried"]
MASK = (1 << 64) - 1


class Wrong(Exception):
    pass


def must(holds, reason):
    if not holds:
        raise Wrong(reason)


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


# Ed25519, RFC 8032 5.1.

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def add(a, b):
    x = (a[1] - a[0]) * (b[1] - b[0]) % P
    y = (a[1] + a[0]) * (b[1] + b[0]) % P
    t = 2 * a[3] * b[3] * D % P
    z = 2 * a[2] * b[2] % P
    e, f, g, h = y - x, z - t, z + t, y + x
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def times(scalar, point):
    total = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            total = add(total, point)
        point, scalar = add(point, point), scalar >> 1
    return total


def decompress(data):
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    must(y < P, "a point is not on the curve")
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    must((x * x - square) % P == 0 and (x or not sign), "a point is not on the curve")
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


BASE = decompress((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def signed(key, message, signature):
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or s >= L:
        return False
    h = int.from_bytes(hashlib.sha512(r + key + message).digest(), "little") % L
    left, right = times(s, BASE), add(decompress(r), times(h, decompress(key)))
    same = (left[0] * right[2] - right[0] * left[2]) % P == 0
    return same and (left[1] * right[2] - right[1] * left[2]) % P == 0


# The signed note.


def read_key(line, name):
    found = re.fullmatch(re.escape(name) + r"\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)", line)
    must(found, "the key is no verification key")
    data = base64.b64decode(found[2], validate=True)
    own = sha(name.encode() + b"\n", data)[:4]
    must(own.hex() == found[1] and data[:1] == b"\1" and len(data) == 33, "the key is broken")
    return own, data[1:]


def read_keys(text):
    lines = text.rstrip().splitlines()
    must(0 < len(lines) < 3, "the key is no verification key")
    log = read_key(lines[0], "caio-trail")
    return log, read_key(lines[1], "caio-trail/segment")[1] if len(lines) > 1 else None


def read_checkpoint(text, key):
    body, _, signatures = text.partition("\n\n")
    found = re.fullmatch(r"caio-trail\n(0|[1-9][0-9]*)\n([A-Za-z0-9+/=]+)", body)
    must(found, "the checkpoint is not one of a trail")
    root = base64.b64decode(found[2], validate=True)
    must(base64.b64encode(root).decode() == found[2], "the root has two spellings")
    valid = False
    for line in signatures.splitlines():
        given = re.fullmatch("\u2014 caio-trail ([A-Za-z0-9+/=]+)", line)
        try:
            data = base64.b64decode(given[1], validate=True) if given else b""
        except ValueError:
            continue
        if data[:4] == key[0] and len(data) == 68:
            must(signed(key[1], (body + "\n").encode(), data[4:]), "the signature is not the key's")
            valid = True
    must(valid, "the key has not signed the checkpoint")
    return int(found[1]), root


# The tree, RFC 6962 2.1.


def root_of(leaves):
    if not leaves:
        return sha()
    level = leaves
    while len(level) > 1:
        pairs = [sha(b"\1", a, b) for a, b in zip(level[::2], level[1::2])]
        level = pairs + level[len(pairs) * 2 :]
    return level[0]


def tile_name(index):
    name, rest = "%03d" % (index % 1000), index // 1000
    while rest:
        name, rest = "x%03d/%s" % (rest % 1000, name), rest // 1000
    return name


def check_tiles(folder, leaves, closed):
    hashes, expected = leaves, {}
    for level in range(8):
        for index in range(0, len(hashes) // 256 + 1):
            expected["%d/%s" % (level, tile_name(index))] = hashes[index * 256 : index * 256 + 256]
        hashes = [root_of(hashes[i : i + 256]) for i in range(0, len(hashes) // 256 * 256, 256)]
    for top, _, names in os.walk(folder):
        for name in names:
            path = os.path.relpath(os.path.join(top, name), folder)
            if path.endswith(".tmp"):
                continue
            whole = re.fullmatch(r"(.*)\.p/([0-9]+)", path)
            width = int(whole[2]) if whole else 256
            tile = expected.get(whole[1] if whole else path, [])
            # Beyond the frames that were read: a trail that grows may be ahead.
            must(len(tile) >= width or not closed, "tile %s is of no frames" % path)
            with open(os.path.join(top, name), "rb") as file:
                data = file.read()
            if whole or len(tile) == 256:
                must(len(data) == width * 32, "tile %s is not whole" % path)
                known = b"".join(tile[:width])
                must(data[: len(known)] == known, "tile %s differs" % path)


def retired_leaves(folder, size):
    """The leaves of frames that are gone: the tiles stay."""
    leaves = []
    while len(leaves) < size:
        path = os.path.join(folder, "0", tile_name(len(leaves) // 256))
        if not os.path.exists(path):
            parts = [it for it in os.listdir(path + ".p") if not it.endswith(".tmp")]
            path = os.path.join(path + ".p", max(parts, key=int))
        with open(path, "rb") as file:
            data = file.read()
        wide = min(256, size - len(leaves))
        must(len(data) >= wide * 32, "a tile is missing")
        leaves += [data[i * 32 : i * 32 + 32] for i in range(wide)]
    return leaves


# The keys of segments.


class Chain:
    def __init__(self, directory, log_key, first_key):
        self.signer, self.first, self.begun, self.unlisted = log_key, first_key, [], False
        path = os.path.join(directory, "segment-keys")
        data = b""
        if os.path.exists(path):
            with open(path, "rb") as file:
                data = file.read()
        self.listed = [data[i * 152 : i * 152 + 152] for i in range(len(data) // 152)]

    def next(self, record, leaves):
        must(not self.unlisted, "segment-keys lacks a segment")
        place = len(self.begun)
        self.unlisted = place >= len(self.listed)
        must(self.unlisted or self.listed[place] == record, "segment-keys lists another key")
        public = self.verified(record, leaves)
        must(place > 0 or self.first in (None, public), "the first segment's key is another")
        self.signer = public
        self.begun.append(len(leaves))

    def verified(self, record, leaves):
        header = struct.unpack("<BBHHHQ", record[:16])
        frames, root, public, signature = struct.unpack("<Q32s32s64s", record[16:])
        must(header == (ord("K"), 1, 152, WRITER, 0, frames), "a segment's key is none")
        must(frames == len(leaves) and root == root_of(leaves), "a segment's key is of other frames")
        must(not self.begun or self.begun[-1] < frames, "two segments begin with one frame")
        message = b"caio-trail/segment\n" + record[16:88]
        must(signed(self.signer, message, signature), "a segment's key is not signed")
        decompress(public)
        return public

    def retired(self, leaves):
        while True:
            must(len(self.begun) < len(self.listed), "segment-keys lacks a segment")
            record = self.listed[len(self.begun)]
            (frames,) = struct.unpack("<Q", record[16:24])
            must(frames <= len(leaves), "segment-keys lacks a segment")
            if frames == len(leaves):
                return
            self.next(record, leaves[:frames])

    def finish(self, leaves, closed):
        must(not closed or not self.unlisted, "segment-keys lacks the last segment")
        further = self.listed[len(self.begun) :]
        must(len(further) < 2, "segment-keys lists segments that are missing")
        if further:
            self.verified(further[0], leaves)


# Landscapes. A set is a list of (first, behind the last); a text is (0, bytes), its top (1,).


class Text:
    def __init__(self, text):
        self.text, self.at = text, 0

    def eat(self, word):
        if self.text.startswith(word, self.at):
            self.at += len(word)
            return True
        return False

    def need(self, word):
        must(self.eat(word), "`%s` is missing in `%s`" % (word, self.text[:80]))

    def match(self, pattern):
        found = re.compile(pattern).match(self.text, self.at)
        must(found, "`%s` does not go on as it should" % self.text[:80])
        self.at = found.end()
        return found[0]

    def quoted(self):
        body = self.match(r'"(?:[ !#-\[\]-~]|\\[trn\'"\\]|\\x[0-9a-f]{2}|\\u\{[0-9a-f]+\})*"')[1:-1]
        plain = {"t": b"\t", "r": b"\r", "n": b"\n", "'": b"'", '"': b'"', "\\": b"\\"}

        def piece(found):
            escape = found[1]
            if escape[0] == "x":
                return bytes([int(escape[1:], 16)]).decode("latin-1")
            if escape[0] == "u":
                return chr(int(escape[2:-1], 16)).encode().decode("latin-1")
            return plain[escape].decode("latin-1")

        pattern = r"\\(x[0-9a-f]{2}|u\{[0-9a-f]+\}|.)"
        return re.sub(pattern, piece, body).encode("latin-1")

    def set(self):
        self.need("{")
        spans = []
        while not self.eat("}"):
            if spans:
                self.need(",")
            if self.eat("["):
                low = (0, self.quoted())
                self.need(" ")
                high = (1,) if self.eat("none") else (0, self.quoted())
                self.need(")")
            else:
                low = int(self.match(r"-?[0-9]+"))
                self.need("..")
                high = int(self.match(r"-?[0-9]+")) + 1
                must(-(1 << 63) <= low and high <= 1 << 63, "a number of more than 64 bits")
            must(low < high and (not spans or spans[-1][1] < low), "a set has two spellings")
            spans.append((low, high))
        return spans

    def constraints(self, between):
        found = []
        while True:
            attribute = int(self.match("[0-9]+"))
            self.need(":")
            must(attribute <= 0xFFFF, "there is no such attribute")
            must(not found or found[-1][0] < attribute, "attributes are out of order")
            found.append((attribute, self.set()))
            if not self.eat(between):
                return found

    def cnf(self):
        clauses = []
        if self.eat("true"):
            return clauses
        while True:
            if self.eat("false"):
                clauses.append([])
            else:
                self.need("(")
                clauses.append(self.constraints(" | "))
                self.need(")")
            if not self.eat(" & "):
                return clauses

    def condition(self):
        self.quoted()
        self.need(" ")
        self.quoted()
        self.need(" ")
        return self.cnf()

    def end(self):
        must(self.at == len(self.text), "`%s` goes on" % self.text[:80])


def add_ends(ends, clause):
    for attribute, spans in clause:
        known = ends.setdefault(attribute, set())
        for span in spans:
            known.update(end for end in span if type(end) is tuple and end != (1,))


def speaks_of(rule, side, name):
    if side not in rule:
        return True
    return any(
        name.startswith(one[:-1]) if one.endswith(b"*") else name == one for one in rule[side]
    )


SEMANTICS = "caio-landscape/2 caio-sem/1"
# Which words begin the lines of a section behind its first; all others but `need` are common.
OWN = {"capability": {"needs", "need"}}
OWN["service"] = {"tls", "endpoint", "offer", "grpc", "http", "demand", "promise"}


def split(text):
    """What is common, if it is said, the keys of sections that are gone, and those that are put."""
    must(text.endswith("\n") or not text, "a text is cut off")
    common, gone, put, here = None, [], {}, None
    for line in text.split("\n")[:-1]:
        words = Text(line)
        if words.eat("gone "):
            must(here is None, "what is gone stands behind what is not")
            gone.append((words.match("(capability|service)"), words.need(" ") or words.quoted()))
            words.end()
        elif words.eat("capability "):
            here = ("capability", words.quoted())
            words.end()
            must(here not in put, "a section is there twice")
            put[here] = (0, [line])
        elif words.eat("service "):
            number = int(words.match("[0-9]+"))
            words.need(" ")
            here = ("service", words.quoted())
            must(here not in put, "a section is there twice")
            must(number < 1 << 22, "a service of too many")
            put[here] = (number, [line])
        elif here is not None:
            put[here][1].append(line)
        else:
            must(not gone, "a line of no section")
            common = (common or []) + [line]
    must(common is None or common[0] == SEMANTICS, "another semantics")
    must(len(gone) == len(set(gone)) and not set(gone) & set(put), "a section is gone and there")
    return common, gone, put


def name_of(common, sections):
    """The digest of sections: a shard's number is the first byte of the hash of a name."""
    shards = {}
    text = lambda lines: "".join(line + "\n" for line in lines).encode()
    for kind, name in sorted(sections):
        number, lines = sections[kind, name]
        words = Text(lines[0])
        words.need(kind + " " if kind == "capability" else "service %d " % number)
        start = words.at
        words.quoted()
        line = "%s %s %s" % (kind, lines[0][start : words.at], sha(text(lines)).hex())
        shards.setdefault(sha(name)[0], []).append(line)
    root = [SEMANTICS, "common " + sha(text(common)).hex()]
    root += ["shard %02x %s" % (at, sha(text(shards[at])).hex()) for at in sorted(shards)]
    return sha(text(root))


class Landscape:
    def __init__(self, text, before=None):
        """Of a whole text, or of that of another and of what it differs in."""
        common, gone, put = split(text)
        self.common, self.sections = (before.common, dict(before.sections)) if before else (None, {})
        if common is not None:
            self.common = common
        must(self.common is not None, "another semantics")
        for key in gone:
            must(self.sections.pop(key, None), "what was not there is gone")
        self.sections.update(put)
        self.digest = name_of(self.common, self.sections)
        words = lambda lines: {line.partition(" ")[0] for line in lines[1:]}
        for (kind, _), (_, lines) in self.sections.items():
            must(words(lines) <= OWN[kind], "a line of another section")
        foreign = OWN["service"] | OWN["capability"] - {"need"}
        must(not words(self.common) & foreign, "a line of another section")
        told = sorted((kind, number, name) for (kind, name), (number, _) in self.sections.items())
        lines = sum([self.sections[kind, name][1] for kind, _, name in told], list(self.common))
        self.services, self.endpoints, self.routes, self.requirements = [], [], [], []
        offers, self.needs, target, offer = {}, {}, None, None
        self.rules, self.deny, self.quotas, self.probed, self.counted = [], False, [], [], []
        hooks, named, asked, self.opens = [], {}, [], []
        grid, tails, ratio, self.watched = [], [], None, {}
        for line in lines[1:]:
            word, space, _ = line.partition(" ")
            must(space, "a line of one word")
            it = Text(line)
            it.eat(word + " ")
            if word == "service":
                number = int(it.match("[0-9]+"))
                it.need(" ")
                name = it.quoted()
                it.need(" version ")
                it.quoted()
                it.need(" contract sha256:")
                it.match("[^ ]*")
                it.need(" tier ")
                tier = int(it.match("[0-9]+"))
                must(tier < 256, "a tier is too high")
                it.match(" protocol http[12]")
                it.end()
                must(len(self.services) <= number, "two services have one number")
                # Whoever had a number and went has left it empty.
                self.endpoints += [0] * (number - len(self.services))
                self.services += [None] * (number - len(self.services))
                weight = int.from_bytes(sha(name)[:8], "big")
                self.services.append((name, tier, weight))
                self.endpoints.append(0)
                offer = None
            elif word == "tls":
                must(self.services and offer is None, "a way to no service")
            elif word == "hook":
                hooks.append(it.quoted())
                self.opens.append(it.match(" failure (refuse|open)") == " failure open")
                it.end()
                must(hooks == sorted(set(hooks)), "hooks are out of order")
            elif word in ("hooks", "governance"):
                ids = [] if word == "hooks" and it.eat("none") else [it.quoted()]
                while ids and it.eat(" "):
                    ids.append(it.quoted())
                it.end()
                must(self.routes or word == "governance", "hooks of no route")
                named[len(self.routes) - 1 if word == "hooks" else None] = ids
            elif word == "endpoint":
                must(self.services and offer is None, "an endpoint of no service")
                self.endpoints[-1] += 1
            elif word == "offer":
                offer = (len(self.services) - 1, [], [])
                known = offers.setdefault(it.quoted(), [])
                it.end()
                must(offer[0] >= 0, "an offer of no service")
                must(not known or known[-1][0] != offer[0], "an offer is there twice")
                known.append(offer)
            elif word == "demand":
                offer[1].append(it.condition())
                it.end()
            elif word == "promise":
                it.need("when ")
                when = it.cnf()
                it.need(" then ")
                then = [] if it.at == len(it.text) else it.constraints(" & ")
                offer[2].append((when, then))
                it.end()
            elif word == "route":
                route = it.quoted()
                for between in (" host ", " operation ", " capability "):
                    it.need(between)
                    name = it.quoted()
                target = []
                self.routes.append((name, target, route, line.endswith(" policy shadow")))
            elif word == "follows":
                must(int(it.match("[0-9]+")) == len(self.routes), "routes are out of order")
                it.need(" ")
                route = it.quoted()
                it.need(" capability ")
                self.routes.append((it.quoted(), [], route, False))
                it.end()
            elif word == "policies":
                self.deny = it.match("deny|open") == "deny"
                it.end()
            elif word in ("policy", "override"):
                rule = {"id": it.quoted(), "override": word == "override", "shadow": False}
                if word == "policy":
                    rule["forbid"] = it.match(" permit| forbid") == " forbid"
                    rule["shadow"] = it.match(" enforce| shadow") == " shadow"
                else:
                    it.match(" expires [^ ]* owner ")
                    it.quoted()
                    rule["forbid"] = False
                it.end()
                places = [(one["override"], one["id"]) for one in self.rules[-1:] + [rule]]
                must(places == sorted(set(places)), "rules are out of order")
                self.rules.append(rule)
            elif word in ("callers", "capabilities", "services", "routes"):
                patterns = [it.quoted()]
                while it.eat(" "):
                    patterns.append(it.quoted())
                it.end()
                must(word not in self.rules[-1], "a rule says twice of whom it speaks")
                self.rules[-1][word] = patterns
            elif word in ("if", "unless"):
                rule, kind = self.rules[-1], it.match("facts |promises ").strip()
                must(rule["forbid"] == (word == "unless") and kind not in rule, "a rule's condition")
                must(kind == "facts" or not rule["override"], "a rule's condition")
                rule[kind] = it.condition()
                it.end()
            elif word in ("reason", "set", "remove", "keep"):
                must(self.rules, "a line of no rule")
            elif word == "limit":
                rule = self.rules[-1]
                must(not rule["forbid"] and not rule["override"], "a limit of no permit")
                rule.setdefault("limits", []).append(it.quoted())
                it.end()
            elif word == "quota":
                quota = {"id": it.quoted()}
                it.need(" per")
                per = it.match("( none|( principal)?( route)?( service)?)").split()
                must(per, "a quota of nothing")
                quota["apart"] = "route" in per or "service" in per
                it.match(" rate (none|[0-9]+ in [0-9]+ burst [0-9]+)")
                quota["flight"] = it.match(" flight (none|[0-9]+)") != " flight none"
                it.match(" scope (shared|worker)")
                quota["named"] = it.match(" apply (always|named)") == " apply named"
                it.match(" headers (told|untold)")
                it.end()
                last = self.quotas[-1:]
                must(not last or last[0]["id"] < quota["id"], "quotas are out of order")
                self.quotas.append(quota)
            elif word == "counts":
                quota = self.quotas[-1]
                side = it.match("(callers|routes|services|capabilities) ")[:-1]
                names = [it.quoted()]
                while it.eat(" "):
                    names.append(it.quoted())
                it.end()
                must(side not in quota, "a quota says twice what it counts")
                quota[side] = names
            elif word == "requirement":
                it.quoted()
                it.need(" caller ")
                caller = None if it.eat("none") else it.quoted()
                it.need(" operation ")
                operation = None if it.eat("none") else it.quoted()
                target = []
                self.requirements.append((caller, operation, target))
            elif word == "capability":
                known = self.needs.setdefault(it.quoted(), [])
            elif word == "needs":
                target = []
                must(int(it.match("[0-9]+")) == len(known), "needs are out of order")
                it.end()
                known.append(target)
            elif word == "need":
                target.append((line, it.condition()))
                it.end()
            elif word in ("probed", "counted"):
                ways = [it.quoted()]
                while it.at < len(it.text):
                    it.need(" ")
                    ways.append(it.quoted())
                must(ways == sorted(set(ways)), "names of capabilities are out of order")
                setattr(self, word, ways)
                must(not set(self.probed) & set(self.counted), "two ways to choose")
            elif word == "declared":
                name = it.quoted()
                it.match(" [a-z]+ ")
                kind = it.quoted()
                if name == b"latency":
                    grid = [int(one) for one in re.findall(b"[0-9]+", kind)]
                    grid = grid if kind.startswith(b"Tail(") else []
                elif name == b"availability":
                    ratio = kind == b"Ratio"
            elif word == "attribute":
                name = it.quoted()
                it.need(" ")
                number = int(it.match("[0-9]+"))
                it.need(":")
                if name.startswith(b"latency@"):
                    tails.append(number)
                elif name == b"availability" and ratio:
                    self.watched[1, 0] = number
            else:
                words = "vocabulary tls grpc http header caller network fact seed"
                must(word in words.split(), "a line of no meaning")
        self.watched.update(zip(((0, bound) for bound in grid), tails))
        must(set(self.needs) == set(offers), "a capability is not both offered and told of")
        self.begins = [0, *itertools.accumulate(self.endpoints)]
        must(all(set(ids) <= set(hooks) for ids in named.values()), "there is no such hook")
        numbers = {at: [hooks.index(one) for one in ids] for at, ids in named.items()}
        asked = numbers.get(None, [])
        self.hooks = [numbers.get(at, asked) for at in range(len(self.routes))]
        # Routes that are no line of their own ask what is asked everywhere.
        self.asked = asked
        self.capabilities = []
        for name in sorted(offers):
            sorted_offers = sorted(offers[name], key=lambda one: (self.services[one[0]][1], one[0]))
            ends = {}
            for _, demands, modes in sorted_offers:
                for clause in sum(demands + [when for when, _ in modes], []):
                    add_ends(ends, clause)
            for rule in self.rules:
                if speaks_of(rule, "capabilities", name):
                    for clause in rule.get("facts", []):
                        add_ends(ends, clause)
            ranked = {attribute: sorted(known) for attribute, known in ends.items()}
            self.capabilities.append((name, sorted_offers, ranked))

    def makes(self, service, kind, within, share):
        """Whether all offers of a service together promise this whatever the request."""
        attribute, weakest = self.watched.get((kind, within)), -1
        for _, offers, _ in self.capabilities:
            for modes in [one[2] for one in offers if one[0] == service]:
                sets = [dict(then).get(attribute) for when, then in modes if not when]
                # Of an empty set nothing is promised.
                ends = [(one[0][0], one[-1][1] - 1) for one in sets if one]
                shares = [10**6 - low if kind else high for low, high in ends]
                shares = [one for one in shares if 0 <= one < 10**6]
                if not shares:
                    return False
                weakest = max(weakest, min(shares))
        return weakest == share

    def binds(self, route, needs, caller):
        own = self.routes[route][1] if route < len(self.routes) else []
        lines = [line for line, _ in needs]
        if lines[: len(own)] != [line for line, _ in own]:
            return False

        places = {len(own)}
        for prefix, operation, bound in self.requirements:
            never = prefix is None and operation is None
            if never or (prefix is not None and not caller.startswith(prefix)):
                continue
            bound = [line for line, _ in bound]
            reached = {at + len(bound) for at in places if lines[at : at + len(bound)] == bound}
            # Whether the request came under the operation is not on record.
            places = reached | places if operation is not None else reached
        return len(lines) in places


# What a decision must be.


def holds(facts, ends, cnf):
    for clause in cnf:
        for attribute, spans in clause:
            value = facts.get(attribute)
            if value is None:
                continue
            rank = lambda end: end
            if spans and type(spans[0][0]) is tuple:
                known = ends[attribute]
                rank = lambda end: 1 << 70 if end == (1,) else bisect_right(known, end)
            if any(rank(low) <= value < rank(high) for low, high in spans):
                break
        else:
            return False
    return True


def same_kind(a, b):
    return not a or not b or type(a[0][0]) is type(b[0][0])


def meet(a, b):
    if not same_kind(a, b):
        return []
    both = [(max(x[0], y[0]), min(x[1], y[1])) for x in a for y in b]
    return [span for span in both if span[0] < span[1]]


def within(a, b):
    if not same_kind(a, b):
        return False
    return all(any(y[0] <= x[0] and x[1] <= y[1] for y in b) for x in a)


def guarantees(facts, ends, modes, needs):
    promised = {}
    for when, then in modes:
        if holds(facts, ends, when):
            for attribute, spans in then:
                known = promised.get(attribute)
                promised[attribute] = spans if known is None else meet(known, spans)
    if any(not spans for spans in promised.values()):
        return False
    for cnf in needs:
        for clause in cnf:
            if not any(at in promised and within(promised[at], spans) for at, spans in clause):
                return False
    return True


def first_of(rules, denies):
    """The number that lets through and None, or None and the number that refuses."""
    permits = [number for number, rule in rules if not rule["forbid"] and not rule["override"]]
    forbids = [number for number, rule in rules if rule["forbid"]]
    overrides = [number for number, rule in rules if rule["override"]]
    if permits and not forbids:
        return permits[0], None
    if overrides:
        return overrides[0], None
    if forbids:
        return None, forbids[0]
    return (None, DEFAULT) if denies else (NONE, None)


def speaking(landscape, call, capability, offer):
    """The rules that speak of a call of an offer and that its unconditional promises leave."""
    caller, route, _ = call
    service, _, modes = offer
    for number, rule in enumerate(landscape.rules):
        sides = {"callers": caller, "capabilities": capability[0], "routes": route}
        sides["services"] = landscape.services[service][0]
        if all(speaks_of(rule, side, name) for side, name in sides.items()):
            entails = "promises" in rule and guarantees({}, {}, modes, [rule["promises"]])
            if not entails if rule["forbid"] else entails or "promises" not in rule:
                yield number, rule


def may_see(landscape, caller, capability, offer):
    """Whether some facts of the caller let it call the offer whatever the request and the route."""
    service, _, modes = offer
    lets, forbids = set(), False
    for rule in landscape.rules:
        sides = {"callers": caller, "capabilities": capability[0]}
        sides["services"] = landscape.services[service][0]
        if rule["shadow"] or not all(speaks_of(rule, side, name) for side, name in sides.items()):
            continue
        entails = "promises" in rule and guarantees({}, {}, modes, [rule["promises"]])
        if rule["forbid"]:
            forbids = forbids or not entails and "facts" not in rule
        elif speaks_of(rule, "routes", b"") and (entails or "promises" not in rule):
            lets.add(rule["override"])
    enforced = any(not (rule["shadow"] or rule["override"]) for rule in landscape.rules)
    return True in lets or not forbids and (lets or not (landscape.deny or enforced))


def weigh(landscape, call, capability, offer, facts):
    if not landscape.rules and not landscape.deny:
        return (NONE, None), (NONE, None)
    told = call[2]
    strict = []
    for number, rule in speaking(landscape, call, capability, offer):
        met = "facts" in rule and holds(facts, capability[2], rule["facts"])
        if not met if rule["forbid"] else met or "facts" not in rule:
            strict.append((number, rule))
    now = [] if told else [one for one in strict if not one[1]["shadow"]]
    policies = [rule for rule in landscape.rules if not rule["override"]]
    denies = landscape.deny or any(not rule["shadow"] for rule in policies)
    would = landscape.deny or bool(policies)
    return first_of(now, denies and not told), first_of(strict, would)


def rendezvous(seed, weight):
    z = ((seed ^ weight) + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def weight_of(it):
    """Which service a decision went to: every step of a rendezvous can be turned round."""
    if it["verdict"] != 0:
        return 0
    z = it["rendezvous"]
    z = ((z ^ (z >> 31) ^ (z >> 62)) * pow(0x94D049BB133111EB, -1, 1 << 64)) & MASK
    z = ((z ^ (z >> 27) ^ (z >> 54)) * pow(0xBF58476D1CE4E5B9, -1, 1 << 64)) & MASK
    z = z ^ (z >> 30) ^ (z >> 60)
    return ((z - 0x9E3779B97F4A7C15) & MASK) ^ it["seed"]


def of(landscape, service, endpoints):
    return endpoints[landscape.begins[service] : landscape.begins[service + 1]]


def fit(landscape, states, endpoints):
    must(len(endpoints) == landscape.begins[-1], "an epoch of other endpoints")
    must(all(state < 32 for state in endpoints), "an endpoint's byte")
    for service, state in enumerate(states):
        if landscape.services[service] is None:
            continue
        loads = [one & 7 for one in of(landscape, service, endpoints) if not one & 24]
        must(loads or state & 8, "a service is well without endpoints")
        must(state & 7 == (sum(loads) // len(loads) if loads else 0), "a service's bucket")


def called(endpoints, seed, attempt):
    loads = [(place, one & 7) for place, one in enumerate(endpoints) if not one & 24]
    if not loads:
        return None
    first, second = (rendezvous(seed, salt) % len(loads) for salt in (1, 2))
    winner = second if loads[second][1] < loads[first][1] else first
    return loads[(winner + attempt) % len(loads)][0]


def answer(landscape, states, capability, call, needs, facts, seed, tried, lane):
    survivors, best, forbidden, eligible = [0] * 7, None, None, []
    name, offers, ends = capability or (None, [], {})
    for offer in offers:
        service, demands, modes = offer
        now, strict = weigh(landscape, call, capability, offer, facts)
        _, tier, weight = landscape.services[service]
        state = states[service]
        filters = [
            lambda: True,
            lambda: all(holds(facts, ends, demand) for demand in demands),
            lambda: now[0] is not None,
            lambda: guarantees(facts, ends, modes, needs),
            lambda: not state & 8,
            lambda: not state & 16,
            lambda: service not in tried,
        ]
        for stage, passes in enumerate(filters):
            if not passes():
                if stage == 2 and forbidden is None:
                    forbidden = now[1]
                break
            survivors[stage] += 1
        else:
            key = (tier, state & 7, rendezvous(seed, weight), service)
            rules = (now[0], NONE if strict[1] is None else strict[1])
            best = (key, rules) if best is None else min(best, (key, rules))
            eligible.append((key, rules))
    if best and name in landscape.probed:
        level = [one for one in eligible if one[0][0] == best[0][0]]
        first, second = (level[rendezvous(seed, salt) % len(level)] for salt in (3, 4))
        best = second if second[0][1] < first[0][1] else first
    if best and name in landscape.counted:
        flights = lane.flights()

        def order(one):
            tier, _, hashed, service = one[0]
            return tier, flights.count(landscape.services[service][2]), hashed, service

        best = min(eligible, key=order)
    if best:
        return best
    stage = survivors.index(0)
    return stage, survivors, forbidden if stage == 2 else NONE


def possible(landscape, states, capability, call, claimed, seed, tried):
    """Whether it can be right, whatever the facts are that nobody knows any more."""
    _, offers, _ = capability
    if len(claimed) == 2:
        claimed, (own, shadow) = claimed
        service = claimed[3]
        must(service in [offer[0] for offer in offers], "the service does not offer it")
        _, tier, weight = landscape.services[service]
        must(claimed == (tier, states[service] & 7, rendezvous(seed, weight), service), "a key")
        must(not states[service] & 24 and service not in tried, "the service is not to be chosen")
        offer = [offer for offer in offers if offer[0] == service][0]
        rules = dict(speaking(landscape, call, capability, offer))
        policies = [rule for rule in landscape.rules if not rule["override"]]
        denies = landscape.deny or any(not rule["shadow"] for rule in policies)
        if own == NONE:
            must(call[2] or not denies, "no rule let it through")
        else:
            rule = rules.get(own)
            fits = rule and not call[2] and not rule["shadow"] and not rule["forbid"]
            must(fits, "another rule let it through")
        if shadow == DEFAULT:
            must(landscape.deny or policies, "the default would not refuse it")
            must(call[2] or not denies, "the default would not refuse it")
        elif shadow != NONE:
            rule = rules.get(shadow)
            must(rule and rule["forbid"] and (call[2] or rule["shadow"]), "another rule would refuse")
    else:
        stage, survivors, rule = claimed
        must((stage == 2) == (rule != NONE), "a denial's rule")
        must(survivors[0] == len(offers) and survivors == sorted(survivors, reverse=True), "a denial")
        must(0 in survivors and survivors.index(0) == stage, "a denial's stage")


def governed(landscape, it, asked):
    """Whether a decision follows from what the hooks of its route said, in their order."""
    must(it["attempt"] == 0 or not asked, "hooks were asked again for another attempt")
    if it["attempt"] > 0:
        return
    route, required = it["route"], []
    if route != NONE:
        required = landscape.hooks[route] if route < len(landscape.hooks) else landscape.asked
    said = [came for _, came in asked]
    must([hook for hook, _ in asked] == required[: len(asked)], "hooks of another route were asked")
    opened = [hook for hook, came in asked if came == OPEN]
    must(all(landscape.opens[hook] for hook in opened), "a hook failed, and opened")
    passed = all(came in (ALLOW, OPEN) for came in said)
    passed_all = passed and len(asked) == len(required)
    stopped = bool(said) and all(came in (ALLOW, OPEN) for came in said[:-1]) and said[-1]
    if it["verdict"] < 2:
        must(passed_all, "it was decided without the word of its hooks")
    elif it["reason"] == DENIED:
        must(stopped == DENY, "no hook denied what it refuses")
    elif it["reason"] == UNASKED:
        must(not asked or stopped == UNAVAILABLE, "no hook failed where it refuses for that")
    else:
        must(not asked or passed_all, "a hook refused, and another reason is told")


def early(quota):
    """Whether nothing but who calls matters to a quota: then it is asked before all else."""
    lists = any(side in quota for side in ("routes", "services", "capabilities"))
    return not (lists or quota["apart"] or quota["named"])


def limited(landscape, states, capability, call, needs, facts, hidden, it, lane):
    """Whether the quota that a refusal names counts the call. How much was used up nobody knows."""
    must(it["rules"][0] < len(landscape.quotas), "there is no such quota")
    quota = landscape.quotas[it["rules"][0]]
    must(it["reason"] == RATE or quota["flight"], "a quota that counts no calls in flight")
    caller, route, told = call
    must(speaks_of(quota, "callers", caller), "a quota of other callers")
    must(early(quota) == (capability is None), "a quota that is asked at another time")
    if capability is None:
        return
    must(route is not None or "routes" not in quota, "there is no such route")
    call = (caller, route or b"", told)
    must(speaks_of(quota, "routes", call[1]), "a quota of other routes")
    must(speaks_of(quota, "capabilities", capability[0]), "a quota of other capabilities")
    _, offers, ends = capability
    seed, tried = it["seed"], it["tried"]
    if hidden:
        offers = [one for one in offers if not states[one[0]] & 24 and one[0] not in tried]
    else:
        right = answer(landscape, states, capability, call, needs, facts, seed, tried, lane)
        must(len(right) == 2, "a quota refuses what is denied anyway")
        offers = [one for one in offers if one[0] == right[0][3]]

    def counts(offer):
        if not speaks_of(quota, "services", landscape.services[offer[0]][0]):
            return False
        for _, rule in speaking(landscape, call, capability, offer):
            met = hidden or holds(facts, ends, rule.get("facts", []))
            if quota["id"] in rule.get("limits", []) and met and not rule["shadow"] and not told:
                return True
        return not quota["named"]

    must(any(counts(offer) for offer in offers), "a quota of other services")


# The trail.


class Lane:
    def __init__(self):
        self.next = self.outcomes = self.lost_decisions = self.lost_outcomes = self.refused = 0
        self.begun, self.version, self.closed = 0, None, False
        self.dictionary, self.open, self.done, self.spent = [], {}, {}, set()
        self.oldest, self.asked = 0, []

    def said(self):
        """What a state must say of it."""
        ended = self.outcomes + self.lost_outcomes
        entries = [one[2] for one in self.dictionary]
        fields = (self.version or 0, len(entries), self.refused, ended, int(self.closed))
        open_ones = sorted((number, it["weight"]) for number, it in self.open.items())
        return (self.next, fields, open_ones, entries)

    def flights(self):
        """Whom it calls: the weight of a service once for each decision that is open."""
        return [it["weight"] for it in self.open.values() if it["weight"]]


class Trail:
    def __init__(self, directory, first):
        self.directory, self.boot, self.left, self.snapshots = directory, None, [], {}
        self.counts = dict.fromkeys(
            "records boots crashes joined left segments routes denials refusals outcomes payloads messages "
            "changes queries breaches "
            "unknown lost erased said".split(),
            0,
        )
        self.closed, self.state, self.opened, self.unseen = None, None, False, None
        self.kept = 0 if first == 0 else None
        self.openings, self.chain, self.delta = {}, [], None

    def segment(self, first):
        self.end_segment()
        must(not self.left, "the record X of a lane is missing")
        self.counts["segments"] += 1
        self.counts["records"] += 1
        self.opened, self.openings = True, {}
        path = os.path.join(self.directory, "openings", "%020d.openings" % first)
        if os.path.exists(path):
            with open(path, "rb") as file:
                data = file.read()
            for at in range(0, len(data) // 48 * 48, 48):
                row = data[at : at + 48]
                boot, number, lane, attribute, zero, salt, value = struct.unpack("<QQHHI16sq", row)
                place = (boot, number, lane, attribute)
                if row != bytes(48):
                    must(zero == 0 and place not in self.openings, "an opening is none")
                    self.openings[place] = (salt, value)

    def end_segment(self):
        for boot, number, lane, _ in self.openings if self.boot is not None else []:
            must(boot == self.boot and self.closed is None and lane < len(self.lanes), "an opening")
            it = self.lanes[lane]
            must(number >= it.next or it.lost_decisions, "an opening opens nothing")

    def record(self, begun, data):
        kind, version, length, lane, zero, sequence = struct.unpack("<BBHHHQ", data[:16])
        known = (2,) if kind == ord("V") and lane != WRITER else (1, 1 + (kind in b"DE"))
        must(version in known and zero == 0, "a record's header is broken")
        self.counts["records"] += 1
        body = data[16:]
        if self.opened:
            self.opened = False
            must(lane == WRITER, "a segment begins with a lane's record")
            if kind == ord("B"):
                return self.begin(sequence, body)
            must(kind == ord("V") and self.state is None, "a segment begins without state")
            must(self.closed is None, "a record follows the close")
            boot, wall, lanes, kept, landscapes = struct.unpack("<QQHQI", body)
            must(0 < lanes < WRITER, "a state's lanes")
            self.state = {"writer": (sequence, boot, wall, lanes, kept), "due": landscapes}
            self.state.update(landscapes=[], lanes=[], more=0, entries=0)
            return self.end_state()
        if self.state is not None:
            self.add(kind, lane, sequence, body, version)
            return self.end_state()
        if kind == ord("X"):
            return self.crash(lane, sequence, body)
        self.unseen = None
        must(not self.left, "the record X of a lane is missing")
        must(self.boot is not None, "the trail does not begin with a boot")
        must(self.closed is None, "a record follows the close")
        if lane == WRITER:
            must(sequence == self.written, "a writer's record is missing")
            self.written += 1
            return self.writer(kind, body, begun, version)
        must(lane < len(self.lanes), "there is no such lane")
        it = self.lanes[lane]
        must(not it.closed, "a record follows the lane's close")
        if kind == ord("O"):
            return self.outcome(it, sequence, body)
        if kind == ord("P"):
            return self.payload(it, sequence, body)
        must(sequence == it.next, "decision %d is missing" % it.next)
        must(kind in b"HD" or not it.asked, "hooks were asked, and no decision follows")
        if kind == ord("A"):
            (number,) = struct.unpack("<I", body)
            must(number in self.versions, "an unknown version is adopted")
            must(it.version is None or number > it.version, "a lane goes back")
            it.version = number
        elif kind == ord("R"):
            version = struct.unpack("<I", body[4:8])[0]
            kept = [one["version"] for one in [*it.open.values(), *it.done.values()] if one["ns"]]
            early = it.begun > 0 and version <= (it.version or 0)
            must(early or version in [it.version, *kept], "a version nobody decides by")
            self.requirement(it, sequence, body)
        elif kind == ord("H"):
            hook, came, cached, digest, _ = struct.unpack("<HBB16sQ", body)
            must(came <= OPEN and cached <= 1, "a hook said what no hook can say")
            must(came > DENY or any(digest), "a hook's answer has no digest")
            must(came <= DENY or not cached, "a hook's silence was kept")
            it.asked.append((hook, came))
        elif kind == ord("D"):
            self.decision(it, lane, sequence, version, body)
        elif kind == ord("G"):
            decisions, outcomes = struct.unpack("<QQ", body)
            must(decisions or outcomes, "a gap of nothing")
            it.next += decisions
            it.lost_decisions += decisions
            it.lost_outcomes += outcomes
            self.counts["lost"] += decisions + outcomes
        elif kind == ord("C"):
            decisions, outcomes, refused = struct.unpack("<QQQ", body)
            must(decisions == it.next, "the close counts other decisions")
            must(outcomes == it.outcomes + it.lost_outcomes, "the close counts other outcomes")
            must(it.lost_outcomes or not it.open, "a decision has no outcome")
            must(outcomes == decisions, "there are fewer outcomes than decisions")
            must(refused >= it.refused, "the close counts fewer refused messages")
            self.counts["messages"] += refused - it.refused
            it.refused, it.closed, it.dictionary = refused, True, []
        else:
            must(False, "a record of no kind")

    def requirement(self, it, sequence, body):
        number, version, size = struct.unpack("<IIH", body[:10])
        # Numbers go round; where reading began behind the first round, any may come first.
        full = len(it.dictionary) == DICTIONARY
        due = (it.oldest or max(1, min(number, DICTIONARY))) if full else len(it.dictionary) + 1
        must(number == due, "a requirement is skipped")
        it.oldest = number % DICTIONARY + 1 if number == DICTIONARY or full else 0
        must(size == len(body) - 10, "a record's length differs")
        text, needs = body[10:].decode(), []
        must(not text or text.endswith("\n"), "a requirement's text is cut off")
        for line in text.split("\n")[:-1]:
            words = Text(line)
            words.need("need ")
            needs.append((line, words.condition()))
            words.end()
        # Of a version from before reading began: the snapshot that was in force then.
        known = [one for one in self.versions.items() if one[0] <= version]
        of = max(known, key=lambda one: one[0])[1] if known else None
        if of is None and self.versions:
            first = self.versions[min(self.versions)]
            of = first if first[3] <= version else None
        it.dictionary[number - 1:number] = [(of and of[0], needs, (sequence, body))]

    # The state that a segment begins with.

    def add(self, kind, lane, sequence, body, form):
        state = self.state
        if len(state["landscapes"]) < state["due"]:
            must(lane == WRITER and sequence == 0 and kind in b"LSE", "a state's landscapes")
            state["landscapes"].append((chr(kind), body, form))
        elif state["entries"]:
            must(kind == ord("R") and lane == len(state["lanes"]) - 1, "a state's requirements")
            state["lanes"][-1][3].append((sequence, body))
            state["entries"] -= 1
        else:
            must(kind == ord("V"), "a state of a lane is missing")
            *fields, closed, more, count = struct.unpack("<IIQQBBI", body[:30])
            open_ones = list(struct.iter_unpack("<QQ", body[30:]))
            must(len(open_ones) == count, "a record's length differs")
            must(closed < 2 and more < 2 and (not more or count), "a state of a lane is broken")
            said = (sequence, (*fields, closed), open_ones, [])
            if state["more"]:
                last = state["lanes"][-1]
                must(lane == len(state["lanes"]) - 1, "a state of a lane is cut off")
                must(last[:2] == said[:2] and count, "a state of a lane has two parts")
                last[2].extend(open_ones)
            else:
                must(lane == len(state["lanes"]), "a state of a lane is missing")
                state["lanes"].append(said)
            state["more"] = more
            state["entries"] = 0 if more else fields[1]

    def end_state(self):
        state = self.state
        whole = len(state["landscapes"]) == state["due"]
        whole = whole and len(state["lanes"]) == state["writer"][3]
        if not whole or state["more"] or state["entries"]:
            return
        self.state = None
        kept = state["writer"][4]
        must(self.kept in (None, kept), "a state keeps other frames")
        self.kept = kept
        if self.boot is None:
            self.take(state)
        known = (self.written, self.boot, self.wall, len(self.lanes), self.kept)
        must(state["writer"] == known, "a state's writer")
        must(state["landscapes"] == self.landscapes(), "a state's landscapes")
        must(state["lanes"] == [lane.said() for lane in self.lanes], "a state's lanes")

    def landscapes(self):
        known = [lane.version or 0 for lane in self.lanes if not lane.closed]
        lowest = min(known, default=self.newest)
        kept = [(number, it) for number, it in sorted(self.versions.items()) if number >= lowest]
        # From the last whole one on that is not newer than that of the lowest version.
        oldest = kept[0][1][3] if kept else 1 << 32
        whole = [at for at, it in enumerate(self.chain) if it[2] is None and it[0] <= oldest]
        found = []
        for version, digest, delta in self.chain[whole[-1] if whole else 0 :]:
            if delta is not None:
                found.append(("L", delta, 1))
            found.append(("S", struct.pack("<I32s", version, digest), 1))
            for number, (_, states, own, since, ends) in kept:
                if since != version:
                    continue
                head = struct.pack("<III", number, own, len(states))
                if ends is None:
                    found.append(("E", head + states, 1))
                else:
                    found.append(("E", head + struct.pack("<I", len(ends)) + states + ends, 2))
        return found

    def take(self, state):
        self.written, self.boot, self.wall, _, _ = state["writer"]
        self.versions, self.snapshot, self.newest, self.lanes = {}, None, -1, []
        self.chain, self.delta = [], None
        takes = {"L": self.take_delta, "S": self.take_snapshot}
        self.registry = None
        self.broken, self.late = {}, True
        for kind, body, form in state["landscapes"]:
            self.take_epoch(body, form) if kind == "E" else takes[kind](body)
        for following, fields, open_ones, entries in state["lanes"]:
            lane = Lane()
            lane.next = lane.begun = following
            version, _, lane.refused, ended, lane.closed = fields
            lane.version = version or None
            must(lane.closed or not version or version in self.versions, "a version has no epoch")
            must(not lane.closed or not entries, "a closed lane has a dictionary")
            must(all(one < following for one, _ in open_ones), "an open decision to come")
            blank = {"ns": None, "spent": False, "payload": False}
            lane.open = {one: dict(blank, weight=weight) for one, weight in open_ones}
            lane.lost_outcomes = max(0, ended - max(0, following - len(open_ones)))
            lane.outcomes = ended - lane.lost_outcomes
            for sequence, body in entries:
                self.requirement(lane, sequence, body)
            self.lanes.append(lane)

    def begin(self, sequence, body):
        self.wall, number, lanes, _, _, size = struct.unpack("<QQH32s32sH", body[:84])
        body[84:].decode()
        must(size == len(body) - 84, "a record's length differs")
        must(sequence == 0, "a boot is not the writer's first record")
        must(0 < lanes < WRITER, "a boot's lanes")
        first = 0 if self.kept == 0 else number
        must(number == (first if self.boot is None else self.boot + 1), "a boot is missing")
        self.left, self.state = [], None
        self.unseen = -1 if self.boot is None and number > 0 else None
        if self.boot is not None and self.closed is None:
            self.counts["crashes"] += 1
            self.left = [
                [at, it.next, sorted(it.open)] for at, it in enumerate(self.lanes) if it.open
            ]
            self.counts["unknown"] += sum(len(one[2]) for one in self.left)
        self.counts["boots"] += 1
        self.boot, self.closed, self.written = number, None, 1
        self.lanes = [Lane() for _ in range(lanes)]
        self.versions, self.snapshot, self.newest, self.registry = {}, None, -1, None
        self.chain, self.delta = [], None
        self.broken, self.late = {}, False

    def crash(self, lane, sequence, body):
        boot, count = struct.unpack("<QI", body[:12])
        open_ones = list(struct.unpack("<%dQ" % count, body[12:]))
        if boot == self.boot:
            return self.leave(lane, sequence, open_ones)
        must(self.boot and boot == self.boot - 1 and open_ones, "nothing was left open")
        if self.unseen is not None:
            must(self.unseen <= lane < WRITER, "lanes of a crash are out of order")
            must(all(one < sequence for one in open_ones), "what was open was not made")
            self.unseen = lane
            self.counts["unknown"] += count
            return
        must(self.left, "nothing was left open")
        due = self.left[0]
        must((lane, sequence) == (due[0], due[1]), "another lane was left open")
        must(due[2][:count] == open_ones, "other decisions were left open")
        del due[2][:count]
        if not due[2]:
            del self.left[0]

    def leave(self, lane, sequence, open_ones):
        """A process that handed over is gone: its lane ends with what it left open."""
        must(self.closed is None and self.delta is None, "a record follows the close")
        must(self.left in ([], [[lane, sequence, []]]), "the record X of a lane is missing")
        must(lane < len(self.lanes) and not self.lanes[lane].closed, "a lane ends that is none")
        it, self.unseen, self.left = self.lanes[lane], None, []
        must(sequence == it.next, "a lane ends elsewhere")
        must(sorted(it.open)[: len(open_ones)] == open_ones, "other decisions were left open")
        must(open_ones or not it.open, "something was left open")
        for one in open_ones:
            del it.open[one]
        self.counts["unknown"] += len(open_ones)
        it.closed = not it.open
        it.dictionary = it.dictionary if it.open else []
        self.counts["left"] += it.closed
        if it.open:
            self.left = [[lane, sequence, []]]

    def join(self, body):
        before, lanes, size = struct.unpack("<8xHH64xH", body[:78])
        body[78:].decode()
        must(size == len(body) - 78, "a record's length differs")
        must(before == len(self.lanes) and before < lanes < WRITER, "a process joins elsewhere")
        must(self.newest in self.versions, "a process joins where there is no landscape")
        joining = [Lane() for _ in range(before, lanes)]
        for lane in joining:
            lane.version = self.newest
        self.lanes += joining
        self.broken, self.late = {}, True
        self.counts["joined"] += 1

    def take_delta(self, body):
        (size,) = struct.unpack("<I", body[32:36])
        must(size == len(body) - 36, "a record's length differs")
        self.delta = body

    def take_snapshot(self, body):
        version, digest = struct.unpack("<I32s", body)
        must(version > self.newest, "a version is not new")
        delta, self.delta = self.delta, None
        if delta is not None:
            base = self.snapshot and self.snapshot[1]
            must(base == delta[:32], "a landscape follows another than the one before")
            landscape = Landscape(delta[36:].decode(), self.snapshots[base])
            must(landscape.digest == digest, "a snapshot has another text")
            self.snapshots.setdefault(digest, landscape)
        elif digest not in self.snapshots:
            path = os.path.join(self.directory, "snapshots", digest.hex() + ".landscape")
            with open(path, "rb") as file:
                landscape = Landscape(file.read().decode())
            must(landscape.digest == digest, "a snapshot has another text")
            self.snapshots[digest] = landscape
        self.snapshot = (version, digest)
        self.chain.append((version, digest, delta))

    def take_epoch(self, body, form):
        version, number, services = struct.unpack("<III", body[:12])
        states, endpoints = body[12:], None
        if form == 2:
            (count,) = struct.unpack("<I", body[12:16])
            states, endpoints = body[16 : 16 + services], body[16 + services :]
            must(count == len(endpoints), "a record's length differs")
        must(self.snapshot is not None and version > self.newest, "a version is not new")
        since, digest = self.snapshot
        must(since <= version, "a version is older than its snapshot")
        landscape = self.snapshots[digest]
        must(services == len(states) == len(landscape.services), "an epoch of other services")
        must(all(state < 32 for state in states), "an epoch's byte")
        if endpoints is not None:
            fit(landscape, states, endpoints)
        self.versions[version] = (digest, states, number, since, endpoints)
        self.newest = version

    def writer(self, kind, body, begun, form):
        must(self.delta is None or kind == ord("S"), "no snapshot follows what it differs in")
        if kind == ord("J"):
            self.join(body)
        elif kind == ord("L"):
            self.take_delta(body)
        elif kind == ord("S"):
            self.take_snapshot(body)
        elif kind == ord("E"):
            since = self.snapshot[0] if self.snapshot else 0
            (version,) = struct.unpack("<I", body[:4])
            must(self.newest >= since or version == since, "a version has no epoch")
            self.take_epoch(body, form)
        elif kind == ord("T"):
            (kept,) = struct.unpack("<Q", body)
            must(kept in begun, "no segment begins with the first frame kept")
            must(self.kept is None or kept >= self.kept, "what was gone is kept")
            self.kept = kept
        elif kind == ord("M"):
            self.change(body)
        elif kind == ord("Q"):
            self.query(body)
        elif kind == ord("F"):
            self.breach(body)
        elif kind == ord("C"):
            frames, *zeros = struct.unpack("<QQQ", body)
            must(zeros == [0, 0], "the close counts what it does not")
            must(all(lane.closed for lane in self.lanes), "closed before its lanes")
            self.closed = frames
        else:
            must(False, "a record of no kind")

    def texts(self, body, count):
        for _ in range(count):
            must(len(body) >= 2, "a text is cut off")
            (size,) = struct.unpack("<H", body[:2])
            must(len(body) >= 2 + size, "a text is cut off")
            body[2 : 2 + size].decode()
            body = body[2 + size :]
        return body

    def change(self, body):
        _, before, after, old, new, came = struct.unpack("<QQQIIB", body[:33])
        must(not self.texts(body[65:], 5), "a change goes on")
        must(self.registry in (None, before), "a change begins at another revision")
        must(0 <= after - before <= 1 and old <= new == max(self.newest, 0), "a change leads back")
        known = [one for one in self.held() if one < new]
        must(old == new or not known or max(known) == old, "a change leads from another version")
        must(came == 0 or came < 3 and (before, old) == (after, new), "what was not made changed")
        self.registry = after
        self.counts["changes"] += 1

    def query(self, body):
        _, version, capability, offers, rows = struct.unpack("<QIIII", body[:24])
        told, rest = [], body[24:]
        for _ in range(3):
            after = self.texts(rest, 1)
            told.append(rest[2 : len(rest) - len(after)].decode())
            rest = after
        must(len(rest) == 6 * rows, "rows of a query")
        must(0 < version <= self.newest, "a version that was not yet")
        self.counts["queries"] += 1
        if version in self.held():
            digest, states = self.versions[version][:2]
            rows = [struct.unpack("<IH", rest[at : at + 6]) for at in range(0, len(rest), 6)]
            self.queried(self.snapshots[digest], states, capability, offers, told, rows)

    def breach(self, body):
        """What became of a promise; of one that began before reading did nothing is known."""
        start, end, since, version, service, became, kind, within, share, calls, wrong = struct.unpack(
            "<QQQIIBBQIQQ", body[:62]
        )
        must(not self.texts(body[62:], 1), "a breach goes on")
        name = body[64:]
        must(0 < len(name) < 254 and became < 3 and kind < 2 and (kind == 0 or within == 0), "a breach of nothing")
        must(since <= start <= end and share < 10**6, "a breach at no time")
        must(wrong <= calls < 1 << 40, "calls of a breach")
        must(0 < version == self.newest, "a breach under another landscape than the newest")
        if version in self.held():
            landscape = self.snapshots[self.versions[version][0]]
            names = [one and one[0] for one in landscape.services]
            own = names[service] if service < len(names) else None
            there = name not in names if service == NONE else name == own
            must(there, "a breach of another service")
            made = became == 2 or landscape.makes(service, kind, within, share)
            must(made, "a breach of what was not promised")
        over = wrong * 10**6 - calls * share - 10**6
        breaks = calls > 0 and over >= 0 and over * over > 9 * calls * share * 10**6
        which = (name, kind, within, share)
        known = self.broken.get(which, "unknown" if self.late else None)
        if became == 0:
            must(known in (None, "unknown"), "a promise is broken twice")
            must(breaks and since == start, "a promise is broken by nothing")
            self.broken[which] = (since, end)
        else:
            must(known is not None, "a promise is kept that was not broken")
            if known != "unknown":
                must(since == known[0] and start >= known[1], "a promise was broken at another time")
            if became == 1:
                must(calls > 0 and not breaks, "a promise is kept by what breaks it")
            else:
                must(calls == 0 and start == end, "what is over was looked at")
            self.broken[which] = None
        self.counts["breaches"] += 1

    def held(self):
        """Versions that some lane may still adopt or decide by."""
        lanes = [one.version or 0 for one in self.lanes if not one.closed]
        return [one for one in self.versions if one >= min(lanes, default=self.newest)]

    def queried(self, landscape, states, capability, offers, told, rows):
        must(capability < len(landscape.capabilities), "a question of no capability")
        _, known, ends = landscape.capabilities[capability]
        must(offers == len(known) and len(rows) == min(offers, 8000), "offers of a question")
        cut, needs = len(told[2].encode()) + 3 >= 4000, []
        must(cut or not told[2] or told[2].endswith("\n"), "needs are cut off")
        for line in [] if cut else told[2].split("\n")[:-1]:
            words = Text(line)
            words.need("need ")
            needs.append(words.condition())
            words.end()
        for (service, said), (number, _, modes) in zip(rows, known):
            must(service == number, "a question tells of another service")
            if said != 0xFFFE and told[1].startswith("decision "):
                offer = landscape.capabilities[capability], (number, None, modes)
                may = may_see(landscape, told[0].encode(), *offer)
                must(may, "a service was shown to whom no rule lets call it")
            if cut or said == 0xFFFE and told[1].startswith("decision "):
                continue
            due = 0xFFFF if states[service] & 24 else 0
            for place in range(len(needs), 0, -1):
                if not guarantees({}, ends, modes, needs[place - 1 : place]):
                    due = place
            if not guarantees({}, ends, modes, []):
                due = 0xFFFF
            must(said == due, "another answer to a question")

    def payload(self, lane, sequence, body):
        it, at, texts = lane.open.get(sequence), 0, []
        must(it and not it["payload"], "a payload of no open decision, or a second one")
        for _ in range(4):
            (size,) = struct.unpack("<H", body[at : at + 2])
            texts.append(body[at + 2 : at + 2 + size])
            must(len(texts[-1]) == size, "a payload is cut off")
            at += 2 + size
        must(at == len(body), "a payload goes on")
        for text in texts[:2]:
            lines = text.split(b"\n")
            must(lines.pop() == b"", "a field is cut off")
            must(all(line.find(b": ") > 0 for line in lines), "a field has no name")
        it["payload"] = True
        self.counts["payloads"] += 1

    def outcome(self, lane, sequence, body):
        names = "status kind depth reason endpoint ns began asked answered"
        o = dict(zip(names.split(), struct.unpack("<HBBHHQQQQ", body[:40])))
        must(sequence in lane.open, "an outcome of no open decision")
        it = lane.open.pop(sequence)
        lane.outcomes += 1
        self.counts["outcomes"] += 1
        status, kind, depth, nowhere = o["status"], o["kind"], o["depth"], o["endpoint"] == 0xFFFF
        # A hook may refuse by sending the caller elsewhere.
        fits = [100 <= status <= 599, status == 0 or 300 <= status <= 599, status < 600, status < 600]
        fits += [status == 200, 100 <= status <= 599, status == 0]
        must(kind < 7 and fits[kind], "an outcome's status")
        must(kind != 4 or nowhere and not o["began"], "what was told went somewhere")
        must((kind in (1, 5)) == (o["reason"] != 0), "an outcome's reason")
        must(kind != 5 or o["began"], "what was withdrawn never began")
        must(kind != 6 or not o["began"], "what was given up had begun")
        must(depth < 3 and len(body) == (104 if depth == 2 else 40), "an outcome's depth")
        must(depth or o["asked"] == o["answered"] == 0, "bytes that were not looked at")
        if depth == 2:
            must(o["asked"] or body[40:72] == sha(), "a digest of nothing")
            must(o["answered"] or body[72:] == sha(), "a digest of nothing")
        must(o["began"] or kind and not o["answered"], "an answer never began")
        must(not nowhere or o["began"] == o["asked"] == 0, "an answer from nowhere")
        must(o["began"] <= o["ns"], "an answer began after its end")
        must(kind != 0 or not it.get("beaten"), "two whole answers to one request")
        rival = lane.open.get(it.get("beside"))
        must(kind != 6 or rival or it["ns"] is None, "given up, and nobody ran beside it")
        if rival:
            rival["beaten"] = kind == 0
        if it["ns"] is None:
            if kind == 0:
                lane.spent.add(sequence)
            return
        must(o["ns"] >= it["ns"], "an outcome is older than its decision")
        must(o["began"] == 0 or o["began"] >= it["ns"], "an answer is older than its decision")
        must(kind != 5 or (lane.version or 0) > it["version"], "withdrawn without another landscape")
        must(it["verdict"] == 0 or kind == 1 and nowhere, "what was not routed was not refused")
        if not nowhere and it["version"] in self.versions:
            landscape = self.snapshots[self.versions[it["version"]][0]]
            must(o["endpoint"] < landscape.endpoints[it["service"]], "there is no such endpoint")
            ends = self.versions[it["version"]][4]
            if ends is not None:
                own = of(landscape, it["service"], ends)
                right = called(own, it["seed"], it["attempt"])
                must(o["endpoint"] == right, "another endpoint is to be called")
        if kind not in (0, 6) and it["verdict"] == 0 and not it["spent"]:
            lane.done[sequence] = it

    def facts(self, lane, sequence, body, at):
        facts, hidden, order, count = [], [], [], body[at]
        at += 1
        for _ in range(count):
            (attribute,) = struct.unpack("<H", body[at : at + 2])
            order.append(attribute & 0x7FFF)
            if attribute < 0x8000:
                facts.append(struct.unpack("<Hq", body[at : at + 10]))
                at += 10
                continue
            attribute &= 0x7FFF
            commitment = body[at + 2 : at + 34]
            must(len(commitment) == 32, "a commitment is cut off")
            at += 34
            opening = self.openings.pop((self.boot, sequence, lane, attribute), None)
            if opening is None:
                hidden.append(attribute)
                continue
            own = sha(opening[0], struct.pack("<Hq", attribute, opening[1]))
            must(own == commitment, "a commitment is opened to something else")
            facts.append((attribute, opening[1]))
        must(order == sorted(set(order)), "facts are out of order")
        return sorted(facts), hidden, at

    def decision(self, lane, number, sequence, layout, body):
        must(lane.version is not None, "the lane adopted nothing")
        fields = struct.unpack("<Q16s16sQQ16sIIIIIIQ6BHQIQ", body[:132])
        names = (
            "ns request trace span callers evidence version capability route needs dictionary "
            "refused seed verdict stage attempt tier bucket method reason rendezvous service parent"
        )
        # The first version knew neither how callers were identified nor rules.
        rules = struct.unpack("<2I", body[132:140]) if layout == 2 else (NONE, NONE)
        it = dict(zip(names.split(), fields), spent=False, payload=False, rules=rules)
        must(it["method"] < (4 if layout == 2 else 1), "a caller was identified somehow")
        lists = 140 if layout == 2 else 132
        at = lists + 1 + 4 * body[lists]
        it["tried"] = list(struct.unpack("<%dI" % body[lists], body[lists + 1 : at]))
        facts, hidden, at = self.facts(number, sequence, body, at)
        survivors = None
        if it["verdict"] == 1:
            survivors = list(struct.unpack("<7I", body[at : at + 28]))
            at += 28
        (size,) = struct.unpack("<H", body[at : at + 2])
        caller = body[at + 2 :]
        must(size == len(caller), "a record's length differs")
        it["known"], it["caller"], it["weight"] = dict(facts), caller, weight_of(it)
        it["known"].update(dict.fromkeys(hidden))
        version, early, parent = lane.version, False, None
        if it["attempt"] == 0:
            must(it["parent"] == NO_PARENT and not it["tried"], "a first attempt has a parent")
        else:
            parent = lane.open.get(it["parent"]) or lane.done.pop(it["parent"], None)
            if parent is None or parent["ns"] is None:
                must(it["parent"] < lane.begun, "no attempt to follow")
                must(it["parent"] not in lane.spent, "no attempt to follow")
                lane.spent.add(it["parent"])
                early, version = True, it["version"]
                must(version <= lane.version, "an attempt by a version to come")
            else:
                self.repeats(lane, parent, it)
                version = parent["version"]
            if parent is not None:
                must(not parent["spent"], "no attempt to follow")
                parent["spent"] = True
        must(it["version"] == version, "decided by another version")
        self.counts[["routes", "denials", "refusals"][it["verdict"]]] += 1
        known = parent["seen"] if parent is not None and not early else self.holds(lane, version)
        it["seen"] = known
        asked, lane.asked = lane.asked, []
        if known:
            governed(self.snapshots[self.versions[version][0]], it, asked)
            self.judge(lane, it, facts, hidden, survivors, caller)
        self.counts["said"] += it["attempt"] > 0 and (early or not it["seen"])
        self.counts["messages"] += it["refused"]
        lane.refused += it["refused"]
        it["stated"] = self.stated(lane, it)
        if it["attempt"] > 0 and it["verdict"] == 0 and it["parent"] in lane.open:
            it["beside"], lane.open[it["parent"]]["beside"] = it["parent"], sequence
        lane.open[sequence] = it
        lane.next += 1

    def holds(self, lane, version):
        """Whether a version is known that some lane may decide by, or that one of this lane keeps."""
        kept = [one for one in [*lane.open.values(), *lane.done.values()] if one["ns"]]
        kept = [one["version"] for one in kept if one["seen"]] + [lane.version]
        lanes = [one.version or 0 for one in self.lanes if not one.closed]
        held = version in kept or version >= min(lanes, default=self.newest)
        return held and version in self.versions

    def stated(self, lane, it):
        """The text that a header stood for; its number may mean another later."""
        number = it["dictionary"]
        must(number <= len(lane.dictionary), "no such requirement")
        return lane.dictionary[number - 1][2][1][10:] if number else None

    def repeats(self, lane, parent, it):
        must(parent["verdict"] == 0 and parent["attempt"] + 1 == it["attempt"], "an attempt")
        two = lane.lost_outcomes or parent["parent"] not in lane.open
        must(two, "three attempts of one request run side by side")
        for name in "request version capability route needs seed".split():
            must(parent[name] == it[name], "an attempt asks for other things")
        before, now = parent["known"], it["known"]
        same = all(parent[name] == it[name] for name in ("caller", "method"))
        same = same and before.keys() == now.keys()
        for attribute in before if same else []:
            pair = before[attribute], now[attribute]
            same = same and (None in pair or pair[0] == pair[1])
        must(it["verdict"] == 2 or same, "other facts are known")
        must(parent["stated"] == self.stated(lane, it), "an attempt asks for other things")
        tried = parent["tried"]
        must(it["tried"] in (tried, tried + [parent["service"]]), "what was tried is forgotten")

    def judge(self, lane, it, facts, hidden, survivors, caller):
        digest, states, _, _, _ = self.versions[it["version"]]
        landscape, capability = self.snapshots[digest], None
        if it["capability"] != NONE:
            must(it["capability"] < len(landscape.capabilities), "no such capability")
            capability = landscape.capabilities[it["capability"]]
            bound = landscape.needs[capability[0]]
            must(it["needs"] < len(bound), "no such needs")
            bound = bound[it["needs"]]
        else:
            bare = it["needs"] == it["dictionary"] == 0 and not facts and not hidden
            must(bare, "facts of no capability")
            bound = []
        for attribute in hidden:
            must(attribute in capability[2], "a fact that nobody asks for")
        for attribute, value in facts:
            must(attribute in capability[2], "a fact that nobody asks for")
            ends = capability[2][attribute]
            must(not ends or 0 <= value <= len(ends), "no such rank")
        stated = []
        if it["dictionary"]:
            must(it["dictionary"] <= len(lane.dictionary), "no such requirement")
            of, stated, _ = lane.dictionary[it["dictionary"] - 1]
            must(of in (None, digest), "a requirement of another landscape")
        key = (it["tier"], it["bucket"], it["rendezvous"], it["service"])
        verdict = it["verdict"]
        must((verdict == 0) == (it["reason"] == 0), "a reason")
        must(verdict == 1 or it["stage"] == 0, "a stage")
        quota = verdict == 2 and it["reason"] in (RATE, FLIGHT)
        ruled = verdict == 0 or ((quota or it["stage"] == 2) and it["rules"][1] == NONE)
        must(ruled or it["rules"] == (NONE, NONE), "no rule decided that")
        must(verdict == 0 or key == (0, 0, 0, NONE), "a service of no route")
        if verdict == 2 and not quota:
            return
        must(caller, "nobody called")
        if capability:
            route = it["route"]
            must(route != NONE, "no route led there")
            names = any("routes" in rule for rule in landscape.rules)
            must(not names or route < len(landscape.routes), "no such route")
            leads = route >= len(landscape.routes) or landscape.routes[route][0] == capability[0]
            must(leads, "the route leads elsewhere")
            must(landscape.binds(route, bound, caller), "other needs are bound")
        needs = [cnf for _, cnf in bound + stated]
        if quota:
            call = (caller, None, False)
            if it["route"] < len(landscape.routes):
                call = (caller, *landscape.routes[it["route"]][2:])
            return limited(
                landscape, states, capability, call, needs, dict(facts), bool(hidden), it, lane
            )
        call = (caller, b"", False)
        if it["route"] < len(landscape.routes):
            call = (caller, *landscape.routes[it["route"]][2:])
        rules = it["rules"]
        claimed = (key, rules) if verdict == 0 else (it["stage"], survivors, rules[0])
        if hidden:
            self.counts["erased"] += 1
            return possible(
                landscape, states, capability, call, claimed, it["seed"], it["tried"]
            )
        seed, tried = it["seed"], it["tried"]
        right = answer(
            landscape, states, capability, call, needs, dict(facts), seed, tried, lane
        )
        must(right == claimed, "decided %s, and right is %s" % (claimed, right))


def read_records(trail, chain, leaves, begins, data, count):
    at = 0
    must(count > 0, "a frame has no record")
    for place in range(count):
        must(at + 16 <= len(data), "a record is cut off")
        length = struct.unpack("<H", data[at + 2 : at + 4])[0]
        if data[at] in b"EL" and length == 0:
            # It is longer than its length can say: what its last fields count says how long.
            counted = at + (24 if data[at] == ord("E") else 48)
            length = counted - at + 4 + struct.unpack("<I", data[counted : counted + 4])[0]
            if data[at] == ord("E") and data[at + 1] == 2:
                length += 4 + struct.unpack("<I", data[at + 28 : at + 32])[0]
            must(length > 65535, "a record's length has two spellings")
        must(16 <= length <= len(data) - at, "a record is cut off")
        record = data[at : at + length]
        key = data[at] == ord("K")
        must(key == (begins and place == 0), "a segment's key stands elsewhere, or is missing")
        if key:
            chain.next(record, leaves)
            trail.segment(len(leaves))
        else:
            trail.record(chain.begun, record)
        at += length
    must(at == len(data), "bytes follow the last record")


def segment_names(directory):
    names = os.listdir(os.path.join(directory, "segments"))
    names = sorted(name for name in names if not name.endswith(".tmp"))
    must(names, "there is no segment")
    must(all(re.fullmatch(r"[0-9]{20}\.trail", name) for name in names), "a file is no segment")
    return names


def read_all(directory, names, size, root, trail, chain, leaves, gaps):
    for position, name in enumerate(names):
        must(name == "%020d.trail" % len(leaves), "a segment is missing")
        with open(os.path.join(directory, "segments", name), "rb") as file:
            data = file.read()
        last = position + 1 == len(names)
        must(data or last, "a segment is empty")
        at = 0
        while at < len(data):
            number, torn, whole = len(leaves), None, 0
            if len(data) - at < 32:
                torn = "it ends in its header"
            else:
                own, count, length = struct.unpack("<QII", data[at + 16 : at + 32])
                whole = 32 + length + 32
                if data[at : at + 16] != MAGIC or length > SEGMENT_BYTES:
                    torn = "its header is none"
                elif at + whole > len(data):
                    torn = "it ends early"
                elif sha(data[at : at + whole - 32]) != data[at + whole - 32 : at + whole]:
                    must(at + whole == len(data), "a digest differs")
                    torn = "its digest differs"
            if torn:
                must(last and number >= size and trail.closed is None, torn)
                gaps.append("frame %d is torn: %s" % (number, torn))
                return
            must(own == number, "frame %d stands in the place of %d" % (own, number))
            records = data[at + 32 : at + whole - 32]
            read_records(trail, chain, leaves, at == 0, records, count)
            must(not trail.left, "the record X of a lane is missing")
            must(trail.closed in (None, number + 1), "the close counts other frames")
            must(trail.delta is None, "no snapshot follows what it differs in")
            leaves.append(sha(b"\0", data[at + whole - 32 : at + whole]))
            at += whole
            if len(leaves) == size:
                must(root_of(leaves) == root, "the frames are not those of the checkpoint")


def check(directory, key, report):
    if key is None:
        report["remarks"].append("the key is the directory's own: this proves one piece, not whose")
        key = os.path.join(directory, "log-key.pub")
    if "+" not in key or os.path.exists(key):
        with open(key, encoding="utf-8") as file:
            key = file.read()
    key, first_key = read_keys(key)
    size, root = 0, sha()
    path = os.path.join(directory, "checkpoint")
    if os.path.exists(path):
        with open(path, encoding="utf-8", newline="") as file:
            size, root = read_checkpoint(file.read(), key)
    must(size > 0 or root == sha(), "the root of nothing")
    names = segment_names(directory)
    first, tiles = int(names[0][:20]), os.path.join(directory, "tile")
    chain, trail, gaps = Chain(directory, key[1], first_key), Trail(directory, first), report["gaps"]
    leaves = retired_leaves(tiles, first)
    if first:
        chain.retired(leaves)
        must(not 0 < size <= first or root_of(leaves[:size]) == root, "the checkpoint's root")
    try:
        read_all(directory, names, size, root, trail, chain, leaves, gaps)
        trail.end_segment()
    except Wrong as wrong:
        raise Wrong("frame %d: %s" % (len(leaves), wrong)) from None
    finally:
        report.update(trail.counts, frames=len(leaves), signed=size, retired=first)
    must(size <= len(leaves), "frames that the checkpoint covers are missing")
    must(first <= (trail.kept or 0), "frames are missing that no record lets go")
    chain.finish(leaves, trail.closed is not None)
    check_tiles(tiles, leaves, trail.closed is not None)
    if trail.counts["lost"]:
        gaps.append("decisions or outcomes are lost")
    if trail.counts["erased"]:
        gaps.append("%d decisions rest on values that were erased" % trail.counts["erased"])
    if trail.closed is None:
        gaps.append("the trail is not closed")
    if size < len(leaves):
        gaps.append("no checkpoint covers the last frames")


def main(arguments):
    keys = [arguments[at + 1] for at, it in enumerate(arguments[:-1]) if it == "--key"]
    skip = set(keys) | {"--key", "--json"}
    directories = [it for it in arguments if it not in skip]
    if len(directories) != 1 or len(keys) > 1 or not os.path.isdir(directories[0]):
        print(__doc__, file=sys.stderr)
        return 2
    report = {"verdict": None, "fault": None, "gaps": [], "remarks": []}
    try:
        check(directories[0], keys[0] if keys else None, report)
    except Wrong as wrong:
        report["fault"] = str(wrong)
    # Bytes that are no record, text, base64 or file at all: as wrong as a record that does not fit.
    except (ValueError, struct.error, OSError, LookupError, TypeError, AttributeError) as fault:
        report["fault"] = "%s: %s" % (type(fault).__name__, fault)
    code = 1 if report["fault"] else 3 if report["gaps"] else 0
    report["verdict"] = {0: "complete", 1: "wrong", 3: "incomplete"}[code]
    print(json.dumps(report))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
