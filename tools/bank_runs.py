"""The runs behind chapter 53b: what the head of BERT forgets, and what a bank of old heads gives back. python tools/bank_runs.py

Five seeds each of a world in which all share one taste, which turns or does not, and of one with 500 tastes, on MiniLM's weights; some five
seconds a row on one core. One run tells of both arms: the head of now learns the same with and without a bank. Chosen on seed 10: every and share.
Writes recinc_nb/results/bank.json.
"""
from record import Record
import numpy as np
from recinc_nb.core import scale
from recinc_nb.heads import BankBert
from recinc_nb.metrics import log_loss
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

if __name__=='__main__': record.main()
