"""Banks of copies: the promise of fixed share, what a copy knows, and exact resume, for factors and for heads of BERT."""
import copy, itertools
import numpy as np, pytest, torch
from sklearn.base import clone
from helpers import check_however, state
from recinc_nb import BankBert, BiasBaseline, ClockFilter, GaussianMF, IncrementalBert, IncrementalMF, ISGD, Learner, OnlineExperts, Reservoir, SnapshotBank, drift_stream, results
from recinc_nb.bank import Bank, bank_sweep, share_weights
from recinc_nb.heads import head_chances

world = drift_stream(600, n_users=40, n_items=30, drift='sudden', seed=3)
KINDS = {'mf': IncrementalMF(n_factors=3), 'gaussian': GaussianMF(n_factors=2), 'biases of labels': BiasBaseline(target='label'), 'mf, logistic': IncrementalMF(n_factors=3, loss='logistic')}


def payout(J): return np.r_[.5, np.full(J-1, .5/(J-1))]


@pytest.mark.parametrize('J', [2, 3, 7])
def test_fixed_share(J):
    rng = np.random.default_rng(J)
    w = rng.dirichlet(np.ones(J))
    log = np.log(w) - np.log(w).max()
    share_weights(log, .1)
    assert log.max()==0
    np.testing.assert_allclose(np.exp(log)/np.exp(log).sum(), .9*w + .1*payout(J), rtol=1e-12)
    dead = np.r_[0., np.full(J-1, -1e4)]
    share_weights(dead, .1)
    np.testing.assert_allclose(np.exp(dead[1:])/np.exp(dead).sum(), .1*payout(J)[1:])


@pytest.mark.parametrize('logistic', [False, True])
def test_the_bound_holds_on_every_path(logistic):
    "Over the events so far, whatever is said: the loss is at most a path's, plus the logarithm of its prior over η."
    rng,n,J,alpha = np.random.default_rng(1),7,3,.05
    eta,low,high = (1., 1e-6, 1-1e-6) if logistic else (1/8, 1., 5.)
    ends = (0., 1.) if logistic else (1., 5.)
    v = payout(J)
    moves,paths = (1-alpha)*np.eye(J) + alpha*v,np.array([*itertools.product(range(J), repeat=n)])
    prior = moves[paths[:,:-1], paths[:,1:]].prod(1)/J
    for _ in range(20):
        y,given,pred,log = rng.choice(ends, n),rng.uniform(*ends, (n, J)).clip(low, high),np.empty(n),np.zeros(J)
        bank_sweep(y, pred, given, log, eta, low, high, logistic, alpha, True)
        loss = (lambda p, y: -np.log(np.where(y==1, p, 1-p))) if logistic else (lambda p, y: (y-p)**2)
        of_path = loss(given, y[:,None])[np.arange(n), paths].sum(1)
        total = -np.log(prior @ np.exp(-eta*of_path))/eta
        assert loss(pred, y).sum() <= total + 1e-9 and (total <= of_path + np.log(1/prior)/eta + 1e-9).all()
        if logistic: np.testing.assert_allclose(loss(pred, y).sum(), total, rtol=1e-9) # the mix loss itself


@pytest.mark.parametrize('name', KINDS)
def test_however_it_is_cut_saved_and_resumed(name, tmp_path):
    make = lambda: SnapshotBank(clone(KINDS[name]), every=40, keep=3, share=.03)
    whole,_ = check_however(make, world, (0, 1, 39, 40, 41, 200, 200, 600), (30, 80, 401), tmp_path)
    assert whole.copies_[:,0].tolist()==[320, 480] or whole.copies_[:,0].tolist()==[160, 320, 480]


def test_a_call_with_thousands_of_strangers_is_the_same():
    "Rows are drawn ahead by the thousand; a copy in the middle of such a call must not notice."
    n = 3_000
    events = dict(user=list(range(n)), item=[o%7 for o in range(n)])
    y = np.random.default_rng(0).integers(1, 6, n).astype(float)
    m = SnapshotBank(IncrementalMF(n_factors=2), every=700, keep=9)
    cut = clone(m)
    m.partial_fit(events, y)
    for a,b in itertools.pairwise((0, 350, 1_399, 1_401, n)): cut.partial_fit({o: x[a:b] for o,x in events.items()}, y[a:b])
    assert state(m)==state(cut)


