"""Texts to vectors: kept on disk without ever being wrong, whatever happens to the file; bad input met at the door; no network."""
import hashlib, json, os, socket
from concurrent.futures import ThreadPoolExecutor
import numpy as np, pandas as pd, pytest, torch
from hypothesis import given, settings, strategies as st
from helpers import python
from recinc_nb import text
from recinc_nb.text import encode_items, encode_texts, find_checkpoint, item_vectors, load_bert, mean_pool, pack_bert, whitening, word_tokenizer

films = pd.DataFrame(dict(title=['Alien', 'Heat', 'Alien'], year=[1979, 1995, np.nan], genres=['Horror', None, '']), index=[3, 'b', 7])
tiny = load_bert('tiny', ['The Tiger and the Whale'])


@pytest.fixture(scope='session')
def small(tmp_path_factory):
    "A checkpoint on disk, as real as a small one can be."
    folder = tmp_path_factory.mktemp('small')
    for o in tiny: o.save_pretrained(folder)
    return folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    "An empty cache folder, and how often a text was encoded."
    monkeypatch.setenv('RECINC_CACHE', str(tmp_path))
    calls = []
    monkeypatch.setattr(text, 'load_bert', lambda *args, **kwargs: calls.append(1) or load_bert(*args, **kwargs)) # what is read from disk needs no encoder
    return tmp_path/'encodings',calls


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs): raise AssertionError('something tried the network')
    monkeypatch.setattr(socket.socket, 'connect', refuse)
    monkeypatch.setattr(socket, 'getaddrinfo', refuse)


def test_read_from_disk_what_was_encoded(cache, capsys):
    folder,calls = cache
    first = item_vectors(films)
    np.testing.assert_array_equal(item_vectors(films), first, strict=True)
    assert len(calls)==1 and first.dtype==np.float32 and first.flags.writeable
    np.testing.assert_allclose(first, encode_items(films, *load_bert()), atol=1e-6)
    assert [o.suffix for o in folder.iterdir()]==['.npy'] # nothing is left beside it
    np.testing.assert_array_equal(np.load(*folder.iterdir(), allow_pickle=False), first) # and anyone can read it
    assert item_vectors(films, cache=False).shape==first.shape and len(calls)==2 and capsys.readouterr().out==''


@pytest.mark.parametrize('change', [lambda o: o.assign(title=['Alien', 'Heat', 'Aliens']), lambda o: o.assign(year=1980), lambda o: o[['title']],
                                    lambda o: o.iloc[::-1], lambda o: o.head(2), lambda o: o.assign(genres='Horror')], ids=range(6))
def test_another_text_is_another_file(cache, change, small):
    folder,calls = cache
    item_vectors(films, small)
    E = item_vectors(change(films), small)
    assert len(calls)==2==len([*folder.iterdir()])
    np.testing.assert_allclose(E, encode_items(change(films), *load_bert(small)), atol=1e-6)


def test_ids_and_other_columns_are_not_in_the_text(cache, small):
    item_vectors(films, small)
    item_vectors(films.set_axis([9, 8, 7]).assign(price=3), small)
    assert len(cache[1])==1


def test_other_weights_or_another_tokenizer_are_another_file(cache, tmp_path):
    model,tokenizer = tiny
    for name in ('a', 'b'):
        model.save_pretrained(tmp_path/name)
        tokenizer.save_pretrained(tmp_path/name)
    one = item_vectors(films, tmp_path/'a')
    np.testing.assert_array_equal(item_vectors(films, tmp_path/'b'), one) # the same content in another place
    assert len(cache[1])==1
    with torch.no_grad(): other = load_bert(tmp_path/'b')[0]; other.embeddings.word_embeddings.weight.mul_(-1)
    other.save_pretrained(tmp_path/'b')
    assert np.abs(item_vectors(films, tmp_path/'b')-one).max()>.01
    word_tokenizer(['Alien Heat']).save_pretrained(tmp_path/'a')
    item_vectors(films, tmp_path/'a')
    assert len(cache[1])==3


DAMAGE = {'cut': lambda b: b[:-100], 'empty': lambda b: b'', 'one byte': lambda b: b[:300]+bytes([b[300]^1])+b[301:], 'longer': lambda b: b+b'\0',
          'text': lambda b: b'not an array', 'no hash': lambda b: b[:-32], 'only a hash': lambda b: b[-32:]}

