"""Defaults are those that the tuning command found; every row of a record was made by a command, and a command that was stopped goes on."""
import importlib, inspect, json, os
from functools import partial
import pytest
import record
from helpers import python, root
from recinc_nb import (BPRMF, ISGD, RAISGD, BiasBaseline, ClockFilter, ClockItems, GaussianMF, HybridStack, ImplicitALS, IncrementalALS, IncrementalBert,
                       IncrementalLinear, IncrementalLogistic, TextFilter, TextRidge,
                       IncrementalMF, ItemItem, OnlineStack, Popularity, RankStack, SoftmaxMF, VisitStack, mf_online, results)
from recinc_nb.demo import demo

def defaults(cls): return {o.name: o.default for o in inspect.signature(cls).parameters.values()}


def test_defaults_are_what_tuning_found_on_the_first_30_percent():
    found = results('tuning_ids')
    assert (found['stream'], found['events'])==('MovieLens-100K', 30_000)
    best = {cls: o['settings'] for cls,o in found['best'].items()}
    assert best['BiasBaseline'].items() <= defaults(BiasBaseline).items()
    tuned = mf_online._TUNED
    assert best['IncrementalMF']=={**{o: defaults(IncrementalMF)[o] for o in best['IncrementalMF'] if o not in ('lr', 'l2')}, **tuned['squared']}
    assert results('tuning_logistic')['best']['IncrementalMF']['settings']==tuned['logistic']
    assert results('tuning_logistic')['events']==30_000


def test_a_peer_was_tuned_on_the_same_events_with_as_many_settings():
    found,ours = results('tuning_peers'),results('tuning_ids')
    assert (found['stream'], found['events'], found['metric'])==(ours['stream'], ours['events'], ours['metric'])
    assert found['best']['river BiasedMF']['tried']>=ours['best']['IncrementalMF']['tried']>ours['best']['IncrementalMF, no factors']['tried']


def test_neurons_were_tuned_on_the_first_30_percent():
    found = results('tuning_linear')
    assert (found['stream'], found['events'])==('MovieLens-100K', 30_000)
    for cls in (IncrementalLinear, IncrementalLogistic): assert found['best'][cls.__name__]['settings']=={'lr': cls._tuned} and defaults(cls)['lr'] is None


def test_counters_were_tuned_on_the_first_30_percent():
    found = results('tuning_topn')
    assert (found['stream'], found['events'])==('MovieLens-100K', 30_000)
    for cls in (Popularity, ItemItem): assert found['best'][cls.__name__]['settings'].items() <= defaults(cls).items()


def test_learners_of_likes_were_tuned_on_the_first_30_percent():
    found = results('tuning_rank')
    assert (found['stream'], found['events'])==('MovieLens-100K', 30_000)
    for cls in (ISGD, RAISGD, BPRMF, ImplicitALS, SoftmaxMF, RankStack): assert found['best'][cls.__name__]['settings'].items() <= defaults(cls).items()


def test_exact_learners_were_tuned_on_the_first_30_percent():
    found = results('tuning_exact')
    assert (found['stream'], found['events'])==('MovieLens-100K', 30_000)
    for cls in (GaussianMF, IncrementalALS, OnlineStack): assert found['best'][cls.__name__]['settings'].items() <= defaults(cls).items()


def told(settings): return {o: tuple(x) if isinstance(x, list) else x for o,x in settings.items()} # JSON has lists for tuples


def test_the_clock_was_tuned_on_the_first_30_percent():
    found = results('tuning_clock')
    assert (found['stream'], found['events'])==('MovieLens-100K', 30_000)
    assert told(found['best']['ClockFilter']['settings']).items() <= defaults(ClockFilter).items()


def test_visits_were_tuned_on_the_first_30_percent_and_reach_their_bar():
    found,rows = results('tuning_visit'),results('visits')['rows']
    assert (found['stream'], found['events'])==('MovieLens-100K', 30_000)
    for cls in (ClockItems, VisitStack): assert found['best'][cls.__name__]['settings'].items() <= defaults(cls).items()
    for name,bar in {'rating = 5': .198, 'rating ≥ 4': .204}.items():
        assert min(rows['VisitStack'][name]) >= bar > rows['RankStack'][name][0]
        assert max(rows, key=lambda o: rows[o][name][1])=='VisitStack'


def test_the_learners_of_text_were_tuned_on_the_first_30_percent():
    found = results('tuning_hybrid')
    assert (found['stream'], found['events'])==('MovieLens-100K', 30_000)
    for cls in (TextRidge, TextFilter, HybridStack): assert told(found['best'][cls.__name__]['settings']).items() <= defaults(cls).items()


