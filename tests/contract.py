"""One table of learners of ids: every promise of the contract is tried over all of them (test_learners, test_remedies, test_threads)."""
import numpy as np, pandas as pd, pytest
from recinc_nb import (BPRMF, ISGD, RAISGD, BiasBaseline, ClockFilter, ClockItems, GaussianMF, HybridStack, ImplicitALS, IncrementalALS, IncrementalMF, ItemItem, L2SP, MFStrategy,
                       OnlineExperts, OnlineStack, Popularity, RankStack, Reservoir, RunningMean, SnapshotBank, SoftmaxMF, TextFilter, TextRidge, VisitStack)
from recinc_nb.hybrid import text_features

LEARNERS = {
    'mean': RunningMean(), 'mean of labels': RunningMean(target='label'), 'biases': BiasBaseline(), 'biases of labels': BiasBaseline(target='label'),
    'mf': IncrementalMF(n_factors=5, init_std=.2), 'mf, no factors': IncrementalMF(n_factors=0), 'mf, 32': IncrementalMF(seed=9),
    'mf, logistic': IncrementalMF(n_factors=3, loss='logistic'), 'popularity': Popularity(decay=.9), 'item to item': ItemItem(decay=.8, shrink=1.),
    'users only': MFStrategy(update='users', warmup=5, n_factors=4, remedies=(L2SP(.1, after=5),)),
    'new rows': MFStrategy(update='new rows', warmup=9, n_factors=3),
    'als': IncrementalALS(n_factors=3, forget=.99), 'gaussian': GaussianMF(n_factors=3), 'clock': ClockFilter(n_factors=3), 'stack': OnlineStack([BiasBaseline(), GaussianMF(n_factors=2)]),
    'experts': OnlineExperts([BiasBaseline(), IncrementalMF(n_factors=3, decay_user=.5), GaussianMF(n_factors=2)]), 'experts of labels': OnlineExperts(loss='logistic'),
    'mf, at most 4 rows': IncrementalMF(n_factors=3, max_rows=4), 'isgd': ISGD(n_factors=3), 'raisgd': RAISGD(n_factors=3, n_negatives=2),
    'bpr': BPRMF(n_factors=3), 'implicit als': ImplicitALS(n_factors=3), 'softmax': SoftmaxMF(n_factors=3), 'rank stack': RankStack(n_factors=3),
    'clock items': ClockItems(memory=30.), 'visit stack': VisitStack(n_factors=3),
    'bank': SnapshotBank(IncrementalMF(n_factors=3), every=20, keep=3), 'bank of labels': SnapshotBank(BiasBaseline(target='label'), every=25, keep=2),
    'text ridge': TextRidge(base=BiasBaseline()), 'text filter': TextFilter(), 'hybrid stack': HybridStack()}
MOVE_OLD_ROWS = {'mf, at most 4 rows', 'bpr', 'softmax', 'rank stack', 'visit stack', 'bank', 'bank of labels'} # they take rows or snapshots away, or push other items down
every = pytest.mark.parametrize('name', LEARNERS)

# Settings that change what a learner does: with these, too, it is cut, saved and resumed to the last bit (test_learners).
def pull(strength, after): return (L2SP(strength, after=after),)
goods = pd.DataFrame(dict(title=list('abcdefg'), year=1990.), index=range(7))
F = text_features(goods, np.random.default_rng(0).normal(size=(7, 5)), n_taste=3, n_prior=2)
T = F.filter(like='taste')
WITH_TEXT = {
    'ridge with text': TextRidge(T), 'ridge on als': TextRidge(T, IncrementalALS(n_factors=2), forget=.9), 'filter with text': TextFilter(F, n_factors=2),
    'one mood': TextFilter(memory=(30.,), mood=(.2,), n_factors=0), 'stack with text': HybridStack(F, [BiasBaseline(), IncrementalALS(n_factors=2)]),
    'likes': HybridStack(F, [BiasBaseline()], like_from=4.)}
SETTINGS = {
    'bank of a filter': SnapshotBank(GaussianMF(n_factors=2), every=30, share=.1), 'bank of a ridge': SnapshotBank(IncrementalALS(n_factors=2), every=40, keep=2),
    'faded biases': BiasBaseline(shrink_user=2., decay_item=.9), 'both': MFStrategy(n_factors=5), 'items, logistic': MFStrategy('items', 4, loss='logistic'),
    'biases alone': MFStrategy('biases', 7, n_factors=4),
    'users and item biases': MFStrategy('users and item biases', 9, n_factors=3, remedies=pull(.5, 9)),
    'users and new items': MFStrategy('users and new items', 6, n_factors=3, remedies=pull(.5, 4)),
    'pulled': MFStrategy(warmup=8, remedies=pull(.7, 8), n_factors=4), 'pulled in the warm-up': MFStrategy('items', 9, remedies=pull(.7, 4), n_factors=4),
    'pulled, logistic': MFStrategy('users', 5, remedies=pull(2., 5), loss='logistic', n_factors=2),
    'two pulls': MFStrategy('users', 6, n_factors=2, remedies=(*pull(.5, 3), Reservoir(4), *pull(1., 3))),
    'lists': MFStrategy(warmup=3, users=[0, '0', (1, 2)], items=[], n_factors=3), 'no factors': MFStrategy('users', 5, n_factors=0), **WITH_TEXT}
of_ratings = pytest.mark.parametrize('name', [o for o,m in LEARNERS.items() if m.target=='rating' and not m.positive_only])
REMEDIED = {'mf': IncrementalMF(n_factors=4, init_std=.2), 'mf, logistic': IncrementalMF(n_factors=3, loss='logistic', init_std=.2),
            'gaussian': GaussianMF(n_factors=3), 'isgd': ISGD(n_factors=3), 'bpr': BPRMF(n_factors=3, n_negatives=2)}
