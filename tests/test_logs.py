"""A user's own log: every public layout in at most three lines, in memory and in chunks. All rows are invented."""
import gzip, json, subprocess, sys, warnings
from pathlib import Path
import numpy as np, pandas as pd, pytest
from recinc_nb import BiasBaseline, Stream, prequential
from recinc_nb.streams import ReadAs

LATEST = 'userId,movieId,rating,timestamp\n1,31,2.5,1260759144\n1,47,4.0,1260759108\n2,31,0.5,1260759200\n'
TIMES = [881250949, 881250999, 881251000, 881251010]


def read(*args, **kwargs):
    "A stream, and what was said."
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter('always')
        s = Stream.read(*args, **kwargs)
    assert all(issubclass(o.category, ReadAs) for o in said) and len(said)<=1, [str(o.message) for o in said]
    return s, str(said[0].message) if said else ''


def scan(*args, **kwargs):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter('always')
        out = list(Stream.scan(*args, **kwargs))
    assert all(issubclass(o.category, ReadAs) for o in said) and len(said)<=1, [str(o.message) for o in said]
    return out, str(said[0].message) if said else ''


# name of the file, its text, arguments; then users, items, ratings or labels in order of time, and what is said
LAYOUTS = {
    'csv': ('log.csv', 'user,item,rating,time\nann,a,5,3\nbob,b,3,1\nann,b,1,2\n', {}, ['bob', 'ann', 'ann'], ['b', 'b', 'a'], [3, 1, 5], 'user as user'),
    'tsv': ('log.tsv', 'user\titem\trating\ttime\nann\t"a\t5\t3\nbob\tb"\t3\t1\n', {}, ['bob', 'ann'], ['b"', '"a'], [3, 5], 'item as item'),
    'ml-100k': ('u.data', '196\t242\t3\t881250949\n186\t302\t3\t891717742\n22\t377\t1\t878887116\n', {}, [22, 196, 186], [377, 242, 302], [1, 3, 3], 'ratings 1 to 5'),
    'ml-1m': ('ratings.dat', '1::1193::5::978300760\n1::661::3::978302109\n2::661::4::978301968\n', {}, [1, 2, 1], [1193, 661, 661], [5, 4, 3], 'time as time'),
    'ml-latest': ('ratings.csv', LATEST, {}, [1, 1, 2], [47, 31, 31], [4, 2.5, .5], 'read userId as user, movieId as item, rating as rating, timestamp as time; ratings 0.5 to 5, a like is 4 or more; pass user='),
    'recbole': ('x.inter', 'user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t7\t4.0\t20\n2\t8\t2.0\t10\n', {}, [2, 1], [8, 7], [2, 4], 'user_id as user'),
    'amazon 2023': ('Books.jsonl', '{"rating": 5.0, "title": "Wow", "text": "so good", "asin": "B1", "parent_asin": "B0", "user_id": "AE", "timestamp": 1588687728923, "verified_purchase": true}\n'
                    '{"rating": 1.0, "title": "Meh", "text": "so bad", "asin": "0001", "parent_asin": "0002", "user_id": "AF", "timestamp": 1588687728900, "verified_purchase": false}\n',
                    {}, ['AF', 'AE'], ['0002', 'B0'], [1, 5], 'parent_asin as item'),
    'amazon 2018': ('reviews.json', '{"overall": 5, "reviewerID": "A1", "asin": "000711", "reviewTime": "09 13, 2009", "unixReviewTime": 1252800000}\n{"overall": 2, "reviewerID": "A2", "asin": "000712", "reviewTime": "09 12, 2009", "unixReviewTime": 1252713600}\n',
                    {}, ['A2', 'A1'], ['000712', '000711'], [2, 5], 'unixReviewTime as time'),
    'amazon csv': ('ratings_Books.csv', 'AH2L9G3DQHHAJ,0000000116,4.0,1019865600\nA2IIIDRK3PRRZY,0000000116,1.0,1395619200\nA1TADCM7YWPQ8M,0000000868,4.0,1031702400\n', {},
                   ['AH2L9G3DQHHAJ', 'A1TADCM7YWPQ8M', 'A2IIIDRK3PRRZY'], ['0000000116', '0000000868', '0000000116'], [4, 4, 1], 'user as user'),
    'goodbooks': ('ratings.csv', 'user_id,book_id,rating\n1,258,5\n2,4081,4\n2,260,2\n', {}, [1, 2, 2], [258, 4081, 260], [5, 4, 2], 'no time, so the order of the file stands'),
    'lastfm 1k': ('userid-timestamp.tsv', 'user_000001\t2009-05-04T23:08:57Z\tf1b1\tDeep Dish\t\tFuck Me\nuser_000001\t2009-05-04T13:54:10Z\ta7f7\t坂本龍一\t\tComposition "0919"\n', {}, ['user_000001']*2, ['坂本龍一', 'Deep Dish'], [1, 1], 'each row as a like'),
    'lastfm 360k': ('usersha1-artmbid-artname-plays.tsv', '00000c28\t3bd73256\tbetty blowtorch\t2137\n00000c28\t\tdie Ärzte\t1099\n', {}, ['00000c28']*2, ['betty blowtorch', 'die Ärzte'], [1, 1], 'plays as label, 1 where it is above 0'),
    'kuairand': ('log_standard.csv', 'user_id,video_id,date,hourmin,time_ms,is_click,is_like,play_time_ms,tab\n0,3,20220408,1400,1649399999762,1,0,8000,1\n0,4,20220408,900,1649300000000,0,0,0,1\n', {}, [0, 0], [4, 3], [0, 1], 'is_click as label'),
    'netflix': ('combined_data_1.txt', '1:\n1488844,3,2005-09-06\n822109,5,2005-05-13\n2:\n2059652,4,2005-09-05\n', {}, [822109, 2059652, 1488844], [1, 2, 1], [5, 4, 3], 'ratings 1 to 5'),
    'book-crossing': ('BX-Book-Ratings.csv', '"User-ID";"ISBN";"Book-Rating"\n"276725";"034545104X";"0"\n"276726";"0155061224";"10"\n', {}, [276725, 276726], ['034545104X', '0155061224'], [0, 10], 'ratings 0 to 10, a like is 7.5'),
    'named': ('own.csv', 'who;what;how;when\nx;1;4;2020-02-01\ny;2;3;2020-01-01\n', dict(user='who', item='what', rating='how', time='when'), ['y', 'x'], [2, 1], [3, 4], None),
    'named, no names on top': ('own.txt', 'x 1 4\ny 2 3\n', dict(sep=' ', columns=['a', 'b', 'c'], user='a', item='b', rating='c', time=False), ['x', 'y'], [1, 2], [4, 3], None),
    'json list': ('own.json', json.dumps([dict(user=1, item=2, rating=3), dict(user=2, item=2, rating=5)]), {}, [1, 2], [2, 2], [3, 5], 'user as user'),
}


