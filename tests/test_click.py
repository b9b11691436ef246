"""The click model's parts keep their word for any texts: collator, data set, decay groups, and a learner that meets long, empty and bad input."""
import math
import numpy as np, pandas as pd, pytest, torch
from hypothesis import HealthCheck, given, settings, strategies as st
import recinc_nb.click
from recinc_nb.bert import RecommendationDataset, decay_groups
from recinc_nb.click import ClickBert, ClickCollator, ClickModel, statements
from recinc_nb.streams import TextHistory
from recinc_nb.learner import L2SP, Learner, Remedy
from recinc_nb.text import load_bert

pytestmark = pytest.mark.usefixtures('one_thread')

WORDS = ['alien', 'brazil', 'tiger', 'whale', 'rocket', 'jazz', 'opera', 'ghost']
bert,tokenizer = load_bert('tiny', WORDS)
quick = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
titles = st.text(st.characters(blacklist_categories=('Cs',)), min_size=1, max_size=12)
odd = st.sampled_from(['Steak knife. Liked by chefs', 'Cotton shirt; blue', 'A.', 'A;', '; A', 'Liked A', 'Disliked A. Disliked ', '. Liked ', 'New user.', 'x. Disliked y; z.'])
pasts = st.lists(st.sampled_from(WORDS), max_size=4)


def text(liked=(), disliked=()):
    return ' '.join(f"{word} {'; '.join(o)}." for word,o in (('Liked', liked), ('Disliked', disliked)) if o) or 'New user.'

def learner(**kw): return ClickBert('tiny', **{'device': 'cpu', **kw})

def weights(m): return {k: v.clone() for k,v in m.model.state_dict().items()}

def same(a, b): return all(torch.equal(v, b[k]) for k,v in a.items())


@quick
@given(st.lists(st.tuples(titles | odd, st.booleans()), max_size=8))
def test_statements_take_apart_what_a_history_put_together(events):
    h = TextHistory(pd.DataFrame(dict(title=[t for t,_ in events])), history=8)
    for n,(_,like) in enumerate(events): h.add(7, n, like)
    liked,disliked = statements(h.pair(7, 'x')[0])
    assert [len(liked), len(disliked)]==[sum(like==o for _,like in events) for o in (True, False)]
    plain = all(o not in t for t,_ in events for o in ('; ', '. Liked ', '. Disliked '))
    if plain: assert liked==[t for t,like in events if like] and disliked==[t for t,like in events if not like]


@quick
@given(st.lists(st.tuples(pasts, pasts, st.sampled_from(WORDS)), min_size=1, max_size=6), st.integers(1, 5))
def test_rows_name_every_statement_of_every_event(events, max_past):
    examples = [dict(text=text(a, b), text_pair=i) for a,b,i in events]
    collate = ClickCollator(tokenizer, max_past=max_past)
    said,rows = collate.rows(examples)
    assert len(set(said))==len(said) and all(v.dtype==torch.int64 for v in rows.values())
    for name,sides in (('liked', [a for a,_,_ in events]), ('disliked', [b for _,b,_ in events])):
        ends = [*rows[f'{name}_at'].tolist()[1:], len(rows[name])]
        got = [[said[k] for k in rows[name][a:b].tolist()] for a,b in zip(rows[f'{name}_at'].tolist(), ends)]
        assert got==[o[-max_past:] for o in sides]
    assert [said[k] for k in rows['item'].tolist()]==[i for _,_,i in events]
    assert collate.n_cut(examples)==sum(max(len(a), len(b))>max_past for a,b,_ in events)


