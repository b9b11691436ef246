"""Real data arrives whole or not at all; streams refuse what they cannot keep in order."""
import copy, datetime, hashlib, io, pickle, re, time, uuid, warnings, zipfile
from decimal import Decimal
from itertools import islice
import numpy as np, pandas as pd, pytest, torch
from hypothesis import given, settings, strategies as st
from recinc_nb import BiasBaseline, Stream, drift_stream, movielens_100k, prequential
from recinc_nb import streams
from recinc_nb.core import cache_dir
from recinc_nb.streams import item_text, read_table


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
    dict(grades=1), dict(grades=5.), dict(moods=-.1), dict(moods=1.1), dict(n_events=0), dict(n_users=0), dict(n_items=-3), dict(n_events=10.), dict(n_events='10'), dict(drift='random'), dict(drift=None),
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
    for other in (dict(label_noise=.5), dict(tasks=.3), dict(grades=9), dict(moods=.5)): # and an option changes nothing but what it is about
        o = drift_stream(2_000, n_users=50, n_items=40, drift=drift, seed=5, **other).events
        columns = [c for c in e if c not in other and ('tasks' in other or c not in ('rating', 'label'))]
        pd.testing.assert_frame_equal(o[columns], e[columns])


worlds = st.fixed_dictionaries(dict(
    n_events=st.integers(1, 300), n_users=st.integers(1, 8), n_items=st.integers(1, 8), drift=st.sampled_from(DRIFTS), policy=st.sampled_from(POLICIES),
    share=st.floats(0, 1), at=st.floats(0, 1), label_noise=st.floats(0, 1), tasks=st.none() | st.floats(-1, 1), seed=st.integers(0, 2**32)))


@settings(max_examples=80)
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
        later = s[k:n] # a part of a stream knows where in the whole it lies
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


mixed_ids = [1, True, '1', (1, 'a'), (True, 'a'), ('1', 'a'), 0, False, '', ()]


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


@settings(max_examples=15)
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


# One door: every spelling of a table, an id, a number and a time.
FOUR = dict(user=[1, 2, 1, 3], item=['a', 'b', 'c', 'a'], rating=[5., 3., 1., 4.], time=[10, 20, 30, 40])


class Frame: # what polars has, as far as we lean on it; the real one is tried where it is installed
    def __init__(self, cols): self.cols,self.columns = cols,list(cols)
    def get_column(self, o): return pd.Series(self.cols[o])


def tables():
    pa,ds = pytest.importorskip('pyarrow'),pytest.importorskip('datasets')
    df,t,d = pd.DataFrame(FOUR),pa.table(FOUR),ds.Dataset.from_dict(FOUR)
    more = {}
    try:
        import polars
        more = {'polars': polars.DataFrame(FOUR)}
    except ImportError: pass
    return {'pandas': df, 'odd index': df.set_index(pd.Index([9, 9, 3, 1])), 'nullable': df.convert_dtypes(), 'arrow dtypes': df.convert_dtypes(dtype_backend='pyarrow'),
            'categories': df.astype(dict(user='category', item='category')), 'dict': FOUR, 'arrays': {o: np.array(c) for o,c in FOUR.items()},
            'records': df.to_dict('records'), 'structured': df.to_records(index=False), 'stand-in for polars': Frame(FOUR), 'pyarrow': t, 'batch': t.to_batches()[0],
            'chunks': pa.concat_tables([t[:2], t[2:]]), 'dictionary': t.set_column(1, 'item', t['item'].dictionary_encode()), 'stream': Stream(FOUR),
            **{f'datasets {o}': d.with_format(o) for o in (None, 'numpy', 'torch', 'pandas', 'arrow')}, 'shuffled indices': d.select([3, 2, 1, 0]).select([3, 2, 1, 0]),
            **{f'datasets batch {o}': d.with_format(o)[:] for o in (None, 'numpy', 'torch', 'pandas', 'arrow')}, **more}


def test_every_table_is_the_same_table():
    want = read_table(FOUR)
    for name,t in tables().items():
        got = read_table(t, more=('time', 'nothing'))
        assert list(got)==['user', 'item', 'time', 'y'], name
        for o in ('user', 'item', 'y'): assert got[o].tolist()==want[o].tolist() and set(map(type, got[o].tolist()))==set(map(type, want[o].tolist())), (name, o)
        s = Stream(t)
        assert [s.events[o].tolist() for o in ('user', 'item', 'rating', 'time')]==[FOUR[o] for o in ('user', 'item', 'rating', 'time')], name
        m = BiasBaseline().partial_fit(t)
        assert m.users_.ids==[1, 2, 3] and m.items_.ids==['a', 'b', 'c'] and np.isfinite(m.predict(t)).all(), name
        if hasattr(t, 'with_format'): assert Stream.from_dataset(t).events['user'].tolist()==FOUR['user'], name


