"""Every public call may come from any thread: nothing crashes, and no event is lost or torn."""
import sys, threading
import numpy as np
from sklearn.base import clone
from contract import LEARNERS, every
from recinc_nb import IncrementalMF


def together(*work):
    "Run functions in threads that change hands often; errors come out."
    errors,old = [],sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    def run(f):
        try: f()
        except BaseException as e: errors.append(e)
    threads = [threading.Thread(target=run, args=(f,)) for f in work]
    try:
        for t in threads: t.start()
        for t in threads: t.join()
    finally: sys.setswitchinterval(old)
    if errors: raise errors[0]


@every
def test_learning_and_asking_from_several_threads(name):
    m,n = clone(LEARNERS[name]),40
    m.learn_one(0, 0, 1.)
    def learn(first):
        for k in range(n): m.learn_one(first+k%7, (first+3*k)%11, float(k%2) if m.target=='label' else float(1+k%5)) # strangers, so tables grow
    def ask():
        for k in range(n):
            m.predict(dict(user=[k%20], item=[k%11]))
            m.predict_one(k%20, k%11)
            m.recommend(k%20, k=3, exclude_seen=k%2==0)
            m.seen(k%20)
            m.rank(k%20, [1, 2, 3])
    together(lambda: learn(0), lambda: learn(10), ask, ask)
    assert m.n_==2*n+1
    if getattr(m, 'max_rows', None) is None: assert len(m.seen_)==2*n+1
    for u in (0, 3, 12): # each user has what it had
        had = {(10*(u>=10)+3*k)%11 for k in range(n) if 10*(u>=10)+k%7==u} | ({0} if u==0 else set())
        if getattr(m, 'max_rows', None) is None: assert {m.items_.ids[o] for o in m.seen(u)}==had


def test_the_short_way_loses_no_event_while_tables_move():
    m,n = IncrementalMF(n_factors=8),3_000
    def short(first):
        for k in range(n): m.learn_one(first+k, k%50, 4.)
    def table():
        for k in range(30): m.partial_fit(dict(user=np.arange(100)+10**6+100*k, item=np.arange(100)%50), np.full(100, 3.))
    together(lambda: short(0), lambda: short(5_000), table)
    assert m.n_==len(m.seen_)==int(m.mean_[1])==2*n+3_000 and len(m.users_)==2*n+3_000
    pairs = {(m.users_.ids[u], m.items_.ids[i]) for u,i in zip(*m.seen_)}
    assert pairs>={(k, k%50) for k in range(n)} | {(5_000+k, k%50) for k in range(n)}
    assert (m.rows_['user'].used('weight')==1).all()


def test_who_holds_the_block_of_before_a_user_was_forgotten_learns_the_long_way():
    m = IncrementalMF(n_factors=2).partial_fit(dict(user=[0, 1, 2], item=[0, 1, 0]), [3., 4., 5.])
    m.learn_one(0, 1, 4.)
    held = m._short # as a thread that was stopped here would
    m.forget_user(2)
    assert held[1](held[0], 0, 0, 5., True)==-np.inf and m.n_==4 and len(m.seen_)==3
    m.learn_one(0, 0, 5.)
    assert m.n_==5 and len(m.seen_)==4