def test_copies_lie_evenly_and_predictions_stay():
    m = SnapshotBank(IncrementalMF(n_factors=2), every=10, keep=4)
    for n in range(1, 161):
        m.partial_fit(world[n-1:n])
        at = m.copies_[:,0]
        assert len(at)<=4 and (np.diff(at, prepend=0)==m.spacing_).all() and len(m.weights_)==len(at)+1
    plain = IncrementalMF(n_factors=2).partial_fit(world[:160])
    np.testing.assert_array_equal(m.learners_[0].user_factors_, plain.user_factors_) # the learner of now learns as if alone


def test_weights_go_with_their_copies():
    bank = Bank()
    bank.every,bank.keep = 10,2
    bank.start_bank()
    copies = bank.add_copy(bank.add_copy([], 'a', 10), 'b', 20)
    bank.log_weights_ = np.array([0., -1., -2.])
    assert bank.add_copy(copies, 'c', 30)==['b'] and bank.copies_[:,0].tolist()==[20] and bank.spacing_==20
    np.testing.assert_allclose(bank.log_weights_, [0., -2 + np.log(2)])


def test_a_stranger_to_a_copy_gets_what_the_learner_of_now_says():
    m = SnapshotBank(IncrementalMF(n_factors=2), every=50, keep=9).partial_fit(world[:50])
    m.partial_fit(dict(user=['late']*9, item=[world.events['item'].iloc[0]]*9), [5.]*9)
    now = m.learners_[0]
    rows = np.array([m.users_.row('late')]),np.array([m.items_.row(world.events['item'].iloc[0])])
    given = m.columns(*rows, np.empty(0), False)
    assert given.shape==(1, 2) and given[0,0]==given[0,1]==now._score(*rows)[0]
    first = np.array([0]),np.array([0])
    assert np.ptp(m.columns(*first, np.empty(0), False))>0
    user = m.users_.ids[0]
    m.forget_user(user)
    assert all(not o.rows_['user']['weight'][0] for o in m.learners_) and m.learners_[1].rows_['user'].n==m.copies_[0,1]


@pytest.mark.parametrize('wrong,error,words', [
    (SnapshotBank(ClockFilter()), TypeError, 'keeps no clock'), (SnapshotBank(SnapshotBank()), TypeError, 'no bank of its own'),
    (SnapshotBank(ISGD()), TypeError, 'is no expert'), (SnapshotBank(OnlineExperts()), TypeError, 'is no expert'), (SnapshotBank('mf'), TypeError, 'is no expert'),
    (SnapshotBank(IncrementalMF(max_rows=5)), ValueError, 'max_rows=5'), (SnapshotBank(IncrementalMF(remedies=(Reservoir(),))), ValueError, 'do nothing'),
    (SnapshotBank(every=0), ValueError, 'every is 0'), (SnapshotBank(keep=1.5), ValueError, 'keep is 1.5'), (SnapshotBank(share=0.), ValueError, 'share is 0.0')])
def test_what_cannot_be_in_a_bank(wrong, error, words):
    with pytest.raises(error, match=words): wrong.partial_fit(world[:5])


# ---- heads of BERT ----
bert_world = drift_stream(160, n_users=3, n_items=12, seed=2)
def bert(**kw): return BankBert(**{'checkpoint': 'tiny', 'history': 2, 'every': 20, 'keep': 3, **kw})
def bert_state(m): return {**{k: x.tobytes() for k,x in m.arrays().items()}, 'n': m.n_, 'spacing': m.spacing_}


def test_head_chances():
    g = torch.Generator().manual_seed(1)
    x,heads,now,offset = (torch.randn(o, generator=g, dtype=torch.float64) for o in ((6, 5), (4, 5), (5,), (6,)))
    np.testing.assert_allclose(head_chances(x@now + offset, x, now, heads), [[1/(1+np.exp(-float(h@row + o))) for h in (now, *heads)] for row,o in zip(x, offset)])
    assert head_chances(x@now, x, now, heads[:0]).shape==(6, 1)


@pytest.mark.usefixtures('one_thread')
def test_a_bank_of_heads_goes_on_as_if_it_had_never_stopped(tmp_path):
    straight,stopped,call = bert(),bert(),bert()
    for part in bert_world.batches(16): straight.partial_fit(part)
    for n,part in enumerate(bert_world.batches(16)):
        if n in (1, 5, 8):
            stopped.save_pretrained(tmp_path/str(n))
            stopped = Learner.from_pretrained(tmp_path/str(n))
        stopped.partial_fit(part)
    call.partial_fit(bert_world)
    assert bert_state(straight)==bert_state(stopped)==bert_state(call)
    assert straight.copies_[:,0].tolist()==[80, 160] and len(straight.heads_)==2
    np.testing.assert_array_equal(stopped.predict(bert_world), straight.predict(bert_world))
    assert clone(straight).get_params()==straight.get_params() and straight.get_params()['history']==2


