"""The race on small files of several layouts, from the command line as a reader types it, and what is recommended afterwards."""
import json, os, subprocess, sys
from pathlib import Path
import numpy as np, pandas as pd
import pytest
from recinc_nb import IncrementalMF, Learner, Stream, drift_stream, race_log
from recinc_nb import race as race_module
from recinc_nb.learner import IdMap
from recinc_nb.race import Log, list_part, main, read_id, run_learner, verdict

TIMED = ['events/s', 'seconds']
SIX = ['running mean', 'biases', 'IncrementalMF', 'OnlineExperts', 'GaussianMF', 'OnlineStack']
LISTS = ['popularity', 'ItemItem', 'RankStack']


@pytest.fixture(scope='module')
def world(): return drift_stream(900, n_users=30, n_items=25, policy='taste', seed=1)


@pytest.fixture
def files(tmp_path, world):
    "One world in five layouts: path and options of each."
    e = world.events
    csv = pd.DataFrame(dict(who=e['user'], what='film ' + e['item'].astype(str), points=2*e['rating'], when=e['time']))
    csv.to_csv(tmp_path/'own.csv', index=False)
    rows = zip(*(e[o].tolist() for o in ('user', 'item', 'rating', 'time')))
    (tmp_path/'ratings.dat').write_text(''.join('::'.join(map(str, o)) + '\n' for o in rows))
    jsonl = pd.DataFrame(dict(user_id='u' + e['user'].astype(str), parent_asin=e['item'].astype(str), rating=e['rating'], timestamp=e['time']*1_000))
    jsonl.to_json(tmp_path/'reviews.jsonl', orient='records', lines=True)
    pd.DataFrame(dict(user=e['user'], item=e['item'], click=e['label'].astype(int), time=e['time'])).to_csv(tmp_path/'clicks.csv', index=False)
    e.loc[e['label']==1, ['user', 'item', 'time']].to_csv(tmp_path/'likes.csv', index=False)
    world.items[['title']].to_csv(tmp_path/'items.csv', index_label='item')
    return tmp_path


OWN = ['--user', 'who', '--item', 'what', '--rating', 'points', '--time', 'when']
LAYOUTS = {'own.csv': (OWN, 'ratings', SIX), 'ratings.dat': ([], 'ratings', SIX), 'reviews.jsonl': ([], 'ratings', SIX),
           'clicks.csv': ([], 'labels', ['running mean', 'biases', 'IncrementalMF, logistic', 'OnlineExperts, logistic']), 'likes.csv': (['--label', 1], None, [])}


def run(*words): return main([str(o) for o in words])
def record(folder): return json.loads((folder/'race.json').read_text())


@pytest.mark.parametrize('name', LAYOUTS)
def test_each_layout_is_run_told_and_kept(name, files, capsys):
    options,kind,learners = LAYOUTS[name]
    assert run('race', files/name, *options, '--out', files/'out')==0
    said = capsys.readouterr()
    assert not said.err and 'Warning' not in said.out and '.py' not in said.out # no warning with a path
    found = record(files/'out')
    tables = found['tables']
    assert list(tables)==[o for o in (kind, 'lists') if o] and list(tables['lists'])==LISTS
    if kind: assert list(tables[kind])==learners
    for table in tables.values():
        for row in table.values(): assert {o for o in row if o.endswith(' later')} and {*TIMED}<={*row}
    assert found['log']==name.split('.')[0] and found['read_as']['user'] and found['best'] in said.out and found['verdict'] in said.out
    assert all(o in said.out for t in tables.values() for o in t) and {'numba', 'recinc_nb', 'cores'}<={*found['machine']}
    assert {*learners, *LISTS}=={*found['settings']} and found['settings']['RankStack']['class']=='RankStack'
    assert (files/'out'/'race.png').read_bytes()[:8]==b'\x89PNG\r\n\x1a\n'
    best = Learner.from_pretrained(files/'out'/'best')
    assert type(best).__name__==found['settings'][found['best']]['class'] and len(best.users_)==found['users']
    assert {o.name for o in (files/'out').iterdir()}=={'race.png', 'race.json', 'best'}


