"""Real data arrives whole or not at all; streams refuse what they cannot keep in order."""
import hashlib, io, pickle, zipfile
from itertools import islice
import numpy as np, pandas as pd, pytest
from hypothesis import given, settings, strategies as st
from recinc_nb import Stream, drift_stream, movielens_100k, prequential
from recinc_nb import streams
from recinc_nb.core import cache_dir


@pytest.fixture(scope='module')
def ml(): return movielens_100k() # no skip: `make` put it into the cache


@pytest.fixture
def no_sources(monkeypatch):
    def none(*a): raise OSError('no network')
    for o in ('_from_package', '_from_wheel', '_from_grouplens'):
        f = lambda: none()
        f.__name__ = o
        monkeypatch.setattr(streams, o, f)


def copy_to(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for o in streams._ML: (folder/f'ml-100k.{o}').write_bytes((cache_dir()/'ml-100k'/f'ml-100k.{o}').read_bytes())
    return folder


def test_movielens_is_whole(ml):
    e = ml.events
    assert len(e)==100_000 and e['rating'].between(1, 5).all() and (e['label']==(e['rating']>=4)).all()
    assert e['time'].is_monotonic_increasing and e['user'].nunique()==943 and set(e['item'])<=set(ml.items.index)
    raw = [line.split('\t') for line in (cache_dir()/'ml-100k'/'ml-100k.inter').read_text().splitlines()[1:]]
    order = sorted(range(len(raw)), key=lambda n: int(raw[n][3])) # stable: ties in file order
    assert e[['user', 'item']].values.tolist()==[[int(raw[n][0]), int(raw[n][1])] for n in order]


@pytest.mark.parametrize('name', streams._ML)
def test_a_cut_or_changed_file_is_an_error(tmp_path, name, no_sources):
    path = copy_to(tmp_path)/f'ml-100k.{name}'
    good = path.read_bytes()
    for bad in (good[:-1], good[:len(good)//2], b'', good.replace(b'1', b'2', 1)):
        path.write_bytes(bad)
        with pytest.raises(ValueError, match='is damaged or another version .* delete it and call again'): movielens_100k(tmp_path)
    path.write_bytes(good)
    assert len(movielens_100k(tmp_path))==100_000


def test_where_it_cannot_be_had(tmp_path, no_sources):
    with pytest.raises(FileNotFoundError, match='cannot be had here .*no network.*use drift_stream'): movielens_100k(tmp_path)
    assert not list(tmp_path.iterdir())
    copy_to(tmp_path)
    (tmp_path/'ml-100k.item').unlink() # a copy that was cut off between two files is fetched again, not half-used
    with pytest.raises(FileNotFoundError): movielens_100k(tmp_path)


def test_a_download_that_is_not_the_data_is_never_kept(tmp_path, monkeypatch):
    def wrong(): return {f'ml-100k.{o}': b'<html>proxy says no</html>' for o in streams._ML}
    wrong.__name__ = '_from_wheel'
    monkeypatch.setattr(streams, '_from_package', wrong)
    with pytest.raises(ValueError, match='damaged'): movielens_100k(tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_archive_of_grouplens_gives_the_same_stream(tmp_path, monkeypatch, ml):
    "GroupLens's layout, rebuilt from the other copy: | between columns, latin-1, one flag per genre, titles with their year."
    raw = {o: [line.split('\t') for line in (cache_dir()/'ml-100k'/f'ml-100k.{o}').read_text().splitlines()[1:]] for o in streams._ML}
    genres = sorted({g for *_,gs in raw['item'] for g in gs.split()})
    def title(t, year): return 'unknown' if t=='unkonwn' else f'{t} ({year})'
    item = '\n'.join('|'.join([i, title(t, y), '01-Jan-1995', '', 'http://x', *(str(int(g in gs.split())) for g in genres)]) for i,t,y,gs in raw['item'])
    files = {'u.data': '\n'.join('\t'.join(o) for o in raw['inter']), 'u.item': item, 'u.user': '\n'.join('|'.join(o) for o in raw['user']),
             'u.genre': '\n'.join(f'{g}|{n}' for n,g in enumerate(genres))}
    out = io.BytesIO()
    with zipfile.ZipFile(out, 'w') as z:
        for name,text in files.items(): z.writestr(f'ml-100k/{name}', text.encode('latin-1'))
    (tmp_path/'ml-100k.zip').write_bytes(out.getvalue())
    with pytest.raises(ValueError, match='damaged'): movielens_100k(tmp_path)
    monkeypatch.setattr(streams, '_ML_MD5', hashlib.md5(out.getvalue()).hexdigest())
    other = movielens_100k(tmp_path)
    pd.testing.assert_frame_equal(other.events, ml.events)
    pd.testing.assert_frame_equal(other.users, ml.users)
    pd.testing.assert_frame_equal(other.items[['title', 'year']], ml.items[['title', 'year']])
    assert (other.items['genres'].str.split(', ').map(sorted)==ml.items['genres'].str.split(', ').map(sorted)).all()


def test_streams_order_themselves_and_keep_ties():
    e = pd.DataFrame(dict(user=list('abcd'), item=range(4), rating=[1., 2., 3., 4.], time=[5, 1, 5, 1]))
    assert Stream(e).events['user'].tolist()==['b', 'd', 'a', 'c']
    s = Stream(e.iloc[:0])
    assert len(s)==0 and list(s.batches(3))==[] and len(s.with_text().events if s.items is not None else s.events)==0
    with pytest.raises(ValueError, match='n is 0'): list(s.batches(0))


@pytest.mark.parametrize('bad, error, words', [
    (dict(user=[1], item=[1], rating=[np.nan]), ValueError, 'rating is nan in row 0'), (dict(user=[1], item=[1], label=[np.inf]), ValueError, 'label is inf'),
    (dict(user=[1], item=[1]), KeyError, 'no column rating or label'), (dict(item=[1], rating=[1.]), KeyError, 'no column user'),
    (dict(user=[None], item=[1], rating=[1.]), ValueError, 'user is missing'), (dict(user=[1, 2], item=[1], rating=[1.]), ValueError, 'differ in length'),
    ([1, 2], TypeError, 'got list'), ('events.csv', TypeError, 'got str'), (None, TypeError, 'got NoneType')])
def test_bad_tables(bad, error, words):
    with pytest.raises(error, match=words): Stream(bad)


@pytest.mark.parametrize('params', [
    dict(n_events=0), dict(n_users=0), dict(n_items=-3), dict(n_events=10.), dict(n_events='10'), dict(drift='random'), dict(drift=None),
    dict(share=1.5), dict(share=float('nan')), dict(at=-.1), dict(policy='epsilon'), dict(policy=None), dict(label_noise=-.1), dict(label_noise=1.1),
    dict(label_noise=float('nan')), dict(label_noise=None), dict(tasks=1.5), dict(tasks=float('nan')), dict(tasks='high')], ids=str)
def test_bad_worlds(params):
    with pytest.raises(ValueError, match=f'drift_stream: {next(iter(params))} is .*; use '): drift_stream(**params)


DRIFTS,POLICIES = ('none', 'sudden', 'gradual', 'recurring', 'popularity', 'births'),('popular', 'uniform', 'taste')


@pytest.mark.parametrize('drift', DRIFTS)
def test_worlds_are_made_by_their_seed(drift):
    a,b,c = (drift_stream(500, drift=drift, seed=s, policy='taste', label_noise=.2, tasks=.5) for s in (1, 1, 2))
    pd.testing.assert_frame_equal(a.events, b.events)
    pd.testing.assert_frame_equal(a.oracle, b.oracle)
    assert not a.events.equals(c.events) and a.oracle['label'].between(0, 1).all() and a.oracle['rating'].between(1, 5).all()


@pytest.mark.parametrize('drift, sha', [('none', 'fdade9865ff34f25'), ('sudden', 'f2a95d3f9f4f43c4'), ('gradual', '153ed74fec8ac488'), ('recurring', '7b9462150105a7c4')])
def test_old_worlds_stay_what_they_were(drift, sha):
    "The stored outputs of other chapters rest on these events; a new option must draw from a generator of its own."
    e = drift_stream(2_000, n_users=50, n_items=40, drift=drift, seed=5).events
    assert hashlib.sha256(e[['user', 'item', 'rating', 'label', 'time']].to_numpy(dtype=np.int64).tobytes()).hexdigest()[:16]==sha
    for other in (dict(label_noise=.5), dict(tasks=.3)): # and an option changes nothing but what it is about
        o = drift_stream(2_000, n_users=50, n_items=40, drift=drift, seed=5, **other).events
        columns = [c for c in e if c not in other and ('label_noise' not in other or c not in ('rating', 'label'))]
        pd.testing.assert_frame_equal(o[columns], e[columns])


worlds = st.fixed_dictionaries(dict(
    n_events=st.integers(1, 300), n_users=st.integers(1, 8), n_items=st.integers(1, 8), drift=st.sampled_from(DRIFTS), policy=st.sampled_from(POLICIES),
    share=st.floats(0, 1), at=st.floats(0, 1), label_noise=st.floats(0, 1), tasks=st.none() | st.floats(-1, 1), seed=st.integers(0, 2**32)))


@settings(max_examples=80, deadline=None)
@given(worlds, st.data())
def test_any_options_make_a_sound_stream(options, data):
    s = drift_stream(**options)
    e,o,n = s.events,s.oracle,options['n_events']
    assert len(e)==len(o)==n and e['rating'].isin([1, 2, 3, 4, 5]).all() and (e['label']==(e['rating']>=4)).all()
    assert e['time'].is_monotonic_increasing and e['user'].isin(s.users.index).all() and e['item'].isin(s.items.index).all()
    assert (e['propensity']>0).all() and (e['propensity']<=1).all() and np.isfinite(o.to_numpy()).all()
    assert o['label'].between(0, 1).all() and o['rating'].between(1, 5).all() and e.notna().all().all()
    if options['tasks'] is not None:
        assert (e['dwell']>=0).all() and ((e['dwell']>0)==(e['click']==1)).all() and (e['purchase']<=e['click']).all()
        assert o['click'].between(0, 1).all() and (o['purchase']<=o['click']).all()
    when = np.arange(n)/n # nobody comes, and nothing is shown, before its time
    for who,table in (('user', s.users), ('item', s.items)):
        if 'born' in table: assert (table['born'].to_numpy()[e[who]] <= when).all()
    at = data.draw(st.lists(st.integers(0, n-1), max_size=5))
    scores,shown = s.oracle_scores(at),s.oracle_exposure(at)
    assert scores.shape==shown.shape==(len(at), options['n_items'])
    np.testing.assert_allclose(shown.sum(1), 1)
    for row,k in enumerate(at):
        assert scores[row, e['item'][k]]==o['label'][k] and (s.oracle_scores(k)==scores[row]).all()
        np.testing.assert_allclose(shown[row, e['item'][k]], e['propensity'][k])
        later = s._part(k, n) # a part of a stream knows where in the whole it lies
        assert (later.oracle_scores(0)==scores[row]).all() and (pickle.loads(pickle.dumps(later)).oracle_exposure(0)==shown[row]).all()


@pytest.mark.parametrize('drift', DRIFTS)
@pytest.mark.parametrize('policy', POLICIES)
def test_what_is_shown_follows_the_propensities(drift, policy):
    s = drift_stream(6_000, n_users=6, n_items=7, drift=drift, policy=policy, seed=11)
    shown = s.oracle_exposure(np.arange(len(s)))
    counts,expected,sd = np.bincount(s.events['item'], minlength=7),shown.sum(0),np.sqrt((shown*(1-shown)).sum(0))
    assert (abs(counts-expected) <= 5*sd).all() and abs(counts.sum()-expected.sum())<1e-6
    assert policy=='uniform' and drift in DRIFTS[:4] or (abs(counts-expected[::-1]) > 5*sd).any() # the null: another policy's shares
    target = (shown>.02)/(shown>.02).sum(1, keepdims=True) # weighting by target/propensity gives back the target's mean, for any y
    w = target[np.arange(len(s)), s.events['item']]/s.events['propensity'].to_numpy()
    truth = s.oracle_scores(np.arange(len(s)))
    for y,mean in ((np.ones(len(s)), 1.), (s.events['label'].to_numpy(), (target*truth).sum(1).mean())):
        assert abs((w*y).mean()-mean) <= 5*(w*y).std()/np.sqrt(len(s)) + 1e-9


@pytest.mark.parametrize('n', [-1, 5, [0, 5], .5, '0', [[0]], True, None])
def test_oracles_refuse_what_is_no_event(n):
    for f in (drift_stream(5).oracle_scores, drift_stream(5).oracle_exposure):
        with pytest.raises(ValueError, match=r'Stream\.oracle_(scores|exposure): n (is|goes) .*; (use|count)'): f(n)


def test_oracles_know_only_their_own_world():
    s = drift_stream(20)
    assert s.take(0).oracle_scores([]).shape==(0, 300) and s.with_text().oracle_scores(3).shape==(300,)
    for other in (Stream(s.events, s.items), Stream.from_dataset(s.to_dataset(), items=s.items)):
        with pytest.raises(ValueError, match='the truth about stream is not known; ask'): other.oracle_scores(0)


def test_label_noise_at_its_ends():
    clean,noise = drift_stream(20_000, label_noise=0., seed=1),drift_stream(20_000, label_noise=1., seed=1)
    assert (clean.events['rating']==drift_stream(20_000, seed=1).events['rating']).all()
    np.testing.assert_allclose(noise.oracle, [[3., .4]]*20_000)
    assert abs(np.bincount(noise.events['rating'].astype(int))[1:]/20_000 - .2).max() < .02


mixed_ids = [1, True, 1., '1', (1, 'a'), (True, 'a'), ('1', 'a'), 0, False, '', ()]


def test_texts_keep_people_apart_whose_ids_are_equal():
    history = streams.TextHistory(pd.DataFrame(dict(title=[f'film {n}' for n in range(11)])))
    for n,user in enumerate(mixed_ids): history.add(user, n, 1)
    for n,user in enumerate(mixed_ids): assert history.pair(user, 0)[0]==f'Liked film {n}.'
    assert history.pair(np.int64(1), 0)==history.pair(1, 0) and history.pair(np.str_('1'), 0)==history.pair('1', 0)
    for user in mixed_ids: # who hands in a key, as a learner that saved it may, means the same person
        assert history.pair(streams._key(user), 0)==history.pair(user, 0) and streams._key(streams._key(user))==streams._key(user)
    for bad in (None, np.nan, pd.NA, pd.NaT):
        with pytest.raises((ValueError, TypeError)): history.add(bad, 0, 1)
    with pytest.raises(TypeError, match='unhashable'): history.pair([1], 0)
    assert len(history.past)==len(mixed_ids)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 40), st.integers(0, 50), st.sampled_from([None, 1, 3, 7]))
def test_a_data_set_goes_on_where_it_stopped(n, stop, batch):
    s = drift_stream(n, n_users=4, n_items=5, tasks=.5).with_text()
    make = lambda: s.to_dataset() if batch is None else s.to_dataset().batch(batch)
    ds,new = make(),make()
    head = list(islice(ds, stop)) # not zip(ds, range(stop)), which takes one row more than it gives
    new.load_state_dict(ds.state_dict())
    rows = head + list(new)
    if batch: rows = [dict(zip(b, o)) for b in rows for o in zip(*b.values())]
    assert rows==s.events.to_dict('records')
    pd.testing.assert_frame_equal(Stream.from_dataset(make() if batch is None else s.to_dataset()).events, s.events, check_dtype=False)


def test_prequential_refuses_what_it_cannot_judge():
    with pytest.raises(ValueError, match='stream is empty'): prequential(object(), drift_stream(10).take(0))