@pytest.mark.parametrize('damage', DAMAGE)
def test_a_damaged_file_is_made_again_and_said_so(cache, capsys, damage, small):
    folder,calls = cache
    E = item_vectors(films, small)
    path = next(folder.iterdir())
    whole = path.read_bytes()
    path.write_bytes(DAMAGE[damage](whole))
    np.testing.assert_array_equal(item_vectors(films, small), E)
    assert 'encoding the texts again' in capsys.readouterr().out and len(calls)==2 and path.read_bytes()==whole
    np.testing.assert_array_equal(item_vectors(films, small), E)
    assert len(calls)==2 and capsys.readouterr().out==''


def test_a_pickle_is_never_opened(cache, capsys, small):
    folder,calls = cache
    E = item_vectors(films, small)
    path,told = next(folder.iterdir()),folder.parent/'ran'
    class Evil:
        def __reduce__(self): return os.mkdir,(str(told),)
    np.save(path.open('wb'), np.array([Evil()]), allow_pickle=True)
    path.write_bytes(path.read_bytes() + hashlib.sha256(path.read_bytes()).digest()) # with the right hash
    np.testing.assert_array_equal(item_vectors(films, small), E)
    assert not told.exists() and len(calls)==2 and 'encoding the texts again' in capsys.readouterr().out


def test_what_is_kept_is_bounded_and_the_least_used_goes_first(cache, monkeypatch, small):
    folder,calls = cache
    one = len(item_vectors(films, small).tobytes()) + 160 # header and hash
    monkeypatch.setattr(text, 'ENCODINGS_MB', 3*one/2**20)
    tables = [films.assign(year=1900+n) for n in range(4)]
    for o in tables[:2]:
        item_vectors(o, small)
        for m,p in enumerate(sorted(folder.iterdir(), key=lambda p: p.stat().st_mtime_ns)): os.utime(p, (m, m))
    item_vectors(films, small) # used again: now the last to go
    item_vectors(tables[2], small), item_vectors(tables[3], small)
    assert sum(o.stat().st_size for o in folder.iterdir())<=3*one and len(calls)==5
    item_vectors(films, small)
    assert len(calls)==5
    item_vectors(tables[0], small)
    assert len(calls)==6
    monkeypatch.setattr(text, 'ENCODINGS_MB', 0) # room for nothing
    assert item_vectors(tables[1], small).shape==(3, 64) and not [*folder.iterdir()]


def test_a_cache_that_cannot_be_written_is_no_reason_to_stop(cache, capsys, small):
    folder,calls = cache
    folder.write_text('a file where the folder should be')
    assert item_vectors(films, small).shape==(3, 64) and 'cannot be written' in capsys.readouterr().out


def test_several_at_once(cache, small):
    with ThreadPoolExecutor(4) as pool: all_ = list(pool.map(lambda _: item_vectors(films, small), range(8)))
    for o in all_: np.testing.assert_array_equal(o, all_[0])
    assert [o.suffix for o in cache[0].iterdir()]==['.npy']


def test_the_tiny_one_is_never_kept(cache):
    assert item_vectors(films, 'tiny').shape==(3, 64) and not cache[0].exists()


def test_no_items(cache): assert item_vectors(films.head(0)).shape==(0, 384)


BAD = {'none': (None, TypeError, 'NoneType'), 'a list': (['Alien'], TypeError, 'list'), 'no title': (films[['year']], KeyError, 'no column title'),
       'title none': (films.assign(title=['Alien', None, 'x']), ValueError, r'row 1 \(item b\)'), 'title nan': (films.assign(title=np.nan), ValueError, 'row 0')}

@pytest.mark.parametrize('bad', BAD)
def test_items_that_are_none(bad):
    X,error,words = BAD[bad]
    for f in (item_vectors, lambda o: encode_items(o, *tiny)):
        with pytest.raises(error, match=words): f(X)


@pytest.mark.parametrize('texts, error, words', [('Alien', TypeError, "'Alien'"), (b'Alien', TypeError, 'bytes|Alien'), (None, TypeError, 'None'), (7, TypeError, '7'),
    (['a', None], ValueError, 'text 1 is None'), (['a', 3.], ValueError, 'text 1 is 3.0'), ([['a']], ValueError, 'text 0'), ([np.nan], ValueError, 'text 0 is nan')])
def test_texts_that_are_none(texts, error, words):
    with pytest.raises(error, match=words): encode_texts(texts, *tiny)