def test_what_was_read_how_is_one_line_in_words_of_the_command_line(files, capsys):
    run('race', files/'own.csv', *OWN, '--out', files/'out')
    line = next(o for o in capsys.readouterr().out.splitlines() if 'who as user' in o)
    assert line.startswith('read who as user, what as item, points as rating, when as time; ratings 1 to 10, a like is 7.75 or more')
    assert '--user, --item, --rating-range, …' in line and '=' not in line
    assert record(files/'out')['notes'][0].endswith('pass user=, item=, rating_range=, … to choose otherwise') # as race_log takes them
    assert run('race', files/'own.csv', *OWN, '--rating-range', 0, 10, '--like-from', 7, '--out', files/'out')==0
    assert 'ratings 0 to 10, a like is 7 or more' in capsys.readouterr().out
    assert (record(files/'out')['rating_range'], record(files/'out')['like_from'])==([0, 10], 7)


def test_the_best_is_the_lowest_after_the_first_30_percent(files, capsys):
    run('race', files/'ratings.dat', '--out', files/'out')
    found = record(files/'out')
    rmse = {o: float(row['RMSE later']) for o,row in found['tables']['ratings'].items()}
    assert found['best']==min(rmse, key=rmse.get)=='OnlineExperts'
    log = Log(files/'ratings.dat', {})
    r = run_learner(IncrementalMF(), log, 'mf')
    e = log.stream.events.iloc[int(np.ceil(.3*log.n)):]
    by_hand = np.sqrt(((e['rating'].to_numpy() - r.frame['pred'].to_numpy()[-len(e):].clip(1, 5))**2).mean())
    assert f'{by_hand:.4f}'==found['tables']['ratings']['IncrementalMF']['RMSE later']


@pytest.mark.parametrize('name', ['own.csv', 'reviews.jsonl', 'clicks.csv'])
@pytest.mark.parametrize('events', [None, 500])
def test_chunks_give_the_same_tables_and_the_same_winner(name, events, files, capsys):
    options,kind,_ = LAYOUTS[name]
    if events: options = [*options, '--events', events]
    assert run('race', files/name, *options, '--out', files/'whole')==0
    assert run('race', files/name, *options, '--chunk', 170, '--out', files/'parts')==0
    assert 'lists are left out' in capsys.readouterr().out
    whole,parts = record(files/'whole'),record(files/'parts')
    untimed = lambda table: {o: {m: x for m,x in row.items() if m not in TIMED} for o,row in table.items()}
    assert untimed(whole['tables'][kind])==untimed(parts['tables'][kind]) and list(parts['tables'])==[kind]
    for o in ('best', 'events', 'users', 'items', 'rating_range', 'verdict'): assert whole[o]==parts[o], o
    assert whole['events']==(events or 900)
    one,two = (Learner.from_pretrained(files/o/'best') for o in ('whole', 'parts'))
    user = one.users_.ids[3]
    assert one.recommend(user, 5)==two.recommend(user, 5)


def test_learners_from_a_table_a_stream_and_a_file_are_the_same(files, world):
    say = lambda text: None
    untimed = lambda race: race.tables['ratings'].drop(columns=TIMED)
    a,b,c = (race_log(o, out=files/'out', say=say) for o in (files/'ratings.dat', Stream(world.events[['user', 'item', 'rating', 'time']]),
                                                            world.events[['user', 'item', 'rating', 'time']]))
    assert untimed(a).equals(untimed(b)) and untimed(a).equals(untimed(c))
    with pytest.raises(ValueError, match='chunk is for files'): race_log(world, chunk=10, out=files/'out', say=say)


@pytest.mark.parametrize('words, said', [
    (['nowhere.csv'], 'there is no file'), (['own.csv'], '--user … The columns are who'), (['own.csv', *OWN, '--rating', 'stars'], "no column 'stars' for rating"),
    (['bad.csv'], 'rating'), (['empty.csv'], 'empty'), (['few.csv'], 'use at least 10'), (['log.pkl'], 'pickle'),
    (['ratings.dat', '--events', 3], 'use at least 10'), (['ratings.dat', '--k', 0], 'k is 0'), (['ratings.dat', '--chunk', 0], 'chunk is 0'),
    (['ratings.dat', '--seed', -1], 'seed is -1'), (['ratings.dat', '--text'], '--text needs titles; pass --items'),
    (['ratings.dat', '--text', '--items', 'items.csv', '--device', 'abacus'], "device is 'abacus'"),
    (['ratings.dat', '--rating-range', 1, 3], 'outside rating_range'), (['likes.csv', '--label', 1, '--chunk', 50], 'leave out chunk'),
    (['half.csv'], 'give 0 or 1'), (['none.csv'], 'nothing is liked'), (['back.csv', '--chunk', 50], 'leave out --chunk')])
