#!/usr/bin/env python3
"""Oracle for the merge rules: a SET of log entries in, the tables every replica must show out.

It shares no code with the product, keeps everything, prunes nothing and recomputes from scratch;
order of arrival cannot matter because it never looks at it.  MERGE.md numbers are cited in brackets.

    python3 oracle.py < log.jsonl            # first line: the schema, then one entry a line
    python3 oracle.py --conflicts < log.jsonl
    python3 oracle.py --histories < many.jsonl   # what the Rust test writes, see histories() at the end

SCHEMA line  {"tables":[{"name":"parent","cols":["id","u","x","y"],"pk":["id"],"alias":true,
   "notnull":["x"],"int":["x","y"],"unique":[["u"]],"check":[["x","<=","y"]],"counter":[],
   "fk":[{"col":"pid","to":"parent","del":"CASCADE"}]}]}
   alias: the key is an INTEGER PRIMARY KEY that may be renumbered; otherwise the key names the row.
   A check is [column, operator, column or integer].  fk.del: CASCADE | SET NULL | NO ACTION.
   A row of a table with "birth" that has NULL in its key, or whose table has no key at all ("pk":[]), has no name but its birth:
   two that are equal are two rows.
   Columns not listed in "int" are text.  A key column may be a foreign key (then it is held as a ref).
ENTRY line   {"a":author,"s":seq,"h":hlc,"deps":{author:seq,..},"ops":[..]}
   deps: heads of other authors.  seq counts from 1 without gaps.  hlc grows along causality.
OPS  (k-th op of an entry has the dot "author:seq:k"; a row is called by its NAME)
   {"op":"ins","t":table,"c":{col:value,..all..},["row":NAME],["over":[dots]]}   new incarnation
   {"op":"upd","t":..,"row":NAME,"tok":[dots],"c":{col:value},["d":{col:delta}],["g":{col:value}]}
   {"op":"del","t":..,"row":NAME,"tok":[dots],["auto":1]}      auto: the seal's, of a row its user never saw [R12]
   {"op":"set","t":..,"row":NAME,"col":col,"at":STAMP,"v":value}                 settle [R12]
   NAME of an alias row, and of one without a key: "table@<dot of its first ins>"; of another: "table|" + compact JSON of its key
   values.  value: null, integer, string or {"ref":NAME} for a foreign key.  tok/over: incarnations seen.
   g: values of the whole check group of each column written.  STAMP: [hlc, author, seq, k].
OUTPUT  one line a row {"t":..,"row":NAME,"v":{col:visible}}, then {"digest":..,"hidden":[NAME..]}.
"""
import hashlib, json, operator, sys
from itertools import count

OPS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "=": operator.eq, "<>": operator.ne}
BIG = 2**63 - 1

def js(v): return json.dumps(v, sort_keys=True, separators=(",", ":"))
def H(*v): return int.from_bytes(hashlib.blake2b(js(v).encode(), digest_size=16).digest(), "big")
def isref(v): return isinstance(v, dict)
def dot(e, k): return f'{e["a"]}:{e["s"]}:{k}'
def stamp(e, k): return (e["h"], e["a"], e["s"], k)

class Table:
    def __init__(s, d):
        s.name, s.cols, s.pk, s.alias = d["name"], d["cols"], d["pk"], d.get("alias", False)
        s.unique, s.check, s.ints = d.get("unique", []), d.get("check", []), set(d.get("int", []))
        s.birth = d.get("birth", False)               # rows without a key are named by their birth
        s.notnull, s.counter = set(d.get("notnull", [])) | set([] if s.birth else s.pk), set(d.get("counter", []))
        s.nocase = set(d.get("nocase", []))
        s.fk = {f["col"]: f for f in d.get("fk", [])}
        s.cells = [c for c in s.cols if s.alias or c not in s.pk]     # key columns of a named row are no cells
        group = {c: {c} for c in s.cols}                              # columns joined by checks [P1]
        for a, _, b in s.check:
            m = group[a] | (group[b] if b in group else set())
            for c in m: group[c] = m
        s.group = {c: sorted(g) for c, g in group.items() if any(c in (a, b) for a, _, b in s.check)}
        for c, f in s.fk.items():                                     # an action that can't be taken [P2]
            f["mode"] = {"CASCADE": "C", "SET NULL": "N"}.get(f["del"], "A")
            if f["mode"] == "N" and (c in s.notnull or c in s.group): f["mode"] = "A"
    def ok(s, v):
        for a, o, b in s.check:
            p, q = v[a], v[b] if b in v else b
            if p is not None and q is not None and not OPS[o](p, q): return False
        return all(v[c] is not None for c in s.notnull if c in v)