@pytest.mark.parametrize('made', ['torch', 'numpy', None])
def test_iterable_data_sets(made):
    ds = pytest.importorskip('datasets').Dataset.from_dict(FOUR).to_iterable_dataset().with_format(made)
    s = Stream.from_dataset(ds)
    assert s.events['user'].tolist()==FOUR['user'] and s.events['item'].tolist()==FOUR['item'] and s.events['rating'].tolist()==FOUR['rating']
    for f in (Stream, read_table):
        with pytest.raises(TypeError, match='IterableDataset; it is read row by row, so use Stream.from_dataset'): f(ds)


@pytest.mark.parametrize('table, words', [
    (iter([FOUR]), 'loop over it'), ((o for o in [FOUR]), 'loop over it'), ('events.csv', 'Stream.read'), (np.zeros((3, 2)), 'pass a Stream'), (3, 'got int'),
    (pd.Series([1]), 'got Series'), ([FOUR, 3], 'got list'), ([(1, 2)], 'got list'), (None, 'got NoneType'), (dict(user=1, item=2, rating=3.), 'user is 1, which is not a column'),
    (dict(user='ann', item=['x'], rating=[1.]), "user is 'ann', which is not a column"), (dict(user={1}, item=[1], rating=[1.]), 'not a column'),
    (dict(user=iter([1]), item=[1], rating=[1.]), 'not a column')])
def test_what_is_no_table_says_what_to_do(table, words):
    with pytest.raises(TypeError, match=words): read_table(table)


def test_a_dict_of_splits():
    ds = pytest.importorskip('datasets')
    with pytest.raises(TypeError, match=r"got DatasetDict of the splits train; pass one of them, data\['train'\]"): read_table(ds.DatasetDict(train=ds.Dataset.from_dict(FOUR)))


def columns_of(values):
    "The spellings of a column."
    out = {'list': list(values), 'tuple': tuple(values), 'objects': streams._objects(list(values)), 'Series': pd.Series(streams._objects(list(values)), dtype=object), 'Index': pd.Index(streams._objects(list(values)), dtype=object, tupleize_cols=False)}
    kinds = set(map(type, values))
    if kinds<={int} and max(values)<100: out |= {'array': np.array(values), 'int8': np.array(values, dtype=np.int8), 'uint64': np.array(values, dtype=np.uint64), 'Int64': pd.array(values, dtype='Int64'),
                             'category': pd.Categorical(values), 'tensor': torch.tensor(values), 'list of tensors': list(torch.tensor(values)), 'objects of tensors': streams._objects(list(torch.tensor(values))),
                             'list of np.int32': list(np.array(values, dtype=np.int32)), '0-d arrays': [np.array(o) for o in values]}
    if kinds=={str}: out |= {'U': np.array(values), 'str': pd.array(values, dtype='string'), 'category': pd.Categorical(values), 'list of np.str_': list(np.array(values))}
    if kinds=={bool}: out |= {'b': np.array(values), 'boolean': pd.array(values, dtype='boolean'), 'tensor': torch.tensor(values), 'list of np.bool': list(np.array(values))}
    return out


GOOD = dict(ints=[3, 1, 3], texts=['b', 'a', 'b'], bools=[True, False, True], tuples=[(1, 'a'), (2, 'b'), (1, 'a')], mixed=[1, '1', True], huge=[2**70, 1, 2**70], nested=[(1, (2, 'x')), (), (1, (2, 'x'))], names=['', '日本', '🎬'])


@pytest.mark.parametrize('kind', GOOD)
def test_good_ids_in_every_column(kind):
    for name,column in columns_of(GOOD[kind]).items():
        got = read_table(dict(user=column, item=column), target=None)
        for o in ('user', 'item'):
            assert got[o].tolist()==GOOD[kind] and list(map(type, got[o].tolist()))==list(map(type, GOOD[kind])), (kind, name)
        s = Stream(dict(user=column, item=column, rating=[1., 2., 5.]))
        assert list(map(streams._key, s.events['user'].tolist()))==list(map(streams._key, GOOD[kind])), (kind, name)
        assert len(set(map(streams._key, s.events['user'].tolist())))==len(set(map(repr, GOOD[kind])))