@quick
@given(st.lists(st.tuples(pasts, pasts, st.sampled_from(WORDS)), min_size=2, max_size=6), st.randoms())
def test_a_row_is_scored_for_itself_in_any_order(events, random):
    model,collate = ClickModel(bert),ClickCollator(tokenizer)
    examples = [dict(text=text(a, b), text_pair=i) for a,b,i in events]
    order = random.sample(range(len(examples)), len(examples))
    with torch.inference_mode():
        z = model(**collate(examples))
        torch.testing.assert_close(model(**collate([examples[n] for n in order])), z[order], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(torch.cat([model(**collate([o])) for o in examples]), z, atol=1e-5, rtol=1e-4)


def test_candidates_of_one_user_share_one_parse(monkeypatch):
    calls = []
    monkeypatch.setattr(recinc_nb.click, 'statements', lambda o: calls.append(o) or statements(o))
    past = text([f'film {n}' for n in range(10)], [f'other {n}' for n in range(10)])
    said,_ = ClickCollator(tokenizer).rows([dict(text=past, text_pair=f'candidate {n}') for n in range(100)])
    assert len(calls)==1 and len(said)==120


def test_long_pasts_lose_the_oldest_and_items_nothing_but_their_end():
    m = learner(max_length=16, head_lr=1.).partial_fit([((['whale'], ['jazz']), 'alien'), ('New user.', 'brazil')], [1, 0])
    films = [f'film {n}' for n in range(4000)]
    assert m.predict([((films, []), 'alien')])!=m.predict([((films[-99:], []), 'alien')])
    np.testing.assert_array_equal(m.predict([((films, films), 'alien')]), m.predict([((films[-100:], films[-100:]), 'alien')]), strict=True)
    assert m.collate_.rows([dict(text=text(films), text_pair='whale')])[0][0]=='whale'
    long = 'alien ' + 'brazil '*30
    assert m.collate_.pad([long])['input_ids'].shape==(1, 16)
    assert m.predict([('', long)])!=m.predict([('', 'brazil '*30)])     # its beginning is read
    np.testing.assert_array_equal(m.predict([('', long)]), m.predict([('', long + 'whale '*9)]), strict=True)


@quick
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 24)), min_size=1, max_size=8), st.integers(1, 8))
def test_what_was_cut_is_counted_event_by_event(events, size):
    "However the events are cut into batches; special marks take two of the 16 tokens."
    collate = ClickCollator(tokenizer, max_length=16, max_past=2)
    rows = [dict(text=text(WORDS[:n]), text_pair=' '.join(['alien']*w)) for n,w in events]
    expected = [n>2 or w>14 for n,w in events]
    assert [collate.n_cut([o]) for o in rows]==expected and collate.n_cut([])==0
    assert sum(collate.n_cut(rows[a:a+size]) for a in range(0, len(rows), size))==sum(expected)


def test_the_count_grows_with_learning_alone():
    m = learner()
    films = [f'film {n}' for n in range(101)],[]
    m.predict([(films, 'alien')])
    assert m.n_cut_==0
    m.partial_fit([(films, 'alien'), ('New user.', 'alien')], [1, 0])
    with pytest.raises(ValueError): m.partial_fit([(films, 'alien')], [2])
    assert (m.n_cut_, m.n_steps_)==(1, 1)


@pytest.mark.parametrize('said', ['', ' ', '.', '; ', 'Liked', 'Liked .', 'Disliked ; ; .', 'Liked Liked ', '\x00', '\u200b', '漢字 🎬', 'é'*400, '[MASK] [PAD] [SEP]'])
def test_odd_texts_are_texts(said):
    m = learner().partial_fit([(said, 'alien'), ('New user.', said)], [1, 0])
    p = m.predict([(said, said), ('New user.', 'alien')])
    assert np.isfinite(p).all() and ((0<p) & (p<1)).all()
    np.testing.assert_allclose(m.predict([(said, said)]), p[:1], atol=1e-6)


def test_half_a_character_is_refused_before_anything_moves():
    m = learner().partial_fit(['alien'], [1])
    before = weights(m)
    with pytest.raises((ValueError, TypeError)): m.partial_fit(['\ud83c', 'alien'], [1, 0])
    assert same(weights(m), before) and m.n_steps_==1


@pytest.mark.parametrize('labels, offsets, words', [([0, 2], None, 'label is 2 in row 1'), ([0, math.nan], None, 'label is nan'), (['click', 'click'], None, 'not a number'),
    ([0], None, 'lengths differ'), ([0, 1], [0.], 'lengths differ'), ([0, 1], [0., math.inf], 'offset is inf in row 1'), ([0, 1], ['a', 'b'], 'offset is not a number'), ([[0], [1]], None, 'shape')])
def test_a_data_set_looks_at_its_labels(labels, offsets, words):
    with pytest.raises(ValueError, match=words): RecommendationDataset(['a', 'b'], ['c', 'd'], labels, offsets)


def test_a_data_set_takes_columns_with_any_index():
    events = pd.DataFrame(dict(text=['New user.']*3, text_pair=['a', 'b', 'c'], label=[1, 0, 1], offset=[.5, 0, -1]), index=[7, 3, 5])
    d = RecommendationDataset(events['text'], events['text_pair'], events['label'], events['offset'])
    assert [o['text_pair'] for o in d]==['a', 'b', 'c'] and [o['label'] for o in d]==[1, 0, 1] and d[2]['offset']==-1
    with pytest.raises(IndexError): d[3]


