"""One table of learners of ids: every promise of the contract is tried over all of them (test_learners, test_remedies, test_threads)."""
import pytest
from recinc_nb import (BPRMF, ISGD, RAISGD, BiasBaseline, GaussianMF, HybridStack, ImplicitALS, IncrementalALS, IncrementalMF, ItemItem, L2SP, MFStrategy,
                       OnlineExperts, OnlineStack, Popularity, RankStack, RunningMean, SoftmaxMF, TextFilter, TextRidge)

LEARNERS = {
    'mean': RunningMean(), 'mean of labels': RunningMean(target='label'), 'biases': BiasBaseline(), 'biases of labels': BiasBaseline(target='label'),
    'mf': IncrementalMF(n_factors=5, init_std=.2), 'mf, no factors': IncrementalMF(n_factors=0), 'mf, 32': IncrementalMF(seed=9),
    'mf, logistic': IncrementalMF(n_factors=3, loss='logistic'), 'popularity': Popularity(decay=.9), 'item to item': ItemItem(decay=.8, shrink=1.),
    'users only': MFStrategy(update='users', warmup=5, n_factors=4, remedies=(L2SP(.1, after=5),)),
    'new rows': MFStrategy(update='new rows', warmup=9, n_factors=3),
    'als': IncrementalALS(n_factors=3, forget=.99), 'gaussian': GaussianMF(n_factors=3), 'stack': OnlineStack([BiasBaseline(), GaussianMF(n_factors=2)]),
    'experts': OnlineExperts([BiasBaseline(), IncrementalMF(n_factors=3, decay_user=.5), GaussianMF(n_factors=2)]), 'experts of labels': OnlineExperts(loss='logistic'),
    'mf, at most 4 rows': IncrementalMF(n_factors=3, max_rows=4), 'isgd': ISGD(n_factors=3), 'raisgd': RAISGD(n_factors=3, n_negatives=2),
    'bpr': BPRMF(n_factors=3), 'implicit als': ImplicitALS(n_factors=3), 'softmax': SoftmaxMF(n_factors=3), 'rank stack': RankStack(n_factors=3),
    'text ridge': TextRidge(base=BiasBaseline()), 'text filter': TextFilter(), 'hybrid stack': HybridStack()}
MOVE_OLD_ROWS = {'mf, at most 4 rows', 'bpr', 'softmax', 'rank stack'} # they take rows away, or push other items down
every = pytest.mark.parametrize('name', LEARNERS)
of_ratings = pytest.mark.parametrize('name', [o for o,m in LEARNERS.items() if m.target=='rating' and not m.positive_only])
REMEDIED = {'mf': IncrementalMF(n_factors=4, init_std=.2), 'mf, logistic': IncrementalMF(n_factors=3, loss='logistic', init_std=.2),
            'gaussian': GaussianMF(n_factors=3), 'isgd': ISGD(n_factors=3), 'bpr': BPRMF(n_factors=3, n_negatives=2)}