def test_bert_was_tuned_on_the_first_30_percent_of_what_is_reported():
    found,settings = results('tuning_bert'),defaults(IncrementalBert)
    assert found['events']==.3*results('demo')['bert_events'] and settings['lr'] is None
    assert found['best']['IncrementalBert']['settings']==dict(head_lr=settings['head_lr'], similarity=settings['similarity'])


def test_the_record_of_the_demo_is_of_the_real_stream_and_keeps_its_promises():
    race = results('demo')
    rmse = {name: float(o['RMSE'].split()[0]) for name,o in race['ids'].items()}
    assert (race['stream'], race['events'])==('MovieLens-100K', 100_000) and race['bert_events']>=3_000
    assert rmse['biases']<=.955 and rmse['IncrementalMF, no factors']<=.955 and rmse['IncrementalMF, 5 seeds']<=.953
    assert any('MiniLM' in o for o in race['clicks'])


def test_a_chapter_of_each_part_ran_as_in_colab():
    found = results('colab')
    for part in ('floor', 'newest'):
        assert {o['chapter'][0] for o in found[part]}>={'0', '1', '2', '3', '4'} and all(o['error']=='' and o['recinc_nb'] for o in found[part])
        assert sum(o['widgets'] for o in found[part])>=1
    assert all(o['ipython']=='7.34.0' and o['ipywidgets'].startswith('7.7') for o in found['floor'])


# how records are made

def test_every_row_of_every_record_is_made_by_a_command_that_knows_it():
    "At full scale each part names its rows: all are in the records with what made them, and nothing else is."
    said = python(root/'tools'/'record.py', env={o: x for o,x in os.environ.items() if o!='RECINC_SCALE'})
    assert said.count(' · ')>3*130 and not [o for o in said.splitlines() if o.endswith(('| missing', '| made no longer'))]
    files = {part.file for rec in record.records().values() for part in rec.parts.values()}
    assert files=={p.stem for p in (root/'recinc_nb'/'results').glob('*.json') if 'made' in json.loads(p.read_text())}
    for p in (root/'recinc_nb'/'results').glob('*.json'): assert not json.loads(p.read_text()).get('quick')


def test_each_command_in_a_record_parses_and_each_part_holds_its_rows_and_no_others():
    for rec in record.records().values():
        for name,part in rec.parts.items():
            book = results(part.file)
            assert book['command'].split()[:2]==['python', f'tools/{rec.tool}.py']
            runs = [o for o in book['made'] if any(r.split(': ')[0]==name for r in o['rows'])]
            for o in runs:
                program,script,*args = o['command'].split()
                assert (program, script)==('python', f'tools/{rec.tool}.py') and rec.parser().parse_args(args).parts==[name]
                assert o['machine']['cpu'] and o['date'] and o['commit']
            rows = book
            for step in part.at: rows = rows[step]
            if inspect.isgeneratorfunction(part.make): assert len(rows)==sum(len([r for r in o['rows'] if r.split(': ')[0]==name]) for o in runs), name


@pytest.mark.parametrize('tool, args', [('tune', []), ('bench', []), ('lora_runs', ['turn', 'short', '--seeds', '0', '--only', 'rank 4, seed']),
    ('lora_runs', ['update', '--seeds', '0', '--only', 'true']), ('hybrid_runs', ['--seeds', '0']), ('demo', []),
    ('speed', ['dtype', 'roofline', 'growth']), *(('bert_runs', o.split(' ', 2)) for o in ('pays --only biases', 'harm --only head, 1 ', 'blocks --only one pass', 'cost --only texts',
                                                                                      'latency --only vectors', 'memory --only all, batches'))])
def test_each_command_makes_the_rows_of_its_record(tool, args, tmp_path, monkeypatch, capsys):
    "At test scale; what is there is not made again."
    rec = importlib.import_module(tool).record
    if tool=='demo': monkeypatch.setattr('demo.demo', partial(demo, checkpoint='tiny'))
    rec.main([*args, '--out', str(tmp_path)])
    assert ' 0 to be made' not in capsys.readouterr().out
    for path in tmp_path.glob('*.json'):
        new,old = json.loads(path.read_text()),results(path.stem)
        assert new['quick'] and new['command']==old['command'] and new.keys() - {'machine'} <= old.keys(), new.keys() - old.keys()
        made,known = ({r for o in book['made'] for r in o['rows']} for book in (new, old))
        assert made and made <= known
    rec.main([*args, '--out', str(tmp_path)])
    said = capsys.readouterr().out
    assert said.count(' to be made')==said.count(' 0 to be made')>0


