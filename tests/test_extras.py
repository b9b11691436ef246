"""The base installation: with no torch, matplotlib, transformers, datasets or ipywidgets, learners of ids work, and whoever needs
more says which extra brings it."""
import os, re, tomllib
from helpers import python, root

ALONE = {**os.environ, 'PYTHONPATH': str(root)}
BLOCK = '''
import importlib.abc, socket, sys
away = {'torch', 'matplotlib', 'transformers', 'datasets', 'ipywidgets', 'huggingface_hub', 'tokenizers', 'sympy'}
class Away(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in away: raise ModuleNotFoundError(f'No module named {name!r}', name=name)
sys.meta_path.insert(0, Away())
def closed(*_): raise OSError('no network')
socket.socket.connect = closed
'''

WORKS = '''
import tempfile
from pathlib import Path
from recinc_nb import BiasBaseline, IncrementalMF, ISGD, Stream, compare, drift_stream, prequential, prequential_topn, race_log
folder = Path(tempfile.mkdtemp())
drift_stream(300, n_users=20, n_items=15, seed=0).events[['user', 'item', 'rating']].to_csv(folder/'log.csv', index=False)
stream = Stream.read(folder/'log.csv')
mf,bias = prequential(IncrementalMF(), stream), prequential(BiasBaseline(), stream)
assert len(compare(mf, bias))==2 and mf.summary['rmse']>0 and len(prequential_topn(ISGD(), stream).summary)
model = IncrementalMF().partial_fit(stream).learn_one('ann', 'Alien', 5.)
model.save_pretrained(folder/'model')
again = IncrementalMF.from_pretrained(folder/'model')
assert again.recommend('ann', k=3)==model.recommend('ann', k=3) and len(again.recommend('ann', k=3))==3
assert not away & {o.partition('.')[0] for o in sys.modules}, away & set(sys.modules)
'''

NEEDS = {'recinc_nb.IncrementalBert': 'bert', 'recinc_nb.LoRA': 'bert', 'recinc_nb.BlockLoop': 'bert', 'recinc_nb.live_page': 'bert',
         'recinc_nb.pick_device()': 'bert', 'recinc_nb.item_vectors(stream.items, "tiny")': 'bert', 'recinc_nb.text.word_tokenizer(["a word"])': 'bert',
         'recinc_nb.prequential(recinc_nb.RunningMean(), stream).plot()': 'course', 'stream.to_dataset()': 'course',
         'recinc_nb.plots.explore(lambda x: x, x=(0, 1, .1))': 'course', 'recinc_nb.race_log(log, out=folder/"race")': 'course',
         'import recinc_nb.bert': 'bert', 'import recinc_nb.click': 'bert', 'import recinc_nb.bert_online': 'bert', 'import recinc_nb.blocks': 'bert', 'import recinc_nb.lora': 'bert',
         'import recinc_nb.live': 'bert'}


def test_learners_of_ids_work_without_the_extras(): python('-c', BLOCK + WORKS, cwd='/', env=ALONE)


def test_what_needs_an_extra_names_it():
    code = BLOCK + f'''
import os, recinc_nb, recinc_nb.plots, recinc_nb.text, tempfile
from pathlib import Path
for o in ('IN_TEST', 'CI', 'RECINC_UNATTENDED'): os.environ.pop(o, None)
folder = Path(tempfile.mkdtemp())
stream = recinc_nb.drift_stream(300, n_users=20, n_items=15, seed=0)
log = folder/'log.csv'
stream.events[['user', 'item', 'rating']].to_csv(log, index=False)
for call in {list(NEEDS)}:
    try: exec(call)
    except ModuleNotFoundError as e: print(e)
    else: print('nothing was said')
'''
    said = dict(zip(NEEDS, python('-c', code, cwd='/', env=ALONE).splitlines(), strict=True))
    for call,extra in NEEDS.items():
        assert re.fullmatch(rf'\S+ needs \w+[.\w]*, which is not installed; run pip install "recinc_nb\[{extra}\]"', said[call]), f'{call}: {said[call]}'


def test_the_base_names_no_heavy_package():
    project = tomllib.loads((root/'pyproject.toml').read_text())['project']
    name = lambda o: re.match(r'[\w-]+', o)[0]
    assert not set(map(name, project['dependencies'])) & {'torch', 'matplotlib', 'transformers', 'datasets', 'ipywidgets', 'huggingface_hub'}
    assert {'torch', 'transformers'} <= set(map(name, project['optional-dependencies']['bert']))