@pytest.mark.parametrize('sizes, words', [(dict(batch_size=0), 'batch_size is 0'), (dict(max_length=2), 'max_length is 2'), (dict(max_length=10**6), '3 to 128')])
def test_sizes_out_of_range(sizes, words):
    with pytest.raises(ValueError, match=words): encode_texts(['a'], *tiny, **sizes)


@settings(max_examples=25)
@given(st.lists(st.text(st.characters(exclude_categories=['Cs']), max_size=60) | st.just('Alien '*500), max_size=9), st.integers(1, 5))
def test_any_text_has_a_vector_of_length_1_whatever_its_company(texts, batch_size):
    E = encode_texts(texts, *tiny, batch_size=batch_size)
    assert E.shape==(len(texts), 64) and E.dtype==np.float32
    np.testing.assert_allclose(np.linalg.norm(E, axis=1), 1, rtol=1e-5)
    for n,t in enumerate(texts): np.testing.assert_allclose(encode_texts([t], *tiny)[0], E[n], atol=1e-5)


@settings(max_examples=50)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 9), st.integers(1, 4))
def test_pads_never_reach_a_mean(seed, n, T, d):
    g = torch.Generator().manual_seed(seed)
    length = torch.randint(1, T+1, (n,), generator=g)
    h,mask = torch.randn(n, T, d, generator=g, dtype=torch.float64),(torch.arange(T) < length[:,None]).long()
    other = torch.where(mask[...,None]==1, h, torch.full_like(h, 1e9))
    torch.testing.assert_close(mean_pool(other, mask), mean_pool(h, mask), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(mean_pool(h, mask), torch.stack([h[i, :length[i]].mean(0) for i in range(n)]), rtol=1e-12, atol=1e-12)


@settings(max_examples=50)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 3), st.floats(.01, 100), st.floats(-100, 100))
def test_whitening_is_white_for_any_crowd(seed, d, extra, size, shift):
    rng = np.random.default_rng(seed)
    X = size*(rng.normal(size=(20*d, d)) @ rng.normal(size=(d, d)) + shift)
    spread = np.linalg.eigvalsh(np.atleast_2d(np.cov(X.T)))
    k = min(d, extra, int((spread > 1e-6*spread[-1]).sum())) # far from what counts as no spread
    mean,W = whitening(X, k)
    np.testing.assert_allclose(np.atleast_2d(np.cov(((X-mean) @ W.T).T)), np.eye(k), atol=1e-6)
    with pytest.raises(ValueError, match='axes vary'): whitening(np.c_[X, X[:,:1]]) # one axis twice


@pytest.mark.parametrize('X, k', [(np.zeros((0, 3)), None), (np.ones((1, 3)), None), (np.ones(3), None), (np.full((4, 2), np.nan), None), (np.ones((4, 2)), 1),
                                  (np.eye(4), 0), (np.eye(4), 5), (np.eye(4), -1)])
def test_crowds_that_cannot_be_whitened(X, k):
    with pytest.raises(ValueError, match='whitening'): whitening(X, k)


def test_nothing_tries_the_network_when_the_hub_is_off(cache, no_network):
    assert item_vectors(films).shape==(3, 384) and find_checkpoint('tiny').real is False
    with pytest.raises(FileNotFoundError, match='is no folder'): find_checkpoint('no/such-model')


def test_a_hub_that_cannot_be_reached_is_asked_once_and_not_for_long():
    "With the hub allowed and no way to it: an answer within seconds."
    code = """
import time, socket
tried = []
def refuse(*args, **kwargs): tried.append(args[0]); raise OSError('no route')
socket.getaddrinfo = refuse
from huggingface_hub import constants
constants.HF_HUB_OFFLINE = False
from recinc_nb.text import find_checkpoint
start = time.time()
try: find_checkpoint('no/such-model')
except FileNotFoundError as e: print(len(tried), time.time()-start < 4, e)
"""
    out = python('-c', code, env={**os.environ, 'no_proxy': '*'})
    assert out.startswith("1 True find_checkpoint: 'no/such-model' is no folder, and the hub did not give it")


def test_checkpoints_without_weights(tmp_path):
    with pytest.raises(FileNotFoundError, match='config.json'): find_checkpoint(tmp_path)
    with pytest.raises(FileNotFoundError, match='holds no weights'): text.Checkpoint(str(tmp_path)).sha256()
    for o in (None, 3, b'auto'):
        with pytest.raises(TypeError, match='checkpoint is'): find_checkpoint(o)