@pytest.mark.parametrize('packed', [False, True], ids=['plain', 'gz'])
@pytest.mark.parametrize('layout', LAYOUTS)
def test_layouts(tmp_path, layout, packed):
    name,text,given,users,items,y,words = LAYOUTS[layout]
    path = tmp_path/(name + '.gz'*packed)
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    s,said = read(path, **given)
    assert s.events['user'].tolist()==users and s.events['item'].tolist()==items and not s.told
    assert s.events['rating' if 'rating' in s.events else 'label'].tolist()==y and s.read_as['item']
    assert said=='' if words is None else said.startswith('Stream.read: read ') and words in said, said
    assert len(prequential(BiasBaseline(), s).frame)==len(users) if 'rating' in s.events else s.events['label'].tolist()==y # the race
    parts,again = scan(path, **{**given, 'time': False}, chunk=1) # and in chunks, in the order of the file
    assert [len(o) for o in parts]==[1]*len(users)
    whole,_ = read(path, **{**given, 'time': False})
    for o in ('user', 'item', 'label'): assert [p.events[o].iloc[0] for p in parts]==whole.events[o].tolist() and len({type(p.events[o].iloc[0]) for p in parts})==1
    assert all(p.rating_range==whole.rating_range and p.like_from==whole.like_from and p.name==whole.name for p in parts)


def test_parquet(tmp_path):
    df = pd.DataFrame(dict(user_id=[1, 2, 1], item_id=['a', 'b', 'b'], stars=[5, 3, 1], ts=pd.to_datetime(['2020-03-01', '2020-01-01', '2020-02-01'])))
    df.to_parquet(tmp_path/'log.parquet')
    s,said = read(tmp_path/'log.parquet')
    assert s.events['user'].tolist()==[2, 1, 1] and 'read user_id as user, item_id as item, stars as rating, ts as time' in said
    parts,_ = scan(tmp_path/'log.parquet', time=False, chunk=2)
    assert [p.events['user'].tolist() for p in parts]==[[1, 2], [1]]
    with pytest.raises(ValueError, match=r'Stream.scan: log.parquet: time goes back in row 1 \(user 2, item b\); sort'): Stream.scan(tmp_path/'log.parquet')


