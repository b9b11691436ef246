"""Detectors: river's alarms number by number, any cutting, bad input. The remedy: what it watches and what it moves, against slow versions."""
import numpy as np, pytest
from sklearn.base import clone
from recinc_nb import ADWIN, BPRMF, ForgetOnDrift, GaussianMF, ImplicitALS, IncrementalMF, ISGD, PageHinkley, drift_stream

turns = np.where(np.arange(6_000)//1_500%2, .6, .3)
def numbers(kind, seed=0):
    rng = np.random.default_rng(seed)
    return dict(coins=lambda: (rng.random(6_000)<turns)*1., normal=lambda: rng.normal(turns, .1), still=lambda: rng.random(6_000),
                heavy=lambda: rng.exponential(10*turns), constant=lambda: np.full(6_000, .3), far=lambda: 1e6 + rng.random(6_000))[kind]()

KINDS = 'coins', 'normal', 'still', 'heavy', 'constant', 'far'
SETTINGS = [(ADWIN, {}), (ADWIN, dict(delta=.3, clock=1)), (ADWIN, dict(delta=1e-5, clock=7)), (PageHinkley, {}), (PageHinkley, dict(threshold=3., delta=.1)),
            (PageHinkley, dict(alpha=.99, threshold=2.))]

@pytest.mark.parametrize('cls,kw', SETTINGS, ids=str)
@pytest.mark.parametrize('kind', KINDS)
def test_the_same_as_river(cls, kw, kind):
    river = pytest.importorskip('river.drift', reason='river is missing: pip install river')
    xs,ours,theirs,raised,windows = numbers(kind),cls(**kw),getattr(river, cls.__name__)(**kw),[],[]
    for x in xs.tolist():
        theirs.update(x)
        raised.append(theirs.drift_detected)
        if cls is ADWIN and theirs.drift_detected: windows.append((theirs.width, theirs.estimation, theirs.variance))
    np.testing.assert_array_equal(ours.updates(xs)!=0, raised)
    if cls is ADWIN:
        again,at = cls(**kw),np.flatnonzero(raised)+1 # what is left of a window when an alarm comes: only there the spreads of buckets count
        for piece,window in zip(np.split(xs, at), windows):
            again.updates(piece)
            np.testing.assert_allclose([again.width_, again.mean_, again.state_[2]], window, rtol=1e-7, atol=1e-9)
        assert ours.width_==theirs.width
        np.testing.assert_allclose([ours.mean_, ours.state_[2]], [theirs.estimation, theirs.variance], rtol=1e-9, atol=1e-12)

@pytest.mark.parametrize('cls,kw', SETTINGS, ids=str)
def test_however_it_is_cut(cls, kw):
    xs = numbers('coins', 1)
    whole,pieces,single = cls(**kw),cls(**kw),cls(**kw)
    signs = whole.updates(xs)
    np.testing.assert_array_equal(np.concatenate([pieces.updates(o) for o in np.split(xs, [1, 40, 40, 1_801])]), signs)
    for x,sign in zip(xs[:2_000].tolist(), signs): assert single.update(x).sign_==sign and single.drift_detected==(sign!=0)
    np.testing.assert_array_equal(whole.state_, pieces.state_)

def test_signs_say_which_way():
    for cls in (ADWIN, lambda: PageHinkley(threshold=20.)):
        signs = cls().updates(np.r_[numbers('still')[:2_000]*.3, .5+numbers('still')[:2_000]*.3, numbers('still')[:2_000]*.3])
        at = np.flatnonzero(signs)
        assert 2_000<=at[0]<2_200 and 4_000<=at[1]<4_200 and signs[at].tolist()==[1, -1]

def test_a_fall_that_comes_in_the_same_check_as_a_rise():
    xs = np.r_[np.zeros(320), np.ones(320)]
    assert ADWIN(clock=640).updates(xs)[-1]==1 and ADWIN(clock=640).updates(1-xs)[-1]==-1

@pytest.mark.parametrize('cls', [ADWIN, PageHinkley])
def test_bad_numbers_are_refused_and_change_nothing(cls):
    d = cls().update(.5)
    before = d.state_.copy()
    for bad in ([np.nan], [.1, np.inf], [[.1, .2]], np.nan):
        with pytest.raises(ValueError, match='give a list of finite numbers'): d.updates(bad)
    with pytest.raises(ValueError, match='1 numbers that are not finite'): d.update(float('nan'))
    np.testing.assert_array_equal(d.state_, before)
    for name in d.get_params():
        with pytest.raises(ValueError, match=f'{cls.__name__}: {name} is -1'): cls(**{name: -1}).update(.5)
    assert cls().sign_==0 and not cls().drift_detected and len(cls().updates([]))==0


world = drift_stream(2_000, n_users=60, n_items=30, seed=2)

def test_what_is_watched_is_the_slope_of_trust():
    for loss,span in (('squared', 4), ('logistic', 1)):
        m = IncrementalMF(loss=loss, remedies=(ForgetOnDrift(),))
        pred,y = m.predict_learn(world),world.events[m.target].to_numpy()
        slow = [.5 if n==0 else float(np.clip((pred[n]-y[n])*(pred[n]-y[:n].mean())/span**2 + .5, 0, 1)) for n in range(len(y))]
        watch = ADWIN()
        watch.updates(slow)
        r = m.remedies_[0]
        np.testing.assert_allclose([r.watch_.width_, r.watch_.mean_, *r.sums_], [watch.width_, watch.mean_, y.sum(), len(y)])
        np.testing.assert_allclose(r.watch_.state_[2], watch.state_[2], rtol=1e-6)

@pytest.mark.parametrize('cls', [IncrementalMF, GaussianMF, ISGD, BPRMF])
def test_it_goes_a_part_of_the_way_back_and_only_where_users_are(cls):
    m,plain = cls(remedies=(ForgetOnDrift(.25, delta=None, every=500),)),cls()
    m.partial_fit(world[:499]), plain.partial_fit(world[:499])
    for a,b in zip(m.arrays().values(), plain.arrays().values()): np.testing.assert_array_equal(a, b)
    m.partial_fit(world[499:500]), plain.partial_fit(world[499:500])
    for o,x in plain.rows_['user'].tables.items():
        start = plain.rows_['user'].start.get(o, 0.)
        x = x[:len(plain.users_)]
        want = start + .25*(x-start) if x.dtype.kind=='f' else x
        np.testing.assert_allclose(m.rows_['user'].used(o), want, rtol=1e-6, atol=1e-7)
    for o in plain.rows_['item'].tables: np.testing.assert_array_equal(m.rows_['item'].used(o), plain.rows_['item'].used(o))
    assert m.remedies_[0].alarms_==[500]

def test_alarms_come_when_tastes_turn_and_only_then():
    for drift,least in (('sudden', 1), ('none', 0)):
        s = drift_stream(40_000, drift=drift, share=1., seed=20)
        m = IncrementalMF(remedies=(ForgetOnDrift(),)).partial_fit(s)
        assert (len(m.remedies_[0].alarms_)>=least) and (drift=='sudden' or not m.remedies_[0].alarms_)
        assert all(20_000<a<22_000 and a%32==0 for a in m.remedies_[0].alarms_[:1])

def test_strangers_later_in_the_call_keep_their_start():
    half = world[:600]
    late = half.events.assign(user=half.events['user']+1_000)
    def run(pieces):
        m = IncrementalMF(remedies=(ForgetOnDrift(.1, delta=None, every=300),))
        for o in pieces: m.partial_fit(o)
        return m
    import pandas as pd
    both = pd.concat([half.events, late], ignore_index=True)[['user', 'item', 'rating']]
    a,b = run([both]),run([both[:600], both[600:]])
    np.testing.assert_array_equal(a.user_factors_, b.user_factors_)
    assert a.remedies_[0].alarms_==[300, 600, 900, 1_200]

def test_what_cannot_work_is_refused():
    for bad,words in ((ForgetOnDrift(0), 'keep is 0'), (ForgetOnDrift(delta=0), 'delta is 0'), (ForgetOnDrift(every=-2), 'every is -2')):
        with pytest.raises(ValueError, match=words): IncrementalMF(remedies=(bad,)).partial_fit(world)
    with pytest.raises(ValueError, match='ImplicitALS cannot be moved alone'): ImplicitALS(remedies=(ForgetOnDrift(),)).partial_fit(world)
    assert clone(ForgetOnDrift(.3)).keep==.3

def test_events_that_another_remedy_drops_are_not_watched():
    from dataclasses import replace
    from recinc_nb import Remedy
    class Drop(Remedy):
        def mix(self, step): return replace(step, rows={o: x[:0] for o,x in step.rows.items()}, y=step.y[:0], new=step.new[:0])
    m = IncrementalMF(remedies=(ForgetOnDrift(every=50), Drop())).partial_fit(world)
    assert m.remedies_[0].alarms_==[] and m.remedies_[0].sums_.tolist()==[0, 0]


@pytest.mark.parametrize('way,heard', [(1, True), (-1, False)], ids=['rise', 'fall'])
def test_only_a_rise_of_the_slope_makes_it_forget(way, heard, monkeypatch):
    watched = iter(.5 + way*np.repeat([-.3, .3], 640))
    monkeypatch.setattr(ForgetOnDrift, 'numbers', lambda self, y, pred: np.array([next(watched) for _ in y]))
    m = IncrementalMF(remedies=(ForgetOnDrift(),)).partial_fit(drift_stream(1_280, seed=0))
    assert (len(m.remedies_[0].alarms_)>0)==heard, 'an alarm of ADWIN that the slope has fallen is good news: nothing is forgotten'


def test_a_clock_that_is_lowered_meanwhile_checks_at_once_and_ends():
    d = ADWIN(clock=32)
    d.updates(numbers('coins')[:20])
    d.clock = 8
    d.updates(numbers('coins')[20:])
    assert d.width_>0 and d.state_[3]<8