def folder_of(files, at):
    at.mkdir()
    for name,content in files.items(): (at/name).write_bytes(content)
    return at

INDEX = b'{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}'
LACKS = {'config': (dict(), 'has no config.json'), 'weights': ({'config.json': b'{}', 'vocab.txt': b''}, 'has no weights'),
    'part': ({'config.json': b'{}', 'vocab.txt': b'', 'model-00001-of-00002.safetensors': b'', 'model.safetensors.index.json': INDEX}, 'model-00002-of-00002.safetensors is not among them'),
    'words': ({'config.json': b'{}', 'model.safetensors': b''}, 'has no vocabulary'), 'words, but settings': ({'config.json': b'{}', 'model.safetensors': b'', 'tokenizer_config.json': b'{}'}, 'has no vocabulary')}

@pytest.mark.parametrize('what', LACKS)
def test_a_folder_that_is_no_whole_checkpoint_says_what_it_lacks(tmp_path, what, monkeypatch, no_network):
    files,words = LACKS[what]
    folder = folder_of(files, tmp_path/'m')
    with pytest.raises(FileNotFoundError, match=words): find_checkpoint(folder)
    monkeypatch.setattr(text, '_in_cache', lambda name: folder) # the same in the hub's cache, where somebody fetched the weights alone
    with pytest.raises(FileNotFoundError, match=f"what there is of 'some/bert' .*{words}"): find_checkpoint('some/bert')
    monkeypatch.setattr(text, '_in_wheel', lambda: None)
    assert not find_checkpoint('auto').real


def test_a_vocabulary_of_another_size_is_refused(small, tmp_path):
    import shutil
    shutil.copytree(small, tmp_path/'m')
    for words in ([f'word{n}' for n in range(999)], ): word_tokenizer(words).save_pretrained(tmp_path/'m')
    with pytest.raises(ValueError, match='the tokenizer in .* knows 1,.* words, the weights'): load_bert(tmp_path/'m')


def test_a_head_that_is_not_used_is_said(tmp_path):
    from transformers import BertForSequenceClassification
    model,tokenizer = tiny
    BertForSequenceClassification(model.config).save_pretrained(tmp_path/'m')
    tokenizer.save_pretrained(tmp_path/'m')
    with pytest.warns(UserWarning, match='holds a BertForSequenceClassification; its encoder is used'): load_bert(tmp_path/'m')


class Harm:
    def __reduce__(self): return print, ('this ran',)

def test_older_weights_are_read_as_tensors_and_never_run(tmp_path, capsys):
    "`pytorch_model.bin` is a pickle: only tensors are taken from it."
    model,tokenizer = tiny
    for name,more in (('good', {}), ('bad', dict(harm=Harm()))):
        model.config.save_pretrained(tmp_path/name)
        tokenizer.save_pretrained(tmp_path/name)
        torch.save({**model.state_dict(), **more}, tmp_path/name/'pytorch_model.bin')
    found = find_checkpoint(tmp_path/'good')
    assert len(found.sha256())==64
    assert all(torch.equal(a, b) for a,b in zip(load_bert(found)[0].parameters(), model.parameters()))
    with pytest.raises(ValueError, match='hold more than tensors'): load_bert(tmp_path/'bad')
    assert 'this ran' not in capsys.readouterr().out


def test_weights_in_several_files_are_one_checkpoint(tmp_path):
    model,tokenizer = tiny
    model.save_pretrained(tmp_path/'m', max_shard_size='100KB')
    tokenizer.save_pretrained(tmp_path/'m')
    assert len(list((tmp_path/'m').glob('*.safetensors')))>1
    found = find_checkpoint(tmp_path/'m')
    assert len(before := found.sha256())==64
    assert all(torch.equal(a, b) for a,b in zip(load_bert(found)[0].parameters(), model.parameters()))
    for o in (tmp_path/'m').glob('*.safetensors'): # a change in any of them is another checkpoint
        o.write_bytes(o.read_bytes() + b' ')
        assert found.sha256()!=before
        before = found.sha256()


def test_what_the_last_batch_left_in_a_tokenizer_is_not_packed():
    model,tokenizer = load_bert('tiny', ['The Tiger and the Whale'])
    long = 'The Tiger and the Whale '*20
    tokenizer([long, 'Tiger'], truncation=True, max_length=5, padding=True)
    state = json.loads(pack_bert(model, tokenizer)[1])
    assert state['truncation'] is None and state['padding'] is None, 'a length or a pad of one batch must not reach the file'