def test_scalars_inside_tuples_are_plain():
    rows = list(zip(np.array([1, 2]), np.array(['a', 'b']), torch.tensor([5, 6])))
    got = read_table(dict(user=rows, item=[1, 2]), target=None)['user'].tolist()
    assert got==[(1, 'a', 5), (2, 'b', 6)] and [type(o) for o in got[0]]==[int, str, int] and streams._key(rows[0])==streams._key((1, 'a', 5))


BAD = dict(float=1., whole=np.float64(7.), half=np.float32(.5), bytes=b'x', uuid=uuid.UUID(int=1), decimal=Decimal(1), day=datetime.date(2020, 1, 1), moment=pd.Timestamp('2020'),
           npday=np.datetime64('2020-01-01'), delta=np.timedelta64(1, 's'), complex=1j, list=[1], set=frozenset([1]), inside=(1, 2.), longdouble=np.longdouble(1), tensor=torch.tensor(1.), array=np.array([1, 2]))


@pytest.mark.parametrize('kind', BAD)
def test_bad_ids_are_refused_with_their_row(kind):
    column = streams._objects([1, BAD[kind]])
    for side in ('user', 'item'):
        table = dict(user=[1, 2], item=[1, 2], rating=[1., 2.]) | {side: column}
        for f in (Stream, read_table, BiasBaseline().partial_fit):
            with pytest.raises(TypeError, match=f'{side} in row 1: the id .*; '): f(table)
    with pytest.raises(TypeError, match='the id '): streams._key(BAD[kind])


@pytest.mark.parametrize('column', [np.array([1., 2.]), pd.Series([1., 2.]), torch.tensor([1., 2.]), np.array([1j, 2]), np.array([b'a', b'b']), np.array(['2020', '2021'], dtype='M8[D]'), np.ones((2, 1), dtype=int)], ids=str)
def test_columns_of_bad_ids(column):
    with pytest.raises((TypeError, ValueError), match="in row 0: the id|shape"): read_table(dict(user=column, item=[1, 2]), target=None)


@pytest.mark.parametrize('gone', [None, np.nan, pd.NA, pd.NaT, np.datetime64('NaT')], ids=str)
def test_missing_ids(gone):
    for column in ([1, gone], streams._objects(['a', gone]), pd.Series(['a', gone], dtype=object)):
        with pytest.raises(ValueError, match='item is missing in row 1; drop the row'): read_table(dict(user=[1, 2], item=column), target=None)
    with pytest.raises((ValueError, TypeError)): streams._key(gone)


@pytest.mark.parametrize('dtype', ['Int64', 'string', 'int64[pyarrow]', 'category', 'boolean'])
def test_missing_ids_in_nullable_columns(dtype):
    column = pd.Series([True, None] if dtype=='boolean' else ['1', None] if dtype=='string' else [1, None], dtype=dtype)
    with pytest.raises(ValueError, match='user is missing in row 1'): Stream(dict(user=column, item=[1, 2], rating=[1., 2.]))
    with pytest.raises(ValueError, match='user is missing in row 1'): read_table(dict(user=np.ma.array([1, 2], mask=[0, 1]), item=[1, 2]), target=None)


def three(y): return dict(user=[1, 2, 3], item=[4, 5, 6], rating=y)


@pytest.mark.parametrize('y', [[1, 2, 5], [1., 2., 5.], np.array([1, 2, 5], dtype=np.uint8), np.array([1, 2, 5], dtype=object), [Decimal(1), 2, 5.], pd.array([1, 2, 5], dtype='Int64'),
    pd.array([1, 2, 5], dtype='Float64'), pd.array([1, 2, 5], dtype='double[pyarrow]'), torch.tensor([1., 2., 5.], requires_grad=True), torch.tensor([1, 2, 5], dtype=torch.bfloat16), list(torch.tensor([1, 2, 5])), range(1, 6, 2)], ids=lambda y: type(y).__name__)
def test_good_ratings(y):
    want = [float(o) for o in y]
    got = read_table(three(y))
    assert got['y'].dtype==np.float64 and got['y'].tolist()==want and Stream(three(y)).events['rating'].tolist()==want
    assert read_table(dict(user=[1, 2, 3], item=[4, 5, 6]), y)['y'].tolist()==want