def test_an_offset_shifts_the_score_and_what_is_learned():
    learner = lambda: ClickBert('tiny', device='cpu', offset='offset')
    m,rows = learner(),dict(text=['New user.']*2, text_pair=['alien', 'whale'], offset=[2., -1.])
    plain = {k: v for k,v in rows.items() if k!='offset'}
    s = lambda p: np.log(p/(1-p))
    np.testing.assert_allclose(s(m.predict(rows)) - s(m.set_params(offset=None).predict(plain)), [2., -1.], atol=1e-5)
    m.set_params(offset='offset')
    with pytest.raises(KeyError, match='no column offset, which the setting'): m.predict(plain)
    with pytest.warns(UserWarning, match='column offset is not read'): np.testing.assert_array_equal(ClickBert('tiny', device='cpu').predict(rows), [.5, .5])
    sure = learner().partial_fit({**rows, 'offset': [40., -40.], 'label': [1, 0]})   # all is known: nothing is left to learn
    assert sure.model.classifier.weight.abs().max() < 1e-12
    before = weights(m)
    for bad,words in ([math.nan, 0.], 'offset is nan in row 0'), ([1.], 'offsets of shape'), (['x', 'y'], 'not a number'):
        with pytest.raises(ValueError, match=words): m.partial_fit({**rows, 'offset': bad}, [1, 0])
        with pytest.raises(ValueError, match=words): m.predict({**rows, 'offset': bad})
    assert same(weights(m), before)


@pytest.mark.parametrize('checkpoint', ['tiny', 'auto'])
def test_the_census_of_what_decays(checkpoint):
    encoder,_ = load_bert(checkpoint)
    encoder.embeddings.requires_grad_(False)
    name = {p: n for n,p in encoder.named_parameters()}
    groups = {g['weight_decay']: {name[p] for p in g['params']} for g in decay_groups(encoder.named_parameters(), .05)}
    assert groups.keys()=={.05, 0} and set.union(*groups.values())=={n for n,p in encoder.named_parameters() if p.requires_grad}
    assert groups[0]=={n for n in set.union(*groups.values()) if 'LayerNorm' in n or n.endswith('bias')}
    assert decay_groups([])==[]


@pytest.mark.parametrize('settings, words', [(dict(max_length=129), 'has 128 positions; use at most 128'), (dict(max_length=2), 'max_length is 2'),
    (dict(weight_decay=-.1), 'weight_decay is -0.1'), (dict(head_lr=math.nan), 'head_lr is nan'), (dict(similarity=math.inf), 'similarity is inf')])
def test_settings_outside_their_range(settings, words):
    with pytest.raises(ValueError, match=words): learner(**settings).partial_fit(['alien'], [1])


def test_a_loss_that_is_no_number_moves_nothing():
    m = learner().partial_fit(['alien', 'whale'], [1, 0])
    with torch.no_grad(): m.model.classifier.bias.fill_(math.nan)
    before = {k: v for k,v in weights(m).items() if k.startswith('bert')}
    with pytest.raises(FloatingPointError, match='the loss is nan after 1 steps'): m.partial_fit(['alien'], [1])
    with pytest.raises(FloatingPointError, match='a prediction is nan'): m.predict(['alien'])
    assert same(before, m.model.state_dict()) and m.n_steps_==1


def test_the_same_run_twice_to_the_last_bit():
    def run():
        m,rng = learner(),np.random.default_rng(0)
        for _ in range(12): m.partial_fit([((rng.choice(WORDS, 2).tolist(), []), w) for w in rng.choice(WORDS, 8).tolist()], rng.integers(2, size=8))
        return weights(m)
    assert same(run(), run())


class Start(Remedy):
    "Held at its start, which is the anchor of a pull on the encoder alone."
    def __init__(self, held=1.): self.held = held
    def begin(self, learner): self.start = {n: p.detach().clone() for n,p in learner.params().items() if n.startswith('bert')}
    def pull(self): return {n: (p, self.held) for n,p in self.start.items()}

def test_pulls_and_groups_of_ones_own_are_used():
    class Mine(ClickBert):
        "The embeddings are frozen."
        def freeze(self): self.model_.bert.embeddings.requires_grad_(False)
        def groups(self, named): return [dict(params=[p for _,p in named], weight_decay=0., lr=1e-3)]
    def distance(held):
        m = Mine('tiny', device='cpu', remedies=(Start(held),))
        for _ in range(20): m.partial_fit(['alien', 'whale'], [1, 0])
        assert same({k: v for k,v in load_bert('tiny', ['alien', 'whale'])[0].state_dict().items() if k.startswith('embeddings')}, m.model.bert.state_dict())
        return sum(float((m.params()[n].detach()-o).square().sum()) for n,o in m.remedies_[0].start.items())
    free,tied = distance(0.),distance(200.)
    assert 0 < tied < free/2