class Schema:
    def __init__(s, d):
        s.t = {x["name"]: Table(x) for x in d["tables"]}
        s.ids = {}                             # row name -> the ids that the product derives from it, where it says so
        s.derived = {}                         # row name -> column -> [digits, integer] likewise
        s.na_parents = {f["to"] for t in s.t.values() for f in t.fk.values() if f["mode"] == "A"}

def name(tab, vals, d):
    if tab.alias or (tab.birth and (not tab.pk or any(vals[c] is None for c in tab.pk))): return f"{tab.name}@{d}"
    return tab.name + "|" + js([vals[c] for c in tab.pk])

def is_born(nm): return "@" in nm.split("|", 1)[0]    # a name by birth, not by key

# ---------------------------------------------------------------- merged state: a function of the SET of entries
class Row:
    def __init__(s, tab, nm):
        s.tab, s.name = tab, nm
        s.tok, s.dead = {}, set()          # every incarnation: dot -> stamp; those that a delete has seen
        s.cells = tab.cols if is_born(nm) else tab.cells
        s.w = {c: [] for c in s.cells}     # column -> [(stamp, value, incarnations)]
        s.d, s.snap, s.settle = [], [], {} # counter deltas, check-group snapshots, settles
        s.key = None
    def alive(s): return {t for t in s.tok if t not in s.dead}
    def eff(s):                            # incarnations whose writes count [R8]; the newest one if dead [P2]
        a = s.alive()
        return a or ({max(s.tok, key=lambda t: s.tok[t])} if s.tok else set())
    def cell(s, c):
        """(value, stamp of the write, stamp of the claim)"""
        e = s.eff()
        best = max(((st, v) for st, v, tk in s.w[c] if tk & e), key=lambda x: x[0], default=None)
        if best is None: return None, (0,), (0,)
        st, v = best
        if c in s.tab.counter:
            v = (v or 0) + sum(x for col, x, tk, _ in s.d if col == c and tk & e)
            v = max(-BIG, min(BIG, v))
        elif (c, st) in s.settle:
            sst, v = s.settle[c, st]; return v, st, sst
        return v, st, st
    def values(s):
        """merged values after the check rule [P1]: (values, claim stamps, showable, fell back)"""
        v, cl = {}, {}
        for c in s.cells: v[c], _, cl[c] = s.cell(c)
        if s.key: v.update(zip(s.tab.pk, s.key))
        if s.tab.ok(v): return v, cl, True, False
        e, done = s.eff(), set()
        for c, g in s.tab.group.items():
            if c in done: continue
            done |= set(g)
            if all(s.tab_ok(v, g)): continue
            best = max(((st, m) for gc, st, m, tk in s.snap if gc == tuple(g) and tk & e), key=lambda x: x[0], default=None)
            if best:
                for k in g: v[k] = best[1][k]; cl[k] = best[0]
        return v, cl, s.tab.ok(v), True
    def tab_ok(s, v, g):
        for a, o, b in s.tab.check:
            if a in g:
                p, q = v[a], v[b] if b in v else b
                yield p is None or q is None or OPS[o](p, q)

