"""Real data arrives whole or not at all; streams refuse what they cannot keep in order."""
import hashlib, io, zipfile
import numpy as np, pandas as pd, pytest
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


@pytest.mark.parametrize('params', [dict(n_events=0), dict(n_users=0), dict(drift='random'), dict(share=1.5), dict(at=-.1)])
def test_bad_worlds(params):
    with pytest.raises(ValueError, match='drift_stream: .* use '): drift_stream(**params)


@pytest.mark.parametrize('drift', ['none', 'sudden', 'gradual', 'recurring'])
def test_worlds_are_made_by_their_seed(drift):
    a,b,c = (drift_stream(500, drift=drift, seed=s) for s in (1, 1, 2))
    pd.testing.assert_frame_equal(a.events, b.events)
    pd.testing.assert_frame_equal(a.oracle, b.oracle)
    assert not a.events.equals(c.events) and a.oracle['label'].between(0, 1).all() and a.oracle['rating'].between(1, 5).all()


def test_prequential_refuses_what_it_cannot_judge():
    with pytest.raises(ValueError, match='stream is empty'): prequential(object(), drift_stream(10).take(0))