def test_bad_input_ends_in_a_line_and_writes_nothing(words, said, files, monkeypatch, capsys):
    monkeypatch.chdir(files)
    (files/'bad.csv').write_text('user,item,rating\n' + '1,2,good\n'*20)
    (files/'empty.csv').write_text('')
    (files/'few.csv').write_text('user,item,rating\n1,2,3\n1,3,4\n')
    (files/'log.pkl').write_bytes(b'no')
    (files/'half.csv').write_text('user,item,label\n' + '1,2,0\n1,3,.5\n'*20)
    (files/'none.csv').write_text('user,item,label\n' + '1,2,0\n1,3,0\n'*20)
    (files/'back.csv').write_text('user,item,rating,time\n' + ''.join(f'1,{n},3,{100-n}\n' for n in range(60)))
    assert run('race', *words)==2
    err = capsys.readouterr().err
    assert said in err and err.startswith('recinc: ') and err.count('\n')==1 and 'Traceback' not in err
    assert not (files/'out').exists()


@pytest.mark.parametrize('where, words', [('own.csv', 'is a file'), ('own.csv/out', 'is a file'), ('/proc/nowhere', 'cannot be written')])
def test_a_bad_place_is_told_before_the_run(where, words, files, monkeypatch, capsys):
    monkeypatch.chdir(files)
    monkeypatch.setattr(race_module, 'run_learner', lambda *a: pytest.fail('the run has begun'))
    assert run('race', 'ratings.dat', '--out', where)==2 and words in capsys.readouterr().err


def test_an_older_winner_makes_room_and_nothing_else_does(files, monkeypatch, capsys):
    out = files/'out'
    assert run('race', files/'ratings.dat', '--out', out)==0
    assert run('race', files/'clicks.csv', '--items', files/'items.csv', '--out', out)==0 # another class
    assert Learner.from_pretrained(out/'best').target=='label' and (out/'best'/'titles.json').exists()
    assert run('race', files/'ratings.dat', '--out', out)==0 and not (out/'best'/'titles.json').exists()
    for o in (files/'mine'/'best', files/'mine2'/'best'): o.mkdir(parents=True)
    (files/'mine'/'best'/'poems.txt').write_text('roses')
    IncrementalMF().learn_one(1, 2, 3.).save_pretrained(files/'mine2'/'best')
    for o in ('mine', 'mine2'):
        monkeypatch.setattr(race_module, 'run_learner', lambda *a: pytest.fail('the run has begun'))
        assert run('race', files/'ratings.dat', '--out', files/o)==2 and 'not the winner of an earlier race' in capsys.readouterr().err
    assert (files/'mine'/'best'/'poems.txt').exists()


def test_interrupted(files, monkeypatch, capsys):
    def stop(*a): raise KeyboardInterrupt
    monkeypatch.setattr(race_module, 'race_lists', stop)
    assert run('race', files/'ratings.dat', '--out', files/'out')==130
    assert 'interrupted; nothing was written' in capsys.readouterr().err and not (files/'out').exists()


@pytest.mark.parametrize('name, known', [('ratings.dat', 'int'), ('reviews.jsonl', 'str'), ('likes.csv', 'int'), ('clicks.csv', 'int')])
def test_recommendations(name, known, files, capsys):
    options = LAYOUTS[name][0]
    assert run('race', files/name, *options, '--items', files/'items.csv', '--out', files/'out')==0
    best = Learner.from_pretrained(files/'out'/'best')
    user = best.users_.ids[2]
    assert type(user).__name__==known
    capsys.readouterr()
    first = best.recommend(user, 3)
    assert run('recommend', files/'out'/'best', user, '-k', 3)==0
    said = capsys.readouterr().out
    titles = dict(map(tuple, json.loads((files/'out'/'best'/'titles.json').read_text())))
    for place,(item,score) in enumerate(first, 1):
        line = next(o for o in said.splitlines() if o.startswith(f'{place} '))
        assert str(item) in line and f'{score:.4f}' in line and titles[item] in line
    assert 'never met' not in said
    gone = first[0][0]
    assert run('recommend', files/'out'/'best', user, '-k', 2, '--exclude', gone)==0
    assert [o for o,_ in best.recommend(user, 2, exclude=[gone])]==[o for o,_ in first[1:]] and titles[gone] not in capsys.readouterr().out
    for stranger in ('nobody', 99_999):
        assert run('recommend', files/'out'/'best', stranger)==0
        said = capsys.readouterr()
        assert f'User {stranger} was never met, and gets what suits everybody' in said.out and len(said.out.splitlines())>5 and not said.err