def apply_op(sch, rows, e, k, op):
    if op["op"] == "nop": return               # an operation that is about no row: it only has a number
    tab, st, d = sch.t[op["t"]], stamp(e, k), dot(e, k)
    nm = op.get("row") or name(tab, op["c"], d)
    r = rows.get(nm) or rows.setdefault(nm, Row(tab, nm))
    if not is_born(nm) and r.key is None: r.key = json.loads(nm.split("|", 1)[1])
    if op["op"] == "ins":
        r.tok[d] = st; r.dead |= set(op.get("over", [])); tk = frozenset([d])
        for c in r.cells: r.w[c].append((st, op["c"].get(c), tk))
        for g in {tuple(g) for g in tab.group.values()}: r.snap.append((g, st, {c: op["c"].get(c) for c in g}, tk))
    elif op["op"] == "upd":
        tk = frozenset(op["tok"])
        for c, v in op.get("c", {}).items(): r.w[c].append((st, v, tk))
        for c, x in op.get("d", {}).items(): r.d.append((c, x, tk, st))
        for g in {tuple(tab.group[c]) for c in op.get("g", {})}: r.snap.append((g, st, {c: op["g"][c] for c in g}, tk))
    elif op["op"] == "del": r.dead |= set(op["tok"])
    elif op["op"] == "set":
        key, new = (op["col"], tuple(op["at"])), (st, op["v"])
        if key not in r.settle or r.settle[key][0] < st: r.settle[key] = new

def merge(sch, entries):
    rows = {}
    for e in entries:
        for k, op in enumerate(e["ops"]): apply_op(sch, rows, e, k, op)
    return rows

# ---------------------------------------------------------------- projection: merged state -> visible tables
def new_id(nm, i): return 2**32 + H("id", nm, i) % (2**52 - 2**32)                      # [P4]
def new_value(sch, tab, c, v, nm, i):                                                   # [P5]
    if c in sch.derived.get(nm, {}):
        digits, n = sch.derived[nm][c][i]
        return n if c in tab.ints else f"{v}~{digits[:4 + i]}"
    if c in tab.ints: return 2**32 + H("int", tab.name, c, nm, i) % (2**52 - 2**32)
    return f"{v}~{H('txt', nm, i):032x}"[: len(str(v)) + 5 + i]

def closure_up(bad, kids):
    bad, todo = set(bad), list(bad)
    while todo:
        for c in kids.get(todo.pop(), ()):
            if c not in bad: bad.add(c); todo.append(c)
    return bad

def visible_rows(rows, vals, unshow):
    """[P2] which rows are there once every foreign key has had its say"""
    refs = {r: [(v[c]["ref"], f["mode"]) for c, f in rows[r].tab.fk.items() if isref(v[c])] for r, v in vals.items()}
    hard = {}
    for r, l in refs.items():
        for p, m in l:
            if m != "N": hard.setdefault(p, set()).add(r)
    missing = {p for p in hard if p not in rows or not rows[p].tok}
    never = closure_up(unshow | missing, hard)                     # nothing that needs these can be shown
    alive, rev = {r for r in rows if rows[r].alive()}, set()
    while True:
        x = (alive | rev) - never
        while True:                                                # greatest fixpoint: a live cycle stays
            drop = {r for r in x - rev if any(m == "C" and p not in x for p, m in refs[r])}
            if not drop: break
            x -= drop
        need = {p for r in x for p, m in refs[r] if p not in x and (m == "A" or (m == "C" and r in rev))} - never
        if need <= rev: return x
        rev |= need                                                # only grows: ends

