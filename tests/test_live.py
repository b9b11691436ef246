"""The live page: what holds for any clicks, what a click that fails leaves behind, and buttons pressed without a browser."""
import copy, subprocess, sys
import ipywidgets, numpy as np, pandas as pd, pytest
from hypothesis import given, settings, strategies as st
from recinc_nb.baselines import ItemItem, Popularity
from recinc_nb.bert_online import IncrementalBert
from recinc_nb.live import LivePage, LiveSession, list_changes, live_changes, live_figure, live_learners, live_page, live_streams
from recinc_nb.mf_online import IncrementalMF
from recinc_nb.streams import Stream
from recinc_nb.worlds import drift_stream

few = settings(max_examples=15)
world = drift_stream(400, n_users=20, n_items=12, seed=1)
learners = dict(MF=IncrementalMF(lr=1.).partial_fit(world), items=ItemItem().partial_fit(world), popular=Popularity().partial_fit(world))
clicks = st.lists(st.tuples(st.sampled_from(range(12)), st.integers(1, 5)), max_size=6, unique_by=lambda o: o[0])


def session(**kwargs): return LiveSession(world, learners, **{'k': 4, **kwargs})


@few
@given(clicks, st.data())
def test_undo_is_as_if_the_click_had_never_been(rated, data):
    s = session()
    for item,stars in rated: s.rate(item, stars)
    back = data.draw(st.integers(0, len(rated)))
    for _ in range(back): s.undo()
    fresh = session()
    for item,stars in rated[:len(rated)-back]: fresh.rate(item, stars)
    assert s.lists==fresh.lists and s.rated==fresh.rated and len(s.ms)==len(s.rated)
    assert s._ask(s.models)==s.lists[-1], 'the lists shown are those of the learners as they stand'
    s.start_over()
    assert s.rated==[] and s.lists==session().lists


@few
@given(clicks)
def test_what_is_rated_is_not_recommended_and_the_given_learners_never_know(rated):
    s = session(k=12)
    for item,stars in rated: s.rate(item, stars)
    for ranked in s.top().values():
        assert not {i for i,_ in ranked} & {i for i,_ in rated}
        assert [o for _,o in ranked]==sorted((o for _,o in ranked), reverse=True)
    assert all(session().user not in m.users_ for m in learners.values())


@few
@given(*[st.lists(st.integers(0, 20), unique=True, max_size=8)]*2)
def test_changes_tell_both_lists(before, after):
    ranked = lambda items: [(i, 1-n/100) for n,i in enumerate(items)]
    o = list_changes(ranked(before), ranked(after))
    assert o.dropna(subset='place').sort_values('place')['item'].tolist()==after
    assert o.dropna(subset='was').sort_values('was')['item'].tolist()==before
    for row in o.itertuples():
        assert (row.move=='new')==(row.item not in before) and (row.move=='out')==(row.item not in after)
        if row.item in before and row.item in after:
            up = before.index(row.item) - after.index(row.item)
            assert row.move==('' if not up else f'▲{up}' if up>0 else f'▼{-up}')


def test_a_learner_that_breaks_leaves_all_where_they_stood():
    class Breaks(Popularity):
        def partial_fit(self, X, y=None):
            if list(X['item'])==[5]: raise RuntimeError('out of order')
            return super().partial_fit(X, y)
    s = LiveSession(world, dict(MF=learners['MF'], breaks=Breaks().partial_fit(world.events)), k=4)
    s.rate(3, 5)
    now = copy.deepcopy(s.lists)
    with pytest.raises(RuntimeError, match='out of order'): s.rate(5, 5)
    assert s.lists==now and s._ask(s.models)==now[-1] and len(s.rated)==len(s.ms)==1
    page = LivePage(s)
    page.film.value = s.titles[5]
    page.rate.click()
    assert 'RuntimeError' in page.said.value and 'out of order' in page.said.value and 'role="alert"' in page.said.value
    page.film.value = s.titles[4]
    page.rate.click()
    assert 'role="status"' in page.said.value and [i for i,_ in s.rated]==[3, 4]


@pytest.mark.parametrize('item,stars,error,says', [
    (99, 5, KeyError, 'no item 99'), ('3', 5, KeyError, "no item '3'"), (3, 0, ValueError, 'from 1 to 5'), (3, 5.5, ValueError, '5.5'), (3, -np.inf, ValueError, '-inf'),
    (3, np.nan, ValueError, 'nan'), (3, None, ValueError, 'None'), (3, True, ValueError, 'True'), (3, '4', ValueError, "'4'")])
def test_bad_ratings_change_nothing(item, stars, error, says):
    s = session()
    with pytest.raises(error, match=says): s.rate(item, stars)
    assert not s.rated and s._ask(s.models)==s.lists[-1]


def test_what_cannot_be_a_session():
    with pytest.raises(ValueError, match='no learners'): LiveSession(world, {})
    with pytest.raises(ValueError, match='k is 0'): session(k=0)
    with pytest.raises(ValueError, match='MF has met the user 3'): session(user=3)
    with pytest.raises(KeyError, match='no column title'): LiveSession(Stream(world.events), learners)
    with pytest.raises(ValueError, match='nothing is rated'): session().undo()
    for at in ((0, 1), (-1,), ()):
        with pytest.raises(ValueError, match='there are 0 ratings'): live_figure(session(), at)