@pytest.mark.parametrize('y, words', [
    ([1j, 2, 3], 'not a number'), (np.array([1j, 2, 3]), 'not a number in every row: its type is complex128; take its real part'), (torch.tensor([1j, 2, 3]), 'take its real part'),
    (streams._objects([1., 2j, 3]), r'is 2j in row 1 \(user 2, item 5\)'), (['4.5', '2', '3'], "is '4.5' in row 0"), (np.array(['4', '2', '3']), "not a number in every row|'4' in row 0"), (pd.Series(['4', '2', '3']), "is '4' in row 0"),
    (pd.Categorical(['4', '2', '3']), 'is a category'), (pd.Series([4, 2, 3]).astype('category'), 'is a category'), ([1., 2., None], r'missing in row 2 \(user 3, item 6\)'),
    (pd.array([1, 2, None], dtype='Int64'), r'missing in row 2 \(user 3, item 6\)'), (pd.array([1, 2, None], dtype='Float64'), 'missing in row 2'), (pd.array([1, 2, None], dtype='int64[pyarrow]'), 'missing in row 2'),
    (pd.array([True, False, None], dtype='boolean'), 'missing in row 2'), (pd.Series([1, 2, pd.NaT], dtype=object), 'missing in row 2'), ([1., np.nan, 2.], 'is nan in row 1'), ([1., 2., np.inf], 'is inf in row 2'),
    ([True, False, True], 'holds True and False; pass the column as label'), (pd.array([True, False, True], dtype='boolean'), 'pass the column as label'), (np.array(['2020', '2021', '2022'], dtype='M8[Y]'), 'not a number'),
    (np.ones((3, 1)), 'shape|ndarray'), (np.array([1, 2, 3], dtype='m8[s]'), 'not a number'), (pd.Series(['a', 'b', 'c'], dtype='string'), "is 'a' in row 0")], ids=str)
def test_bad_ratings_are_named(y, words):
    for f in (Stream, read_table, BiasBaseline().partial_fit):
        with pytest.raises(ValueError, match=f'rating .*{words}|rating has {words}'): f(three(y))
    with pytest.raises(ValueError, match=words): read_table(dict(user=[1, 2, 3], item=[4, 5, 6]), y)


def said(f, *args, **kwargs):
    "What f returns, and the warnings."
    with warnings.catch_warnings(record=True) as out:
        warnings.simplefilter('always')
        return f(*args, **kwargs), [str(o.message) for o in out]


def rated(values, **more):
    values = list(values)
    return dict(user=[n%7 for n in range(len(values))], item=[n%5 for n in range(len(values))], rating=values, **more)


rng = np.random.default_rng(0)
@pytest.mark.parametrize('values, scale, like, words', [
    (rng.integers(1, 6, 200), (1, 5), 4, None), ([2, 4, 2], (1, 5), 4, None), (rng.integers(1, 11, 200)/2, (.5, 5), 4, None), (rng.uniform(1, 5, 200), (1, 5), 4, None),
    (rng.integers(0, 11, 200), (0, 10), 7.5, 'ratings run from 0 to 10'), (rng.integers(1, 11, 200), (1, 10), 7.75, 'run from 1 to 10'), (rng.integers(2, 10, 200), (1, 10), 7.75, 'run from 2 to 9'),
    (rng.integers(0, 6, 200), (0, 5), 3.75, 'run from 0 to 5'), (rng.uniform(-1, 1, 200), (-1, 1), .5, 'so rating_range is'), (rng.choice([-1, 1], 200), (-1, 1), .5, 'run from -1 to 1'),
    (rng.uniform(-10, 10, 200).round(), (-10, 10), 5, 'run from -10 to 10'), (rng.integers(0, 101, 200), (0, 100), 75, 'run from 0 to 100'), (rng.integers(0, 2, 200), (0, 1), 1, 'looks like labels'),
    (rng.uniform(0, 1, 200), (0, 1), .75, 'so rating_range is'), (np.r_[rng.geometric(.05, 199), 4821], (1, 4821), 3616, 'looks like counts of plays'), (np.r_[rng.geometric(.5, 199), 60], (1, 60), 45.25, 'counts of plays'),
    ([3.]*20, (1, 5), 4, 'every rating is 3'), ([1]*20, (1, 5), 4, 'pass the column as label')])