def project(sch, rows):
    """visible: {row name: {col: value}}; deterministic, total, never breaks a constraint"""
    vals, claims, unshow = {}, {}, set()
    for nm, r in rows.items():
        if not r.tok: continue
        vals[nm], claims[nm], ok, _ = r.values()
        if not ok: unshow.add(nm)
    while True:                                                    # unshow only grows: ends
        vis = visible_rows(rows, vals, unshow)
        out = {r: dict(vals[r]) for r in sorted(vis)}
        for r in vis:                                              # SET NULL
            for c, f in rows[r].tab.fk.items():
                if isref(out[r][c]) and out[r][c]["ref"] not in vis: out[r][c] = None
        bad = set()
        for tab in sch.t.values():                                 # integer keys [P4]
            if not tab.alias: continue
            k = tab.pk[0]
            mine = sorted((claims[r][k], r) for r in vis if rows[r].tab is tab)
            taken, lost = set(), []
            want = {out[r][k] for _, r in mine}
            for _, r in mine:
                if isref(out[r][k]): continue
                if out[r][k] in taken or out[r][k] is None: lost.append(r)
                taken.add(out[r][k])
            for r in lost:
                for i in range(16):
                    n = sch.ids[r][i] if r in sch.ids else new_id(r, i)
                    if n not in taken and n not in want:
                        out[r][k] = n
                        if tab.ok(out[r]): taken.add(n); break
                else: bad.add(r)
        if bad: unshow |= bad; continue
        def key(r, seen=()):                                       # refs become visible keys
            for c, v in out[r].items():
                if isref(v): out[r][c] = key_of(v["ref"], seen + (r,))
        def key_of(p, seen):
            t = rows[p].tab
            if p not in seen: key(p, seen)
            return out[p][t.pk[0]]
        for r in sorted(vis): key(r)
        for tab in sch.t.values():                                 # unique [P5]
            mine = [r for r in out if rows[r].tab is tab]
            idx = ([] if tab.alias or not tab.pk else [{"cols": tab.pk}]) + tab.unique      # a unique index may be of lower(), and of rows alone where a column is not null
            for x in idx:
                cols = x["cols"]
                about = cols + ([x["when"]] if x.get("when") else [])
                same = lambda c, v, x: v.lower() if (c in tab.nocase or x.get("lower")) and isinstance(v, str) else v
                tup = lambda r, x=x: (None,) if x.get("when") and out[r][x["when"]] is None else tuple(same(c, out[r][c], x) for c in x["cols"])
                order = sorted((max(claims[r].get(c, (0,)) for c in about), r) for r in mine if None not in tup(r))
                taken, lost = set(), []
                for _, r in order:
                    (lost.append(r) if tup(r) in taken else taken.add(tup(r)))
                free = [c for c in cols if c not in tab.fk and c not in tab.pk]
                best = [c for c in free if c not in tab.ints][-1:] or [c for c in free if c in tab.ints][-1:]
                nulls = [c for c in cols if c not in tab.notnull]
                for r in lost:
                    old, done = dict(out[r]), False
                    for c in best:
                        # not a value that no row has: a tuple that no other row has, in every index with that column
                        mets = [x for x in idx if c in x["cols"] or c == x.get("when")]
                        for i in range(16):
                            out[r][c] = new_value(sch, tab, c, old[c], r, i)
                            met = any(None not in tup(r, x) and any(q != r and tup(q, x) == tup(r, x) for q in mine) for x in mets)
                            if not met and tab.ok(out[r]): done = True; break
                    if not done:
                        out[r] = dict(old)
                        for c in nulls[-1:]:
                            out[r][c] = None; done = tab.ok(out[r])
                    if not done: bad.add(r); break                 # grow by one, start again
                if bad: break
            if bad: break
        if not bad: return out
        unshow |= bad

def digest(rows):
    """[R20] order-independent sum over live rows: name, live incarnations, winning cells and check-group snapshots with stamps"""
    s = 0
    for r in rows.values():
        if r.alive():
            e = r.eff()
            s += H(r.name, sorted(r.alive()), [(c, r.cell(c)) for c in r.cells],
                   sorted((g, max([st for g2, st, _, tk in r.snap if g2 == g and tk & e], default=())) for g in {x[0] for x in r.snap}))
    return f"{s % 2**128:032x}"

# ---------------------------------------------------------------- what lost: a function of the set too [R19]
def contexts(entries):
    vv, by = {}, {}
    for e in sorted(entries, key=lambda e: (e["h"], e["a"], e["s"])):
        v = dict(by.get((e["a"], e["s"] - 1), {}))
        for a, n in e.get("deps", {}).items():
            for b, m in by[a, n].items(): v[b] = max(v.get(b, 0), m)
        v[e["a"]] = e["s"]; by[e["a"], e["s"]] = v
    return by

