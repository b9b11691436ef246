"""Incremental learning for recommender systems. The names below load their module when they are first used."""
__version__ = "0.1.0"

import sys
from importlib import import_module
from types import ModuleType

_where = dict(
    core=['Device', 'pick_device', 'progress', 'results', 'scale', 'seed_everything', 'unattended'],
    streams=['Stream', 'movielens_100k'],
    worlds=['drift_stream'],
    prequential=['Report', 'compare', 'from_river', 'from_sklearn', 'oracle_report', 'paired_bootstrap', 'prequential', 'prequential_topn'],
    learner=['Learner', 'L2SP', 'Remedy', 'Reservoir', 'Step'],
    baselines=['BiasBaseline', 'ItemItem', 'Popularity', 'RunningMean'],
    losses=['check_gradient'],
    linear=['IncrementalLinear', 'IncrementalLogistic'],
    mf_online=['IncrementalMF'],
    mf_strategies=['MFStrategy'],
    mf_als=['GaussianMF', 'IncrementalALS', 'OnlineStack'],
    mf_rank=['BPRMF', 'ISGD', 'RAISGD'],
    mf_next=['ImplicitALS', 'RankStack', 'SoftmaxMF'],
    text=['item_vectors'],
    bert_online=['IncrementalBert', 'UpdatePolicy'],
    lora=['LoRA', 'TwinLoRA'],
    blocks=['BlockLoop'],
    hybrid=['HybridStack', 'TextFilter', 'TextRidge', 'text_features'],
    live=['live_page'],
    race=['race_log'],
)
_module = {name: module for module, names in _where.items() for name in names}
__all__ = list(_module)


class _Package(ModuleType):
    "Loads public names on demand, and keeps the function `prequential` from being replaced by the module of that name."
    def __getattr__(self, name):
        if name not in _module: raise AttributeError(f"module 'recinc_nb' has no attribute {name!r}; it has {', '.join(__all__)}")
        value = getattr(import_module(f'recinc_nb.{_module[name]}'), name)
        self.__dict__[name] = value
        return value

    def __setattr__(self, name, value):
        if not (name in _module and isinstance(value, ModuleType)): super().__setattr__(name, value)

    def __dir__(self): return sorted({*self.__dict__, *__all__})


sys.modules[__name__].__class__ = _Package