def test_scales_are_inferred_and_said(values, scale, like, words):
    s,notes = said(Stream, rated(values))
    assert np.allclose(s.rating_range, scale, atol=.02) and np.isclose(s.like_from, like, atol=.02)
    assert notes==[] if words is None else words in notes[0] and notes[0].startswith('Stream: ')
    if words is None or 'so rating_range' in notes[0] or 'run from' in notes[0]: assert ('rating_range=' in notes[0] and 'like_from=' in notes[0]) if words else True
    assert (s.events['label']==(s.events['rating']>=s.like_from)).all()
    again,silent = said(lambda: [o for o in s.batches(7)] + [s[3:9], s.take(2), pickle.loads(pickle.dumps(s)), copy.deepcopy(s)])
    assert silent==[] and all(o.rating_range==s.rating_range for o in again)
    given,silent = said(Stream, rated(values), rating_range=s.rating_range if s.rating_range[0]<s.rating_range[1] else (0, 5), like_from=s.like_from)
    assert all(o.startswith('Stream: every ') for o in silent)


def test_a_given_range_is_a_promise():
    for bad in (0, 6, 5.5, -1):
        with pytest.raises(ValueError, match=rf'rating is {bad:g} in row 2 \(user 2, item 2\), outside rating_range \(1, 5\)'): Stream(rated([1, 5, bad]), rating_range=(1, 5))
    assert Stream(rated([1, 5, 3]), rating_range=(1, 5)).like_from==4 and Stream(rated([0, 10, 3]), rating_range=(0, 10)).like_from==7.5 and Stream(rated([0, 10, 3]), rating_range=[0, 10], like_from=5).like_from==5
    for bad in ((5, 1), (1, 1), (1,), 5, ('a', 'b'), (0, np.nan), (0, np.inf)):
        with pytest.raises(ValueError, match='rating_range is'): Stream(rated([1, 5, 3]), rating_range=bad)
    for bad in (np.nan, 'four', np.inf):
        with pytest.raises(ValueError, match='like_from is'): Stream(rated([1, 5, 3]), like_from=bad)


def test_labels():
    def labeled(y): return dict(user=[1, 2, 3], item=[1, 2, 3], label=y)
    for y in ([0, 1, 1], [0., .5, 1.], [True, False, True], np.array([0, 1, 0], dtype=np.uint8)): assert said(Stream, labeled(y))[1]==[]
    for y,value in (([-1, 1, 1], '-1 in row 0'), ([0, 3, 1], '3 in row 1'), ([0, 1, 1.01], r'1.01 in row 2 \(user 3, item 3\)')):
        with pytest.raises(ValueError, match=f'label is {value}'): Stream(labeled(y))
    for y in (0, 1): assert said(Stream, labeled([y]*3))[1][0].startswith(f'Stream: every label is {y}: there is nothing to tell apart')
    assert 'is like_from=5 right' in said(Stream, rated([1, 2, 3]), like_from=5)[1][0]


@pytest.mark.parametrize('name', ['timestamp', 'ts', 'date', 'datetime', 'unix_time', 'time_ms', 'created_at', 'review_time', 'Timestamp', 'TIME', 'unixReviewTime', 'event_time', 'rating_timestamp', 'time stamp', 'Date'])
def test_times_under_another_name(name):
    s,notes = said(Stream, rated([1, 5, 3], **{name: [3, 2, 1]}))
    assert s.events['rating'].tolist()==[1, 5, 3] and any(f'column {name!r} is not read as time' in o and f'time={name!r}' in o for o in notes)
    assert said(Stream, rated([1, 5, 3], **{name: [3, 2, 1], 'time': [3, 2, 1]}))[1]==[]


@pytest.mark.parametrize('name', ['dwell_time', 'play_time', 'genre', 'offset', 'text', 'runtime', 'update', 'timeliness', 'release_date', 'watch_time_s', 'status'])
def test_what_is_no_time(name):
    assert said(Stream, rated([1, 5, 3], **{name: [3, 2, 1]}))[1]==[]


def test_a_column_of_dates_is_a_time_whatever_its_name():
    assert 'is not read as time' in said(Stream, rated([1, 5, 3], seen=pd.to_datetime(['2020', '2019', '2021'])))[1][0]