def test_tables_are_read_as_files_are():
    df = pd.DataFrame(dict(userId=[1, 2], movieId=[3, 4], rating=[5., 1.], timestamp=[2, 1]))
    for table in (df, df.to_dict('list'), df.to_dict('records')):
        s,said = read(table)
        assert s.events['user'].tolist()==[2, 1] and 'movieId as item' in said and s.read_as==dict(user='userId', item='movieId', rating='rating', time='timestamp')
    s,said = read(df, user='userId', item='movieId', rating='rating', time='timestamp')
    assert said=='' and len(s)==2
    s,said = read(df.assign(rating=[10., 0.]), user='userId', item='movieId', rating='rating', time='timestamp')
    assert 'ratings 0 to 10, a like is 7.5 or more' in said
    assert read(df.assign(rating=[10., 0.]), user='userId', item='movieId', rating='rating', time='timestamp', rating_range=(0, 10))[1]==''


def write_100k(d):
    (d/'u.data').write_text('1\t1\t5\t20\n2\t2\t3\t10\n')
    flags = lambda *on: '|'.join(str(int(n in on)) for n in range(19))
    (d/'u.item').write_bytes(f"1|Usual Suspects, The (1995)|01-Jan-1995||http://x|{flags(6, 16)}\n2|Misérables, Les (1995)|01-Jan-1995||http://x|{flags(8)}\n".encode('latin-1'))
    (d/'u.user').write_text('1|24|M|technician|85711\n2|53|F|other|94043\n')

def write_1m(d):
    (d/'ratings.dat').write_text('1::1::5::978300760\n2::2::3::978300750\n')
    (d/'movies.dat').write_bytes('1::Usual Suspects, The (1995)::Crime|Thriller\n2::Misérables, Les (1995)::Drama\n'.encode('latin-1'))
    (d/'users.dat').write_text('1::F::1::10::48067\n2::M::56::16::70072\n')

def write_latest(d):
    (d/'ratings.csv').write_text('userId,movieId,rating,timestamp\n1,1,5.0,20\n2,2,3.0,10\n')
    (d/'movies.csv').write_text('movieId,title,genres\n1,"Usual Suspects, The (1995)",Crime|Thriller\n2,"Misérables, Les (1995)",Drama\n', encoding='utf-8')
    (d/'tags.csv').write_text('userId,movieId,tag,timestamp\n')


@pytest.mark.parametrize('write', [write_100k, write_1m, write_latest])
def test_folders_of_movielens(tmp_path, write):
    write(tmp_path)
    s,said = read(tmp_path)
    assert s.events['user'].tolist()==[2, 1] and said
    assert s.items.loc[[1, 2], ['title', 'year', 'genres']].values.tolist()==[['The Usual Suspects', 1995, 'Crime, Thriller'], ['Les Misérables', 1995, 'Drama']]
    assert s.with_text().events['text_pair'].tolist()==['Les Misérables (1995): Drama', 'The Usual Suspects (1995): Crime, Thriller']
    if write is not write_latest: assert s.users.loc[1, 'gender'] in 'MF' and s.users.loc[2, 'age'] in (53, 56)


def test_a_folder_of_goodbooks_and_items_by_path(tmp_path):
    (tmp_path/'ratings.csv').write_text('user_id,book_id,rating\n1,258,5\n2,4081,4\n')
    (tmp_path/'books.csv').write_text('book_id,goodreads_book_id,authors,original_publication_year,title\n258,2767052,Suzanne Collins,2008.0,The Hunger Games\n4081,3,J.K.,1997.0,Harry; Potter\n')
    s,_ = read(tmp_path)
    assert s.items.loc[258, 'title']=='The Hunger Games' and s.with_text().events['text_pair'].tolist()==['The Hunger Games (2008)', 'Harry; Potter (1997)']
    t,_ = read(tmp_path/'ratings.csv', items=tmp_path/'books.csv')
    pd.testing.assert_frame_equal(t.items, s.items)
    u,_ = read(tmp_path/'ratings.csv', items=pd.read_csv(tmp_path/'books.csv'))
    assert u.items['title'].tolist()==s.items['title'].tolist()
    (tmp_path/'meta.jsonl').write_text('{"parent_asin": "258", "title": "One", "categories": ["Books", "Teen"]}\n{"parent_asin": "4081", "title": null, "categories": []}\n')
    v,_ = read(tmp_path/'ratings.csv', items=tmp_path/'meta.jsonl')
    assert v.with_text().events['text_pair'].tolist()==['One: Books, Teen', '']


