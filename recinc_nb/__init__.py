"""Incremental learning for recommender systems. The names below load their module when they are first used."""
__version__ = "0.1.0"

_where = {
    'core': ['pick_device', 'Device', 'seed_everything', 'unattended', 'scale', 'progress', 'results'],
    'streams': ['Stream', 'drift_stream', 'movielens_100k'],
    'prequential': ['prequential', 'Report'],
    'baselines': ['RunningMean', 'BiasBaseline'],
    'mf_online': ['IncrementalMF'],
    'bert_online': ['IncrementalBert'],
}
_module = {name: module for module, names in _where.items() for name in names}
__all__ = list(_module)


def __getattr__(name):
    if name not in _module: raise AttributeError(f"module 'recinc_nb' has no attribute {name!r}")
    from importlib import import_module
    value = getattr(import_module(f'.{_module[name]}', __name__), name)
    globals()[name] = value
    return value


def __dir__(): return sorted([*globals(), *__all__])