day = datetime.datetime
@pytest.mark.parametrize('time', [[3, 1, 2], [3., 1., 2.], [-1, -3, -2], np.array([3, 1, 2], dtype=np.uint64), pd.array([3, 1, 2], dtype='Int64'), torch.tensor([3, 1, 2]), list(torch.tensor([3, 1, 2])),
    pd.to_datetime(['2020-03-01', '2020-01-01', '2020-02-01']), pd.to_datetime(['2020-03-01', '2020-01-01', '2020-02-01']).tz_localize('Asia/Tokyo'), pd.to_timedelta([3, 1, 2], 's'),
    np.array(['2020-03', '2020-01', '2020-02'], dtype='M8[M]'), [day(2020, 3, 1), day(2020, 1, 1), day(2020, 2, 1)], [datetime.date(2020, 3, 1), datetime.date(2020, 1, 1), datetime.date(2020, 2, 1)],
    ['2020-03-01', '2020-01-01', '2020-02-01'], ['2009-05-04T23:08:57Z', '2009-04-30T10:00:00Z', '2009-05-01T00:00:00Z'], ['2020-01-01 10:30:00', '2020-01-01 09:05:00', '2020-01-01T09:30'],
    ['2020-01-01T10:00+00:00', '2020-01-01T10:00+09:00', '2020-01-01T10:00+02:00'], pd.Series(['2020-03-01', '2020-01-01', '2020-02-01'], dtype='string'), [Decimal(3), 1, 2.]], ids=lambda t: f'{type(t).__name__} {t[0]}')
def test_times_that_can_be_put_in_order(time):
    s,notes = said(Stream, rated([1, 5, 3], time=time))
    assert s.events['rating'].tolist()==[5, 3, 1] and notes==[] and s.events['time'].is_monotonic_increasing


@pytest.mark.parametrize('time, words', [
    (['9:05', '10:30', '8:00'], "text, such as '9:05' in row 0"), (['12/31/2005', '1/1/2006', '1/2/2006'], 'parse it first'), (['881250949', '881250950', '1'], "such as '881250949'"), (['2020', '2021', '2019'], 'parse it first'),
    (['2020-01-01', 'yesterday', '2020-01-02'], "'yesterday' in row 1"), (['2020-13-01', '2020-01-01', '2020-01-02'], 'not a date'), ([1, None, 2], r'missing in row 1 \(user 1, item 1\)'), ([1., np.nan, 2.], 'missing in row 1'),
    ([pd.Timestamp('2020'), pd.NaT, pd.Timestamp('2021')], 'missing in row 1'), (pd.array([1, None, 2], dtype='Int64'), 'missing in row 1'), (['2020-01-01', None, '2020-01-02'], 'missing in row 1'), ([[1], [2], [3]], 'give numbers or dates'),
    (pd.Categorical(['9:05', '8:05', '7:05']), "text, such as '9:05'"), ([1, '2020-01-01', 3], 'give numbers or dates'), ([day(2020, 1, 1), 3, 4], 'give numbers or dates')], ids=str)
def test_times_that_cannot(time, words):
    with pytest.raises(ValueError, match=f'Stream: time .*{words}'): Stream(rated([1, 5, 3], time=time))


def test_tables_of_items():
    e = rated([1, 5, 3, 2, 4])
    titles = [f'Film {n}' for n in range(5)]
    for good in (pd.DataFrame(dict(title=titles)), pd.DataFrame(dict(item=[4, 3, 2, 1, 0], title=titles[::-1])), dict(item=list(range(5)), title=titles), pd.DataFrame(dict(title=titles), index=pd.Index(range(5), name='item')),
                 pd.DataFrame(dict(id=[f'x{n}' for n in range(5)], title=titles))): # ids of another world: the index is right
        s,notes = said(Stream, e, good)
        assert notes==[] and [s.items['title'][n] for n in range(5)]==titles
    strings = Stream(e | dict(item=list('abcab')), dict(item=list('abc'), title=titles[:3]))
    assert strings.items['title']['b']=='Film 1'
    for bad,words in ((pd.DataFrame(dict(title=titles), index=list('01234')), "holds strings such as '0', '1', the events' items are ints such as 0, 1"), (pd.DataFrame(dict(title=titles), index=[0., 1., 2., 3., 4.]), 'holds floats'),
            (pd.DataFrame(dict(title=titles), index=range(10, 15)), 'holds ints such as 10, 11'), (pd.DataFrame(dict(title=[])), 'holds nothing'), (pd.DataFrame(dict(title=titles), index=[0, 1, 1, 2, 3]), 'item 1 has two rows'),
            (pd.DataFrame(dict(item=[0, 0, 1], title=titles[:3])), 'item 0 has two rows'), (pd.DataFrame(dict(movieId=[4, 3, 2, 1, 0], title=titles)), r"its column movieId looks like the ids; use items.set_index\('movieId'\)")):
        with pytest.raises(ValueError, match=words): Stream(e, bad)
    shifted = e | dict(item=[1, 2, 3, 4, 5]) # the public report: an index 0, 1, 2, … beside ids from 1 on
    with pytest.raises(ValueError, match=r"set_index\('item_id'\)"): Stream(shifted, pd.DataFrame(dict(item_id=[1, 2, 3, 4, 5], title=titles)))
    _,notes = said(Stream, shifted, pd.DataFrame(dict(title=titles)))
    assert notes==['Stream: 1 of 5 items of the events are not in the table of items, for instance 5; nothing is known of them']
    _,notes = said(Stream, e, users=pd.DataFrame(dict(age=[1]), index=[99]))
    assert '5 of 5 users of the events are not in the table of users' in notes[0]
    with pytest.raises(TypeError, match='Stream: items: got int'): Stream(e, 3)