def test_titles_are_found_whole_or_by_words_and_twins_are_told_apart():
    items = pd.DataFrame(dict(title=['Alien', 'Aliens', 'Alien', 'The <b>Fly</b>'], year=pd.array([1979, 1986, 1979, None], dtype='Int64')), index=['a', 'b', 'c', 'd'])
    events = pd.DataFrame(dict(user=[1, 1, 2, 3], item=['b', 'a', 'b', 'd'], rating=[5., 4, 3, 2]))
    stream = Stream(events, items)
    s = LiveSession(stream, dict(popular=Popularity().partial_fit(stream)), k=3)
    assert list(s.titles)[0]=='b' and len(set(s.titles.values()))==4
    assert s.find(' ALIENS (1986) ')==['b'] and s.find('alien')[0]=='b' and set(s.find('alien'))=={'a', 'b', 'c'}
    assert s.find('')==s.find('  ')==s.find('bambi')==[]
    page = LivePage(s)
    assert '<b>Fly' not in page.lists.value and '&lt;b&gt;Fly' in page.lists.value   # a title is text, not markup
    page.film.value = 'fly'
    page.rate.click()
    assert '<b>Fly' not in page.said.value and s.rated==[('d', 5.)]


def test_every_button_and_core_widgets_only():
    page = LivePage(session())
    assert [o for o,_ in page.stars.options]==['1 ★', '2 ★', '3 ★', '4 ★', '5 ★'] and page.stars.value==5
    for n in range(3):
        page.film.value,page.stars.value = page.film.options[0],n+1
        page.rate.click()
    assert [o for _,o in page.session.rated]==[1., 2., 3.] and len(page.film.options)==9
    page.undo.click()
    assert len(page.session.rated)==2 and len(page.film.options)==10
    page.film.value = page.film.options[0]
    for said in ('something', 'submit'): page.film._handle_custom_msg(dict(event=said), [])   # what the browser sends for Enter
    assert len(page.session.rated)==3
    page.undo.click()
    page.again.click()
    assert not page.session.rated and len(page.film.options)==12
    def inside(o): return [o] + [p for c in getattr(o, 'children', ()) for p in inside(c)]
    kinds = {type(o).__name__ for o in inside(page.box)}
    assert kinds=={'VBox', 'HBox', 'Combobox', 'ToggleButtons', 'Button', 'HTML'} and all(hasattr(ipywidgets, o) for o in kinds)


def test_unattended_there_is_no_widget(monkeypatch):
    assert live_page(session()) is None
    for name in ('IN_TEST', 'CI', 'RECINC_UNATTENDED'): monkeypatch.delenv(name, raising=False)
    assert isinstance(live_page(session()), ipywidgets.VBox)


def test_the_figure_is_a_small_picture_that_repeats_itself():
    s = session()
    for item in (1, 2, 3): s.rate(item, 5)
    one = live_figure(s)
    assert one[:8]==b'\x89PNG\r\n\x1a\n' and len(one)<60_000 and one==live_figure(s)!=live_figure(s, (0, 1))


def test_only_the_past_chooses_the_items():
    known,later = live_streams(world, 200, 5)
    again,_ = live_streams(Stream(pd.concat([world.events.iloc[:200], world.events.iloc[200:].assign(item=0)]), world.items), 200, 5)
    assert known.items.index.tolist()==again.items.index.tolist() and len(known.items)==5
    assert known.events['time'].max()<=later.events['time'].min() and set(later.events['item'])<=set(known.items.index)


def test_bert_on_stored_vectors_is_bert():
    "Stored vectors change what a click costs, not what it does: the same head as IncrementalBert's, and one copy of what stands still."
    known,_ = live_streams(world, 100, 12)
    bert = live_learners(known, 'tiny')['BERT']
    plain = IncrementalBert('tiny', update='head')
    for batch in known.batches(32): plain.partial_fit(batch)
    for a,b in zip(bert.model.classifier.parameters(), plain.model.classifier.parameters()): np.testing.assert_allclose(a.detach(), b.detach(), atol=1e-5)
    s = LiveSession(known, dict(BERT=bert), k=4)
    s.rate(known.items.index[0], 5)
    moved = s.models['BERT'].model
    assert next(moved.bert.parameters()) is next(bert.model.bert.parameters())
    assert moved.classifier.weight is not bert.model.classifier.weight and (moved.classifier.weight!=bert.model.classifier.weight).any()
    assert set(live_changes(s)['BERT']['move'].str[:1]) <= {'', '▲', '▼', 'n', 'o'}


def test_importing_loads_no_widgets():
    code = 'import sys, recinc_nb.live; assert not {"ipywidgets", "matplotlib"} & sys.modules.keys(), "loaded"'
    subprocess.run([sys.executable, '-c', code], check=True)
