"""A program as a user would write it. mypy reads it in test_types.py; nothing runs it."""
from pathlib import Path

from recinc_nb import (IncrementalBert, IncrementalMF, L2SP, LoRA, Remedy, Report, Reservoir, Stream, compare, drift_stream, movielens_100k, paired_bootstrap,
                       prequential, prequential_topn)


def learn(log: Path) -> IncrementalMF:
    stream = Stream.read(log)
    remedies: tuple[Remedy, ...] = (Reservoir(100), L2SP(.1))
    model = IncrementalMF(n_factors=8, lr=.2, seed=1, remedies=remedies)
    model.partial_fit(stream.take(1_000))
    model.learn_one('ann', 'Alien', 5.)
    model.predict(dict(user=['ann', 'bob'], item=['Alien', 'Up']))
    score: float = model.predict_one('bob', 'Alien')
    print(score, len(stream), model.n_factors, model.users_)
    for item, stars in model.recommend('bob', k=10): print(item, stars)
    gone: bool = model.forget_user('ann')
    print(gone)
    model.save_pretrained(log.parent/'model')
    return IncrementalMF.from_pretrained(log.parent/'model')


def judge(stream: Stream) -> Report:
    mf = prequential(IncrementalMF(), stream, metrics=('rmse', 'mae'), name='mf')
    lists = prequential_topn(IncrementalMF(loss='logistic'), stream)
    print(compare(mf, lists), mf.summary['rmse'], paired_bootstrap(mf, mf))
    return mf


def read_texts(stream: Stream) -> IncrementalBert:
    bert = IncrementalBert('tiny', update=LoRA(r=4), remedies=(Reservoir(30),))
    bert.partial_fit(stream)
    print(bert.predict_one('ann', 'Alien'), bert.recommend('ann', k=3))
    bert.save_pretrained('bert')
    return IncrementalBert.from_pretrained('bert')


print(judge(movielens_100k()), judge(drift_stream(1_000, seed=0)), learn(Path('ratings.csv')), read_texts(movielens_100k()))