def conflicts(sch, entries, rows, out):
    """every acknowledged value that is not visible and that nobody who had seen it replaced or deleted"""
    ctx = contexts(entries)
    wr, dels = {}, {}
    for e in entries:
        for k, op in enumerate(e["ops"]):
            if op["op"] == "nop": continue
            nm = op.get("row") or name(sch.t[op["t"]], op["c"], dot(e, k))
            if op["op"] == "del" and not op.get("auto"): dels.setdefault(nm, []).append((e, k))
            if op["op"] in ("ins", "upd"):
                for c, v in op["c"].items():
                    if c in rows[nm].cells: wr.setdefault((nm, c), []).append((stamp(e, k), v, e, k))
                for c, v in op.get("d", {}).items(): wr.setdefault((nm, c + "+"), []).append((stamp(e, k), v, e, k))
    saw = lambda e2, e1, k2=0, k1=0: e1["s"] < ctx[e2["a"], e2["s"]].get(e1["a"], 0) + (0 if (e1["a"], e1["s"]) == (e2["a"], e2["s"]) else 1) \
        if e1 is not e2 else k1 < k2
    res = []
    for (nm, c), l in wr.items():
        for st, v, e, k in l:
            if any(saw(e2, e, k2, k) for e2, k2 in dels.get(nm, [])): continue
            if c[-1] == "+":
                if not any(tk & rows[nm].alive() for cc, _, tk, s2 in rows[nm].d if s2 == st): res.append([nm, c, v, list(st)])
                continue
            if c not in rows[nm].tab.counter and any(saw(e2, e, k2, k) for st2, _, e2, k2 in l if st2 != st): continue
            cur = out.get(nm)
            shown = cur is not None and (cur[c] == v or (isref(v) and v["ref"] in out and rows[nm].cell(c)[0] == v and cur[c] is not None))
            if cur is not None and not shown and rows[nm].tab.alias and c == rows[nm].tab.pk[0] and (rows[nm].cell(c)[1] == st or rows[nm].cell(c)[0] == v): continue  # renumbered: an event, no conflict
            if c in rows[nm].tab.counter and cur is not None and rows[nm].cell(c)[1] == st: shown = True
            if not shown: res.append([nm, c, v, list(st)])
    return sorted(res, key=js)

def main():
    lines = [json.loads(l) for l in sys.stdin if l.strip()]
    sch, entries = Schema(lines[0]), lines[1:]
    rows = merge(sch, entries); out = project(sch, rows)
    for nm in sorted(out): print(js({"t": rows[nm].tab.name, "row": nm, "v": out[nm]}))
    print(js({"digest": digest(rows), "hidden": sorted(r for r in rows if rows[r].alive() and r not in out)}))
    if "--conflicts" in sys.argv:
        for c in conflicts(sch, entries, rows, out): print(js({"conflict": c}))

def histories():
    """Many histories in one process. Lines: {"seed":..,"tables":[..]} begins one; {"a":..} an entry as above, where an
    ins of an alias row may carry "ids" (what the product derives from its name); {"check":who,"has":{author:seq},
    "rows":{table:[[values]..]},"conflicts":[[row,col,value,stamp]..]|null} says what a replica that merged just those
    entries shows. Prints a line for each difference and at the end how many checks there were."""
    sch, entries, seed, n = None, [], None, 0
    for l in sys.stdin:
        d = json.loads(l)
        if "tables" in d: sch, entries, seed = Schema(d), [], d["seed"]
        elif "a" in d:
            entries.append(d)
            for k, op in enumerate(d["ops"]):
                if "ids" in op: sch.ids[f'{op["t"]}@{dot(d, k)}'] = op["ids"]
                if op.get("derived"): sch.derived[op.get("row") or f'{op["t"]}@{dot(d, k)}'] = op["derived"]
        else:
            n += 1
            es = [e for e in entries if e["s"] <= d["has"].get(e["a"], 0)]
            rows = merge(sch, es); out = project(sch, rows)
            want = {t: sorted((js([v[c] for c in tab.cols]) for nm, v in out.items() if rows[nm].tab is tab)) for t, tab in sch.t.items()}
            have = {t: sorted(js(r) for r in d["rows"].get(t, [])) for t in sch.t}
            for t in sch.t:
                if want[t] != have[t]:
                    print(f'seed {seed} {d["check"]} table {t}: shows {[r for r in have[t] if r not in want[t]]} instead of {[r for r in want[t] if r not in have[t]]}')
            if d.get("conflicts") is not None:
                want = {js(c) for c in conflicts(sch, es, rows, out)}; have = {js(c) for c in d["conflicts"]}
                if want != have: print(f'seed {seed} {d["check"]} conflicts: too many {sorted(have - want)}, missing {sorted(want - have)}')
    print(f"{n} checks")

if __name__ == "__main__": histories() if "--histories" in sys.argv else main()