def test_slices():
    s = drift_stream(20, seed=1)
    assert len(s[3:7])==4 and s[3:7].events.equals(s.events.iloc[3:7]) and s[3:7].oracle.equals(s.oracle.iloc[3:7]) and s[-3:].events.equals(s.events.iloc[-3:]) and len(s[100:])==0
    assert s[np.int64(2):5].oracle_scores(0).tolist()==s.oracle_scores(2).tolist() and s[:].name==s.name and s[::1].events.equals(s.events)
    for bad in (3, 'user', [1, 2], True, None, np.arange(3)):
        with pytest.raises(TypeError, match=r'is not a slice; use stream\[a:b\]'): s[bad]
    for bad in (slice(None, None, 2), slice(None, None, -1)):
        with pytest.raises(ValueError, match='stay in order'): s[bad]
    for bad in (-1, 1.5, '3', None, True):
        with pytest.raises(ValueError, match='Stream.take: n is'): s.take(bad)
        with pytest.raises(ValueError, match='Stream.batches: n is'): list(s.batches(bad))


def test_titles_that_are_missing_are_never_read_as_nan():
    for gone in (None, np.nan, pd.NA, ''):
        films = pd.DataFrame(dict(title=['One', gone, gone], year=[1990., np.nan, 1991.], genres=[gone, 'Drama', gone]))
        told = Stream(dict(user=[1, 1, 1, 1], item=[0, 2, 1, 0], rating=[5., 5., 4., 1.]), films).with_text()
        assert told.events['text'].tolist()==['New user.', 'Liked One (1990).', 'Liked One (1990).', 'Liked One (1990); Drama.']
        assert told.events['text_pair'].tolist()==['One (1990)', '', 'Drama', 'One (1990)'] and told.told and told[1:].told
    assert item_text('A', 1990, ['x', 'y'])=='A (1990): x, y' and item_text('A', np.nan, None)=='A' and item_text(None, 1990, 'x')=='x' and item_text(np.nan)==''


odd = ['Me; You; Them', 'Love. Liked by All', 'Hate. Disliked by None', 'Plain', 'A;', 'B. Liked', '. Disliked ; . Liked ', 'Liked', 'Disliked it']
@given(st.lists(st.tuples(st.sampled_from(range(len(odd))), st.booleans()), max_size=12))
@settings(max_examples=60)
def test_a_history_can_be_taken_apart(events):
    h = streams.TextHistory(pd.DataFrame(dict(title=odd)), history=20)
    for item,like in events: h.add(1, item, like)
    text,_ = h.pair(1, 0)
    likes,dislikes = [n for n,o in events if o],[n for n,o in events if not o]
    parts = re.fullmatch(r'(?:Liked (.*?)\.)?(?:(?:^| )Disliked (.*)\.)?', text) if text!='New user.' else None
    if parts is None: assert not events
    else:
        good,_,bad = text.removesuffix('.').partition('. Disliked ') if likes else ('', '', text.removesuffix('.').removeprefix('Disliked '))
        assert len(good.removeprefix('Liked ').split('; '))==max(1, len(likes)) and len(bad.split('; '))==max(1, len(dislikes))