@pytest.mark.parametrize('words, said', [(['nowhere', 1], 'no config.json'), (['best', 1, '-k', 0], 'k is 0'), (['best', 1, '--exclude', 'moon'], 'never met')])
def test_bad_words_for_recommend(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    IncrementalMF().learn_one(1, 2, 3.).save_pretrained('best')
    assert run('recommend', *words)==2 and said in (err := capsys.readouterr().err) and err.count('\n')==1


def test_a_user_who_has_everything_is_told(tmp_path, capsys):
    IncrementalMF().learn_one(1, 2, 3.).save_pretrained(tmp_path/'best')
    assert run('recommend', tmp_path/'best', 1)==0 and 'nothing left' in capsys.readouterr().out


def test_words_become_the_ids_that_a_learner_knows():
    assert [read_id(o, IdMap([1, 20])) for o in ('1', '20', '7', '007', 'ann')]==[1, 20, 7, '007', 'ann']
    assert [read_id(o, IdMap(['1', 'ann'])) for o in ('1', '7', 'ann')]==['1', '7', 'ann']


def test_a_log_without_likes_has_no_lists(files, capsys):
    assert run('race', files/'ratings.dat', '--like-from', 6, '--out', files/'out')==0
    assert 'nothing is liked' in capsys.readouterr().out and list(record(files/'out')['tables'])==['ratings']


def test_lists_are_bounded(files, monkeypatch, capsys):
    monkeypatch.setattr(race_module, '_SCORES', 20_000)
    monkeypatch.setattr(race_module, '_PAIRS', 10)
    assert run('race', files/'ratings.dat', '--out', files/'out')==0
    said,found = capsys.readouterr().out,record(files/'out')
    assert 'take at most 10 items' in said and list(found['tables']['lists'])==['popularity'] and 'lists of 10 before each like, the first' in said
    assert 0<len(list_part(Log(files/'ratings.dat', {}).stream))<900


def test_shuffled_ratings_have_no_winner_but_the_null(world):
    e = world.events.assign(rating=np.random.default_rng(0).permutation(world.events['rating']))
    log = Log(Stream(e[['user', 'item', 'rating', 'time']]), {})
    runs = [run_learner(m, log, name) for name,m in race_module.rating_learners().items()]
    best,text = verdict(runs, log.n)
    assert best=='running mean' and 'no learner found anything' in text


def test_text_beside_the_null(files):
    race = race_log(files/'ratings.dat', items=files/'items.csv', events=120, text=True, checkpoint='tiny', device='cpu', out=files/'out', say=lambda o: None)
    assert [o.split(',')[0] for o in race.tables['text'].index]==['running mean', 'IncrementalBert']
    assert (race.tables['text']['log-loss']!='–').all()


def test_from_a_shell(files):
    env = {**os.environ, 'PYTHONPATH': str(Path(race_module.__file__).parent.parent)}
    shell = lambda *words: subprocess.run([sys.executable, '-c', 'from recinc_nb.race import main; raise SystemExit(main())', *map(str, words)],
                                          cwd=files, capture_output=True, text=True, timeout=600, env=env)
    out = shell('race', 'own.csv', *OWN)
    assert out.returncode==0 and not out.stderr and 'Next: recinc recommend out/best USER' in out.stdout, out.stderr[-2000:]
    out = shell('recommend', 'out/best', '3')
    assert out.returncode==0 and not out.stderr and 'film ' in out.stdout and 'never met' not in out.stdout
    out = shell('race', 'nowhere.csv')
    assert out.returncode==2 and out.stderr.count('\n')==1
    assert 'recommend' in shell('--help').stdout and '--chunk' in shell('race', '--help').stdout
