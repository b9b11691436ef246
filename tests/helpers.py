"""What several test files need."""
import subprocess, sys
from pathlib import Path
import numpy as np
from sklearn.base import clone
from recinc_nb import Learner

root = Path(__file__).resolve().parent.parent
notebooks = sorted(p for p in (root/'nbs').rglob('*.ipynb') if not any(o.startswith(('.', '_')) for o in p.relative_to(root).parts))


def python(*args, exe=sys.executable, timeout=600, **kwargs):
    "Run Python in a new process; its standard output. A failure shows what it printed."
    out = subprocess.run([str(exe), *map(str, args)], capture_output=True, text=True, timeout=timeout, **kwargs)
    assert out.returncode==0, f'{args} ended with {out.returncode}\n{out.stdout[-3000:]}\n{out.stderr[-6000:]}'
    return out.stdout


def table(rows, target='rating'):
    "Events as a dict of columns, and what was observed; ids stay the objects that they are."
    user,item,y = zip(*rows) if rows else ((), (), ())
    return dict(user=list(user), item=list(item)), [float(r>=4) if target=='label' else float(r) for r in y]


def state(m):
    "All that a learner of ids knows, to the last bit."
    return {**{k: v.tobytes() for k,v in m.arrays().items()}, 'users': repr(m.users_.ids), 'items': repr(m.items_.ids), 'n': m.n_,
            'seen': [o.tobytes() for o in m.seen_], 'more': repr(m.state()), 'range': m.rating_range_,
            'remedies': [{k: v.tobytes() for k,v in r.arrays().items()} for r in m.remedies_]}


def check_however(make, world, edges, saved, folder):
    "A stream cut at these edges, or event by event with a save and a load before some events: the same bits. The learner, and what it predicted."
    whole,pieces,single = make(),make(),make()
    pred = whole.predict_learn(world)
    np.testing.assert_array_equal(np.concatenate([pieces.predict_learn(world[a:b]) for a,b in zip(edges, edges[1:])]), pred, strict=True)
    loop = []
    for n,(u,i,y) in enumerate(zip(*(world.events[o].tolist() for o in ('user', 'item', single.target)))):
        if n in saved:
            single.save_pretrained(folder/str(n))
            single = Learner.from_pretrained(folder/str(n))
        loop.append(single.predict_one(u, i))
        single.learn_one(u, i, y)
    np.testing.assert_array_equal(loop, pred, strict=True)
    assert state(whole)==state(pieces)==state(single)
    return whole,pred


def check_cutting(model, rows, cuts):
    "However a table of events is cut, down to one event at a time: the same predictions and the same state, to the last bit."
    whole,cut,single = (clone(model) for _ in range(3))
    X,y = table(rows, whole.target)
    fused = whole.predict_learn(X, y)
    edges = sorted({0, *(min(c, len(rows)) for c in cuts), len(rows)})
    for a,b in zip(edges, edges[1:]): cut.partial_fit(*table(rows[a:b], cut.target))
    loop = [(single.predict_one(u, i), single.learn_one(u, i, t))[0] for (u,i,_),t in zip(rows, y)]
    np.testing.assert_array_equal(loop, fused, strict=True)
    assert state(whole)==state(cut)==state(single)
    np.testing.assert_array_equal(whole.predict(X), [single.predict_one(u, i) for u,i,_ in rows])


def check_resuming(model, rows, at, folder):
    "Saved after some events and loaded: it goes on as if it had never stopped."
    at = min(at, len(rows))
    m,whole = clone(model),clone(model)
    expected = whole.predict_learn(*table(rows, m.target))[at:]
    if at: m.partial_fit(*table(rows[:at], m.target))
    m.save_pretrained(folder)
    back = type(m).from_pretrained(folder)
    assert state(back)==state(m) and repr(back.get_params())==repr(m.get_params())
    if at<len(rows): np.testing.assert_array_equal(back.predict_learn(*table(rows[at:], m.target)), expected, strict=True)
    assert state(back)==state(whole)
