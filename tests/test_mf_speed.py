"""Batches without conflicts are the loop; what the chapter draws from is there."""
import numpy as np, pandas as pd, pytest
from hypothesis import given, settings, strategies as st
from helpers import root
from recinc_nb.core import results
from recinc_nb.mf_online import IncrementalMF
from recinc_nb.mf_speed import batch_sweep, conflict_free, speed_bars

pairs = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 7)), max_size=80)
tables = lambda m: [o for side in ('user', 'item') for o in m.rows_[side].tables.values()]
columns = lambda rows: np.array(rows, dtype=np.int64).reshape(-1, 2).T


def longest_chain(rows):
    "Length of the longest chain of events in which each shares its user or its item with the next: every pair is looked at."
    best = []
    for n,(u,i) in enumerate(rows): best.append(1 + max((best[m] for m in range(n) if rows[m][0]==u or rows[m][1]==i), default=0))
    return max(best, default=0)


@given(pairs)
def test_batches_have_no_conflict_keep_the_order_and_are_as_few_as_can_be(rows):
    batch = conflict_free(*columns(rows))
    for n,(u,i) in enumerate(rows):
        for m in range(n):
            if rows[m][0]==u or rows[m][1]==i: assert batch[m]<batch[n]
    assert sorted(set(batch.tolist()))==[*range(longest_chain(rows))]


@settings(max_examples=25)
@given(pairs.filter(bool), st.integers(0, 60), st.data())
def test_conflict_free_batches_learn_what_the_loop_learns(rows, cut, data):
    stars = np.array(data.draw(st.lists(st.integers(1, 5), min_size=len(rows), max_size=len(rows))), dtype=float)
    (users,items),loop,batches = columns(rows),IncrementalMF(n_factors=5, seed=1),IncrementalMF(n_factors=5, seed=1)
    for m in (loop, batches):
        m.ready()
        m.grow(10, 8)
    pred,cut = np.empty(len(rows)),cut % (len(rows)+1)
    loop.sweep(users, items, stars, pred, True)
    found = [batch_sweep(users[o], items[o], stars[o], conflict_free(users[o], items[o]), *tables(batches), batches.mean_, device='cpu')
             for o in (slice(0, cut), slice(cut, None))]   # in two parts, the mean goes on
    np.testing.assert_allclose(np.concatenate(found), pred, rtol=0, atol=1e-5)
    np.testing.assert_allclose(batches.mean_, loop.mean_)
    for a,b in zip(tables(batches), tables(loop)): np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


@pytest.mark.parametrize('users, items, why', [([0., 1.], [0, 1], 'users holds float64'), ([0, 1], [0, -2], 'items holds int64'),
    ([[0, 1]], [[0, 1]], 'one per event'), ([True, False], [0, 1], 'users holds bool'), ([0, 1], [0], '2 users but 1 items')])
def test_bad_rows_are_met_at_the_door(users, items, why):
    with pytest.raises(ValueError, match=why): conflict_free(users, items)


def test_no_events_make_no_batches(): assert conflict_free([], []).shape==(0,)


def test_the_chapter_can_draw_from_the_record():
    record,quality = results('mf_speed'),results('mf_quality')
    assert not record['quick'] and not quality['quick'] and record['machine']['cpu']
    assert 'plain C' in record['sweep']['ours_over'] and len(record['roofline']['sizes'])==4
    bars = speed_bars(record)
    assert len(bars)==9 and np.isfinite(bars['measured']).all()
    assert (quality['stream'], quality['events'], quality['seeds'])==('MovieLens-100K', 100_000, 3)
    assert {'river BiasedMF', 'IncrementalMF', 'OnlineStack'} <= quality['ratings'].keys()


def test_the_package_holds_the_lesson_and_not_the_race():
    text = (root/'recinc_nb'/'mf_speed.py').read_text()
    assert len(text.splitlines())<260 and not any(o in text for o in ('subprocess', 'argparse', 'gcc', 'river'))


def test_a_bar_is_met_or_not():
    record = dict(sweep=dict(ours_over={'plain C': [.5, .89, 1.]}), memory=dict(ideal=132, bytes_per_row=dict(tables=132.)))
    table = speed_bars(record).set_index('what')
    assert table['met'].tolist()==[False, True] and table['measured'].tolist()==[.89, 1.] and speed_bars({}).equals(pd.DataFrame([]))