@pytest.mark.parametrize('header, args, words', [
    ('who,what,how', {}, r'no column is known to be the user; pass user=… The columns are who, what, how'), ('user_id,what,rating', {}, 'known to be the item; pass item='),
    ('user_id,item_id,how', {}, 'known to be the rating or the label; pass rating=…, label=…, or label=1'), ('user_id,movie_id,book_id,rating', {}, "movie_id and book_id may each be the item; pass item='movie_id'"),
    ('user_id,item_id,rating', dict(time='ts'), "no column 'ts' for time; the columns are user_id, item_id, rating"), ('user_id,item_id,rating', dict(user='u'), "no column 'u' for user"),
    ('userid,uid,item,rating', {}, 'userid and uid may each be the user')])
def test_columns_in_doubt(tmp_path, header, args, words):
    (tmp_path/'log.csv').write_text(header + '\n' + ','.join('1'*len(header.split(','))) + '\n')
    for f in (Stream.read, Stream.scan):
        with pytest.raises(KeyError, match=words): f(tmp_path/'log.csv', **args)


BROKEN = {
    'gap': ('log.csv', 'user,item,rating\n1,2,3\n1,,4\n', r'log.csv: item is missing in row 1; .*\(row 0 is line 2\)'), 'no rating': ('log.csv', 'user,item,rating\n1,2,3\n1,3,\n', r'log.csv: rating is nan in row 1 \(user 1, item 3\)'),
    'text': ('log.csv', 'user,item,rating\n1,2,3\n1,3,four\n', "log.csv: rating is "), 'long line': ('log.csv', 'user,item,rating\n1,2,3\n1,3,4,5,6\n', 'log.csv, line 3 has 5 cells'), 'empty': ('log.csv', '', 'log.csv is empty'),
    'json': ('log.jsonl', '{"user": 1, "item": 2, "rating": 3}\n{"user": 1,\n', 'log.jsonl, line 2 is not JSON'), 'json list': ('log.jsonl', '{"user": 1, "item": 2, "rating": 3}\n[1]\n', 'log.jsonl, line 2 is list, not an object'),
    'columns': ('log.dat', '1::2\n3::4\n', 'log.dat has no names on top'), 'clock': ('log.csv', 'user,item,rating,time\n1,2,3,9:05\n2,2,3,10:30\n', "log.csv: time is text, such as '9:05'"),
    'all lines long': ('log.csv', 'user,item,rating\n1,2,3,4\n1,3,4,5\n', 'log.csv, line 2 has 4 cells for 3 columns'), 'a list as id': ('log.jsonl', '{"user": 1, "item": [2], "rating": 3}\n', 'log.jsonl: item in row 0: the id .2. is of type list'),
    'range': ('log.csv', 'user,item,rating\n1,2,3\n1,3,7\n', r'log.csv: rating is 7 in row 1 .*outside rating_range'), 'pickle': ('log.pkl', 'x', 'log.pkl is a pickle'), 'archive': ('log.zip', 'x', 'log.zip is an archive; unpack it')}
@pytest.mark.parametrize('kind', BROKEN)
@pytest.mark.parametrize('f', [Stream.read, lambda *a, **k: list(Stream.scan(*a, chunk=1, **k))], ids=['read', 'scan'])
def test_broken_files_are_named_with_their_line(tmp_path, kind, f):
    name,text,words = BROKEN[kind]
    (tmp_path/name).write_text(text)
    with pytest.raises((ValueError, KeyError, TypeError), match=f'Stream.(read|scan): {words}' if kind!='range' or f is Stream.read else 'outside rating_range'), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        f(tmp_path/name, **(dict(rating_range=(1, 5)) if kind=='range' else {}))


def test_a_long_line_far_down_is_named_too(tmp_path):
    (tmp_path/'log.csv').write_text('user,item,rating\n' + '1,2,3\n'*50 + '1,2,3,4,5\n')
    for f in (Stream.read, Stream.scan):
        with pytest.raises(ValueError, match='log.csv: .*line 52'): f(tmp_path/'log.csv')


