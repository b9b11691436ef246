"""Incremental learning for recommender systems. The names below load their module when they are first used."""
__version__ = "0.1.0"

from importlib import import_module

_where = dict(
    core=['Device', 'pick_device', 'progress', 'results', 'scale', 'seed_everything', 'unattended'],
    streams=['Stream', 'movielens_100k'],
    worlds=['drift_stream'],
    protocol=['Report', 'compare', 'from_river', 'from_sklearn', 'oracle_report', 'prequential'],
    learner=['Learner', 'L2SP', 'Remedy', 'Reservoir', 'Step'],
    topn=['prequential_topn'],
    difference=['paired_bootstrap'],
    baselines=['BiasBaseline', 'ItemItem', 'Popularity', 'RunningMean'],
    losses=['check_gradient'],
    linear=['IncrementalLinear', 'IncrementalLogistic'],
    mf_online=['IncrementalMF'],
    settings=['OnlineExperts'],
    mf_strategies=['MFStrategy'],
    mf_als=['GaussianMF', 'IncrementalALS'],
    clock=['ClockFilter'],
    stack=['OnlineStack'],
    mf_rank=['BPRMF', 'ISGD', 'RAISGD'],
    mf_next=['ImplicitALS', 'RankStack', 'SoftmaxMF'],
    visit=['ClockItems', 'VisitStack'],
    text=['item_vectors'],
    bert_online=['IncrementalBert', 'UpdatePolicy'],
    lora=['LoRA', 'TwinLoRA'],
    blocks=['BlockLoop'],
    forgetting=['score_matrix', 'transfer_measures'],
    replay=['Replay'],
    transfer=['follow_blocks', 'gate_slope'],
    distill=['AGEM', 'Distill'],
    bank=['SnapshotBank'],
    heads=['BankBert'],
    drift=['ADWIN', 'ForgetOnDrift', 'PageHinkley'],
    policies=['EveryBlock', 'OnAlarm', 'RandomShare', 'follow_policy'],
    hybrid=['HybridStack', 'TextFilter', 'TextRidge', 'text_features'],
    meta=['meta_gradient', 'user_posterior', 'user_prior'],
    ewc=['EWC', 'SynapticIntelligence', 'fisher_diagonal'],
    live=['live_page'],
    race=['race_log'],
)
_module = {name: module for module, names in _where.items() for name in names}
__all__ = list(_module)


def __getattr__(name):
    if name not in _module: raise AttributeError(f"module 'recinc_nb' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = globals()[name] = getattr(import_module(f'recinc_nb.{_module[name]}'), name)
    return value


def __dir__(): return sorted({*globals(), *__all__})