@pytest.fixture
def counted(tmp_path):
    "A record whose rows count how often they are made, and fail at one name."
    calls,fails,rec = [],set(),record.Record('tools/counted.py', 'counted', spread='none')
    def make(name):
        if name in fails: raise KeyboardInterrupt
        calls.append(name)
        return dict(n=len(calls))
    @rec.part()
    def plain():
        "Rows by name."
        for o in 'abc': yield o, lambda: make(o)
    @rec.part(batch=16)
    def grid(seeds=(0, 1)):
        "Rows by fields."
        for seed in seeds: yield dict(arm='x', seed=seed), lambda: make(f'x{seed}')
    @rec.part()
    def whole():
        "A single row."
        return make('whole')
    def run(*args): rec.main([*args, '--out', str(tmp_path)])
    def read(): return json.loads((tmp_path/'counted.json').read_text())
    return rec,run,read,calls,fails


def test_a_run_that_was_killed_goes_on_where_it_was(counted):
    rec,run,read,calls,fails = counted
    fails.add('c')
    with pytest.raises(KeyboardInterrupt): run()
    assert calls==['a', 'b'] and read()['plain']=={'a': {'n': 1}, 'b': {'n': 2}}
    fails.clear()
    run()
    assert calls==['a', 'b', 'c', 'x0', 'x1', 'whole'] and read()['grid']==dict(batch=16, rows=[dict(arm='x', seed=0, n=4), dict(arm='x', seed=1, n=5)])
    before = read()
    run()
    assert read()==before and len(calls)==6
    assert before['machine'] and before['spread']=='none' and before['whole']=={'n': 6}
    assert {r for o in before['made'] for r in o['rows']}=={'plain: a', 'plain: b', 'plain: c', 'grid: arm x, seed 0', 'grid: arm x, seed 1', 'whole'}


def test_again_makes_the_rows_asked_for_and_the_others_stay(counted, monkeypatch):
    rec,run,read,calls,fails = counted
    run()
    monkeypatch.setattr(rec, 'machine', lambda: dict(cpu='another'))
    fails.add('x1')
    with pytest.raises(KeyboardInterrupt): run('grid', '--again')
    fails.clear()
    run('grid')                                          # goes on: seed 0 is not made a third time
    assert calls[6:]==['x0', 'x1'] and [o['n'] for o in read()['grid']['rows']]==[7, 8] and read()['plain']['a']=={'n': 1}
    assert [o['machine'] for o in read()['made'] if 'grid: arm x, seed 0' in o['rows']]==[dict(cpu='another')]
    assert 'machine' not in read()                       # two of them: each row has its own
    run('plain', '--again', '--only', 'b')
    assert calls[8:]==['b']
    run('grid', '--seeds', '7')
    assert calls[9:]==['x7'] and [o['seed'] for o in read()['grid']['rows']]==[0, 1, 7] and read()['made'][-1]['command'].endswith('grid --seeds 7')


def test_other_settings_make_a_part_anew(counted, capsys):
    rec,run,read,calls,_ = counted
    run()
    rec.parts['grid'].settings['batch'] = 32
    run('grid', '--seeds', '1')
    assert 'batch changed' in capsys.readouterr().out and calls[6:]==['x1'] and read()['grid']==dict(batch=32, rows=[dict(arm='x', seed=1, n=7)])


def test_rows_that_no_part_makes_and_rows_without_a_run_are_listed(counted, tmp_path, capsys):
    rec,run,read,calls,_ = counted
    run()
    book = read()
    book['made'][0]['rows'].pop('plain: a')              # as if by hand
    book['made'][0]['rows']['plain: z'] = {}
    (tmp_path/'counted.json').write_text(json.dumps(book))
    capsys.readouterr()
    run('plain', '--list')
    said = capsys.readouterr().out
    assert 'plain: a | missing' in said and 'plain: z | made no longer' in said and len(calls)==6
    run('plain')
    assert calls[6:]==['a']


def test_the_command_says_what_it_cannot_do(counted, tmp_path, capsys):
    rec,run,*_ = counted
    (tmp_path/'file').write_text('')
    for args,why in ((['rnk'], 'no part rnk; use some of plain, grid, whole'), (['--out', str(tmp_path/'file')], 'is a file')):
        with pytest.raises(SystemExit): rec.main(args)
        assert why in capsys.readouterr().err