def test_items_of_json_keep_to_the_kind_of_the_events(tmp_path):
    (tmp_path/'log.jsonl').write_text('{"user_id": "A", "parent_asin": "0001", "rating": 3.0}\n{"user_id": "B", "parent_asin": "12", "rating": 5.0}\n')
    (tmp_path/'meta.jsonl').write_text('{"parent_asin": "12", "title": "Twelve"}\n{"parent_asin": "15", "title": "Fifteen"}\n')
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter('always')
        s,(part,) = Stream.read(tmp_path/'log.jsonl', items=tmp_path/'meta.jsonl'),Stream.scan(tmp_path/'log.jsonl', items=tmp_path/'meta.jsonl')
    assert s.items['title']['12']==part.items['title']['12']=='Twelve' and "1 of 2 items of the events are not in the table of items, for instance '0001'" in str(said[0].message)


def test_what_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match='Stream.read: there is no file'): Stream.read(tmp_path/'none.csv')
    (tmp_path/'a.txt').write_text('x')
    with pytest.raises(FileNotFoundError, match='of no known layout; name the file of events: it holds a.txt'): Stream.read(tmp_path)
    with pytest.raises(TypeError, match='got int'): Stream.read(3)
    with pytest.raises(ValueError, match='Stream.scan: n is 0'): Stream.scan(tmp_path/'a.txt', chunk=0)


@pytest.mark.parametrize('ids, want', [(['1', '2', '10'], int), (['007', '1', '2'], str), (['1', 'B2', '3'], str), (['1', '2', str(2**70)], str), (['-1', '0', '5'], int), (['+1', '2', '3'], str)], ids=str)
def test_ids_of_text_files_are_ints_only_where_all_are_written_so(tmp_path, ids, want):
    (tmp_path/'log.csv').write_text('user,item,rating\n' + ''.join(f'{o},x,{n+1}\n' for n,o in enumerate(ids)))
    s,_ = read(tmp_path/'log.csv')
    parts,_ = scan(tmp_path/'log.csv', chunk=1) # whatever a chunk alone would look like
    for users in (s.events['user'].tolist(), [o for p in parts for o in p.events['user'].tolist()]): assert users==list(map(want, ids))


def test_latin_1_far_down_in_a_file(tmp_path):
    rows = [f'{n}::Film {n}::Drama' for n in range(1, 400)] + ['400::Misérables, Les (1995)::Drama']
    (tmp_path/'movies.dat').write_bytes('\n'.join(rows).encode('latin-1'))
    (tmp_path/'ratings.dat').write_text(''.join(f'1::{n}::{1+n%5}::{978300000+n}\n' for n in range(1, 401)))
    s,_ = read(tmp_path)
    assert s.items.loc[400, 'title'].startswith('Misérables')
    (tmp_path/'log.csv').write_bytes(('user,item,rating\n' + 'a,b,3\n'*500 + 'é,b,5\n').encode('latin-1'))
    assert read(tmp_path/'log.csv')[0].events['user'].iloc[-1]=='é' and scan(tmp_path/'log.csv', chunk=300)[0][1].events['user'].iloc[-1]=='é'


def test_columns_that_are_not_asked_for_keep_out_of_the_way(tmp_path):
    table = dict(user_id=[1, 2], item_id=[3, 4], rating=[9., 8.], clicked=[0, 1], text=['a', 'b'], user=['x', 'y'])
    s,_ = read(table, user='user_id', label='clicked')
    assert 'rating' not in s.events and s.events['rating_in_file'].tolist()==[9., 8.] and s.events['user'].tolist()==[1, 2] and s.events['user_in_file'].tolist()==['x', 'y'] and s.events['text'].tolist()==['a', 'b']
    with pytest.raises(KeyError, match='rating'): Stream.read(dict(user=[1], item=[2]))
    assert read(dict(user=[1, 2], item=[2, 3]), label=1)[0].events['label'].tolist()==[1, 1]