def test_an_own_text_is_one_statement_and_lists_are_several():
    m = learner(head_lr=1., similarity=3.)
    rows = [((['alien'], ['jazz']), 'alien'), ((['jazz'], []), 'opera')]
    m.partial_fit(rows, [1, 0])
    hotel = 'Disliked the noisy hotel; would go again. Liked breakfast'
    with pytest.warns(UserWarning, match='read as one statement each'): p = m.predict([(hotel, 'alien')])
    np.testing.assert_array_equal(p, m.predict([(([hotel], []), 'alien')]), strict=True)
    told = pd.DataFrame(dict(text=['Liked alien. Disliked jazz.', 'Liked jazz.'], text_pair=['alien', 'opera']))
    lists = told.assign(text=told['text'].map(statements))
    np.testing.assert_array_equal(m.predict(lists), m.predict(rows), strict=True)
    for bad in ((['a'], 'b'), (['a'], [1]), (['a'], [], []), 3, None):
        with pytest.raises((TypeError, ValueError), match='in row 0|row 0 is'): m.predict([(bad, 'alien')])


def test_a_weight_is_an_event_that_came_so_often():
    X = [((['whale'], ['jazz']), 'alien'), ('New user.', 'brazil'), ((['opera'], []), 'jazz')]
    a,b = (learner(lr=1e-2).partial_fit(['alien'], [1]) for _ in range(2))
    a.partial_fit(X, [1, 0, 1], sample_weight=[2, 0, 1])
    b.partial_fit([X[0], X[0], X[2]], [1, 1, 1])
    for x,y in zip(a.model.parameters(), b.model.parameters()): torch.testing.assert_close(x, y, atol=1e-6, rtol=1e-4)
    c,d = (learner(lr=1e-2, head_lr=1e-3).partial_fit(['alien'], [1]) for _ in range(2)) # four events of two rows: their sum is no number of rows
    c.partial_fit([X[0], X[2]], [1, 0], sample_weight=[3, 1])
    d.partial_fit([X[0]]*3 + [X[2]], [1, 1, 1, 0])
    for x,y in zip(c.model.classifier.parameters(), d.model.classifier.parameters()): torch.testing.assert_close(x, y, atol=1e-6, rtol=1e-4)
    same_as_none = [learner().partial_fit(X, [1, 0, 1], w) for w in (None, [1, 1, 1.])]
    assert same(*map(weights, same_as_none))
    before = weights(a)
    a.partial_fit(X, [1, 0, 1], [0, 0, 0])
    assert same(weights(a), before) and a.n_==7 and a.n_steps_==2
    for w in ([1, 2], [1, -1, 1], [1, math.nan, 1], 'abc'):
        with pytest.raises(ValueError, match='sample_weight'): a.partial_fit(X, [1, 0, 1], w)
    assert same(weights(a), before)


def test_every_setting_is_live_or_refused_and_survives_a_save(tmp_path):
    "One rule: what something was built with is refused after the first event; all else holds at once, and goes on so after a save."
    new = dict(checkpoint='auto', lr=3e-3, head_lr=.5, weight_decay=.3, similarity=2., batch_size=3, max_length=9, device='cuda', seed=4, offset='o', remedies=(L2SP(),), reads='pair')
    assert set(new)==set(ClickBert().get_params())
    X = [((['alien whale rocket jazz opera ghost tiger brazil'], ['jazz']), 'alien'), ('New user.', 'brazil')]*3
    for name,value in new.items():
        m = learner().partial_fit(X, [1, 0]*3)
        old = getattr(m, name)
        if name in ('checkpoint', 'similarity', 'device', 'seed', 'remedies', 'reads'):
            with pytest.raises(ValueError, match=f'{name} cannot change'): m.set_params(**{name: value})
            assert getattr(m, name) is old
            continue
        m.set_params(**{name: value})
        m.save_pretrained(tmp_path/name)
        back,fresh = ClickBert.from_pretrained(tmp_path/name),learner().partial_fit(X, [1, 0]*3)
        assert getattr(back, name)==value
        if name=='offset': continue
        for o in (m, back, fresh): o.partial_fit(X, [0, 1]*3)
        assert same(weights(m), weights(back))
        if name!='batch_size': assert not same(weights(m), weights(fresh)), name