def test_no_title_of_movielens_is_touched(ml):
    texts = streams.TextHistory(ml.items).texts
    assert len(texts)==1682 and all(streams._quoted(t)==t for t in texts.values())
    old = lambda title,year,genres: f'{title}' + (f' ({year})' if not pd.isna(year) else '') + (f': {genres}' if genres else '')
    assert list(texts.values())==[old(*o) for o in ml.items[['title', 'year', 'genres']].itertuples(index=False)]
    told = ml.take(2000).with_text().events
    assert hashlib.sha256('\n'.join(told['text'] + '|' + told['text_pair']).encode()).hexdigest()[:16]=='83b86f148becc92b'


def test_columns_of_the_log_that_are_called_text():
    films = pd.DataFrame(dict(title=['a', 'b', 'c', 'd', 'e']))
    s = Stream(rated([1, 5, 3], text=['good!', 'bad', 'meh'], offset=[7, 8, 9], text_pair=['x', 'y', 'z']), films)
    assert not s.told and s.events['text'].tolist()==['good!', 'bad', 'meh'] and s.events['offset'].tolist()==[7, 8, 9] and not s[1:].told
    told,notes = said(s.with_text)
    assert told.told and told.events['text'].tolist()==['New user.']*3 and "the log's own column text and text_pair is replaced" in notes[0] and not s.told
    assert said(told.with_text)[1]==[] and said(Stream(rated([1, 5, 3]), films).with_text)[1]==[]
    assert pickle.loads(pickle.dumps(told)).told and Stream(told, films).told


def test_memory_maps_are_read_and_never_written(tmp_path):
    cols = {}
    for o,c in dict(user=np.arange(9)%3, item=np.arange(9)%4, rating=1.+np.arange(9)%5, time=np.arange(9)[::-1].copy()).items():
        np.save(tmp_path/f'{o}.npy', c)
        cols[o] = np.load(tmp_path/f'{o}.npy', mmap_mode='r')
    s = Stream(cols)
    assert s.events['time'].tolist()==list(range(9)) and len(read_table(cols)['y'])==9
    s.events.loc[0, 'rating'] = 3.
    BiasBaseline().partial_fit(cols)


def test_histories_can_be_pickled():
    h = streams.TextHistory(pd.DataFrame(dict(title=['a', 'b'])), history=1)
    h.add(1, 0, 1)
    for new in (pickle.loads(pickle.dumps(h)), copy.deepcopy(h)):
        new.add(2, 1, 0)
        assert new.pair(1, 1)==('Liked a.', 'b') and new.pair(2, 0)[0]=='Disliked b.' and h.pair(2, 0)[0]=='New user.'


def test_two_columns_of_one_name():
    with pytest.raises(KeyError, match=r'no column user or item; got rating; use .reset_index\(\)'): Stream(pd.DataFrame(FOUR).set_index(['user', 'item'])[['rating']])
    with pytest.raises(ValueError, match='two columns are called item'): Stream(pd.DataFrame([[1, 2, 3, 4.]], columns=['user', 'item', 'item', 'rating']))


def test_a_million_rows_pass_the_door_quickly():
    n = 300_000
    for user in (np.arange(n), streams._objects([f'u{k}' for k in range(n)]), pd.array(np.arange(n), dtype='Int64')):
        start = time.perf_counter()
        read_table(dict(user=user, item=np.arange(n), rating=np.ones(n)))
        assert time.perf_counter()-start < 3 # .1 s on a free core


NOTED = {'Stream': lambda d: Stream(dict(user=[1, 2], item=[1, 2], rating=[1., 10.])), 'read': lambda d: Stream.read(d/'log.csv'),
         'scan': lambda d: [*Stream.scan(d/'log.csv')], 'an id like None': lambda d: Stream.read(d/'none.csv'),
         'with_text': lambda d: Stream(dict(user=[1], item=[1], label=[1], text=['mine']), pd.DataFrame(dict(title=['A']), index=pd.Index([1], name='item'))).with_text(),
         'from another call': lambda d: prequential(BiasBaseline(), iter([Stream(dict(user=[1], item=[1], rating=[3.], time=[o])) for o in (2, 1)]))}

@pytest.mark.parametrize('name', NOTED)
def test_a_warning_shows_the_line_that_called(name, tmp_path):
    (tmp_path/'log.csv').write_text('user,item,rating\n1,1,1\n2,2,10\n')
    (tmp_path/'none.csv').write_text('user,item,rating\nann,1,1\nNone,2,5\n')
    with pytest.warns(UserWarning) as said: NOTED[name](tmp_path)
    assert {o.filename for o in said}=={__file__}