def test_scan_refuses_what_is_out_of_order_before_the_first_chunk(tmp_path):
    rows = [f'{n%3},{n%5},{1+n%5},{n}' for n in range(10)]
    rows[7],rows[8] = rows[8],rows[7]
    (tmp_path/'log.csv').write_text('user,item,rating,time\n' + '\n'.join(rows) + '\n')
    for chunk in (1, 3, 8, 100):
        with pytest.raises(ValueError, match=r'Stream.scan: log.csv: time goes back in row 8 \(user 1, item 2\); sort the file by time first'): Stream.scan(tmp_path/'log.csv', chunk=chunk)
    assert len(scan(tmp_path/'log.csv', time=False)[0])==1
    (tmp_path/'iso.csv').write_text('user,item,rating,time\n1,2,3,2020-01-02\n1,2,4,2020-01-01\n')
    with pytest.raises(ValueError, match='time goes back in row 1'): Stream.scan(tmp_path/'iso.csv', chunk=1)


def test_scan_knows_the_scale_of_the_whole_file(tmp_path):
    (tmp_path/'log.csv').write_text('user,item,rating\n' + ''.join(f'1,{n},{n//10}\n' for n in range(110)))
    parts,said = scan(tmp_path/'log.csv', chunk=20, items=pd.DataFrame(dict(title=[f'Film {n}' for n in range(110)])))
    assert {o.rating_range for o in parts}=={(0., 10.)} and {o.like_from for o in parts}=={7.5} and 'ratings 0 to 10' in said
    assert [o for p in parts for o in p.events['time'].tolist()]==list(range(110)) and all(o.items['title'][3]=='Film 3' for o in parts)
    a,b = BiasBaseline(),BiasBaseline()
    whole,_ = read(tmp_path/'log.csv')
    for o in parts: a.partial_fit(o)
    np.testing.assert_array_equal(a.predict(whole), b.partial_fit(whole).predict(whole))
    assert {o.rating_range for o in scan(tmp_path/'log.csv', rating_range=(0, 20), chunk=50)[0]}=={(0., 20.)}
    with pytest.raises(ValueError, match='outside rating_range'): Stream.scan(tmp_path/'log.csv', rating_range=(1, 5))


MEMORY = r'''
import re, sys, warnings
import numpy as np, pandas as pd
from recinc_nb import Stream
warnings.simplefilter('ignore')
rows = users = 0
for s in Stream.scan(sys.argv[1]):
    rows += len(s)
    users += s.events['user'].nunique()
peak = re.search(r'VmHWM:\s*(\d+) kB', open('/proc/self/status').read())[1] # getrusage would tell the peak of the parent, too
print(rows, users, int(peak)//1024)
'''
@pytest.mark.skipif(not Path('/proc/self/status').is_file(), reason='the peak is read from /proc')
def test_a_million_rows_stream_in_little_memory(tmp_path):
    rng,n = np.random.default_rng(0),1_000_000
    pd.DataFrame(dict(userId=rng.integers(0, 50_000, n), movieId=rng.integers(0, 5_000, n), rating=rng.integers(1, 11, n)/2, timestamp=np.arange(n)+10**9)).to_csv(tmp_path/'ratings.csv', index=False)
    out = subprocess.run([sys.executable, '-c', MEMORY, str(tmp_path/'ratings.csv')], capture_output=True, text=True, timeout=60)
    assert out.returncode==0, out.stderr
    rows,users,mib = map(int, out.stdout.split())
    assert rows==n and users>n/3 and mib<500, mib


# ---- what a stranger's files showed ----
def test_what_is_in_doubt_is_refused_or_said(tmp_path):
    def read(text, **kw):
        (tmp_path/'log.csv').write_text(text)
        return Stream.read(tmp_path/'log.csv', **kw)
    for text in ('1,31,1600000000\n2,32,1600000001\n', '5,1,31\n4,1,47\n', '1;7;3,5;1600000000\n2;7;4,0;1600000001\n', '1,7,Drama,4\n1,8,Comedy,5\n'):
        with pytest.raises(KeyError, match='pass columns='): read(text)
    with pytest.raises(ValueError, match='two columns are called x'): read('user,item,rating,x,x\n1,a,3,7,8\n')
    assert read('user,item,rating,,\n1,a,3,,\n2,b,4,,\n').events['item'].tolist()==['a', 'b']
    with pytest.raises(ValueError, match='write whole numbers'): read('user,item,rating\n1.0,2,3\n2.0,3,4\n')
    assert read('user, item, rating\n1, 5 ,3\n2,5,4\n').events['item'].tolist()==[5, 5]
    with pytest.warns(UserWarning, match="user is 'NA' in 1 rows"): read('user,item,rating\nNA,a,3\n2,b,2\n')