class Frame: # what polars has, as far as we lean on it
    def __init__(self, cols): self.cols,self.columns = cols,list(cols)
    def get_column(self, o): return self.cols[o]

@pytest.mark.parametrize('kind', ['stand-in for polars', 'pyarrow', 'datasets', 'datasets torch', 'dict', 'records', 'numpy'])
def test_texts_in_any_table(kind):
    import datasets, pyarrow
    frame = pd.DataFrame(dict(text=['New user.', 'a review; of sorts'], text_pair=['alien', 'whale'], label=[1, 0]))
    table = {'stand-in for polars': lambda: Frame(frame), 'pyarrow': lambda: pyarrow.Table.from_pandas(frame), 'datasets': lambda: datasets.Dataset.from_pandas(frame),
             'datasets torch': lambda: datasets.Dataset.from_pandas(frame).with_format('torch'), 'dict': lambda: frame.to_dict('list'),
             'records': lambda: frame.to_dict('records'), 'numpy': lambda: frame.to_records(index=False)}[kind]()
    a,b = learner().partial_fit(frame),learner().partial_fit(table)
    assert same(weights(a), weights(b))
    np.testing.assert_array_equal(a.predict(frame), b.predict(table), strict=True)


def test_what_pickles_and_copies_goes_on():
    import copy, pickle
    a = learner().partial_fit(['alien', 'whale'], [1, 0])
    for b in (pickle.loads(pickle.dumps(a)), copy.deepcopy(a)):
        c = copy.deepcopy(a)
        assert same(weights(b.partial_fit(['jazz'], [1])), weights(c.partial_fit(['jazz'], [1])))
    assert isinstance(a, Learner)


def test_means_where_a_card_has_no_bags(monkeypatch):
    "The same means and slopes without embedding_bag, also of lists that are empty."
    click = recinc_nb.click
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    which,at = torch.tensor([0, 4, 4, 2, 1, 0]),torch.tensor([0, 0, 3, 3, 5, 6])
    def both(): return (m := click._means(x, which, at)),torch.autograd.grad(m.pow(3).sum(), x)[0]
    bags = both()
    monkeypatch.setattr(click, '_NO_BAGS', {'cpu'})
    for a,b in zip(bags, both()): torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-15)
    assert not bags[0][[0, 2, 5]].any() and bags[0][[1, 3, 4]].all()

@pytest.mark.parametrize('y, weight, bounded', [([1]*8, None, True), ([0]*8, [1., 3, 0, 1, 1, 2, 1, 1], True), ([1, 0]*4, None, False), ([1], None, True)])
def test_a_step_moves_the_mean_log_odds_of_its_rows_by_no_more_than_its_bound(y, weight, bounded):
    m,X = learner(lr=0., head_lr=4.),WORDS[:len(y)]
    odds = lambda: (lambda p: np.log(p/(1-p)))(m.predict(X))
    before = odds()
    m.partial_fit(X, y, weight)
    moved = np.average(odds()-before, weights=weight)
    if bounded: assert abs(moved-(.15 if y[0] else -.15)) < 1e-5
    else: assert abs(moved) < .14


def test_what_a_step_reports_was_said_before_it():
    class Watch(Remedy):
        def learned(self, step): self.said = step.pred
    m = learner(head_lr=.5, lr=1e-2, remedies=(Watch(),))
    for _ in range(2):
        before = m.predict([('New user.', 'alien'), ('New user.', 'jazz')])
        m.partial_fit([('New user.', 'alien'), ('New user.', 'jazz')], [1, 0])
        np.testing.assert_allclose(m.remedies_[0].said, before, atol=1e-6)
        assert abs(m.predict([('New user.', 'alien')]) - before[0]) > 1e-3


def test_a_step_that_overflows_is_made_again_with_a_smaller_scale():
    class Scaler: # as on a card in half precision
        size = 1e39
        def scale(self, loss): return loss*self.size
        def unscale_(self, optimizer):
            for g in optimizer.param_groups:
                for p in g['params']:
                    if p.grad is not None: p.grad /= self.size
        def step(self, optimizer): optimizer.step()
        def update(self): self.size = 1.
        def get_scale(self): return self.size
        def is_enabled(self): return True
    plain,half = (learner(lr=1e-2).partial_fit(WORDS[:3], [1, 0, 1]) for _ in range(2))
    half.scaler_ = Scaler()
    for m in (plain, half): m.partial_fit(WORDS[3:6], [0, 1, 1])
    assert same(weights(plain), weights(half)) and half.scaler_.size==1
