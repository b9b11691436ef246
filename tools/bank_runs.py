"""The runs behind chapters 53a and 53b: how high a tax, what the head of BERT forgets, and what a bank gives back. python tools/bank_runs.py

Five seeds each of a world in which all share one taste, which turns or does not, and of one with 500 tastes, on MiniLM's weights; some five
seconds a row on one core. One run tells of both arms: the head of now learns the same with and without a bank. Chosen on seed 10: every and share.
Writes recinc_nb/results/bank.json.
"""
from replay_runs import MADE # the best without a remedy in such worlds
from record import Record
import numpy as np
from recinc_nb.core import scale
from recinc_nb.bank import SnapshotBank
from recinc_nb.heads import BankBert
from recinc_nb.metrics import log_loss
from recinc_nb.mf_online import IncrementalMF
from recinc_nb.worlds import drift_stream

record = Record(__file__, 'bank')
N,PART = scale((6_000, 500), (480, 40))
WORLDS = {'one taste': dict(n_users=1, history=0), 'many tastes': dict(n_users=500, history=10)}
DRIFTS = {'one taste': ('recurring', 'none', 'gradual'), 'many tastes': ('recurring',)}
SEEDS = 0, 1, 2, 3, 4

class Heard(BankBert):
    "It keeps what the head of now and the bank said of each event before the step."
    def _update(self, step, who):
        pred = super()._update(step, who)
        self.said_.append(np.column_stack([self.alone_, pred]))
        return pred
    def _turn(self, z, read, weight):
        super()._turn(z, read, weight)
        self.alone_ = self._given[:,0]

def run(world, drift, seed):
    setting = WORLDS[world]
    s = drift_stream(N, n_users=setting['n_users'], n_items=200, drift=drift, share=1., seed=seed)
    m = Heard(history=setting['history'], every=scale(500, 20))
    m.said_ = []
    m.partial_fit(s)
    p,true,y = np.concatenate(m.said_).T,s.oracle['label'].to_numpy(),s.events['label'].to_numpy()
    regret = {arm: np.round(((o-true)**2).reshape(-1, PART).mean(1), 5).tolist() for arm,o in zip(('alone', 'bank'), p)}
    return dict(**regret, **{f'log_loss_{arm}': round(float(log_loss(y, o)), 5) for arm,o in zip(('alone', 'bank'), p)}, copies=m.copies_[:,0].tolist(), encoder=m.checkpoint_name)

@record.part(n_events=N, part=PART, n_items=200, worlds=WORLDS)
def heads(seeds=SEEDS):
    "Regret of P(like) per part and log-loss of the whole stream, of the head alone and of its bank."
    for seed in seeds:
        for world,drifts in DRIFTS.items():
            for drift in drifts: yield dict(world=world, drift=drift, seed=seed), lambda: run(world, drift, seed)

EVENTS,SHARES = scale(60_000, 600),(.0001, .001, .003, .01, .03)

class OfUsers(SnapshotBank):
    "A snapshot holds the rows of users; the items are those of now, as they were before this table."
    def columns(self, users, items, y, learn):
        given = np.full((len(users), len(self.learners_)), np.nan)
        for j,(_,n_users,n_items) in enumerate(self.copies_, 1):
            old = self.learners_[j]
            old.rows_['item'] = self.learners_[0].rows_['item']
            known = (0<=users) & (users<n_users) & (0<=items) & (items<n_items)
            pred = np.empty(known.sum())
            old.sweep(users[known], items[known], y[:0], pred, False)
            given[known,j] = pred
        now = np.empty(len(users))
        self.learners_[0].sweep(users, items, y, now, learn)
        given[:,0] = now
        return np.where(np.isnan(given), now[:,None], given)

@record.part(events=EVENTS, made=MADE)
def shares(seeds=(10, 11, 12)):
    "RMSE of a bank of factorizations minus that of the learner alone, in four worlds of ratings."
    def rmse(m, s): return float(np.sqrt(np.mean((np.concatenate([m.predict_learn(o) for o in s.batches(100)]).clip(1, 5) - s.events['rating'])**2)))
    def differences(holds, share, seed):
        out = {}
        for drift in ('recurring', 'none', 'sudden', 'gradual'):
            s,alone = drift_stream(EVENTS, drift=drift, share=1., seed=seed),IncrementalMF(**MADE)
            bank = {'all': SnapshotBank, 'users': OfUsers}[holds](alone, share=share, every=scale(2_000, 20))
            out[drift] = round(rmse(bank, s) - rmse(alone, s), 5)
        return out
    for holds,tried in (('all', SHARES), ('users', (.001, .01))):
        for share in tried:
            for seed in seeds: yield dict(holds=holds, share=share, seed=seed), lambda: differences(holds, share, seed)

if __name__=='__main__': record.main()