@pytest.mark.usefixtures('one_thread')
def test_heads_under_replay_and_copies_at_the_end():
    m = bert(remedies=(Reservoir(10, 1),), every=32)
    plain = copy.deepcopy(m)
    seen = []
    sweep = BankBert._weigh
    class Counting(BankBert):
        def _weigh(self, given, y=None):
            if y is not None: seen.append(len(y))
            return sweep(self, given, y)
    counting = Counting(**m.get_params(deep=False))
    for part in bert_world.batches(16): counting.partial_fit(part)
    assert seen==[16]*10                         # old events teach no weights
    plain.partial_fit(bert_world[:32])
    np.testing.assert_array_equal(plain.heads_[0], plain.head())


def test_the_heads_that_stay_are_those_of_their_events():
    "With too many heads each second one goes: what is left was the head at its event."
    m,plain,heads = bert(every=16, keep=2),IncrementalBert(checkpoint='tiny', history=2),{}
    for n,part in enumerate(bert_world.batches(16), 1):
        m.partial_fit(part)
        plain.partial_fit(part)
        W,b = (o.detach().double() for o in plain.model_.classifier.parameters())
        heads[16*n] = np.r_[W[1]-W[0], b[1]-b[0]]
    assert m.copies_[:,0].tolist()==[64, 128] and len(m.heads_)==2 and len(m.weights_)==3
    for o,n in zip(m.heads_, m.copies_[:,0]): np.testing.assert_allclose(o, heads[n], atol=1e-6)
    apart = [abs(a - b).max() for a,b in itertools.combinations(heads.values(), 2)]
    assert min(apart) > 1e-4                     # else any head would pass


@pytest.mark.usefixtures('one_thread')
def test_what_replay_counts_is_what_the_head_learns():
    "A head beside others steps as one alone does, also with weights that are not 1; and equation (2) sees new events alone."
    asked = []
    class Asked(BankBert):
        def _update(self, step, who):
            before = self.log_weights_.copy()
            pred = super()._update(step, who)
            asked.append((before, self._said, step.new, step.y, self.log_weights_.copy(), pred))
            return pred
        def _offers(self, z, read):
            self._said = super()._offers(z, read)
            return self._said
    m = Asked(checkpoint='tiny', history=2, remedies=(Reservoir(10, 1),), every=32, share=.05)
    plain,other = (IncrementalBert('tiny', history=2, remedies=(Reservoir(10, 1),)) for _ in range(2))
    counts = np.random.default_rng(0).uniform(.1, 2, len(bert_world))
    for n,part in enumerate(bert_world.batches(16)):
        for o in (m, plain): o.partial_fit(part, sample_weight=counts[16*n:16*n+16])
        other.partial_fit(part)
    W,V,U = (o.model_.classifier.weight.detach().numpy() for o in (m, plain, other))
    np.testing.assert_array_equal(W, V)
    assert abs(U - V).max() > 1e-3               # what an event counts matters
    mixed = 0
    for before,given,new,y,after,pred in asked:
        w = np.exp(before)/np.exp(before).sum()
        np.testing.assert_allclose(pred, given@w, rtol=1e-12)
        for p,label in zip(given[new], y[new]):
            w = w*np.where(label, p, 1-p)
            w = w/w.sum()
            if len(w)>1: w = .95*w + .05*payout(len(w))
        np.testing.assert_allclose(np.exp(after)/np.exp(after).sum(), w, rtol=1e-9)
        mixed += len(w)>1 and not new.all()
    assert mixed>=7                              # steps with old events and old heads


@pytest.mark.parametrize('wrong,words', [(dict(update='all'), "update is 'all'"), (dict(every=0), 'every is 0'), (dict(share=2.), 'share is 2')])
def test_only_heads(wrong, words):
    with pytest.raises(ValueError, match=words): bert(**wrong).partial_fit(bert_world[:5])


def test_the_record_reaches_its_bar():
    rows = results('bank')['heads']['rows']
    for r in rows:
        if (r['world'], r['drift'])==('one taste', 'recurring'): assert r['bank'][8] < .7*r['alone'][8]
    assert len({r['seed'] for r in rows})==5
