"""Planted bugs are noticed: the lists hold enough of them, the record says who noticed each, and thirty are planted again."""
import faulthandler, inspect, os, signal, time
from importlib import import_module
import pytest
from lint_nbs import Nb, find_notebooks
from mutate import LISTS, ask, count, find_cells, in_fork, key, lives, load_record, read_list
from recinc_nb.learner import Learner, Remedy

lists = {p.stem: read_list(p)[1] for p in sorted(LISTS.glob('*.toml'))}
chapters = {o: Nb(find_notebooks([o])[0]) for o in lists}
record = {p.stem: load_record(p) for p in sorted(LISTS.glob('*.toml'))}
AGAIN = '13_baselines', '21_optim', '22_linear', '31_mf_online', '44_lora' # six mutants of each


def concerns(mutant, cls):
    "Is it a bug of the class, of one that it is made of here, or of what these call?"
    family = [o for o in cls.__mro__ if o.__module__==cls.__module__]
    return mutant['of'] in [o.__name__ for o in family] or any(f"{mutant['of']}(" in inspect.getsource(o) for o in family)


def learners():
    "Chapter and each public class that learns, mends or says what moves"
    for path in find_notebooks():
        if not (nb := Nb(path)).module or not nb.chapter: continue
        module = import_module(f'recinc_nb.{nb.module}')
        for name in module.__all__:
            o = getattr(module, name)
            if isinstance(o, type) and issubclass(o, (Learner, Remedy)) and o.__module__==module.__name__ \
               and not any(k.__module__==module.__name__ for k in o.__subclasses__()): yield path.stem,o


@pytest.mark.parametrize('name', lists)
def test_each_mutant_can_be_planted(name):
    find_cells(chapters[name], lists[name])
    module = import_module(f'recinc_nb.{chapters[name].module}')
    for m in lists[name]: assert hasattr(module, m['of']), f"{name}: {m['of']} is not exported"
    assert len({(m['was'], m['now']) for m in lists[name]})==len(lists[name])


def test_there_are_enough():
    assert sum(map(len, lists.values()))>=150
    few = {f'{chapter}, {cls.__name__}': n for chapter,cls in learners() if (n := sum(concerns(m, cls) for m in lists.get(chapter, ())))<6}
    assert not few, f'fewer than six mutants: {few}'


def test_none_that_was_asked_about_lives_unexplained():
    for chapter,mutants in lists.items():
        for m in mutants:
            row = record[chapter].get(key(m), {})
            assert not lives(row) or 'explained' in m, f"{chapter}: {m['now']!r} lives"
    total = count(o for rows in record.values() for o in rows.values())
    assert total['asked']>=150 and total['alive']<=.05*total['asked'], total


@pytest.mark.parametrize('name', AGAIN)
def test_six_are_noticed_again(name):
    numbers = sorted((n for n,m in enumerate(lists[name]) if record[name].get(key(m), {}).get('cells')), key=lambda n: key(lists[name][n]))[:6]
    said = {}
    ask(name, 'cells', numbers, said.__setitem__)
    assert len(said)==6 and said.keys()=={*numbers} and all(said.values()), said


def test_only_a_mutant_is_noticed():
    "What goes wrong in the tool itself, or from outside, is no answer."
    assert in_fork(lambda: None) is None and in_fork(lambda: 'cell 3')=='cell 3'
    assert in_fork(lambda: time.sleep(60), 1)=='no end'
    assert in_fork(lambda: [faulthandler.disable(), os.kill(os.getpid(), signal.SIGSEGV)])=='crashed, SIGSEGV'
    for job in (lambda: 1/0, lambda: os.kill(os.getpid(), signal.SIGKILL)):
        with pytest.raises(RuntimeError, match='division|status 9'): in_fork(job)
